"""Where a host's SSH server is, from the profile's words."""

import pytest

from console.cluster.target import Target, parse_target
from ringcore.spec.errors import HostError
from tests.cluster.reach import options


@pytest.mark.parametrize(
    ("text", "target", "place"),
    [
        ("mini1", Target(host="mini1"), "mini1"),
        ("op@mini1.local", Target(host="mini1.local", user="op"), "mini1.local"),
        ("op@10.0.0.1:2222", Target(host="10.0.0.1", user="op", port=2222), "[10.0.0.1]:2222"),
        ("mini1:22", Target(host="mini1", port=22), "mini1"),
        ("op@example.org@mini1", Target(host="mini1", user="op@example.org"), "mini1"),
        ("[fe80::1]:2222", Target(host="fe80::1", port=2222), "[fe80::1]:2222"),
        ("op@[::1]", Target(host="::1", user="op"), "::1"),
        ("fe80::1", Target(host="fe80::1"), "fe80::1"),
    ],
)
def test_a_destination_is_user_host_and_port(text: str, target: Target, place: str) -> None:
    assert parse_target(options(ssh=text)) == target
    assert target.place == place


@pytest.mark.parametrize(
    "text",
    ["", "@mini1", "op@", "mini1:", "mini1:0", "mini1:65536", "mini1:ssh", "mini1:²", "[::1", "[::1]x",
     "[]:22", "-oProxyCommand=x", "op@-x", "a b", "-op@h", "h;touch$IFSx", "$(touch x)", "`x`", "h|x",
     "o'p@h", "h\nProxyCommand x", "h\x1b[2J", "h&x", "h\\", 'h"'],
)  # fmt: skip
def test_anything_else_is_refused_with_the_form_that_is_expected(text: str) -> None:
    with pytest.raises(HostError, match=r"does not name an SSH server") as caught:
        parse_target(options(ssh=text))
    assert "[user@]host[:port]" in caught.value.failure.remedy
    assert caught.value.failure.host == "h1"
