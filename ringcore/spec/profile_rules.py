"""What the keys of a profile must mean: addresses, SSH destinations, paths, ports, and all of them together.

Takes values whose types are right already (`profile_schema`); knows nothing of files or TOML.
"""

import ipaddress
import re
from collections.abc import Iterator

from ringcore.spec.profile import (
    DEMO_MODEL,
    LEAST_BLOCK_TOKENS,
    LOCAL,
    MOST_BLOCK_TOKENS,
    HostOptions,
    Profile,
)
from ringcore.spec.profile_schema import Problem, shown

_SSH = re.compile(r"(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9][A-Za-z0-9._-]*)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?")
_SSH_FORM = '[user@]host[:port] of letters, digits, "-", "_" and ".", or "local"'


def problems_of(profile: Profile) -> list[Problem]:
    """Everything about ``profile`` that cannot work."""
    found = list(_model(profile))
    for index, host in enumerate(profile.hosts):
        found += _host(host, f"hosts[{index}]")
    return [*found, *_uniqueness(profile), *_ring(profile), *_cache(profile), *_api(profile)]


def is_loopback(address: str) -> bool:
    """Whether ``address`` is an IPv4 address of the machine itself."""
    try:
        return ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        return False


def _model(profile: Profile) -> Iterator[Problem]:
    model = profile.model
    if model == DEMO_MODEL:
        for index, host in enumerate(profile.hosts):
            if not is_loopback(host.address) and not host.model:
                yield Problem(
                    key="model",
                    found=f'"{DEMO_MODEL}" with hosts[{index}] ({host.name}) on another machine',
                    expected="the path of a model folder on the hosts",
                    remedy="the demo model is made on this machine only: name a folder that every host has",
                )
                return
        if profile.weights not in ("auto", "path"):
            yield Problem(
                key="weights",
                found=shown(profile.weights),
                expected=f'"auto" with model = "{DEMO_MODEL}", which is made where it is needed',
                remedy="remove the key",
            )
    elif profile.from_hub and profile.weights in ("auto", "hub"):
        return
    elif profile.from_hub or (profile.weights == "hub" and _is_path(model)):
        yield Problem(
            key="weights",
            found=f"{shown(profile.weights)} with model = {shown(model)}",
            expected='"hub" with a repository (owner/name), "path" or "push" with a folder',
            remedy='write weights = "auto", which takes what fits the model',
        )
    elif not _is_path(model):
        yield Problem(
            key="model",
            found=shown(model),
            expected=f'an absolute path or ~/... of a model folder, owner/name of the hub, or "{DEMO_MODEL}"',
            remedy=_path_remedy(model),
        )


def _host(host: HostOptions, at: str) -> Iterator[Problem]:
    yield from _ssh(host.ssh, f"{at}.ssh")
    yield from _address(host.address, f"{at}.address")
    whole_home = bool(host.home) and host.home.rstrip("/") in ("~", "")
    for key, value in (("python", host.python), ("home", host.home), ("model", host.model)):
        if value and not _is_path(value) and not (key == "home" and whole_home):
            yield Problem(
                key=f"{at}.{key}",
                found=shown(value),
                expected="an absolute path on the host, or ~/...",
                remedy=_path_remedy(value),
            )
    if whole_home:
        yield Problem(
            key=f"{at}.home",
            found=shown(host.home),
            expected="a folder of its own, since `down --purge` removes it",
            remedy='write "~/.mlxring" or leave the key out',
        )


def _ssh(ssh: str, at: str) -> Iterator[Problem]:
    match = _SSH.fullmatch(ssh)
    if match is None:
        remedy = f'write "{LOCAL}" for this machine, or the host as in `ssh operator@mini1.local`'
        if " -p" in ssh or ssh.startswith("-"):
            remedy = 'options are not taken here: write the port as "host:2222", the rest in ~/.ssh/config'
        yield Problem(key=at, found=shown(ssh), expected=_SSH_FORM, remedy=remedy)
    elif match[3] is not None and not 1 <= int(match[3]) <= 65535:
        yield Problem(
            key=at,
            found=f"port {match[3]}",
            expected="a port from 1 to 65535 after the colon",
            remedy=f'write "{ssh.rpartition(":")[0]}" for port 22',
        )


def _address(address: str, at: str) -> Iterator[Problem]:
    expected = "the host's own IPv4 address on the ring's network"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        yield Problem(
            key=at,
            found=shown(address),
            expected=f"{expected}; MLX's ring resolves no names",
            remedy='write its address in numbers, such as "192.168.5.1" (`ip addr` or `ifconfig` there)',
        )
        return
    if parsed.version != 4:
        yield Problem(
            key=at,
            found=shown(address),
            expected=f"{expected}; MLX's ring knows no IPv6",
            remedy="give the interface an IPv4 address and write that",
        )
    elif parsed.is_unspecified or parsed.is_multicast or address == "255.255.255.255":
        yield Problem(
            key=at,
            found=shown(address),
            expected=f"{expected}; its neighbours connect to it",
            remedy='write the address of one interface, such as "192.168.5.1"',
        )


