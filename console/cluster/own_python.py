"""An interpreter of our own on a host that has none: uv fetches it into our folder. Knows no packages."""

from console.cluster.actions import OWN_PYTHON, Places
from console.cluster.host import Host
from console.cluster.pip_output import is_disk_full, is_network, last_error
from console.cluster.quoting import quote
from ringcore.spec.errors import ProvisionError

_TIMEOUT = 900.0  # some 40 MB over a slow line

# $1 uv, $2 folder, $3 version
_INSTALL = """
umask 077
exec 2>&1 </dev/null
UV_PYTHON_INSTALL_DIR=$2 UV_NO_PROGRESS=1
export UV_PYTHON_INSTALL_DIR UV_NO_PROGRESS
exec "$1" python install "$3"
"""


async def install_python(host: Host, places: Places, uv: str) -> None:
    """Done already, it takes a moment. Raises `ProvisionError` with uv's own words."""
    argv = ["/bin/sh", "-c", _INSTALL, "sh", uv, places.python, OWN_PYTHON.path]
    result = await host.run(argv, timeout=_TIMEOUT)
    if result.status == 0:
        return
    said = last_error(result.stdout + result.stderr)
    if is_disk_full(result.stdout):
        cause = f"the disk became full while uv installed Python {OWN_PYTHON.path}: {said}"
        remedy = "free space there, or set hosts.home in the profile to a folder on another disk"
    elif is_network(result.stdout):
        cause = f"no Python 3.11 or newer is there, and uv cannot fetch one: {said}"
        remedy = (
            "check the host's network and proxy (uv fetches from github.com), or install Python 3.12 there"
        )
    else:
        cause = f"uv could not install Python {OWN_PYTHON.path}: {said}"
        remedy = f"try there: {quote(uv)} python install {OWN_PYTHON.path}, or install Python by hand"
    raise ProvisionError(cause, remedy, host=host.options.name)
