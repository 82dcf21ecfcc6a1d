"""``python -m ringcore rank``: the life of one rank, from its deployment file to its last word.

Knows the order of the phases; loading is `ringcore.models`, links are `group` and `link`, the work
is `worker` and `leading`.
"""

import argparse
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import mlx.core as mx
import msgspec
from msgspec import structs

from ringcore.engine.grammar import Grammars
from ringcore.engine.scheduler import chunks_in_flight
from ringcore.models.load import check_resident, load_stage
from ringcore.models.stage import ModelStage
from ringcore.rank import group
from ringcore.rank.blas import REMEDY, blas_in_use, prefer_openblas
from ringcore.rank.control import Control
from ringcore.rank.device import on_gpu
from ringcore.rank.executor import Executor
from ringcore.rank.gauges import gauges
from ringcore.rank.header import Format
from ringcore.rank.leading import lead
from ringcore.rank.link import Link
from ringcore.rank.memory import MemoryWatch
from ringcore.rank.prefix import fingerprints, on_disk
from ringcore.rank.report import Report
from ringcore.rank.worker import work
from ringcore.spec.block_file import PREFIX_FOLDER
from ringcore.spec.control import Fatal
from ringcore.spec.deployment import DEPLOYMENT_FILE, Deployment
from ringcore.spec.errors import Failure, MlxringError, RingError
from ringcore.spec.plan import Plan
from ringcore.spec.units import format_bytes

Load = Callable[[Deployment, Callable[[float, str], None]], ModelStage]
PROGRESS_SECONDS = 0.2
LEAST_CACHE_BYTES = 64 << 20


def main(arguments: list[str], load: Load | None = None) -> int:
    """Serve until told to end. ``load`` replaces how the stage is made (the tests' small fake).

    Never returns after an error: a process whose MLX group broke cannot be ended in order.
    """
    options = _options(arguments)
    control = Control(options.control_fd, options.rank)
    control.start()
    host = ""
    try:
        os.chdir(options.run)
        deployment = _deployment(options.rank)
        host = deployment.me.host
        _serve(deployment, options.epoch, control, load or load_from_files)
    except MlxringError as error:
        _die(control, structs.replace(error.failure, host=host, rank=options.rank))
    except Exception as error:  # noqa: BLE001 - the edge of the process: the agent must hear of it
        failure = RingError(f"{type(error).__name__}: {error}", "see this rank's log").failure
        _die(control, structs.replace(failure, host=host, rank=options.rank), error)
    # MLX's links have no orderly end: threads of theirs may still spin.
    os._exit(0)


def load_from_files(deployment: Deployment, progress: Callable[[float, str], None]) -> ModelStage:
    """The plan's layers from ``model_path``, checked against the plan's bytes. Raises `PlanError`."""
    planned = deployment.plan.stages[deployment.rank]
    before = mx.get_active_memory()
    stage = load_stage(
        Path(deployment.model_path),
        planned.shard,
        dtype=deployment.plan.dtype,
        on_progress=progress,
        allow_unverified=deployment.allow_unverified,
        kv_bits=deployment.plan.kv_bits,
        head_rows=deployment.plan.head_rows,
    )
    check_resident(stage, planned.weight_bytes, mx.get_active_memory() - before)
    return stage


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ringcore rank")
    parser.add_argument("--run", type=Path, required=True, help="the run directory")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True, help="socket to the agent")
    return parser.parse_args(arguments)


def _deployment(rank: int) -> Deployment:
    deployment = msgspec.json.decode(Path(DEPLOYMENT_FILE).read_bytes(), type=Deployment)
    deployment.plan.check()
    if deployment.rank != rank or len(deployment.members) != len(deployment.plan.stages):
        raise RingError(
            f"{DEPLOYMENT_FILE} is for rank {deployment.rank} of {len(deployment.members)}, "
            f"this is rank {rank} of a plan for {len(deployment.plan.stages)}",
            "deploy again",
        )
    return deployment


def _serve(deployment: Deployment, epoch: int, control: Control, load: Load) -> None:
    _introduce(deployment, epoch, control)
    stage = _load(deployment, control, load)
    executor = Executor(stage, Grammars(Path(deployment.model_path), stage.vocab_size))
    report = Report(control, executor, stage.weight_bytes, _watch(deployment, control, executor))
    report.memory()
    if not control.wait_for_join():
        return
    control.phase("joining")
    executor.behind = on_disk(
        deployment.plan, control.root, stage, Path(PREFIX_FOLDER), lambda text: control.say(text, "WARNING")
    )
    link = _link(deployment, epoch, stage) if len(deployment.members) > 1 else None
    if deployment.is_leader:
        lead(deployment, epoch, stage, executor, link, control, report)
    else:
        assert link is not None
        control.phase("ready")
        work(link, executor, control, report, overtaking=deployment.plan.head_rows > 0)
        control.phase("stopping")


