"""Which module each ``python -m ringcore NAME`` runs. Imports only the one that is asked for."""

import importlib
import sys

# name -> module with `main(arguments: list[str]) -> int`
PROCESSES = {
    "agent": "ringcore.agent.command",
    "attach": "ringcore.agent.attach",
    "reap": "ringcore.agent.reap",
    "rank": "ringcore.rank.start",
    "gateway": "ringcore.gateway.command",
    "convert": "ringcore.models.convert",
}


def main() -> int:
    """Run the process named by the first argument; 2 when there is no such process."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in PROCESSES:
        sys.stderr.write(f"ringcore: no process {name!r}; known: {', '.join(PROCESSES)}\n")
        return 2
    module = importlib.import_module(PROCESSES[name])
    return int(module.main(sys.argv[2:]))
