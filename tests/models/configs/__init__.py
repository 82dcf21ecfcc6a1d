"""Small configurations, data only, one module a family; `ALL` has them by architecture."""

from typing import Any

from tests.models.configs import dense, experts, latent, nested, sliding, state

ALL: dict[str, dict[str, Any]] = {
    **dense.CONFIGS,
    **experts.CONFIGS,
    **latent.CONFIGS,
    **sliding.CONFIGS,
    **state.CONFIGS,
    **nested.CONFIGS,
}
