"""Assembles rank 0's loop: what its engine may do, the pipe for its place in the ring, the gateway's door."""

from pathlib import Path

from ringcore.cache.kinds import Holds
from ringcore.engine.door import Door
from ringcore.engine.engine import Engine
from ringcore.engine.limits import Keeping, Limits
from ringcore.engine.scheduler import Bounds
from ringcore.models.stage import ModelStage
from ringcore.rank.batching import rows_per_step
from ringcore.rank.brings import Brings
from ringcore.rank.control import Control
from ringcore.rank.device import on_gpu
from ringcore.rank.executor import Executor
from ringcore.rank.leader import Leader
from ringcore.rank.link import Link, max_in_flight, max_prompt_tokens
from ringcore.rank.pipe import FirstPipe, LastPipe, LocalPipe, Pipe
from ringcore.rank.prefix import reliever
from ringcore.rank.report import Report
from ringcore.rank.shared import SharedPipe
from ringcore.spec.deployment import ENGINE_SOCKET, Deployment
from ringcore.spec.engine import Ready
from ringcore.spec.plan import Plan

# Tokens; a shorter chunk costs more in hops and kernels than an idle stage does.
LEAST_CHUNK = 32
LEAST_CHUNK_ON_GPU = 256


def lead(
    deployment: Deployment,
    epoch: int,
    stage: ModelStage,
    executor: Executor,
    link: Link | None,
    control: Control,
    report: Report,
) -> None:
    """Serve the gateway's requests until the agent says Quit. ``link``: None in a ring of one."""
    plan = deployment.plan
    stages = len(plan.stages)
    head_bytes = stage.hidden_size * stage.dtype.size if plan.head_rows else 0
    limits = Limits(
        context=plan.context,
        vocab_size=stage.vocab_size,
        bounds=Bounds(
            stages=stages,
            sequences=plan.sequences,
            chunk=plan.prefill_chunk,
            max_prompt_tokens=max_prompt_tokens(stages, plan.sequences, head_bytes),
            least_chunk=LEAST_CHUNK_ON_GPU if on_gpu() else LEAST_CHUNK,
            lookahead=1 if link else 2,
            step_tokens=plan.step_tokens,
            rows=rows_per_step(Path(deployment.model_path), plan),
        ),
        in_flight=max_in_flight(stages),
        prefix=Keeping(
            blocks=_prefix_blocks(plan.prefix_blocks, stage, control),
            block_tokens=plan.block_tokens,
            root=bytes.fromhex(control.root),
            at_once=not stage.holds <= {Holds.TOKENS},
            at_ends=Holds.STATE in stage.holds,
        ),
    )
    hello = Ready(epoch=epoch, context=plan.context, sequences=plan.sequences, vocab_size=stage.vocab_size)
    brings = Brings(control)
    executor.missed = lambda: brings.missed
    engine = Engine(limits, executor.on_disk, brings.ask, control.say)
    relieve = reliever(plan, engine.forget)
    pipe = _pipe(plan, executor, link)
    leader = Leader(engine, pipe, Door(ENGINE_SOCKET, hello), control, report, relieve, brings)
    leader.greet()
    control.phase("ready")
    leader.run()


def _pipe(plan: Plan, executor: Executor, link: Link | None) -> Pipe:
    last = plan.order == "reverse"
    if link is None:
        return LocalPipe(executor)
    if plan.head_rows:
        return SharedPipe(executor, link, last=last)
    return LastPipe(executor, link) if last else FirstPipe(executor, link)


def _prefix_blocks(planned: int, stage: ModelStage, control: Control) -> int:
    if planned and stage.uncut:
        control.say(
            f"prompts are not kept for later ones: {', '.join(stage.uncut)} of this model cannot be cut",
            "WARNING",
        )
        return 0
    return planned
