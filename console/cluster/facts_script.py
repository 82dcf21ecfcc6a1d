"""The one script that asks a host for all its facts: commands only, what they print is read in `facts_parse`.

Every section's output follows a line ``<mark> <name>``; the mark is chosen anew for each run. Arguments of
the script: mark, home of the profile, python of the profile, the program that asks an interpreter.
"""

from console.cluster.shell import EXPAND

# $1 mark, $2 home, $3 python, $4 probe
_COMMON = (
    ("uname", "uname -sm"),
    ("user", "id -un"),
    ("home", 'printf "%s\\n" "$HOME"'),
    ("shell", 'printf "%s\\n" "${SHELL:-/bin/sh}"'),
    ("clock", "date +%s"),
    (
        "disk",
        'place=$ring_home; until [ -e "$place" ]; do place=$(dirname -- "$place"); done; df -Pk "$place"',
    ),
    ("uv", 'command -v uv || { [ -x "$HOME/.cargo/bin/uv" ] && echo "$HOME/.cargo/bin/uv"; }'),
    ("rings", "rings"),
    ("agents", "ps -A -ww -o user= -o pid= -o args= | grep '[r]ingcore agent --run'"),
    ("pythons", "pythons"),
)
_LINUX = (
    ("cores", "nproc || getconf _NPROCESSORS_ONLN"),
    ("meminfo", "cat /proc/meminfo"),
    ("chip", "grep -m1 -E '^(model name|Model)[[:space:]]*:' /proc/cpuinfo"),
    ("addresses", "ip -o -4 addr || { echo fib_trie; cat /proc/net/fib_trie; cat /proc/net/route; }"),
    ("wireless", 'for at in /sys/class/net/*/phy80211; do [ -e "$at" ] && basename "${at%/*}"; done'),
    ("listening", "grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6"),
    ("os_version", "grep -m1 ^PRETTY_NAME= /etc/os-release || uname -r"),
    ("gpus", "gpus"),
)
_DARWIN = (
    ("cores", "sysctl -n hw.ncpu"),
    ("memsize", "sysctl -n hw.memsize"),
    ("vm_stat", "vm_stat"),
    ("chip", "sysctl -n machdep.cpu.brand_string"),
    ("ifconfig", "ifconfig"),
    ("ports", "networksetup -listallhardwareports"),
    ("listening", "netstat -an -p tcp | grep LISTEN"),
    ("os_version", "sw_vers -productVersion"),
    ("swap", "sysctl -n vm.swapusage"),
    ("wired_limit", "sysctl -n iogpu.wired_limit_mb"),
    ("gpu_cores", "ioreg -r -d 1 -c AGXAccelerator | grep -m1 gpu-core-count"),
)

# Old drivers do not know compute_cap and answer no query that names it. A broken driver can hang.
_GPUS = r"""
gpus() {
  command -v nvidia-smi >/dev/null || return 0
  fields=name,memory.total,memory.free,driver_version
  for more in ,compute_cap ''; do
    $(command -v timeout >/dev/null && echo timeout 6) nvidia-smi "--query-gpu=$fields$more" \
      --format=csv,noheader,nounits && return
  done
}
"""

# A pid alone may belong to a later process: its command must be ours.
_RINGS = r"""
rings() {
  for file in "$ring_home"/runs/*/agent.pid; do
    [ -f "$file" ] || continue
    read -r pid rest < "$file" || [ -n "$pid" ] || continue
    case $pid in ''|*[!0-9]*) continue;; esac
    kill -0 "$pid" 2>/dev/null || continue
    line=$(ps -o command= -p "$pid" 2>/dev/null || tr '\0' ' ' < "/proc/$pid/cmdline")
    case $line in *ringcore*) basename "${file%/agent.pid}";; esac
  done
}
"""

# One after the other, so that long answers cannot mix; each on one line, behind the path that was asked (none
# for the profile's own, which may have any name).
# The stub /usr/bin/python3 of a Mac without developer tools opens a dialog there: it is left alone.
_PYTHONS = r"""
ask() {
  answer=$("$1" -I -B -c "$probe" 2>/dev/null </dev/null | tail -n 1)
  [ -n "$answer" ] && printf '%s\t%s\n' "${2-$1}" "$answer"
}
pythons() {
  given=$(expand "$python")
  if [ -n "$given" ] && [ -x "$given" ] && [ ! -d "$given" ]; then ask "$given" ""; return; fi
  IFS='
'
  seen=:
  for one in $(named) "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 \
      "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/*/bin/python3 \
      "$ring_home"/python/*/bin/python3 "$HOME"/.local/bin/python3* \
      /opt/homebrew/bin/python3* /opt/homebrew/opt/python@3.*/bin/python3.* \
      /home/linuxbrew/.linuxbrew/bin/python3* /opt/local/bin/python3* \
      /Library/Frameworks/Python.framework/Versions/3.*/bin/python3 \
      "$HOME"/miniforge3/bin/python3 "$HOME"/miniconda3/bin/python3 \
      /usr/local/bin/python3* /usr/bin/python3*; do
    case ${one##*/} in python3|python3.[0-9]|python3.[0-9][0-9]) ;; *) continue;; esac
    case $seen in *":$one:"*) continue;; esac
    seen=$seen$one:
    { [ -x "$one" ] && [ ! -d "$one" ]; } || continue
    case $one in
      */.pyenv/shims/*) continue;;
      /usr/bin/*) [ "$system" = Darwin ] && ! xcode-select -p >/dev/null 2>&1 && continue;;
    esac
    ask "$one"
  done
}
named() {
  for name in python3 python3.14 python3.13 python3.12 python3.11; do command -v "$name"; done
}
"""


def _section(name: str, command: str) -> str:
    return f'echo "$mark {name}"; {{ {command}; }} 2>/dev/null </dev/null'


def _build() -> str:
    return "\n".join(
        (
            "mark=$1 python=$3 probe=$4 system=$(uname -s)",
            "PATH=$PATH:$HOME/.local/bin:/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/lib/wsl/lib",
            "LC_ALL=C; export PATH LC_ALL",
            EXPAND,
            'ring_home=$(expand "$2")',
            _RINGS,
            _PYTHONS,
            _GPUS,
            *(_section(*fact) for fact in _COMMON),
            "case $system in",
            "Darwin)",
            *(_section(*fact) for fact in _DARWIN),
            ";;",
            "*)",
            *(_section(*fact) for fact in _LINUX),
            ";;",
            "esac",
            'echo "$mark end"',
        )
    )


SCRIPT = _build()
