"""The hosts as a plan seats them: those that are in the ring, in rank order."""

from msgspec import structs

from ringcore.spec.errors import PlanError
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile


def seated(profile: Profile, plan: Plan) -> Profile:
    """``profile`` with the plan's hosts only, rank 0 first. Raises `PlanError` for a plan of other hosts."""
    known = {host.name: host for host in profile.hosts}
    missing = [stage.host for stage in plan.stages if stage.host not in known]
    if missing:
        raise PlanError(f"the plan names {missing[0]}, which the profile does not have", "plan again")
    return structs.replace(profile, hosts=tuple(known[stage.host] for stage in plan.stages))
