"""The first words between a console and a run, whether its agent runs or only its journal is left."""

from ringcore import __version__
from ringcore.spec.control import Attach, Welcome, console_to_agent
from ringcore.spec.deployment import Deployment


def welcome(deployment: Deployment, *, running: bool, last_seq: int) -> Welcome:
    return Welcome(
        host=deployment.me.host,
        rank=deployment.rank,
        ring=deployment.ring,
        run_id=deployment.run_id,
        version=__version__,
        running=running,
        last_seq=last_seq,
    )


def first_message(text: bytes) -> Attach:
    """Raises ``ValueError`` when a console's first line is no `Attach`."""
    message = console_to_agent.decode(text)
    if not isinstance(message, Attach):
        raise ValueError("the first message must be attach")
    return message