def _uniqueness(profile: Profile) -> Iterator[Problem]:
    names: dict[str, int] = {}
    addresses: dict[str, int] = {}
    for index, host in enumerate(profile.hosts):
        first = names.setdefault(host.name.lower(), index)
        if first != index:
            yield Problem(
                key=f"hosts[{index}].name",
                found=f"{shown(host.name)}, as hosts[{first}] has it",
                expected="a name of its own for each host",
                remedy=f'write "{host.name[:37]}-{index}"',
            )
        first = addresses.setdefault(host.address, index)
        if first != index and not is_loopback(host.address):
            yield Problem(
                key=f"hosts[{index}].address",
                found=f"{shown(host.address)}, as hosts[{first}] has it",
                expected="an address of its own for each host (ranks share only a loopback address)",
                remedy=f"write the address that {host.name} itself has on the ring's network",
            )
    loopback = [is_loopback(host.address) for host in profile.hosts]
    if any(loopback) and not all(loopback):
        index = loopback.index(True)
        yield Problem(
            key=f"hosts[{index}].address",
            found=shown(profile.hosts[index].address),
            expected="an address that the other hosts can reach; loopback is each machine itself",
            remedy="write its address on the network that it shares with the others",
        )


def _ring(profile: Profile) -> Iterator[Problem]:
    ring, count = profile.ring, len(profile.hosts)
    if ring.layers and len(ring.layers) != count:
        yield Problem(
            key="ring.layers",
            found=f"{len(ring.layers)} numbers for {count} hosts",
            expected="one number of layers for each host, rank 0 first",
            remedy=f"write {count} numbers, or remove the key and let the planner choose",
        )
    if ring.arrange and (ring.layers or ring.objective == "equal"):
        yield Problem(
            key="ring.arrange",
            found="true with " + ("ring.layers" if ring.layers else 'objective = "equal"'),
            expected="a split that the planner chooses, when it is to choose the order of hosts as well",
            remedy="remove it, and put the hosts in the order you want",
        )
    if ring.port + count > 65535:
        yield Problem(
            key="ring.port",
            found=str(ring.port),
            expected=f"room for {count + 1} ports: agent and {count} links, the last at most 65535",
            remedy=f"write {65535 - count} or less",
        )
    elif ring.prefill_chunk > ring.context:
        yield Problem(
            key="ring.prefill_chunk",
            found=str(ring.prefill_chunk),
            expected=f"at most ring.context ({ring.context})",
            remedy=f"write {ring.context} or less",
        )


def _cache(profile: Profile) -> Iterator[Problem]:
    tokens = profile.cache.block_tokens
    if 0 < tokens < LEAST_BLOCK_TOKENS:
        yield Problem(
            key="cache.block_tokens",
            found=str(tokens),
            expected=f"{LEAST_BLOCK_TOKENS} to {MOST_BLOCK_TOKENS} tokens, or 0 for what suits the model",
            remedy=f"write {LEAST_BLOCK_TOKENS}, or leave the key out",
        )


def _api(profile: Profile) -> Iterator[Problem]:
    api, first, last = profile.api, profile.ring.port, profile.ring.port + len(profile.hosts)
    if not _is_address(api.bind):
        yield Problem(
            key="api.bind",
            found=shown(api.bind),
            expected="an address of the leader's host in numbers",
            remedy='write "127.0.0.1", the address of one interface, or "0.0.0.0" for all of them',
        )
    elif api.key == "never" and not api.only_here:
        yield Problem(
            key="api.key",
            found=f'"never" with api.bind {shown(api.bind)}, which others can reach',
            expected="a key whenever bind is not loopback",
            remedy='remove the key (`mlxring key` shows what clients send), or write bind = "127.0.0.1"',
        )
    for index, origin in enumerate(api.origins):
        if not _ORIGIN.fullmatch(origin):
            yield Problem(
                key=f"api.origins[{index}]",
                found=shown(origin),
                expected="scheme, host and port of a page, as browsers send them",
                remedy='write it like "https://chat.example.org" or "http://localhost:3000", no path',
            )
    if bool(api.tls_cert) != bool(api.tls_key):
        yield Problem(
            key="api.tls_key" if api.tls_cert else "api.tls_cert",
            found="nothing",
            expected="certificate and key together, both PEM files on the leader's host",
            remedy="add the other one, or remove both",
        )
    for key, value in (("tls_cert", api.tls_cert), ("tls_key", api.tls_key)):
        if value and not _is_path(value):
            yield Problem(
                key=f"api.{key}",
                found=shown(value),
                expected="an absolute path on the leader's host, or ~/...",
                remedy=_path_remedy(value),
            )
    if first <= api.port <= last:
        free = last + 1 if last < 65535 else first - 1
        yield Problem(
            key="api.port",
            found=str(api.port),
            expected=f"a port outside the ring's own, {first}..{last}",
            remedy=f"write {free}, or move ring.port",
        )


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_multicast
    except ValueError:
        return False


def _is_path(path: str) -> bool:
    return path.startswith(("/", "~/")) and ".." not in path.split("/") and "//" not in path


def _path_remedy(path: str) -> str:
    if path.startswith("~") and "/" in path:
        return f'another user\'s home is not expanded: write "~/{path.split("/", 1)[1]}" or the full path'
    if ".." in path.split("/"):
        return "write the path without '..'"
    tail = path.strip("/").split("/")[-1] or "NAME"
    return f'put the folder where it is looked for and write its path there, such as "~/models/{tail}"'
