"""``mlxring plan`` for a person: table and words count the same bytes under the same names."""

from msgspec import structs

from console.commands.plan import table
from ringcore.planning.plan import make_plan
from ringcore.spec.plan import Plan
from ringcore.spec.profile import CacheOptions
from ringcore.spec.units import GIB, MIB, format_bytes
from tests.planning.worlds import facts, hosts, model, profile


def planned(**host: str) -> Plan:
    ring = profile(hosts(2, **host), context=4096, sequences=2)
    ring = structs.replace(ring, cache=CacheOptions(memory_bytes=24 * MIB))
    return make_plan(model(), ring, facts(8 * GIB, 8 * GIB), {})


def rows(plan: Plan) -> list[dict[str, str]]:
    """The cells of each rank by the names of their columns."""
    lines = table(plan).splitlines()
    head = next(line for line in lines if line.startswith("rank "))
    ends = [head.index(name) + len(name) for name in head.split()[3:]]
    found: list[dict[str, str]] = []
    for line in lines[lines.index(head) + 1 :][: len(plan.stages)]:
        starts = [ends[0] - 9, *ends]
        found.append(
            {name: line[a:b].strip() for name, a, b in zip(head.split()[3:], starts, ends, strict=False)}
        )
    return found


def test_caches_of_running_and_of_earlier_sequences_stand_apart_in_table_and_words() -> None:
    plan = planned()
    text = "\n".join(plan.explanation)
    for stage, row in zip(plan.stages, rows(plan), strict=True):
        assert 0 < stage.prefix_bytes < stage.kv_bytes
        assert (row["KV"], row["prefix"]) == (format_bytes(stage.kv_bytes), format_bytes(stage.prefix_bytes))
        assert f"KV cache {row['KV']} (2 x 4096 tokens), prefix cache {row['prefix']}, workspace" in text


def test_the_columns_of_a_row_make_its_ceiling() -> None:
    for stage in planned().stages:
        parts = (stage.weight_bytes, stage.kv_bytes, stage.prefix_bytes, stage.workspace_bytes)
        assert sum(parts) + stage.reserve_bytes + stage.free_bytes == stage.ceiling_bytes


def test_a_long_name_moves_the_columns_of_all_rows() -> None:
    plan = planned()
    long = make_plan(
        model(),
        profile((hosts(1, name="a" * 40)[0], hosts(2)[1]), context=4096, sequences=2),
        facts(8 * GIB, 8 * GIB),
        {},
    )
    assert rows(long)[0]["ceiling"] == rows(plan)[0]["ceiling"]
    assert len({len(line) for line in table(long).splitlines()[2:5]}) == 1


def test_the_title_says_of_how_many_bits_keys_and_values_are() -> None:
    plan = planned()
    assert "KV 8 bits" in table(structs.replace(plan, kv_bits=8)).splitlines()[0]
    assert "KV" not in table(plan).splitlines()[0]
