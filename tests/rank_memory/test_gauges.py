"""What bounds a rank's memory, read from cgroups of both versions, limits of the process and the host."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ringcore.rank.gauges import cgroup_folders, gauges, read_cgroup
from ringcore.spec.units import GIB, MIB
from tests.ring.harness import make_plan

PLANNED = make_plan([1]).stages[0]


def v2(folder: Path, limit: str, used: int = 500 * MIB, cached: int = 100 * MIB) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 0\n")


def own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cgroup"
    file.write_text(text)
    return file


def test_every_limit_above_a_process_counts(tmp_path: Path) -> None:
    root = tmp_path / "sys"
    v2(root / "user.slice" / "session", str(2 * GIB))
    v2(root / "user.slice", "max")
    v2(root, str(8 * GIB))
    found = list(cgroup_folders(own(tmp_path, "0::/user.slice/session\n"), root))
    assert found == [root / "user.slice" / "session", root]


def test_the_older_version_is_read_from_its_own_tree(tmp_path: Path) -> None:
    root = tmp_path / "sys"
    folder = root / "memory" / "ring"
    folder.mkdir(parents=True)
    (root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (folder / "memory.limit_in_bytes").write_text(f"{GIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{600 * MIB}\n")
    (folder / "memory.stat").write_text(f"cache 1\ntotal_inactive_file {50 * MIB}\ntotal_active_file {MIB}\n")
    lines = "5:devices:/\n4:memory:/ring\n1:cpu,cpuacct:/\n0::/\n"
    assert list(cgroup_folders(own(tmp_path, lines), root)) == [folder]
    reading = read_cgroup(folder)
    assert reading is not None
    assert (reading.limit, reading.used, reading.deadly) == (GIB, 549 * MIB, True)


def test_in_a_container_ones_own_group_is_at_the_top(tmp_path: Path) -> None:
    v2(tmp_path / "sys", str(GIB))
    lines = "0::/docker/0123456789abcdef\n"
    assert list(cgroup_folders(own(tmp_path, lines), tmp_path / "sys")) == [tmp_path / "sys"]


def test_the_files_that_the_kernel_caches_are_not_in_use(tmp_path: Path) -> None:
    v2(tmp_path, str(GIB), used=900 * MIB, cached=300 * MIB)
    reading = read_cgroup(tmp_path)
    assert reading is not None and reading.used == 600 * MIB


def test_a_group_that_is_gone_bounds_nothing(tmp_path: Path) -> None:
    assert read_cgroup(tmp_path / "gone") is None
    assert list(cgroup_folders(tmp_path / "no cgroup", tmp_path)) == []


def test_the_plan_and_the_host_bound_every_rank() -> None:
    found = {one.source: one for one in (gauge() for gauge in gauges(PLANNED)) if one is not None}
    plan, host = found["its ceiling in the plan"], found["the host's memory"]
    assert (plan.limit, plan.deadly) == (PLANNED.ceiling_bytes, False)
    assert host.limit == psutil.virtual_memory().total and 0 < host.left < host.limit


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no such limits")
def test_limits_of_the_process_are_read_as_the_kernel_counts_them() -> None:
    script = (
        "from tests.rank_memory.test_gauges import PLANNED\n"
        "from ringcore.rank.gauges import gauges\n"
        "for one in filter(None, (gauge() for gauge in gauges(PLANNED))):\n"
        "    print(one.source, '|', one.limit, '|', one.used > 5 << 20)\n"
    )

    def limited() -> None:
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            resource.setrlimit(kind, (8 * GIB, 8 * GIB))

    result = subprocess.run(
        [sys.executable, "-c", script], preexec_fn=limited, capture_output=True, text=True, timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert f"its limit of address space | {8 * GIB} | True" in result.stdout, result.stderr
    assert f"its limit of data | {8 * GIB} | True" in result.stdout
