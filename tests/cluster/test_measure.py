"""Hosts measure themselves with what they have; what counts is remembered and used by the next plan."""

import json
import stat
import sys
from pathlib import Path

import msgspec
import pytest

from console.cluster.facts import gather_facts
from console.cluster.host import Completed
from console.cluster.measure import Speeds, counts, measure, measured_by
from ringcore.spec.errors import HostError, MlxringError
from ringcore.spec.facts import Gpu, Measured, PythonFound
from ringcore.spec.profile import HostOptions
from tests.cluster.reach import options, plain_environment, reached
from tests.cluster.test_needs import FACTS
from tests.planning.worlds import hosts, local_hosts, profile

FAST = Measured(bandwidth=41.5, compute=0.2, computes_with="cpu, OpenBLAS", when=1_790_000_000.0)
CARD = Gpu(name="NVIDIA L4", total_memory_bytes=1, free_memory_bytes=1, driver=(580,), capability=(8, 9))
MAC = msgspec.structs.replace(FACTS, os="darwin", chip="Apple M4")


def test_only_the_device_of_the_ranks_counts() -> None:
    on_gpu = msgspec.structs.replace(FAST, computes_with="gpu, Apple M4")
    assert counts(FACTS, FAST) and not counts(FACTS, on_gpu)
    assert counts(MAC, on_gpu) and not counts(MAC, FAST)
    assert not counts(msgspec.structs.replace(FACTS, gpus=(CARD,)), FAST)


def test_what_was_measured_is_known_to_later_commands_and_to_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "state" / "mlxring" / "speeds.json"
    here, other = options(), options(ssh="operator@elsewhere:2222")
    assert Speeds(file).known(here, FACTS).measured is None
    Speeds(file).remember(here, FACTS, FAST)
    assert Speeds(file).known(here, FACTS).measured == FAST
    assert Speeds(file).known(other, FACTS).measured is None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and [*file.parent.iterdir()] == [file]
    Speeds(file).remember(other, FACTS, msgspec.structs.replace(FAST, bandwidth=7.0))
    assert Speeds(file).known(here, FACTS).measured == FAST


def test_a_machine_with_another_chip_was_never_measured(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    speeds.remember(options(), FACTS, FAST)
    for change in ({"chip": "another"}, {"cores": FACTS.cores + 1}, {"gpus": (CARD,)}):
        assert speeds.known(options(), msgspec.structs.replace(FACTS, **change)).measured is None


def test_a_figure_of_another_device_is_not_remembered(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    speeds.remember(options(), MAC, FAST)
    assert speeds.known(options(), MAC).measured is None and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[]", '{"a": {"bandwidth": "fast"}}'])
def test_a_damaged_file_is_as_good_as_none_and_is_replaced(tmp_path: Path, text: str) -> None:
    file = tmp_path / "speeds.json"
    file.write_text(text)
    assert Speeds(file).known(options(), FACTS).measured is None
    Speeds(file).remember(options(), FACTS, FAST)
    assert Speeds(file).known(options(), FACTS).measured == FAST


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MlxringError, match=r"speeds\.json") as caught:
        Speeds(tmp_path / "file" / "speeds.json").remember(options(), FACTS, FAST)
    assert "XDG_STATE_HOME" in caught.value.failure.remedy


def test_ranks_on_one_machine_do_not_measure_each_other() -> None:
    assert measured_by(profile(local_hosts(3))) == {"h0": "h0", "h1": "h0", "h2": "h0"}
    assert measured_by(profile(hosts(2))) == {"h0": "h0", "h1": "h1"}


@pytest.mark.slow
async def test_this_machine_measures_itself_with_mlx(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", options(python=sys.executable)) as host:
        facts = await gather_facts(host)
        found = await measure(host, facts)
    assert 0.5 < found.bandwidth < 2000 and 0.001 < found.compute < 100
    assert found.computes_with.startswith("cpu, ") and "without" not in found.computes_with
    assert counts(facts, found)


async def test_a_bare_python_measures_memory_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    base = Path(sys.base_prefix) / "bin" / "python3"
    async with reached(home, options(), env=plain_environment(home)) as host:
        facts = msgspec.structs.replace(FACTS, pythons=(PythonFound(str(base), sys.version_info[:3]),))
        found = await measure(host, facts)
    assert found.bandwidth > 0.5 and found.compute == 0.0
    assert "without MLX" in found.computes_with


class Silent:
    """A host whose Python says nothing of use."""

    options: HostOptions = options()

    async def run(self, _argv: list[str], **_: object) -> Completed:
        return Completed(1, json.dumps({"bandwidth": "x"}), "Illegal instruction")


async def test_a_host_that_cannot_measure_says_why() -> None:
    with pytest.raises(HostError, match="Illegal instruction") as caught:
        await measure(Silent(), FACTS)  # type: ignore[arg-type]
    assert caught.value.failure.host == "h1"
