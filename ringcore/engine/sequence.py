"""A request in a slot: what the engine keeps of it. Decides nothing."""

from ringcore.engine.prefix import Chain, Claim
from ringcore.engine.step import NO_TOKEN
from ringcore.spec.engine import FinishReason, Submit


class Sequence:
    """A request in a slot. ``fed`` tokens are issued, or loaded with the blocks of ``chain``: ``cached`` of
    them. ``answer`` counts those that came back; ``drawn`` has them, and the stop token."""

    def __init__(self, request: Submit, slot: int, chain: Chain) -> None:
        self.request = request
        self.slot = slot
        self.chain = chain
        self.cached = self.fed = 0
        self.fetching: Claim | None = None  # blocks on their way from disk: its prompt waits for them
        self.drawn: list[int] = []
        self.last_token = NO_TOKEN
        self.answer = 0
        self.decodes_in_flight = 0
        self.waited = 0
        self.ended: FinishReason | None = None
        self.heard = True  # somebody waits for its messages
        self.stop_tokens = frozenset(request.stop_tokens)

    @property
    def prompt_left(self) -> int:
        return 0 if self.fetching else max(0, len(self.request.prompt) - self.fed)

    @property
    def known(self) -> list[int]:
        """All tokens that are known; of these every stage has the first ``fed``, or will have them when the
        steps in flight have passed."""
        prompt = self.request.prompt
        return prompt if self.fed <= len(prompt) else [*prompt, *self.drawn]

    @property
    def answering(self) -> bool:
        """It has decode steps to come."""
        decoded = self.fed - len(self.request.prompt)  # decode steps issued
        return self.ended is None and self.answer > 0 and decoded + 1 < self.request.max_tokens