def _watch(deployment: Deployment, control: Control, executor: Executor) -> MemoryWatch:
    plan, resident = deployment.plan, mx.get_active_memory()
    planned = plan.stages[deployment.rank]
    # Chunks that are on the ring come before any word of this rank is heard.
    share = min(
        1.0, chunks_in_flight(len(plan.stages)) * plan.prefill_chunk / (plan.sequences * plan.context)
    )

    def ahead() -> int:
        running = executor.kv_bytes
        in_step = mx.get_active_memory() - resident - running - executor.blocks.used.bytes
        growth = min(int(share * planned.kv_bytes), max(0, planned.kv_bytes - running))
        return max(0, planned.workspace_bytes - max(0, in_step)) + growth

    return MemoryWatch(deployment.rank, deployment.me.host, ahead, gauges(planned), control.send)


def _introduce(deployment: Deployment, epoch: int, control: Control) -> None:
    """Who this is and what it computes with: what is loaded in this process, not what was meant to be."""
    blas = None if on_gpu() else blas_in_use()
    control.phase("starting", computes_with=f"cpu, {blas}" if blas else "gpu")
    control.say(
        f"rank {deployment.rank} of {len(deployment.members)}, epoch {epoch}, "
        f"mlx {getattr(mx, '__version__', '?')} on {f'cpu, BLAS {blas}' if blas else 'gpu'}"
    )
    if blas and not blas.fast:
        why = prefer_openblas() or "another was chosen"
        control.say(
            f"products with dense weights take 10 to 20 times as long on the {blas.name}: {why}; {REMEDY}",
            "WARNING",
        )


def _load(deployment: Deployment, control: Control, load: Load) -> ModelStage:
    began = said = time.monotonic()
    planned = deployment.plan.stages[deployment.rank]
    shard = planned.shard
    layers = f"layers {shard.start}..{shard.end - 1}"
    control.phase("loading", detail=f"{layers} of {shard.total}")
    # Buffers that MLX keeps for reuse are memory that the plan must have counted.
    mx.set_cache_limit(max(LEAST_CACHE_BYTES, planned.workspace_bytes))

    def progress(share: float, text: str) -> None:
        nonlocal said
        if time.monotonic() - said >= PROGRESS_SECONDS:
            said = time.monotonic()
            control.phase("loading", progress=share, detail=text)

    stage = load(deployment, progress)
    for rows, tokens in _warm_shapes(deployment.plan):
        control.phase("loading", progress=1.0, detail=f"first step of {rows} x {tokens} tokens")
        _warm_up(stage, rows, tokens)
    if deployment.plan.prefix_blocks:
        control.send(fingerprints(stage))
    mx.clear_cache()
    held, counted = format_bytes(stage.weight_bytes), format_bytes(planned.weight_bytes)
    control.phase(
        "loaded",
        progress=1.0,
        detail=f"{layers}, {held} ({counted} planned), {time.monotonic() - began:.1f} s",
    )
    return stage


def _warm_shapes(plan: Plan) -> list[tuple[int, int]]:
    """Rows and tokens of the steps to be tried. A GPU has kernels of their own for many rows and many
    tokens; a processor has nothing to compile, and would only compute."""
    if not on_gpu():
        return [(1, 1)]
    return list(dict.fromkeys([(1, 1), (plan.sequences, 1), (1, plan.prefill_chunk)]))


def _warm_up(stage: ModelStage, rows: int, tokens: int) -> None:
    """Kernels are compiled and pages are touched before the first request, without a peer waiting."""
    if stage.shard.is_first:
        x = mx.zeros((rows, tokens), dtype=mx.int32)
    else:
        x = mx.zeros((rows, tokens, stage.hidden_size), dtype=stage.dtype)
    outputs = [stage(x, stage.make_cache(), True)]
    if stage.head is not None:
        hidden = mx.zeros((rows, stage.hidden_size), dtype=stage.dtype)
        outputs.append(stage.head.part(hidden))
        if stage.shard.is_last:
            outputs.append(stage.head.whole(hidden))
    mx.eval(outputs)


def _link(deployment: Deployment, epoch: int, stage: ModelStage) -> Link:
    plan, me = deployment.plan, deployment.plan.stages[deployment.rank]
    hop = plan.pipeline.index(me)
    outgoing = Format(
        epoch=epoch,
        plan=int(plan.digest[:8], 16) & 0x7FFFFFFF,
        sequences=plan.sequences,
        hidden_size=stage.hidden_size,
        dtype=str(stage.dtype).removeprefix("mlx.core."),
        hop=hop,
        head_rows=plan.head_rows,
    )
    incoming = structs.replace(outgoing, hop=(hop - 1) % len(plan.stages))
    return Link(group.join(deployment, epoch), incoming, outgoing)


def _die(control: Control, failure: Failure, error: BaseException | None = None) -> NoReturn:
    if control.quitting:  # a neighbour ended a moment earlier
        os._exit(0)
    if error is not None:
        control.say("".join(traceback.format_exception(error)), "ERROR")
    control.send(Fatal(failure=failure))
    os._exit(failure.exit_code)
