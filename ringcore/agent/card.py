"""The card that a rank computes on, in the variables that CUDA reads. Knows nothing of who chose it."""

from ringcore.spec.deployment import Deployment


def card_variables(deployment: Deployment) -> dict[str, str]:
    """What a rank's environment needs to see the plan's card and no other; nothing where it names none."""
    gpu = deployment.plan.stages[deployment.rank].gpu
    if gpu is None:
        return {}
    # CUDA's own order is by speed; the plan counts as nvidia-smi does.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu)}
