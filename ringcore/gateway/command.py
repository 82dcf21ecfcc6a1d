"""``python -m ringcore gateway --run DIR --control-fd FD``: the process that serves the HTTP API.

Owns the process's edges: its arguments, the control channel to the agent, and what ends it. Started by
the leader's agent; lives exactly as long as that channel. Knows nothing of HTTP or tokens.
"""

import argparse
import asyncio
import os
from pathlib import Path

import msgspec

from ringcore.gateway.control import Control
from ringcore.gateway.serve import serve
from ringcore.spec.control import Fatal
from ringcore.spec.deployment import DEPLOYMENT_FILE, Deployment
from ringcore.spec.errors import Failure, MlxringError


def main(arguments: list[str]) -> int:
    """0 after `Quit`; the exit code of the failure, which was reported as `Fatal`, otherwise."""
    parser = argparse.ArgumentParser(prog="python -m ringcore gateway")
    parser.add_argument("--run", type=Path, required=True, help="the run directory")
    parser.add_argument("--control-fd", type=int, required=True, help="socket to the agent")
    options = parser.parse_args(arguments)
    # A Unix socket's path may have 104 bytes; from inside the run directory its name is enough.
    os.chdir(options.run)
    _keep_libraries_quiet()
    return asyncio.run(_run(options.control_fd))


def _keep_libraries_quiet() -> None:
    """Before transformers is imported: never ask the hub, never warn that it has no torch."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        TRANSFORMERS_VERBOSITY="error",
        TOKENIZERS_PARALLELISM="false",
    )


async def _run(control_fd: int) -> int:
    control = await Control.open(control_fd)
    try:
        await serve(_deployment(), control)
    except MlxringError as error:
        failure = error.failure
    except (OSError, msgspec.DecodeError) as error:
        failure = Failure(cause=f"the gateway cannot start: {error}", remedy="deploy again", exit_code=6)
    except Exception as error:  # noqa: BLE001 - the edge of the process: the agent must hear of it
        failure = Failure(
            cause=f"the gateway failed: {type(error).__name__}: {error}",
            remedy="start the ring again; report this with gateway.log",
            exit_code=6,
        )
    else:
        await control.close()
        return 0
    control.report(Fatal(failure=failure))
    await control.close()
    return failure.exit_code


def _deployment() -> Deployment:
    return msgspec.json.decode(Path(DEPLOYMENT_FILE).read_bytes(), type=Deployment)
