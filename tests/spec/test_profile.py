"""Profiles: right ones are read and written back, wrong ones are refused with key, expectation and remedy."""

import tomllib
from pathlib import Path

import pytest
import tomlkit

from ringcore.spec.errors import ProfileError
from ringcore.spec.profile import Profile
from ringcore.spec.profile_file import load_profile, profile_from, to_toml_data
from ringcore.spec.units import GIB

HEAD = 'name = "t"\nmodel = "/m"\n'
HOST = '[[hosts]]\nname = "a"\nssh = "op@a"\naddress = "10.0.0.1"\n'
SECOND = '[[hosts]]\nname = "b"\nssh = "op@b"\naddress = "10.0.0.2"\n'
LOCAL = '[[hosts]]\nname = "l"\nssh = "local"\naddress = "127.0.0.1"\n'


def read(text: str) -> Profile:
    return profile_from(tomllib.loads(text), "ring.toml")


def host(**changes: str) -> str:
    """A host whose keys are ``changes`` (as TOML writes values)."""
    values = {"name": '"a"', "ssh": '"op@a"', "address": '"10.0.0.1"'} | changes
    return "[[hosts]]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def ring(text: str) -> str:
    return f"{HEAD}[ring]\n{text}\n{HOST}"


def problems(text: str) -> dict[str, tuple[str, str]]:
    """Key -> (found and expected, remedy) of everything wrong with ``text``."""
    with pytest.raises(ProfileError) as caught:
        read(text)
    assert caught.value.exit_code == 2
    lines = caught.value.failure.cause.splitlines()
    assert lines[0].startswith("ring.toml: ")
    assert lines[0].endswith("1 problem" if len(lines) == 3 else f"{len(lines) // 2} problems")
    told = {}
    for what, remedy in zip(lines[1::2], lines[2::2], strict=True):
        key, _, rest = what.strip().partition(": ")
        assert rest.startswith("found ") and "; expected " in rest and remedy.strip().startswith("-> ")
        told[key] = (rest, remedy.strip()[3:])
    return told


