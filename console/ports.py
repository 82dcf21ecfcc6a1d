"""What the screen and the commands ask of a cluster: protocols and plain values, no SSH, no Textual."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from ringcore.spec.events import HostStepName, Recorded
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile

Emit = Callable[[Recorded], None]
Confirm = Callable[[str], Awaitable[bool]]  # a question to the operator; True is yes


async def refuse(question: str) -> bool:
    """The answer where nobody can be asked."""
    return False


class Setup(Struct, frozen=True, kw_only=True):
    """How hosts are made ready. ``offline``: they fetch nothing, packages are sent from here. ``boot``: they
    start their part of the ring themselves from now on, when they boot."""

    offline: bool = False
    boot: bool = False


class ChatMessage(Struct, frozen=True):
    role: str  # "system" | "user" | "assistant"
    content: str


class ChatDelta(Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer. The last one has ``finish_reason`` and the figures.

    ``cached_tokens``: so many of ``prompt_tokens`` were not computed again, None when the API does not say.
    Times in seconds from the moment the request was sent, measured at the console.
    """

    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    first_token_seconds: float = 0.0
    tokens_per_second: float = 0.0


class HostKeyShown(Struct, frozen=True, kw_only=True):
    """A server's key that nobody has vouched for yet. ``server`` is written as known_hosts names it."""

    host: str  # of the profile
    server: str
    algorithm: str
    fingerprint: str


class SecretWanted(Struct, frozen=True, kw_only=True):
    """What a login needs to be told. ``of``: the key's file, or ``user@server``. ``prompt`` is the server's
    own question (kind "answer"), raw; ``echo``: it may be seen while it is typed. ``again``: the last one
    was wrong."""

    host: str
    kind: Literal["passphrase", "password", "answer"]
    of: str
    prompt: str = ""
    echo: bool = False
    again: bool = False


class Asker(Protocol):
    """Whoever can ask the operator: a terminal or the screen. One question at a time; may be cancelled.
    Logs no answer and keeps none."""

    async def trust(self, shown: HostKeyShown) -> bool:
        """Is this the host's key? True writes it into known_hosts."""
        ...

    async def agree(self, question: str) -> bool:
        """Yes or no to anything else; no where the operator does not say."""
        ...

    async def secret(self, wanted: SecretWanted) -> str | None:
        """None when the operator has no answer; other logins on their way do not ask again then."""
        ...


class Cluster(Protocol):
    """The verbs of the operator. Each emits events while it works and raises `MlxringError` subclasses
    after it has emitted the failure. Every one may be cancelled.

    ``profile`` may be replaced by one of the same hosts: the next verb goes by it. ``facts`` by host name,
    of those that were read."""

    @property
    def profile(self) -> Profile: ...

    @profile.setter
    def profile(self, profile: Profile) -> None: ...

    @property
    def facts(self) -> Mapping[str, HostFacts]: ...

    async def plan(self) -> Plan:
        """Reach the hosts, read facts and the model's card, and make the plan; changes nothing."""
        ...

    async def provision(self) -> None: ...

    async def deploy(self) -> Plan:
        """Plan the layers and write the deployment on every host; refused while the ring runs."""
        ...

    async def retry(self, name: str, failed: HostStepName) -> None:
        """Do again, for one host alone, what failed there: reach it anew, read its facts and, where it had
        come so far, install what is missing. Steps that need all hosts are the other verbs'."""
        ...

    async def start(self) -> None:
        """All that is missing of provision and deploy, then agents and ranks; returns when serving."""
        ...

    async def stop(self) -> None:
        """End ranks, gateway and agents on every host."""
        ...

    async def follow(self) -> None:
        """Attach to every host that has a run and emit its events (replayed, then live) until the agents
        end or this is cancelled. Returns at once where nothing runs."""
        ...

    def chat(self, messages: Sequence[ChatMessage]) -> AsyncIterator[ChatDelta]:
        """Stream an answer through the HTTP API. Closing the iterator cancels the request on the ring."""
        ...

    async def close(self) -> None:
        """Drop the SSH connections; the ring goes on."""
        ...
