"""The audit log's commands on one host as lines among the others of what was done there."""

from console.audit import Action, last_actions
from console.logs.actions import KEPT, ActionLine
from console.logs.text import safe_line

_LONGEST = 160


def audited(ring: str, host: str) -> tuple[ActionLine, ...]:
    """The newest ones, oldest first. Reads files: not for the event loop."""
    return tuple(map(audited_line, last_actions(host, KEPT, ring=ring)))


def audited_line(action: Action) -> ActionLine:
    command = safe_line(action.command)
    if len(command) > _LONGEST:
        command = command[:_LONGEST] + "…"
    if action.exit is None:
        return ActionLine(action.time, f"$ {command}  runs" if action.running else f"$ {command}")
    ended = "ended by a signal" if action.exit < 0 else f"exit {action.exit}"
    return ActionLine(action.time, f"$ {command}  → {ended}, {action.seconds:.1f} s", action.exit != 0)
