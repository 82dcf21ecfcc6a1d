"""Where a rank's ceiling comes from, what is kept of it, and ranks that share a machine."""

import pytest

from ringcore.planning.capacity import Room, ceiling_for, over_free, rooms
from ringcore.planning.machines import machines_of
from ringcore.spec.errors import PlanError
from ringcore.spec.profile import HostOptions
from ringcore.spec.units import GIB, MIB
from tests.planning.worlds import facts, hosts, local_hosts, profile


def one(environment: dict[str, str] | None = None, **host: int) -> Room:
    """The room of a ring of one."""
    return rooms(profile(hosts(1, **host)), facts(16 * GIB), environment or {})[0]


def test_without_a_word_of_the_operator_the_facts_count() -> None:
    room = one()
    assert room.ceiling_bytes == 16 * GIB
    assert "free memory" in room.ceiling_source
    assert room.reserve_bytes == 16 * GIB // 10


def test_the_profile_is_stronger_than_the_ranks_variable_and_that_than_the_default() -> None:
    environment = {"RANK_MEMORY_MB_0": "2048", "DEFAULT_RANK_MEMORY_MB": "1024"}
    profiled = one(environment, memory_bytes=3 * GIB)
    assert (profiled.ceiling_bytes, profiled.ceiling_source) == (3 * GIB, "memory in the profile")
    ranked = one(environment)
    assert ranked.ceiling_bytes == 2 * GIB and "RANK_MEMORY_MB_0" in ranked.ceiling_source
    del environment["RANK_MEMORY_MB_0"]
    default = one(environment)
    assert default.ceiling_bytes == 1 * GIB and "DEFAULT_RANK_MEMORY_MB" in default.ceiling_source


def test_a_ranks_variable_is_that_ranks_alone() -> None:
    made = rooms(profile(hosts(2)), facts(8 * GIB, 8 * GIB), {"RANK_MEMORY_MB_1": "4096"})
    assert [room.ceiling_bytes for room in made] == [8 * GIB, 4 * GIB]


def test_an_empty_variable_counts_as_none() -> None:
    assert one({"RANK_MEMORY_MB_0": "", "DEFAULT_RANK_MEMORY_MB": " "}).ceiling_bytes == 16 * GIB


@pytest.mark.parametrize("value", ["12 GiB", "-1", "0", "1.5", "1e3", "lots", "٣", "9" * 5000])
@pytest.mark.parametrize("variable", ["RANK_MEMORY_MB_0", "DEFAULT_RANK_MEMORY_MB"])
def test_a_variable_that_is_no_size_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(PlanError) as caught:
        one({variable: value})
    assert variable in caught.value.failure.cause and "MiB" in caught.value.failure.cause
    assert variable in caught.value.failure.remedy
    assert len(str(caught.value)) < 400


def test_little_is_kept_of_a_ceiling_set_by_hand() -> None:
    assert one(memory_bytes=64 * GIB).reserve_bytes == 256 * MIB
    assert one(memory_bytes=160 * MIB).reserve_bytes == 10 * MIB


@pytest.mark.parametrize("need", [1, 64 * MIB, 3 * GIB, 4 * GIB, 100 * GIB])
def test_the_ceiling_for_a_need_leaves_just_that(need: int) -> None:
    usable = one(memory_bytes=ceiling_for(need)).usable_bytes
    assert need <= usable <= need + 16


def test_ranks_on_loopback_share_one_machines_memory() -> None:
    made = rooms(profile(local_hosts(2)), facts(8 * GIB, 8 * GIB), {})
    assert [room.ceiling_bytes for room in made] == [4 * GIB, 4 * GIB]
    assert all("2 ranks share" in room.ceiling_source for room in made)
    assert [room.mates for room in made] == [2, 2]


def test_of_two_readings_of_one_machine_the_smaller_counts() -> None:
    made = rooms(profile(local_hosts(2)), facts(8 * GIB, 6 * GIB), {})
    assert [room.ceiling_bytes for room in made] == [3 * GIB, 3 * GIB]


def test_what_one_rank_was_given_by_hand_is_not_given_to_its_neighbour() -> None:
    made = rooms(profile(local_hosts(3)), facts(*[8 * GIB] * 3), {"RANK_MEMORY_MB_0": "2048"})
    assert [room.ceiling_bytes for room in made] == [2 * GIB, 3 * GIB, 3 * GIB]
    assert "others leave" in made[1].ceiling_source


def test_a_machine_given_away_by_hand_leaves_nothing() -> None:
    made = rooms(profile(local_hosts(2)), facts(8 * GIB, 8 * GIB), {"RANK_MEMORY_MB_0": "16384"})
    assert made[1].ceiling_bytes == made[1].usable_bytes == 0


def test_the_same_ssh_host_is_one_machine_whatever_the_user_and_port() -> None:
    targets = ("ann@Mini.local:22", "ben@mini.local:2222", "mini2.local")
    three = tuple(
        HostOptions(name=f"h{n}", ssh=ssh, address=f"10.0.0.{n + 1}") for n, ssh in enumerate(targets)
    )
    first, second, third = machines_of(profile(three))
    assert first == second != third
    made = rooms(profile(three), facts(*[8 * GIB] * 3), {})
    assert [room.ceiling_bytes for room in made] == [4 * GIB, 4 * GIB, 8 * GIB]


def test_macos_keeps_what_metal_does_not_wire() -> None:
    mini = facts(14 * GIB, os="darwin", total_memory_bytes=16 * GIB)
    studio = facts(180 * GIB, os="darwin", total_memory_bytes=192 * GIB)
    assert rooms(profile(hosts(1)), mini, {})[0].usable_bytes == pytest.approx(16 * GIB * 2 / 3, abs=2)
    assert rooms(profile(hosts(1)), studio, {})[0].usable_bytes == pytest.approx(144 * GIB, abs=2)
    by_hand = rooms(profile(hosts(1, memory_bytes=15 * GIB)), mini, {})[0]
    assert by_hand.usable_bytes == 15 * GIB - 256 * MIB, "who raised the limit says so in the profile"


def test_two_ranks_on_one_mac_share_what_metal_wires() -> None:
    mini = facts(14 * GIB, 14 * GIB, os="darwin", total_memory_bytes=16 * GIB)
    made = rooms(profile(local_hosts(2)), mini, {})
    assert sum(room.usable_bytes for room in made) == pytest.approx(16 * GIB * 2 / 3, abs=4)


def test_ceilings_by_hand_above_what_is_free_are_noted() -> None:
    ring, told = profile(hosts(2, memory_bytes=12 * GIB)), facts(16 * GIB, 8 * GIB)
    notes = list(over_free(told, machines_of(ring), rooms(ring, told, {})))
    assert len(notes) == 1 and "h1" in notes[0] and "12.0 GiB" in notes[0] and "8.0 GiB" in notes[0]
