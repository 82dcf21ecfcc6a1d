"""Writes one run's plan, secret and launcher on a host, and starts its agent there."""

import time

import msgspec

from console.cluster.hold import operator_name
from console.cluster.host import Host
from console.cluster.pip_output import is_disk_full
from console.cluster.provision import Prepared
from console.cluster.remote import LAUNCHER, launch, launcher_script
from ringcore.spec.deployment import DEPLOYMENT_FILE, SECRET_FILE, Deployment, Member
from ringcore.spec.errors import Failure, HostError, MlxringError, ProvisionError, RingError
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile

# the agent checks its ports and its address before it answers
START_TIMEOUT = 20.0


class _Started(msgspec.Struct):
    ok: bool
    pid: int = 0
    failure: Failure | None = None


def deployments(
    profile: Profile, plan: Plan, model_paths: tuple[str, ...], run_id: str
) -> tuple[Deployment, ...]:
    """One `Deployment` for each host, in rank order."""
    members = tuple(
        Member(rank=rank, host=host.name, address=host.address, link_port=profile.ring.port + 1 + rank)
        for rank, host in enumerate(profile.hosts)
    )
    return tuple(
        Deployment(
            ring=profile.name,
            run_id=run_id,
            rank=rank,
            plan=plan,
            members=members,
            control_port=profile.ring.port,
            backend=profile.ring.backend,
            model_name=plan.model,
            model_path=path,
            api_bind=profile.api.bind,
            api_port=profile.api.port,
            api_key=profile.api.asks_key,
            api_origins=profile.api.origins,
            api_tls_cert=profile.api.tls_cert,
            api_tls_key=profile.api.tls_key,
            allow_unverified=profile.ring.allow_unverified,
            operator=operator_name(),
            made_at=time.time(),
        )
        for rank, path in enumerate(model_paths)
    )


def run_folder(prepared: Prepared, ring: str) -> str:
    """Absolute, on that host."""
    return f"{prepared.home}/runs/{ring}"


async def write_run(host: Host, prepared: Prepared, deployment: Deployment, secret: str) -> None:
    """The run folder's files; the launcher last, so that what it starts is complete. Raises `ProvisionError`
    when the disk is full, `HostError`."""
    run = run_folder(prepared, deployment.ring)
    try:
        await host.write(f"{run}/{DEPLOYMENT_FILE}", msgspec.json.encode(deployment), mode=0o600)
        await host.write(f"{run}/{SECRET_FILE}", secret.encode(), mode=0o600)
        await host.write(f"{run}/{LAUNCHER}", launcher_script(prepared.python, prepared.code), mode=0o700)
    except HostError as error:
        if not is_disk_full(error.failure.cause):
            raise
        raise ProvisionError(
            f"the disk of {prepared.home} is full: {error.failure.cause}",
            "free space there, or set hosts.home in the profile to a folder on another disk",
            host=host.options.name,
        ) from None


async def start_agent(host: Host, ring: str) -> int:
    """Starts the agent, which detaches itself; returns its pid. Raises with the agent's own reason."""
    options = host.options
    result = await host.run(launch(options.home, ring, "agent"), timeout=START_TIMEOUT)
    last = result.stdout.strip().rpartition("\n")[2]
    try:
        answer = msgspec.json.decode(last, type=_Started)
    except msgspec.MsgspecError:
        raise RingError(
            f"the agent did not start: {(result.stderr or result.stdout).strip()[-300:] or 'no answer'}",
            f"look at agent.log in the run folder of {ring} on this host",
            host=options.name,
        ) from None
    if answer.failure is not None:
        raise MlxringError.at(answer.failure, options.name)
    return answer.pid
