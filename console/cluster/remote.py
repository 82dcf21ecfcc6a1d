"""The commands run on a host once it is prepared: argument lists, and where things lie there.

A deployed ring has a launcher, ``<home>/runs/<ring>/ringcore``: a two-line script that knows the
interpreter and the code folder. So a console that has just been opened can attach or stop without
asking the host for facts first. Knows nothing of connections.
"""

import shlex

from console.cluster.shell import EXPAND
from ringcore.spec.deployment import AGENT_SOCKET, ENGINE_SOCKET, MARKER, OURS, PID_FILE

LAUNCHER = "ringcore"
DEFAULT_HOME = "~/.mlxring"
# $1 home, $2 ring, the rest: arguments of ringcore
_LAUNCH = (
    EXPAND + 'run="$(expand "$1")/runs/$2"; shift 2; name=$1; shift; '
    '[ -x "$run/ringcore" ] || exit 44; exec "$run/ringcore" "$name" --run "$run" "$@"'
)
NOT_DEPLOYED = 44  # exit status where no launcher is, or no such file
# $1 home, $2 ring, $3 the file's name
_READ = EXPAND + 'file="$(expand "$1")/runs/$2/$3"; [ -e "$file" ] || exit 44; exec cat "$file"'
# $1 home, $2 ring
_CLEAR = EXPAND + 'rm -rf -- "$(expand "$1")/runs/$2/prefix"'
# $1 home, $2 ring. For a ring whose own code cannot be run any more: SIGTERM to its agent, which ends the
# others, SIGKILL to what remains. A process counts that the ring has noted and that is one of ringcore's.
_END = (
    EXPAND
    + rf"""
run=$(expand "$1")/runs/$2
PATH=$PATH:/usr/bin:/bin; export PATH
[ -f "$run/{PID_FILE}" ] || exit 0
left() {{
  while read -r pid started role; do
    case $pid in ''|*[!0-9]*) continue;; esac
    [ "$role" = "$1" ] || [ -z "$1" ] || continue
    case $(ps -o stat= -o args= -p "$pid" 2>/dev/null) in
      Z*) ;;
      *"-m ringcore $role "*) echo "$pid";;
    esac
  done < "$run/{PID_FILE}"
}}
wait_for() {{ n=0; while [ -n "$(left "$1")" ] && [ "$n" -lt "$2" ]; do sleep 1; n=$((n + 1)); done; }}
for pid in $(left agent); do kill -TERM "$pid"; done 2>/dev/null
wait_for agent 6
wait_for "" 2
for pid in $(left ""); do kill -KILL "$pid"; done 2>/dev/null
wait_for "" 3
[ -z "$(left "")" ] || {{ echo "still there after SIGKILL: $(left "" | tr '\n' ' ')" >&2; exit 1; }}
rm -f -- "$run/{AGENT_SOCKET}" "$run/{ENGINE_SOCKET}" "$run/{PID_FILE}"
"""
)
# $1 home. What was made by us is known by its name; anything else in there is left, and printed.
_PURGE = (
    EXPAND
    + rf"""
home=$(expand "$1")
[ -d "$home" ] || exit 0
[ -f "$home/{MARKER}" ] || exit 45
cd -- "$home" || exit 1
running=
for file in runs/*/agent.pid; do
  read -r pid rest < "$file" && kill -0 "$pid" || continue
  case $(ps -o args= -p "$pid") in *ringcore*) ring=${{file#runs/}}; running="$running ${{ring%%/*}}";; esac
done 2>/dev/null
[ -z "$running" ] || {{ echo "$running"; exit 46; }}
for one in {" ".join(OURS)}; do
  if [ -e "$one" ] || [ -L "$one" ]; then rm -rf -- "$one" || exit 1; fi
done
left=$(ls -A | grep -vx '{MARKER}')
[ -z "$left" ] || {{ printf '%s\n' "$left"; exit 47; }}
rm -f -- '{MARKER}' && cd / && {{ [ -L "$home" ] || rmdir -- "$home"; }}
"""
)
NOT_OURS = 45  # exit status of a purge of a folder without our marker
RUNS_ANOTHER = 46  # of one from which rings run; their names are printed
NOT_ALL_OURS = 47  # of one that had more in it than ours


def launch(home: str, ring: str, process: str, *arguments: str) -> list[str]:
    """argv that runs ``ringcore PROCESS --run <run folder>`` of a deployed ring."""
    return ["/bin/sh", "-c", _LAUNCH, "sh", home or DEFAULT_HOME, ring, process, *arguments]


def read_run_file(home: str, ring: str, name: str) -> list[str]:
    """argv that prints a file of a ring's run folder; ends with `NOT_DEPLOYED` where there is none."""
    return ["/bin/sh", "-c", _READ, "sh", home or DEFAULT_HOME, ring, name]


def show_home(home: str) -> list[str]:
    """argv that prints the full path of ``home``."""
    return ["/bin/sh", "-c", EXPAND + 'expand "$1"', "sh", home or DEFAULT_HOME]


def clear_prefixes(home: str, ring: str) -> list[str]:
    """argv that removes the files in which a ring kept what earlier sequences computed."""
    return ["/bin/sh", "-c", _CLEAR, "sh", home or DEFAULT_HOME, ring]


def end_without_code(home: str, ring: str) -> list[str]:
    """argv that ends the processes of a ring as ``reap`` does, without anything of what is deployed there."""
    return ["/bin/sh", "-c", _END, "sh", home or DEFAULT_HOME, ring]


def purge(home: str) -> list[str]:
    """argv that removes what is ours in ``home``, if its marker says that it is ours, and then ``home``."""
    return ["/bin/sh", "-c", _PURGE, "sh", home or DEFAULT_HOME]


def launcher_script(python: str, code: str) -> bytes:
    """The launcher for an interpreter and a folder that holds the package ``ringcore``."""
    return (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(code)} PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 "
        f'exec {shlex.quote(python)} -m ringcore "$@"\n'
    ).encode()
