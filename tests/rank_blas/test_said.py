"""What a rank says it computes with reaches the log, the events and ``mlxring status``."""

from pathlib import Path

from console.commands.status import table
from console.reduce import apply
from console.state import ClusterState, initial
from ringcore.spec.events import Event, RankChanged, Recorded
from tests.ring.harness import REAL, REPOSITORY, Ring, make_plan, until
from tests.screen import fake

OPENBLAS = "cpu, OpenBLAS 0.3.34 SkylakeX, 1 thread"


def test_a_rank_says_first_which_blas_it_found_itself_bound_to() -> None:
    with Ring(make_plan([2, 2])) as ring:
        for number, rank in enumerate(ring.ranks):
            assert rank.phases[0].phase == "starting"
            assert rank.phases[0].computes_with.startswith("cpu, OpenBLAS 0.")
            assert rank.phases[0].computes_with.endswith(", 1 thread")
            first = rank.said[0]
            assert first.startswith(f"rank {number} of 2, epoch 3, mlx 0.")
            assert " on cpu, BLAS OpenBLAS 0." in first and first.endswith(", 1 thread")
            assert not any("10 to 20 times" in text for text in rank.said)


def test_the_real_rank_is_bound_to_openblas_before_it_has_read_any_model() -> None:
    with Ring(make_plan([2]), module=REAL, join=False) as ring:
        until(lambda: ring.ranks[0].phases, "the rank to start")
        assert ring.ranks[0].phases[0].computes_with.startswith("cpu, OpenBLAS 0.")


class WithoutOpenBlas(Ring):
    """Its ranks find a package scipy_openblas32 that holds no library."""

    def __init__(self, empty: Path) -> None:
        super().__init__(make_plan([2]))
        (empty / "scipy_openblas32").mkdir()
        (empty / "scipy_openblas32" / "__init__.py").touch()
        self.environment |= {"PYTHONPATH": f"{empty}:{REPOSITORY}"}


def test_a_rank_on_the_reference_blas_serves_and_says_the_remedy(tmp_path: Path) -> None:
    with WithoutOpenBlas(tmp_path) as ring:
        rank = ring.ranks[0]
        assert "reference BLAS" in rank.phases[0].computes_with
        warning = next(text for text in rank.said if "10 to 20 times" in text)
        assert "cannot open shared object file" in warning and "mlxring provision" in warning
        ring.submit("one", [1, 2, 3], 4)
        assert ring.finished("one").reason == "length"


def after(*events: Event) -> ClusterState:
    state = initial(fake.PROFILE)
    for seq, event in enumerate(events, 1):
        state = apply(state, Recorded(host=fake.NAMES[0], seq=seq, time=float(seq), event=event))
    return state


def test_status_shows_what_a_running_rank_computes_with() -> None:
    said = RankChanged(rank=0, phase="starting", pid=4, computes_with=OPENBLAS)
    state = after(said, RankChanged(rank=0, phase="loading"), RankChanged(rank=0, phase="ready"))
    assert state.hosts[0].computes_with == OPENBLAS
    rows = table(state).splitlines()
    assert rows[2].endswith("computes with")
    assert rows[3].endswith(OPENBLAS) and rows[4].endswith("  -")


def test_a_rank_that_has_ended_computes_with_nothing() -> None:
    said = RankChanged(rank=0, phase="starting", computes_with=OPENBLAS)
    assert after(said, RankChanged(rank=0, phase="stopped")).hosts[0].computes_with == ""


def test_a_new_epoch_forgets_what_the_rank_before_computed_with() -> None:
    said = RankChanged(rank=0, phase="starting", computes_with=OPENBLAS)
    assert after(said, RankChanged(rank=0, phase="starting")).hosts[0].computes_with == ""


def test_status_writes_no_escape_code_of_a_host_on_the_terminal() -> None:
    state = after(RankChanged(rank=0, phase="starting", computes_with="\x1b[2Jcpu"))
    assert "\x1b" not in table(state)
