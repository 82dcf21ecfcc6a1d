"""A rank under a bound that the kernel enforces: what the plan says fits, and too little kills nobody."""

import subprocess
import sys
from pathlib import Path

import pytest

from ringcore.planning.capacity import ceiling_for
from ringcore.planning.needs import Needs
from ringcore.planning.plan import make_plan
from ringcore.spec.engine import Finished, Refused
from ringcore.spec.plan import Plan
from ringcore.spec.units import GIB, MIB
from tests.checkpoint.files import read_card
from tests.models.small import build
from tests.planning.worlds import facts, hosts, profile
from tests.rank_memory.bounded import bounded
from tests.ring.harness import REAL, REPOSITORY, Ring

pytestmark = pytest.mark.slow
CONTEXT, SEQUENCES, CHUNK, LAYERS = 1024, 4, 256, 6
ANSWER = 224  # so long that all are at the end of their contexts at once
WIDE = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "head_dim": 64,
    "max_position_embeddings": CONTEXT,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is small and remembers much: 16 KiB a token and layer."""
    return build("llama", tmp_path_factory.mktemp("wide") / "model", layers=LAYERS, **WIDE)


@pytest.fixture(scope="module")
def process_bytes(model: Path) -> int:
    """What a rank's process takes beside what MLX holds for it."""
    script = (
        "import sys, psutil, ringcore.rank.command, mlx.core as mx\n"
        "from pathlib import Path\n"
        "from ringcore.models.load import load_stage\n"
        "from ringcore.spec.shard import Shard\n"
        "quiet = lambda *_: None\n"
        f"stage = load_stage(Path(sys.argv[1]), Shard(0, 1, {LAYERS}), dtype='float32', on_progress=quiet)\n"
        "mx.eval(stage(mx.zeros((1, 8), dtype=mx.int32), stage.make_cache()))\n"
        "print(psutil.Process().memory_info().rss - mx.get_active_memory())\n"
    )
    command = [sys.executable, "-c", script, str(model)]
    return int(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, timeout=60).stdout)


def planned(model: Path) -> Plan:
    """Two equal ranks; the last one's ceiling is what it needs, exactly."""
    card = read_card(model, "float32")
    ring = profile(
        hosts(2), context=CONTEXT, sequences=SEQUENCES, prefill_chunk=CHUNK, layers=(LAYERS // 2, LAYERS // 2)
    )
    needs = Needs(card, context=CONTEXT, sequences=SEQUENCES, prefill_chunk=CHUNK)
    ceiling = ceiling_for(needs.all(0, LAYERS // 2)) >> 20
    return make_plan(card, ring, facts(8 * GIB, 8 * GIB), {"RANK_MEMORY_MB_1": str(ceiling + 1)})


def fill(ring: Ring) -> None:
    """As many requests at once as there are places, each to the last token of its context."""
    for number in range(SEQUENCES):
        prompt = [(7 * number + place) % 60 + 1 for place in range(CONTEXT - ANSWER)]
        ring.submit(f"r{number}", prompt, ANSWER)


def test_all_contexts_full_at_once_fit_into_what_the_plan_says(model: Path, process_bytes: int) -> None:
    plan = planned(model)
    stage = plan.stages[1]
    # The bound is the plan's ceiling and the process itself; a sixteenth of it is to stay free.
    limit = (process_bytes + stage.ceiling_bytes) * 16 // 15
    with bounded(limit) as bound:
        with Ring(plan, module=REAL, model=model, inside=bound.inside) as ring:
            fill(ring)
            for number in range(SEQUENCES):
                assert ring.finished(f"r{number}", 120).completion_tokens == ANSWER
            used = ring.ranks[1].memory[-1]
            kv = max(said.kv_bytes for said in ring.ranks[1].memory)
            full = stage.kv_bytes * CONTEXT // (CONTEXT + 255)  # the plan counts a step more of each
            assert stage.kv_bytes >= kv >= 0.98 * full > 60 * MIB, "the contexts were never full"
            assert used.weight_bytes == pytest.approx(stage.weight_bytes, rel=0.01)
            assert not [said for said in ring.ranks[1].pressures if said.level in ("full", "over")]
            assert ring.answer("after", [1, 2, 3], 4)
            peak = bound.peak_bytes
        if peak:
            assert peak <= limit
            assert peak > process_bytes + 0.9 * full, "the bound was never near"


def test_with_too_little_memory_requests_are_refused_and_the_rank_lives(
    model: Path, process_bytes: int
) -> None:
    plan = planned(model)
    stage = plan.stages[1]
    # As if another program had taken what half of the contexts need.
    limit = process_bytes + stage.weight_bytes + stage.workspace_bytes + stage.kv_bytes // 2
    with bounded(limit) as bound, Ring(plan, module=REAL, model=model, inside=bound.inside) as ring:
        fill(ring)

        def ended() -> bool:
            return all(
                ring.messages(Finished, f"r{n}") or ring.messages(Refused, f"r{n}") for n in range(SEQUENCES)
            )

        ring.wait(ended, "an end of every request", 120)
        refused = ring.messages(Refused)
        assert refused and all(each.kind == "memory" for each in refused)
        assert "rank 1 on host1 is short of memory" in refused[0].cause
        assert "in use (the limit of its cgroup)" in refused[0].cause or bound.folder is None
        assert {said.level for said in ring.ranks[1].pressures} & {"full", "over"}

        ring.wait(lambda: ring.ranks[1].pressures[-1].level in ("calm", "near"), "memory to be free again")
        assert ring.answer("small", [1, 2, 3], 4)
        assert all(rank.process.poll() is None for rank in ring.ranks)
