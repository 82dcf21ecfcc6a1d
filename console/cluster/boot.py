"""Has a host start a ring's agent when it boots, through the user's own service manager, and no longer."""

from console.cluster.boot_units import MARK, label, launchd_plist, systemd_unit, unit_name
from console.cluster.host import Host
from console.cluster.quoting import quote
from ringcore.spec.errors import ProvisionError
from ringcore.spec.facts import HostFacts

_TIMEOUT = 30.0
_NO_MANAGER, _NO_LINGER = 46, 47  # exit statuses of _SYSTEMD

# standard input: the file's text. What cannot be had is found before anything is written.
_PUT = """
put() {
  [ ! -e "$1" ] || grep -q "$2" "$1" || { echo "$1 is there already and is not ours" >&2; return 1; }
  mkdir -p -- "${1%/*}" && cat > "$1.new" && { sync "$1.new" 2>/dev/null || sync; } && mv -f -- "$1.new" "$1"
}
"""
# $1 unit, $2 mark
_SYSTEMD = f"""
{_PUT}
[ -d /run/systemd/system ] || exit {_NO_MANAGER}
[ -e "/var/lib/systemd/linger/$(id -un)" ] || loginctl --no-ask-password enable-linger || exit {_NO_LINGER}
units=$HOME/.config/systemd/user
put "$units/$1" "$2" && mkdir -p -- "$units/default.target.wants" || exit 1
ln -sf "../$1" "$units/default.target.wants/$1" || exit 1
XDG_RUNTIME_DIR=${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}; export XDG_RUNTIME_DIR
systemctl --user daemon-reload 2>/dev/null
exit 0
"""
# $1 label, $2 mark. Loading it now would start a second agent beside the one that runs.
_LAUNCHD = f"""
{_PUT}
put "$HOME/Library/LaunchAgents/$1.plist" "$2" || exit 1
launchctl enable "gui/$(id -u)/$1" 2>/dev/null
exit 0
"""
# $1 unit, $2 label, $3 mark
_REMOVE = """
unit=$HOME/.config/systemd/user/$1 plist=$HOME/Library/LaunchAgents/$2.plist
if [ -f "$unit" ] && grep -q "$3" "$unit"; then
  rm -f -- "$unit" "$HOME/.config/systemd/user/default.target.wants/$1" || exit 1
  XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}; export XDG_RUNTIME_DIR
  systemctl --user daemon-reload 2>/dev/null
fi
if [ -f "$plist" ] && grep -q "$3" "$plist"; then
  launchctl bootout "gui/$(id -u)/$2" 2>/dev/null
  rm -f -- "$plist" || exit 1
fi
exit 0
"""


async def start_at_boot(host: Host, facts: HostFacts, ring: str, run: str) -> None:
    """``run``: absolute path of the run folder. Raises `ProvisionError` with what is missing there."""
    if facts.os == "darwin":
        script, name, text = _LAUNCHD, label(ring), launchd_plist(ring, run)
    else:
        script, name, text = _SYSTEMD, unit_name(ring), systemd_unit(ring, run).encode()
    result = await host.run(["/bin/sh", "-c", script, "sh", name, MARK], stdin=text, timeout=_TIMEOUT)
    said = result.stderr.strip()[-300:]
    match result.status:
        case 0:
            return
        case _ if result.status == _NO_MANAGER:
            cause = "the ring cannot start when this host boots: it does not run systemd"
            remedy = "start it without --boot"
        case _ if result.status == _NO_LINGER:
            cause = f"systemd would start nothing for {facts.user} before {facts.user} logs in: {said}"
            remedy = (
                f"run there once: sudo loginctl enable-linger {quote(facts.user)}; or start it without --boot"
            )
        case status:
            cause = f"the ring cannot start when this host boots: {said or f'status {status}'}"
            remedy = "see that this user may write there, or start it without --boot"
    raise ProvisionError(cause, remedy, host=host.options.name)


async def not_at_boot(host: Host, ring: str) -> None:
    """Also where it was never asked for."""
    argv = ["/bin/sh", "-c", _REMOVE, "sh", unit_name(ring), label(ring), MARK]
    result = await host.run(argv, timeout=_TIMEOUT)
    if result.status:
        raise ProvisionError(
            f"the ring still starts when this host boots: {result.stderr.strip()[-300:]}",
            f"remove ~/.config/systemd/user/{unit_name(ring)} there by hand",
            host=host.options.name,
        )
