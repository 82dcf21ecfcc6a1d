"""What ranks keep of earlier sequences reaches the operator: in the state, and in ``status``."""

from console.commands.status import table
from console.reduce import apply
from console.state import ClusterState, initial
from ringcore.spec.events import MemoryUsed, PrefixUsed, Recorded
from tests.screen import fake


def with_kept(used: PrefixUsed) -> ClusterState:
    event = MemoryUsed(
        rank=0, weight_bytes=1 << 20, kv_bytes=2 << 20, workspace_bytes=0, resident_bytes=9 << 20,
        available_bytes=1 << 30, prefix=used,
    )  # fmt: skip
    record = Recorded(host=fake.NAMES[0], seq=1, time=1.0, event=event)
    return apply(initial(fake.PROFILE), record)


def test_status_names_the_caches_of_which_nothing_can_be_kept_harmlessly() -> None:
    used = PrefixUsed(blocks=0, bytes=0, hits=0, reused_tokens=0, evicted=0, uncached=("Odd\x1b[31mCache",))
    line = table(with_kept(used)).splitlines()[-1]
    assert line == "prefix cache: not kept: OddCache, which cannot be cut into blocks"


def test_status_shows_what_each_rank_keeps_and_what_that_was_good_for() -> None:
    used = PrefixUsed(blocks=12, bytes=3 << 20, hits=5, reused_tokens=1856, evicted=2, disk_bytes=5 << 20)
    state = with_kept(used)
    assert state.hosts[0].memory is not None and state.hosts[0].memory.prefix is used
    title, row = table(state).splitlines()[-2:]
    assert title.split() == [
        "rank",
        "prefix",
        "cache",
        "blocks",
        "hits",
        "tokens",
        "reused",
        "evicted",
        "on",
        "disk",
        "damaged",
    ]
    assert row.split() == ["0", "3.0", "MiB", "12", "5", "1856", "2", "5.0", "MiB", "0"]
    assert "prefix cache" not in table(initial(fake.PROFILE))


def test_what_came_from_other_hosts_is_told_where_anything_did() -> None:
    used = PrefixUsed(
        blocks=12,
        bytes=3 << 20,
        hits=5,
        reused_tokens=1856,
        evicted=2,
        brought=9,
        brought_bytes=7 << 20,
        missed=4,
    )
    said = "rank 0: 9 blocks of 7.0 MiB came from other hosts, 4 were asked for in vain"
    assert table(with_kept(used)).endswith(said)
