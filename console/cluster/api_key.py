"""The key of a ring's API: a 0600 file in the run folder on the leader's host, kept between deployments.

Makes, reads and replaces it; who asks for it is the gateway's. Knows nothing of HTTP.
"""

import re
import secrets

from console.cluster.host import Host
from console.cluster.quoting import quote
from console.cluster.remote import NOT_DEPLOYED, read_run_file, show_home
from ringcore.spec.deployment import API_KEY_FILE
from ringcore.spec.errors import NotRunning, RingError
from ringcore.spec.profile import Profile

_SOUND = re.compile(r"[!-~]{1,1000}")
_PREFIX = "mlxring-"  # so that a key is known for one where it turns up


async def have_key(host: Host, profile: Profile) -> None:
    """There is one when this returns. The home folder must be there already, with its marker."""
    if not await _read(host, profile):
        await write_key(host, profile)


async def read_key(host: Host, profile: Profile) -> str:
    """Raises `NotRunning` when the ring was never deployed with one."""
    key = _sound(await _read(host, profile), host, profile)
    if not key:
        raise _none_yet(host, profile)
    return key


async def replace_key(host: Host, profile: Profile) -> str:
    """A new one in the place of the old, which counts from the next start of the ring on. Raises `NotRunning`
    where there is none: its folder would be no home of ours yet."""
    if not await _read(host, profile):
        raise _none_yet(host, profile)
    return await write_key(host, profile)


async def write_key(host: Host, profile: Profile) -> str:
    key = _PREFIX + secrets.token_urlsafe(32)
    home = (await host.run(show_home(host.options.home))).stdout.strip()
    await host.write(f"{home.rstrip('/')}/runs/{profile.name}/{API_KEY_FILE}", key.encode(), mode=0o600)
    return key


async def _read(host: Host, profile: Profile) -> str:
    result = await host.run(read_run_file(host.options.home, profile.name, API_KEY_FILE))
    if result.status not in (0, NOT_DEPLOYED):
        raise RingError(
            f"the API key cannot be read: {result.stderr.strip()[-300:] or f'status {result.status}'}",
            f"see who owns {API_KEY_FILE} in the run folder of {profile.name} on this host",
            host=host.options.name,
        )
    return result.stdout.strip() if result.status == 0 else ""


def _sound(key: str, host: Host, profile: Profile) -> str:
    """``key``, which goes into a header and onto a terminal."""
    if key and not _SOUND.fullmatch(key):
        raise RingError(
            f"{API_KEY_FILE} in the run folder of {profile.name} holds no key that could be sent",
            f"replace it with `mlxring key {quote(profile.path or 'PROFILE')} --new`",
            host=host.options.name,
        )
    return key


def _none_yet(host: Host, profile: Profile) -> NotRunning:
    return NotRunning(
        f"the ring {profile.name} has no API key yet: deploying makes it",
        f"deploy with `mlxring deploy {quote(profile.path or 'PROFILE')}`, or start with `mlxring up`",
        host=host.options.name,
    )
