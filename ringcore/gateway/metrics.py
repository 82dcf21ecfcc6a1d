"""Figures of the gateway and the ring in Prometheus' format.

Owns their names and buckets; who counts calls `Metrics`, which knows nothing of requests' texts.
"""

from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ringcore.gateway.pulse import Pulse

CONTENT_TYPE = CONTENT_TYPE_LATEST
Outcome = Literal["done", "cancelled", "failed", "refused"]
_FIRST_TOKEN = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_BETWEEN = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """``ready`` says whether the ring can serve, ``queue`` how many requests wait and how many run."""

    def __init__(self, pulse: Pulse) -> None:
        self.ready: Callable[[], bool] = lambda: False
        self.queue: Callable[[], tuple[int, int]] = lambda: (0, 0)
        registry = self._registry = CollectorRegistry(auto_describe=False)
        registry.register(_Now(self, pulse))
        self._requests = Counter(
            "mlxring_requests", "Requests that ended on the ring, by how", ("outcome",), registry=registry
        )
        self._http = Counter("mlxring_http_requests", "HTTP answers", ("path", "status"), registry=registry)
        self._prompt = Counter("mlxring_prompt_tokens", "Tokens of prompts submitted", registry=registry)
        self._cached = Counter(
            "mlxring_cached_prompt_tokens", "Tokens of prompts taken from the cache", registry=registry
        )
        self._tokens = Counter("mlxring_completion_tokens", "Tokens of answers", registry=registry)
        self._first = Histogram(
            "mlxring_time_to_first_token_seconds",
            "From a request's arrival to its first token",
            buckets=_FIRST_TOKEN,
            registry=registry,
        )
        self._between = Histogram(
            "mlxring_inter_token_seconds",
            "Between two tokens of an answer",
            buckets=_BETWEEN,
            registry=registry,
        )

    def submitted(self, prompt_tokens: int) -> None:
        self._prompt.inc(prompt_tokens)

    def cached(self, tokens: int) -> None:
        self._cached.inc(tokens)

    def token(self, seconds: float, *, first: bool) -> None:
        """``seconds`` since the request's arrival, or since the token before."""
        self._tokens.inc()
        (self._first if first else self._between).observe(seconds)

    def ended(self, outcome: Outcome) -> None:
        self._requests.labels(outcome).inc()

    def answered(self, path: str, status: int) -> None:
        self._http.labels(path, str(status)).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Now(Collector):
    """What is true at the moment of asking."""

    def __init__(self, metrics: Metrics, pulse: Pulse) -> None:
        self._metrics = metrics
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        waiting, running = self._metrics.queue()
        yield GaugeMetricFamily("mlxring_ready", "1 while the ring can serve", int(self._metrics.ready()))
        yield GaugeMetricFamily("mlxring_requests_waiting", "Requests not begun on the ring", waiting)
        yield GaugeMetricFamily("mlxring_requests_running", "Requests that the ring works at", running)
        yield from self._ranks()
        yield from self._blocks()

    def _ranks(self) -> Iterator[Metric]:
        steps = CounterMetricFamily("mlxring_rank_steps", "Steps of a rank in this epoch", labels=("rank",))
        tokens = CounterMetricFamily("mlxring_rank_tokens", "Tokens that passed a rank", labels=("rank",))
        busy = CounterMetricFamily("mlxring_rank_busy_seconds", "Time in compute", labels=("rank",))
        link = CounterMetricFamily("mlxring_rank_link_seconds", "Time waiting to receive", labels=("rank",))
        for rank, said in sorted(self._pulse.steps.items()):
            steps.add_metric([str(rank)], said.steps)
            tokens.add_metric([str(rank)], said.tokens)
            busy.add_metric([str(rank)], said.busy_seconds)
            link.add_metric([str(rank)], said.link_seconds)
        memory = GaugeMetricFamily(
            "mlxring_rank_memory_bytes", "Memory of a rank, by what holds it", labels=("rank", "kind")
        )
        for rank, used in sorted(self._pulse.memory.items()):
            for kind in ("weight", "kv", "workspace", "resident", "available"):
                memory.add_metric([str(rank), kind], getattr(used, f"{kind}_bytes"))
        yield from (steps, tokens, busy, link, memory)

    def _blocks(self) -> Iterator[Metric]:
        """Of the prefix cache, that came to a rank's host from others."""
        labels = ("rank",)
        brought = CounterMetricFamily("mlxring_rank_blocks_brought", "Blocks from other hosts", labels=labels)
        size = CounterMetricFamily("mlxring_rank_blocks_brought_bytes", "Bytes of them", labels=labels)
        missed = CounterMetricFamily(
            "mlxring_rank_blocks_missed", "Blocks that other hosts were asked for in vain", labels=labels
        )
        for rank, used in sorted(self._pulse.memory.items()):
            if used.prefix is not None:
                brought.add_metric([str(rank)], used.prefix.brought)
                size.add_metric([str(rank)], used.prefix.brought_bytes)
                missed.add_metric([str(rank)], used.prefix.missed)
        yield from (brought, size, missed)
