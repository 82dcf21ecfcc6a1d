"""What MLX computes on in this process."""

import mlx.core as mx


def on_gpu() -> bool:
    """On a GPU, Metal's or CUDA's, rather than on the processor."""
    return mx.default_device().type == mx.DeviceType.gpu
