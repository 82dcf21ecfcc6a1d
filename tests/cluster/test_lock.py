"""The lock file: which packages apply where, and which are missing from an interpreter."""

import pytest

from console.cluster.lock import Pin, applies, lock_hash, lock_text, missing_pins, parse_lock, pins_for

LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "python_full_version": "3.11.7"}
MAC = {"sys_platform": "darwin", "platform_machine": "arm64", "python_full_version": "3.12.0"}
LOCK = b"""\
# made by a tool
Typing_Extensions==4.16.0 \\
    --hash=sha256:0a30
    # via
    #   mlx==9
mlx==0.32.4 ; sys_platform == 'darwin' or sys_platform == 'linux' \\
    --hash=sha256:1b
mlx-metal==0.32.4 ; sys_platform == 'darwin' \\
    --hash=sha256:2c
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:3d
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:4e
"""


def names(environment: dict[str, str]) -> list[str]:
    return [str(pin) for pin in pins_for(parse_lock(LOCK), environment)]


def test_pins_are_read_with_their_markers_and_without_hashes_and_comments() -> None:
    assert parse_lock(LOCK)[:2] == (
        Pin("typing-extensions", "4.16.0"),
        Pin("mlx", "0.32.4", "sys_platform == 'darwin' or sys_platform == 'linux'"),
    )


def test_each_platform_and_python_gets_its_own() -> None:
    assert names(LINUX) == ["typing-extensions==4.16.0", "mlx==0.32.4", "numpy==2.4.6"]
    assert names(MAC) == [
        "typing-extensions==4.16.0",
        "mlx==0.32.4",
        "mlx-metal==0.32.4",
        "numpy==2.5.5",
    ]


def test_what_is_absent_or_of_another_version_is_missing() -> None:
    installed = {"typing-extensions": "4.16.0", "mlx": "0.32.3"}
    assert [str(pin) for pin in missing_pins(parse_lock(LOCK), LINUX, installed)] == [
        "mlx==0.32.4",
        "numpy==2.4.6",
    ]


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("sys_platform == 'linux' and python_full_version >= '3.9'", True),  # as numbers: 3.11 > 3.9
        ("sys_platform == 'win32' or platform_machine == 'x86_64' and python_full_version < '3.12'", True),
        ("(sys_platform == 'win32' or sys_platform == 'darwin') and platform_machine == 'x86_64'", False),
        ("python_full_version == '3.11.7'", True),
        ("sys_platform != 'emscripten'", True),
        ("'linux' == sys_platform", True),
    ],
)
def test_markers_join_comparisons_as_python_does(marker: str, holds: bool) -> None:
    assert applies(marker, LINUX) is holds


@pytest.mark.parametrize(
    "marker",
    [
        "",
        "sys_platform",
        "sys_platform == 'a' sys_platform",
        "(os_name == 'a'",
        "extra == 'x'",
        "a = 'b'",
        "?",
    ],
)
def test_a_marker_that_cannot_be_read_is_an_error_and_no_guess(marker: str) -> None:
    with pytest.raises(ValueError, match="marker"):
        applies(marker, LINUX)


def test_the_lock_file_that_is_shipped_can_be_read_for_both_systems() -> None:
    pins = parse_lock(lock_text())
    pinned = [line for line in lock_text().decode().splitlines() if "==" in line and line[0] not in " #"]
    assert len(pins) == len(pinned) > 30
    assert {"mlx", "mlx-metal"} <= {pin.name for pin in pins_for(pins, MAC)}
    on_linux = {pin.name for pin in pins_for(pins, LINUX)}
    assert "mlx-cpu" in on_linux and not on_linux & {"mlx-metal", "colorama"}


def test_another_lock_file_has_another_hash() -> None:
    assert lock_hash(LOCK) == lock_hash(LOCK) != lock_hash(LOCK + b"\n")


def test_a_host_with_a_card_gets_the_same_packages_but_mlx_for_it() -> None:
    plain, cuda = ({pin.name: pin for pin in parse_lock(lock_text(cuda=card))} for card in (False, True))
    assert "mlx-cpu" in plain and "mlx-cuda-12" not in plain
    assert "mlx-cuda-12" in cuda and "mlx-cpu" not in cuda
    assert {name: pin.version for name, pin in cuda.items() if name in plain} == {
        name: pin.version for name, pin in plain.items() if name != "mlx-cpu"
    }
    assert all(name.startswith(("mlx-cuda", "nvidia-")) for name in cuda.keys() - plain.keys())
    environment = {
        "sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux", "os_name": "posix",
        "python_full_version": "3.12.3", "python_version": "3.12", "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }  # fmt: skip
    names = {pin.name for pin in pins_for(cuda.values(), environment)}
    assert {"mlx", "mlx-lm", "mlx-cuda-12", "nvidia-cublas-cu12"} <= names and "mlx-metal" not in names
