"""Makes the virtual environment of a lock file on a host: with uv, or with venv and pip, watched by line.

It is built under another name and renamed when it is whole; what a broken attempt left, the next removes.
"""

from collections.abc import Callable

from console.cluster.actions import MakeVenv, Places
from console.cluster.host import Host
from console.cluster.lock import parse_lock, pins_for
from console.cluster.pip_output import InstallProgress, is_disk_full, is_network, last_error
from console.cluster.pythons import as_text, environment_of
from console.cluster.shell import PLACE
from ringcore.spec.errors import ProvisionError
from ringcore.spec.facts import HostFacts

_TIMEOUT = 1800.0  # a slow line at a small machine
_KEPT_LINES = 400
_STATUS = "mlxring-status"
_NO_WHEEL = ("no matching distribution", "no wheels", "is not a supported wheel", "no compatible")
Report = Callable[[float, str], None]  # 0..1, and what happens now

# what cannot be loaded here (another architecture, an older C library) is found before a ring needs it
_LOADS = """
import importlib, importlib.util
names = ["msgspec", "psutil", "numpy", "tokenizers"]
if importlib.util.find_spec("nvidia") is None:  # MLX finds CUDA's libraries where a rank points it to them
    names.append("mlx.core")
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise SystemExit(f"ERROR: {name} cannot be loaded: {error}")
"""
# $1 target, $2 lock file, $3 python, $4 uv or "", $5 folder of wheels or "", $6 folder of uv's Pythons,
# $7 what must load. Attempts are named after their pid: living ones are spared.
_BUILD = f"""
{PLACE}
umask 077
exec 2>&1 </dev/null
target=$1 lock=$2 python=$3 uv=$4 wheels=$5 loads=$7 new=$1.$$.new
UV_PYTHON_INSTALL_DIR=$6; export UV_PYTHON_INSTALL_DIR
for left in "${{target%/*}}"/venv-*.new; do
  pid=${{left%.new}} pid=${{pid##*.}}
  [ -d "$left" ] && ! kill -0 "$pid" 2>/dev/null && rm -rf -- "$left"
done
trap 'rm -rf -- "$new"' EXIT
trap 'exit 143' HUP INT TERM
mkdir -p "$new/tmp" && TMPDIR=$new/tmp PYTHONUNBUFFERED=1 UV_NO_PROGRESS=1
export TMPDIR PYTHONUNBUFFERED UV_NO_PROGRESS
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_USER
build() {{
  if [ -n "$uv" ]; then
    "$uv" venv --quiet --python "$python" "$new/venv" &&
    set -- "$uv" pip install --python "$new/venv/bin/python" --require-hashes --only-binary :all: -r "$lock"
  else
    "$python" -m venv "$new/venv" &&
    set -- "$new/venv/bin/python" -m pip install --require-hashes --only-binary :all: --no-input \
      --disable-pip-version-check --progress-bar off --no-color -r "$lock"
  fi || return 1
  if [ -n "$wheels" ]; then set -- "$@" --no-index --find-links "$wheels"; fi
  "$@"
}}
build && "$new/venv/bin/python" -I -B -c "$loads" && touch "$new/venv" &&
place "$new/venv" "$target" bin/python && {{ [ -z "$wheels" ] || rm -rf -- "$wheels"; }}
echo "{_STATUS} $?"
"""


async def make_venv(
    host: Host, facts: HostFacts, action: MakeVenv, places: Places, lock: bytes, report: Report
) -> None:
    """Leaves a whole environment, or nothing. Raises `ProvisionError` with the installer's own words."""
    await host.write(places.lock, lock)
    progress = InstallProgress(len(pins_for(parse_lock(lock), environment_of(facts, action.python))))
    wheels = places.wheels if action.offline else ""
    argv = ["/bin/sh", "-c", _BUILD, "sh", places.venv, places.lock, action.python.path, action.uv, wheels]
    argv += [places.python, _LOADS]
    lines: list[str] = []
    status = ""
    async with host.stream(argv, timeout=_TIMEOUT) as building:
        async for raw in building.lines():
            line = raw.decode(errors="replace")
            if line.startswith(_STATUS):
                status = line.removeprefix(_STATUS).strip()
                continue
            lines = [*lines[-_KEPT_LINES:], line]
            if progress.take(line):
                report(progress.fraction, progress.detail)
    if status != "0":
        raise install_failure("\n".join(lines), facts, action)


def install_failure(output: str, facts: HostFacts, action: MakeVenv) -> ProvisionError:
    """What ``output`` of the build means to an operator."""
    tool = "uv" if action.uv else "pip"
    said = last_error(output)
    low = output.lower()
    version = as_text(action.python.version)
    another = "install another Python there, 3.11 to 3.13, and run the command again"
    if is_disk_full(output):
        cause = f"the disk became full while packages were installed: {said}"
        remedy = "free space there, or set hosts.home in the profile to a folder on another disk"
    elif "do not match the hashes" in low or "hash mismatch" in low:
        cause = f"a package arrived that is not the locked one: {said}"
        remedy = "something between the host and the package index changes files: check its proxy or mirror"
    elif "cannot be loaded" in low:
        cause = f"a package was installed and does not run on {facts.arch}: {said}"
        remedy = f"see that {action.python.path} is made for this machine, or {another}"
    elif is_network(output):
        cause = f"the package index cannot be reached from the host: {said}"
        remedy = (
            "check the host's network, proxy variables and PIP_INDEX_URL, or run the command with --offline: "
            "this machine then sends the packages"
        )
    elif any(words in low for words in _NO_WHEEL):
        cause = f"a locked package is not there for Python {version} on {facts.arch}: {said}"
        remedy = another
    else:
        cause = f"{tool} failed: {said}"
        remedy = "read the lines above it in the log, then run the command again"
    return ProvisionError(cause, remedy, host=facts.host)
