"""The texts with which a host's own service manager starts a ring's agent: systemd's and launchd's. Pure.

The agent stays in the foreground there and ends with status 0 when the ring was ended on purpose; then it is
left alone. When the ring failed, or other hosts were not up yet, it is started again.
"""

import plistlib

from console.cluster.remote import LAUNCHER
from ringcore.spec.deployment import AGENT_LOG

MARK = "made by mlxring"  # two hyphens may not stand in a comment of XML
AGAIN_SECONDS = 10
_KILLED = 137  # what a shell says of a process that SIGKILL ended: somebody wanted that


def unit_name(ring: str) -> str:
    return f"mlxring-{ring}.service"


def label(ring: str) -> str:
    """What launchd calls it."""
    return f"mlxring.{ring}"


def systemd_unit(ring: str, run: str) -> str:
    """A unit of the user's manager. ``run`` is the absolute path of the run folder."""
    words = ("/bin/sh", f"{run}/{LAUNCHER}", "agent", "--run", run, "--stay")
    log = run.replace("%", "%%")  # to the end of the line, and never unquoted
    return f"""\
# {MARK}
[Unit]
Description=mlxring: this host's part of the ring {ring}
StartLimitIntervalSec=900
StartLimitBurst=30

[Service]
ExecStart={" ".join(map(_systemd_word, words))}
Restart=on-failure
RestartSec={AGAIN_SECONDS}
RestartPreventExitStatus=SIGKILL
TimeoutStopSec=20
StandardOutput=append:{log}/{AGENT_LOG}
StandardError=inherit

[Install]
WantedBy=default.target
"""


def _systemd_word(text: str) -> str:
    """One word of ExecStart (systemd.service, "Command lines"), free of specifiers and variables."""
    for special, plain in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(special, plain)
    return f'"{text}"'


def launchd_plist(ring: str, run: str) -> bytes:
    """An agent of the user's login session, which launchd starts when that begins."""
    script = f'"$0" agent --run "$1" --stay; status=$?; [ $status -ne {_KILLED} ] || status=0; exit $status'
    text = plistlib.dumps(
        {
            "Label": label(ring),
            "ProgramArguments": ["/bin/sh", "-c", script, f"{run}/{LAUNCHER}", run],
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": AGAIN_SECONDS,
            "ProcessType": "Interactive",  # else macOS gives it less of the machine
            "StandardOutPath": f"{run}/{AGENT_LOG}",
            "StandardErrorPath": f"{run}/{AGENT_LOG}",
        }
    )
    return text.replace(b"<plist", f"<!-- {MARK} -->\n<plist".encode(), 1)