# text, path of the key, part of what was expected, part of the remedy
WRONG = {
    "bits that no cache has": (f"{HEAD}[cache]\nkv_bits = 7\n{HOST}", "cache.kv_bits", "4, 8, 16", "write 8"),
    "bits in quotes": (f'{HEAD}[cache]\nkv_bits = "8"\n{HOST}', "cache.kv_bits", "one of 4, 8", "write 8"),
    "bits that are true": (f"{HEAD}[cache]\nkv_bits = true\n{HOST}", "cache.kv_bits", "4, 8", "one of these"),
    "no name": ('model = "/m"\n' + HOST, "name", "a name of letters", "add the key 'name'"),
    "no model": ('name = "t"\n' + HOST, "model", "text in quotes", "add the key 'model'"),
    "no hosts": (HEAD, "hosts", "1 to 8 tables [[hosts]]", "add the key 'hosts'"),
    "hosts is one table": (HEAD + HOST.replace("[[hosts]]", "[hosts]"), "hosts", "[[hosts]]", "[[hosts]]"),
    "hosts is empty": (HEAD + "hosts = []", "hosts", "1 to 8 tables", "add at least one"),
    "nine hosts": (
        HEAD + "".join(host(name=f'"h{n}"', address=f'"10.0.0.{n}"') for n in range(1, 10)),
        "hosts",
        "1 to 8 tables",
        "remove some",
    ),
    "name with a blank": (
        'name = "my ring"\nmodel = "/m"\n' + HOST,
        "name",
        "a name of letters",
        'write "my-ring"',
    ),
    "name too long": (f'name = "{"x" * 41}"\nmodel = "/m"\n{HOST}', "name", "at most 40", f'"{"x" * 40}"'),
    "name is a number": ('name = 7\nmodel = "/m"\n' + HOST, "name", "a name of letters", 'in quotes: "7"'),
    "name drives the terminal": (
        'name = "t"\nmodel = "/m\\u001b[2J"\n' + HOST,
        "model",
        "without control characters",
        "remove the control characters",
    ),
    "model by its bare name": (
        'name = "t"\nmodel = "Qwen3-4B"\n' + HOST,
        "model",
        "an absolute path or ~/...",
        '"~/models/Qwen3-4B"',
    ),
    "a repository to be pushed": (
        'name = "t"\nmodel = "mlx-community/Qwen3-4B"\nweights = "push"\n' + HOST,
        "weights",
        '"hub" with a repository',
        'weights = "auto"',
    ),
    "a folder from the hub": (HEAD + 'weights = "hub"\n' + HOST, "weights", '"push" with a folder', "auto"),
    "the demo model pushed": (
        'name = "t"\nmodel = "demo"\nweights = "push"\n' + LOCAL,
        "weights",
        "made where it is needed",
        "remove the key",
    ),
    "model climbs": ('name = "t"\nmodel = "/m/../x"\n' + HOST, "model", "absolute path", "without '..'"),
    "model in another home": ('name = "t"\nmodel = "~bob/m"\n' + HOST, "model", "absolute path", '"~/m"'),
    "demo elsewhere": (
        'name = "t"\nmodel = "demo"\n' + HOST,
        "model",
        "path of a model folder",
        "made on this machine only",
    ),
    "unknown key at the top": ("modle = 1\n" + HEAD + HOST, "modle", "one of name, model", '"model"'),
    "unknown key in ring": (ring("contxt = 1"), "ring.contxt", "one of backend", 'did you mean "context"?'),
    "unknown key of a host": (HEAD + host(memroy='"1 GiB"'), "hosts[0].memroy", "one of name", '"memory"'),
    "unknown key like none": (ring("zzz = 1"), "ring.zzz", "one of backend", "remove it"),
    "ring is no table": ("ring = 3\n" + HEAD + HOST, "ring", "a table", "[ring]"),
    "context as text": (ring('context = "4096"'), "ring.context", "16 to 16777216", "without quotes: 4096"),
    "context too small": (ring("context = 3"), "ring.context", "from 16", "write 16"),
    "context with a point": (ring("context = 4096.0"), "ring.context", "a whole number", "quotes or a point"),
    "allow_unverified is text": (
        ring('allow_unverified = "yes"'),
        "ring.allow_unverified",
        "true or false",
        "without quotes",
    ),
    "sequences is true": (ring("sequences = true"), "ring.sequences", "1 to 256", "whole number"),
    "too many sequences": (ring("sequences = 1000"), "ring.sequences", "1 to 256", "write 256"),
    "unknown backend": (ring('backend = "tcp"'), "ring.backend", 'one of "jaccl", "mpi"', "one of these"),
    "objective misspelt": (ring('objective = "memmory"'), "ring.objective", '"memory"', 'write "memory"'),
    "order in capitals": (ring('order = "Forward"'), "ring.order", '"reverse"', 'write "forward"'),
    "head elsewhere": (ring('head = "first"'), "ring.head", 'one of "auto", "last"', "one of these"),
    "dtype unknown": (ring('dtype = "bf16"'), "ring.dtype", '"bfloat16"', 'write "bfloat16"'),
    "layers is a number": (ring("layers = 9"), "ring.layers", "a list", "[9, 9, 9]"),
    "layers with a zero": (ring("layers = [0]"), "ring.layers[0]", "from 1", "write 1"),
    "layers for other hosts": (ring("layers = [3, 4]"), "ring.layers", "for each host", "write 1 numbers"),
    "chunk above context": (
        ring("context = 64\nprefill_chunk = 256"),
        "ring.prefill_chunk",
        "at most ring.context",
        "write 64 or less",
    ),
    "no room for ports": (ring("port = 65535"), "ring.port", "room for 2 ports", "write 65534 or less"),
    "port out of range": (ring("port = 70000"), "ring.port", "1 to 65535", "write 65535"),
    "api inside the ring's ports": (
        f"{HEAD}[api]\nport = 7601\n{HOST}",
        "api.port",
        "outside the ring's own, 7600..7601",
        "write 7602",
    ),
    "api open to all without a key": (
        f'{HEAD}[api]\nbind = "0.0.0.0"\nkey = "never"\n{HOST}',
        "api.key",
        "a key whenever bind is not loopback",
        'bind = "127.0.0.1"',
    ),
    "api bound to a name": (
        f'{HEAD}[api]\nbind = "mini1"\n{HOST}',
        "api.bind",
        "an address of the leader's host in numbers",
        'write "127.0.0.1"',
    ),
    "api with half a certificate": (
        f'{HEAD}[api]\ntls_cert = "/c.pem"\n{HOST}',
        "api.tls_key",
        "together",
        "remove both",
    ),
    "api with a certificate nowhere": (
        f'{HEAD}[api]\ntls_cert = "c.pem"\ntls_key = "/k.pem"\n{HOST}',
        "api.tls_cert",
        "an absolute path",
        "c.pem",
    ),
    "api with a page's path": (
        f'{HEAD}[api]\norigins = ["https://a.example/chat"]\n{HOST}',
        "api.origins[0]",
        "as browsers send them",
        "no path",
    ),
    "api with any page": (f'{HEAD}[api]\norigins = "*"\n{HOST}', "api.origins", "a list", '["one", "two"]'),
    "host without ssh": (
        HEAD + '[[hosts]]\nname = "a"\naddress = "10.0.0.1"\n',
        "hosts[0].ssh",
        "text",
        "add the key 'ssh'",
    ),
    "ssh with options": (HEAD + host(ssh='"op@a -p 22"'), "hosts[0].ssh", "[user@]host[:port]", "host:2222"),
    "ssh that is an option": (
        HEAD + host(ssh='"-oProxyCommand=x"'),
        "hosts[0].ssh",
        "[user@]host",
        "options",
    ),
    "ssh port too large": (
        HEAD + host(ssh='"a:70000"'),
        "hosts[0].ssh",
        "1 to 65535",
        'write "a" for port 22',
    ),
    "address by name": (HEAD + host(address='"a.local"'), "hosts[0].address", "IPv4", "in numbers"),
    "address of IPv6": (HEAD + host(address='"fe80::1"'), "hosts[0].address", "no IPv6", "IPv4 address"),
    "address of everybody": (
        HEAD + host(address='"0.0.0.0"'),
        "hosts[0].address",
        "neighbours connect to it",
        "address of one interface",
    ),
    "memory as a number": (HEAD + host(memory="12"), "hosts[0].memory", "with its unit", 'write "12 GiB"'),
    "memory without unit": (HEAD + host(memory='"12"'), "hosts[0].memory", "with its unit", "GiB"),
    "memory too small": (HEAD + host(memory='"1 MiB"'), "hosts[0].memory", "at least 64 MiB", "GiB"),
    "a card by name": (HEAD + host(gpu='"H100"'), "hosts[0].gpu", "a whole number from 0 to 63", "number"),
    "a card below none": (HEAD + host(gpu="-1"), "hosts[0].gpu", "a whole number from 0 to 63", "write 0"),
    "home is the home": (HEAD + host(home='"~"'), "hosts[0].home", "a folder of its own", "~/.mlxring"),
    "home is the root": (HEAD + host(home='"/"'), "hosts[0].home", "a folder of its own", '"~/.mlxring"'),
    "python by name": (HEAD + host(python='"python3"'), "hosts[0].python", "an absolute path", "path there"),
    "same name twice": (
        HEAD + HOST + host(name='"A"', address='"10.0.0.2"'),
        "hosts[1].name",
        "a name of its own",
        'write "A-1"',
    ),
    "same address twice": (
        HEAD + HOST + SECOND.replace(".2", ".1"),
        "hosts[1].address",
        "an address of its own",
        "that b itself has",
    ),
    "loopback among others": (
        HEAD + HOST + LOCAL,
        "hosts[1].address",
        "the other hosts can reach",
        "network that it shares",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_profile_is_told_by_key_expectation_and_remedy(case: str) -> None:
    text, key, expected, remedy = WRONG[case]
    told = problems(text)
    assert key in told, told
    assert expected in told[key][0].partition("; expected ")[2], told[key][0]
    assert remedy in told[key][1], told[key][1]


@pytest.mark.parametrize("case", WRONG)
def test_one_mistake_is_not_told_as_many(case: str) -> None:
    with pytest.raises(ProfileError, match=r"ring\.toml: 1 problem\n"):
        read(WRONG[case][0])


def test_several_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = HEAD + '[ring]\ncontext = "x"\nbackend = "y"\n' + host(memory="3", ssh="1")
    assert list(problems(text)) == ["hosts[0].ssh", "hosts[0].memory", "ring.backend", "ring.context"]
    rules = HEAD + host(address='"x"', ssh='"a b"') + host(python='"p"')
    assert {"hosts[0].address", "hosts[0].ssh", "hosts[1].python", "hosts[1].name"} <= set(problems(rules))


def test_a_message_keeps_control_characters_from_the_terminal() -> None:
    with pytest.raises(ProfileError) as caught:
        read(HEAD + '"k\\u001b[2J" = 1\n' + host(name='"\\u001b]0;x\\u0007"'))
    assert "\x1b" not in str(caught.value) and "\x07" not in str(caught.value)


def test_a_long_value_is_cut_short_in_the_message() -> None:
    told = problems(HEAD + host(address=f'"{"9" * 5000}"'))
    assert len(told["hosts[0].address"][0]) < 250


def test_the_smallest_profile_has_the_defaults() -> None:
    profile = read(HEAD + HOST)
    assert profile.leader is profile.hosts[0]
    assert (profile.ring.backend, profile.ring.order, profile.ring.objective) == (
        "ring",
        "reverse",
        "throughput",
    )
    assert (profile.ring.context, profile.ring.port, profile.api.port) == (8192, 7600, 8100)
    assert profile.ring.head == "auto"
    assert (profile.path, profile.hosts[0].memory_bytes) == ("ring.toml", None)


FULL = f"""{HEAD}
[ring]
backend = "jaccl"
order = "forward"
objective = "memory"
layers = [5, 7]
context = 4096
sequences = 2
port = 9000
dtype = "bfloat16"
prefill_chunk = 128
head = "last"
[api]
port = 9100
bind = "192.168.5.1"
key = "always"
origins = ["https://chat.example.org", "http://localhost:3000"]
tls_cert = "~/cert.pem"
tls_key = "/etc/ssl/key.pem"
{host(memory='"1536 MiB"', python='"/usr/bin/python3"', home='"~/ring"', gpu="1", model='"/other"')}
{SECOND}"""


@pytest.mark.parametrize(
    "text",
    [HEAD + HOST, FULL, 'name = "t"\nmodel = "o/n@v1"\n' + HOST, 'name = "t"\nmodel = "demo"\n' + LOCAL],
)
def test_a_profile_written_and_read_again_is_the_same(text: str) -> None:
    profile = read(text)
    again = tomllib.loads(tomlkit.dumps(to_toml_data(profile)))
    assert profile_from(again, "ring.toml") == profile


def test_what_is_written_is_what_was_set_and_no_default() -> None:
    assert to_toml_data(read(HEAD + HOST)) == tomllib.loads(HEAD + HOST)
    assert to_toml_data(read(FULL)) == tomllib.loads(FULL)


@pytest.mark.parametrize(
    ("api", "asks"),
    [
        ("", False),
        ('bind = "::1"', False),
        ('bind = "0.0.0.0"', True),
        ('bind = "::"', True),
        ('bind = "192.168.5.1"', True),
        ('key = "always"', True),
        ('key = "never"', False),
    ],
)
def test_a_key_is_asked_for_when_others_can_reach_the_api_or_the_profile_says_so(
    api: str, asks: bool
) -> None:
    assert read(f"{HEAD}[api]\n{api}\n{HOST}").api.asks_key is asks


def test_memory_is_written_with_its_unit() -> None:
    profile = read(HEAD + host(memory='"12 GiB"'))
    assert profile.hosts[0].memory_bytes == 12 * GIB
    assert to_toml_data(profile)["hosts"][0]["memory"] == "12 GiB"


def refused(path: Path) -> str:
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert str(path) in caught.value.failure.cause and caught.value.failure.remedy
    return caught.value.failure.cause


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(HEAD + HOST)
    assert load_profile(path) == profile_from(tomllib.loads(HEAD + HOST), str(path))


def test_a_file_that_cannot_be_read_is_told_with_its_reason(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.toml")
    assert "directory" in refused(tmp_path)


def test_text_that_is_not_utf8_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_bytes(b'name = "t"\nmodel = "\xff"\n')
    assert "line 2 is not UTF-8" in refused(path)


def test_text_that_is_not_toml_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\nmodel = ~/m\n')
    cause = refused(path)
    assert "not valid TOML" in cause and "line 2" in cause


def test_a_key_written_twice_is_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(HEAD + HEAD)
    assert "not valid TOML" in refused(path)


def test_a_file_that_is_far_too_large_is_no_profile(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_bytes(b"#" * (2 << 20))
    assert "larger than 1 MiB" in refused(path)


@pytest.mark.parametrize("text", ["port = " + "9" * 5000, "a = " + "[" * 5000], ids=["digits", "nesting"])
def test_what_no_reader_of_toml_takes_is_refused_as_such(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ring.toml"
    path.write_text(text)
    assert "not valid TOML" in refused(path)


def test_bits_of_caches_are_those_of_the_file_and_none_for_a_plan_when_they_are_as_computed() -> None:
    text = HEAD + "[cache]\nkv_bits = {}\n" + HOST
    found = {bits: read(text.format(bits)) for bits in (4, 8, 16)}
    assert {bits: profile.cache.bits for bits, profile in found.items()} == {4: 4, 8: 8, 16: 0}
    assert to_toml_data(found[8])["cache"] == {"kv_bits": 8} and "cache" not in to_toml_data(found[16])
