"""``mlxring plan --what-if``: which changes are understood, and what is said of those that are not."""

import pytest

from console.commands.what_if import Change, changed, changes
from ringcore.spec.errors import ProfileError
from ringcore.spec.profile import Profile
from ringcore.spec.units import GIB
from tests.planning.worlds import hosts, profile


def what_if(text: str, count: int = 3) -> Profile:
    return changed(profile(hosts(count)), changes(text))


def refused(text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        what_if(text)
    assert caught.value.failure.exit_code == 2
    return str(caught.value)


def test_keys_of_the_ring_are_changed_and_all_else_stays() -> None:
    before, after = (
        profile(hosts(3)),
        what_if("context=16384, sequences=8,objective=latency,arrange=true,head=last"),
    )
    assert (after.ring.context, after.ring.sequences, after.ring.objective) == (16384, 8, "latency")
    assert after.ring.arrange is True and after.ring.head == "last"
    assert (after.hosts, after.model, after.ring.port) == (before.hosts, before.model, before.ring.port)


def test_a_host_is_left_out_by_name_and_layers_are_given_by_plus() -> None:
    after = what_if("without=h1,layers=7+5")
    assert [host.name for host in after.hosts] == ["h0", "h2"]
    assert after.ring.layers == (7, 5)


def test_a_host_gets_a_ceiling_and_the_model_is_another() -> None:
    after = what_if("h2.memory=12GiB,model=owner/name")
    assert after.hosts[2].memory_bytes == 12 * GIB and after.model == "owner/name"


def test_a_change_is_split_at_its_first_equals_sign() -> None:
    assert changes(" model=/a=b , ") == (Change("model", "/a=b"),)


@pytest.mark.parametrize("text", ["context", "context=", "=5", "context=1,nonsense"])
def test_what_is_no_change_is_named(text: str) -> None:
    assert "is no change" in refused(text)


def test_an_unknown_host_or_key_comes_with_the_nearest_one() -> None:
    assert 'did you mean "h1"?' in refused("without=h11")
    assert 'did you mean "context"?' in refused("contxt=5")
    assert "h0, h1, h2" in refused("studio.memory=1GiB")


def test_values_are_checked_as_those_of_a_file() -> None:
    assert "ring.context" in refused("context=lots")
    assert "ring.objective" in refused("objective=fastest")
    assert "ring.layers" in refused("layers=5+5")
    assert "hosts" in refused("without=h0,without=h1,without=h2")
    assert "ring.context" in refused(f"context={'9' * 5000}")


def test_keys_of_the_caches_are_changed_too() -> None:
    after = what_if("kv_bits=8,context=16384,memory=0MiB")
    assert (after.cache.kv_bits, after.cache.memory_bytes, after.ring.context) == (8, 0, 16384)
    assert "cache.kv_bits" in refused("kv_bits=5")
