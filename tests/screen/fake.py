"""A scripted cluster for the screen: states as lists of events with fixed times, an answer piece by piece."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from msgspec import structs

from console.ports import ChatDelta, ChatMessage, Emit
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import Failure, HostError, MlxringError
from ringcore.spec.events import (
    Event,
    HostStep,
    HostStepName,
    Level,
    LogLine,
    MemoryUsed,
    RankChanged,
    RankPhase,
    Recorded,
    RequestChanged,
    RingChanged,
    StepCount,
)
from ringcore.spec.facts import HostFacts, NetworkAddress, PythonFound
from ringcore.spec.plan import Plan, Stage
from ringcore.spec.profile import HostOptions, Profile
from ringcore.spec.shard import Shard
from ringcore.spec.units import GIB, MIB

START = 1_795_500_000.0  # 2026-11-24 06:00:00 UTC
NAMES = ("studio", "mini1", "mini2")
RANGES = ((18, 28), (9, 18), (0, 9))

PROFILE = Profile(
    name="minis",
    model="mlx-community/DeepSeek-Coder-V2-Lite-Instruct-8bit",
    hosts=tuple(
        HostOptions(name=name, ssh=f"operator@{name}.local", address=f"192.168.5.{rank + 1}")
        for rank, name in enumerate(NAMES)
    ),
    path="profiles/minis.toml",
)
CARD = ModelCard(
    name="DeepSeek-Coder-V2-Lite-Instruct-8bit",
    architecture="deepseek_v2",
    layers=tuple(
        LayerCard(weight_bytes=int(0.58 * GIB), kv_bytes_per_token=1152, read_bytes_per_token=100 * MIB)
        for _ in range(28)
    ),
    hidden_size=2048,
    vocab_size=102_400,
    embedding_bytes=215 * MIB,
    norm_bytes=4096,
    head_bytes=215 * MIB,
    tied=False,
    dtype="bfloat16",
    quantization="8-bit g64",
    attention_heads=16,
    mlp_width=10_944,
)
PLAN = Plan(
    model="DeepSeek-Coder-V2-Lite-Instruct-8bit",
    architecture="deepseek_v2",
    revision="5f1c2a",
    dtype="bfloat16",
    order="reverse",
    context=8192,
    sequences=4,
    prefill_chunk=256,
    card=CARD,
    stages=tuple(
        Stage(
            rank=rank,
            host=NAMES[rank],
            shard=Shard(start, end, 28),
            weight_bytes=int((end - start) * 0.58 * GIB),
            kv_bytes=int(1.1 * GIB),
            workspace_bytes=700 * MIB,
            reserve_bytes=GIB,
            ceiling_bytes=(48 if rank == 0 else 12) * GIB,
            ceiling_source="memory in the profile",
            bytes_per_second=(680 if rank == 0 else 85) * 1e9,
            link_seconds=0.0003,
        )
        for rank, (start, end) in enumerate(RANGES)
    ),
)


FACTS = {
    name: HostFacts(
        host=name,
        os="darwin",
        arch="arm64",
        user="operator",
        home="/Users/operator",
        shell="/bin/zsh",
        cores=10,
        total_memory_bytes=16 * GIB,
        available_memory_bytes=11 * GIB,
        disk_free_bytes=120 * GIB,
        chip="Apple M4",
        pythons=(
            PythonFound("/opt/homebrew/bin/python3.12", (3, 12, 7)),
            PythonFound("/usr/bin/python3", (3, 9, 6), has_venv=False),
        ),
        uv="/opt/homebrew/bin/uv",
        addresses=(
            NetworkAddress("bridge0", f"192.168.5.{rank + 1}", "thunderbolt"),
            NetworkAddress("en0", f"10.0.0.{rank + 1}", "wifi"),
        ),
        clock_skew_seconds=3.4,
    )
    for rank, name in enumerate(NAMES)
}


class Script:
    """Builds records: each host numbers its own, time goes on by ``tick`` with every event."""

    def __init__(self, tick: float = 0.02, names: Sequence[str] = NAMES) -> None:
        self.records: list[Recorded] = []
        self.time = START
        self._tick = tick
        self._names = names
        self._seq = dict.fromkeys(names, 0)

    def add(self, rank: int, event: Event, *, by_console: bool = False) -> "Script":
        self.time += self._tick
        name = self._names[rank]
        if not by_console:
            self._seq[name] += 1
        seq = 0 if by_console else self._seq[name]
        self.records.append(Recorded(host=name, seq=seq, time=self.time, event=event))
        return self

    def step(self, rank: int, step: HostStepName, **values: object) -> "Script":
        values.setdefault("status", "done")
        return self.add(rank, HostStep(step=step, **values), by_console=True)  # type: ignore[arg-type]

    def log(self, rank: int, text: str, level: Level = "INFO") -> "Script":
        return self.add(rank, LogLine(source="rank", level=level, text=text, rank=rank))

    def phase(self, rank: int, phase: RankPhase, **values: object) -> "Script":
        return self.add(rank, RankChanged(rank=rank, phase=phase, **values))  # type: ignore[arg-type]


def empty() -> list[Recorded]:
    return []


def provisioning() -> list[Recorded]:
    script = Script()
    for rank in range(3):
        script.step(rank, "reach", detail="3 ms away").step(rank, "facts", detail="macOS 26.2, arm64")
    script.step(0, "provision", detail="up to date")
    wheel = "pip install --require-hashes -r requirements.lock"
    script.step(1, "provision", status="active", progress=0.4, detail="12 of 31 packages", command=wheel)
    script.step(2, "provision", status="active", progress=0.75, detail="23 of 31 packages", command=wheel)
    return script.records


def _deployed() -> Script:
    script = Script()
    for rank in range(3):
        for step in ("reach", "facts", "provision", "weights", "deploy", "start"):
            script.step(rank, step)
    script.add(0, RingChanged(phase="loading", epoch=1, plan=PLAN))
    return script


def loading() -> list[Recorded]:
    script = _deployed()
    for rank, progress in ((0, 0.3), (1, 0.55), (2, 1.0)):
        script.phase(rank, "starting", pid=4100 + rank)
        script.phase(rank, "loading", progress=progress, detail="model-00002-of-00004.safetensors")
        script.log(rank, f"loading layers {RANGES[rank][0]}..{RANGES[rank][1] - 1}")
    script.phase(2, "loaded")
    return script.records


def _serving() -> Script:
    script = _deployed()
    for rank in range(3):
        script.phase(rank, "starting", pid=4100 + rank).phase(rank, "loading", progress=0.5)
        script.log(rank, f"loaded layers {RANGES[rank][0]}..{RANGES[rank][1] - 1} in 4.1 s")
        script.phase(rank, "loaded").phase(rank, "joining").phase(rank, "ready")
        stage = PLAN.stages[rank]
        memory = MemoryUsed(
            rank=rank,
            weight_bytes=stage.weight_bytes,
            kv_bytes=300 * MIB,
            workspace_bytes=420 * MIB,
            resident_bytes=stage.weight_bytes + GIB,
            available_bytes=3 * GIB,
        )
        script.add(rank, memory)
    url = "http://127.0.0.1:8100"
    return script.add(0, RingChanged(phase="serving", epoch=1, plan=PLAN, api_url=url))


def serving() -> list[Recorded]:
    return _serving().records


def serving_busy() -> list[Recorded]:
    script = _serving()
    script.add(0, RequestChanged(id="r1", phase="queued", prompt_tokens=31))
    for beat in range(1, 5):
        script.time += 0.25
        for rank in range(3):
            count = StepCount(
                rank=rank,
                steps=beat * 4 + 1200,
                tokens=beat * 4,
                in_flight=1,
                busy_seconds=beat * 0.16,
                link_seconds=beat * 0.07,
            )
            script.add(rank, count)
    running = RequestChanged(
        id="r1", phase="running", prompt_tokens=31, first_token_seconds=0.81, tokens_per_second=14.2
    )
    script.add(0, running)
    script.log(0, "prefill of r1: 31 tokens in 0.80 s")
    script.log(2, "KV cache grew to 300 MiB", level="DEBUG")
    script.log(1, "link: neighbour took 41 ms, more than usual", level="WARNING")
    return script.records


UNREACHABLE = Failure(
    cause="no route to mini2.local port 22 (connect timed out after 5 s)",
    remedy="is the machine on, and does `ssh operator@mini2.local` work from here?",
    host="mini2",
    rank=2,
    exit_code=3,
)


def unreachable() -> list[Recorded]:
    script = Script()
    for rank in range(2):
        script.step(rank, "reach").step(rank, "facts", detail="macOS 26.2, arm64")
    command = "ssh operator@mini2.local"
    script.step(2, "reach", status="active", command=command)
    script.step(2, "reach", status="failed", failure=UNREACHABLE, command=command)
    return script.records


KILLED = Failure(
    cause="the rank was killed (signal 9)",
    remedy="look for the out-of-memory killer on mini1, lower its `memory`, then start again",
    host="mini1",
    rank=1,
    exit_code=6,
)


def rank_killed() -> list[Recorded]:
    script = Script()
    script.records = serving_busy()
    script.time = script.records[-1].time
    script.phase(1, "failed", failure=KILLED)
    for rank in (0, 2):
        script.log(rank, "link: connection to a peer was lost", level="ERROR").phase(rank, "stopped")
    script.add(0, RingChanged(phase="failed", epoch=1, failure=KILLED))
    return script.records


def stopped() -> list[Recorded]:
    script = _serving()
    for rank in range(3):
        script.phase(rank, "stopping").phase(rank, "stopped")
    return script.add(0, RingChanged(phase="stopped", epoch=1)).records


def with_plan(records: list[Recorded], plan: Plan) -> list[Recorded]:
    """The same, as if the ring ran by ``plan``."""
    return [
        structs.replace(record, event=structs.replace(record.event, plan=plan))
        if isinstance(record.event, RingChanged) and record.event.plan is not None
        else record
        for record in records
    ]


def crowd() -> tuple[Profile, list[Recorded]]:
    """The most that a ring can have: eight ranks, all serving."""
    names = [f"mac-studio-{rank}" for rank in range(8)]
    hosts = tuple(
        HostOptions(name=name, ssh=f"op@{name}.local", address=f"192.168.5.{rank + 1}")
        for rank, name in enumerate(names)
    )
    stages = tuple(
        structs.replace(PLAN.stages[1], rank=rank, host=name, shard=Shard(56 - 8 * rank, 64 - 8 * rank, 64))
        for rank, name in enumerate(names)
    )
    script = Script(names=names)
    for rank in range(8):
        script.phase(rank, "ready").log(rank, f"rank {rank} is ready")
    ring = RingChanged(phase="serving", epoch=1, plan=structs.replace(PLAN, stages=stages))
    return structs.replace(PROFILE, hosts=hosts), script.add(0, ring).records


HOSTILE = "[red]x[/] [@click=app.quit]y[/] \x1b[31mred\x1b[0m \x1b]0;title\x07 bell\x07 back\x08 \u202etxt"


def hostile() -> list[Recorded]:
    """Text that would do harm if anything interpreted it."""
    script = _serving()
    script.log(0, HOSTILE).log(1, "[/nothing to close]", level="ERROR")
    script.step(1, "reach", status="active", detail=HOSTILE, command=HOSTILE)
    failure = Failure(cause=HOSTILE, remedy=HOSTILE, host=NAMES[2], rank=2)
    return script.step(2, "reach", status="failed", failure=failure).records


ANSWER = (
    "Sunlight holds **every colour**. ",
    "Air scatters *short* waves more than long ones, by the fourth power:\n\n",
    "| colour | wave length | scattered |\n|---|---|---|\n| red | 700 nm | 1 |\n| blue | 450 nm | 5.9 |\n\n",
    "```python\nratio = (700 / 450) ** 4\n```\n\n",
    "So from everywhere in the sky, **blue** light comes down to us.",
)


class FakeCluster:
    """Follows a script, then waits until it is cancelled. Verbs are noted in ``asked``.

    ``gate``: pieces of an answer after the first wait for it. ``failures``: verb -> error it raises.
    ``answer``: its pieces. ``breaks_off``: answers end without a reason. ``defect``: what a verb or an
    answer raises that is no error of ours. ``agents_end``: lets go whoever follows. ``cancelled``: verbs
    that were broken off.
    """

    def __init__(self, emit: Emit, records: Sequence[Recorded] = (), profile: Profile = PROFILE) -> None:
        self.profile = profile
        self.emit = emit
        self.records = list(records)
        self.asked: list[str] = []
        self.failures: dict[str, MlxringError] = {}
        self.hold = asyncio.Event()  # verbs wait for it while `holding`
        self.holding = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.conversations: list[list[ChatMessage]] = []
        self.answer = ANSWER
        self.agents_end = asyncio.Event()
        self.cancelled: list[str] = []
        self.followers = self.most_followers = 0
        self.breaks_off = False
        self.cached_tokens: int | None = None
        self.defect: Exception | None = None
        self.closed_chats = 0
        self.finished_chats = 0
        self.closed = False
        self.facts: dict[str, HostFacts] = {}

    async def _verb(self, name: str) -> None:
        self.asked.append(name)
        if self.holding:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # clearing away takes a moment
                self.cancelled.append(name)
                raise
        if self.defect is not None:
            raise self.defect
        if name in self.failures:
            raise self.failures[name]

    async def plan(self) -> Plan:
        await self._verb("plan")
        return PLAN

    async def provision(self) -> None:
        await self._verb("provision")

    async def retry(self, name: str, failed: HostStepName) -> None:
        await self._verb(f"retry {name} {failed}")

    async def deploy(self) -> None:
        await self._verb("deploy")

    async def start(self) -> None:
        await self._verb("start")
        self.play(serving())

    async def stop(self) -> None:
        await self._verb("stop")

    async def follow(self) -> None:
        await self._verb("follow")
        self.play(self.records)
        self.records = []
        self.followers += 1
        self.most_followers = max(self.most_followers, self.followers)
        try:
            await self.agents_end.wait()
        finally:
            await asyncio.sleep(0)
            self.followers -= 1

    def play(self, records: Sequence[Recorded]) -> None:
        for record in records:
            self.emit(record)

    async def chat(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ChatDelta, None]:
        self.conversations.append(list(messages))
        if "chat" in self.failures:
            raise self.failures["chat"]
        try:
            for number, text in enumerate(self.answer):
                if number:
                    await self.gate.wait()
                yield ChatDelta(text=text)
                if self.defect is not None:
                    raise self.defect
                if self.breaks_off:
                    return
            self.finished_chats += 1
            yield ChatDelta(
                finish_reason="stop",
                prompt_tokens=31,
                completion_tokens=118,
                cached_tokens=self.cached_tokens,
                first_token_seconds=0.81,
                tokens_per_second=14.2,
            )
        finally:
            self.closed_chats += 1

    async def close(self) -> None:
        self.closed = True


def host_error() -> HostError:
    return HostError(UNREACHABLE.cause, UNREACHABLE.remedy, host="mini2", rank=2)
