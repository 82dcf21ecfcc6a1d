"""What pip and uv say, for an operator."""

import pytest

from console.cluster.actions import MakeVenv
from console.cluster.pip_output import InstallProgress, last_error
from console.cluster.venv import install_failure
from ringcore.spec.facts import PythonFound
from tests.cluster.test_needs import FACTS

PIP = MakeVenv(PythonFound("/usr/bin/python3", (3, 12, 1)), "")
UV = MakeVenv(PythonFound("/usr/bin/python3", (3, 12, 1)), "/usr/bin/uv")
UNREACHABLE = """\
Collecting mlx==0.32.4
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection \
broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to \
establish a new connection: [Errno 111] Connection refused')': /simple/mlx/
ERROR: Could not find a version that satisfies the requirement mlx==0.32.4 (from versions: none)
ERROR: No matching distribution found for mlx==0.32.4
"""
NO_WHEEL = """\
Collecting mlx==0.32.4
ERROR: Could not find a version that satisfies the requirement mlx==0.32.4 (from versions: 0.1, 0.2)
ERROR: No matching distribution found for mlx==0.32.4
"""
FULL = """\
Installing collected packages: numpy
ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device
"""
CHANGED = """\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated
    mlx==0.32.4 from https://mirror/mlx.whl:
"""
UV_OFFLINE = """\
error: Failed to fetch: `https://pypi.org/simple/mlx/`
  Caused by: error sending request for url (https://pypi.org/simple/mlx/)
"""


@pytest.mark.parametrize(
    ("output", "action", "cause", "remedy"),
    [
        (UNREACHABLE, PIP, "package index cannot be reached", "network"),
        (NO_WHEEL, PIP, "not there for Python 3.12.1 on x86_64", "another Python"),
        (FULL, PIP, "disk became full", "free space"),
        (CHANGED, PIP, "not the locked one", "mirror"),
        (UV_OFFLINE, UV, "package index cannot be reached", "network"),
        ("ERROR: Something else entirely\n", PIP, "pip failed: ERROR: Something else entirely", "again"),
        ("error: Something else\n", UV, "uv failed: error: Something else", "again"),
        ("", PIP, "pip failed: no message", "again"),
    ],
)
def test_each_failure_of_an_installation_has_its_cause_and_remedy(
    output: str, action: MakeVenv, cause: str, remedy: str
) -> None:
    failure = install_failure(output, FACTS, action).failure
    assert cause in failure.cause and remedy in failure.remedy
    assert (failure.host, failure.exit_code) == ("h1", 4)


def test_pips_own_last_error_line_is_the_one_shown() -> None:
    assert last_error(NO_WHEEL + "\n[notice] A new release of pip is available\n") == (
        "ERROR: No matching distribution found for mlx==0.32.4"
    )
    assert last_error("no error word\nlast\n\n") == "last"


def test_progress_counts_packages_and_never_goes_back() -> None:
    progress = InstallProgress(2)
    seen = []
    for line in (
        "Collecting mlx==1 (from -r lock (line 3))",
        "  Downloading mlx-1.whl (1 kB)",
        "Collecting numpy==2",
        "Collecting more-than-was-said==1",
        "Installing collected packages: numpy, mlx",
        "Successfully installed",
    ):
        if progress.take(line):
            seen.append((round(progress.fraction, 2), progress.detail))
    assert seen == [
        (0.3, "mlx==1 (1 of 2 packages)"),
        (0.6, "numpy==2 (2 of 2 packages)"),
        (0.6, "more-than-was-said==1 (2 of 2 packages)"),
        (0.6, "installing 2 packages"),
    ]
