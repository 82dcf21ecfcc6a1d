"""How fast this machine reads memory and multiplies: a program of its own, sent to hosts as text.

With MLX on the device that ranks use there; without it only memory is measured, on all cores. Arguments:
folders with the package ringcore, "" for none. Prints one line of JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

SECONDS = 0.6  # for each figure
ROUNDS = 5  # at least
MIB = 1 << 20


def best(act: Callable[[], object]) -> float:
    """Seconds of the quickest round; the first ones compile kernels and touch pages."""
    act()
    act()
    least, end, rounds = float("inf"), time.perf_counter() + SECONDS, 0
    while rounds < ROUNDS or time.perf_counter() < end:
        began = time.perf_counter()
        act()
        least, rounds = min(least, time.perf_counter() - began), rounds + 1
    return least


def _multiply(mx: Any, one: Any, other: Any) -> None:
    mx.eval(one @ other)


def with_mlx() -> "tuple[float, float, str, int]":
    """Reading is a product of a vector and a matrix, as decoding is; computing one of two matrices."""
    sys.path[:0] = [folder for folder in sys.argv[1:] if folder]
    blas = None
    try:
        from ringcore.rank.blas import blas_in_use as blas
        from ringcore.rank.blas import prefer_openblas

        prefer_openblas()
    except ImportError:
        pass
    import mlx.core as mx

    on_gpu = mx.default_device().type == mx.DeviceType.gpu
    dtype, size = (mx.float16, 4096) if on_gpu else (mx.float32, 1024)
    read = 0.0
    for wide in (8192, 16384) if on_gpu else (4096,):
        matrix = mx.random.normal((16384, wide)).astype(dtype)
        vector = mx.random.normal((1, wide)).astype(dtype)
        mx.eval(matrix, vector)
        read = max(read, matrix.nbytes / best(partial(_multiply, mx, vector, matrix.T)))
    square = mx.random.normal((size, size)).astype(dtype)
    mx.eval(square)
    compute = 2 * size**3 / best(partial(_multiply, mx, square, square))
    limit = 0
    if on_gpu:
        info = mx.device_info()
        limit = int(info.get("max_recommended_working_set_size", 0)) if mx.metal.is_available() else 0
        name = "gpu, {}".format(info.get("device_name", "unknown"))
    else:
        name = "cpu, {}".format(blas() if blas else "MLX's own BLAS")
    return read, compute, name, limit


def without_mlx() -> "tuple[float, float, str, int]":
    """Copies on every core at once: each byte is read and written."""
    import ctypes
    import os
    from concurrent.futures import ThreadPoolExecutor

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    size = max(4, 256 // cores) * MIB
    pairs = [(ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)) for _ in range(cores)]

    def copy(core: int) -> None:
        ctypes.memmove(pairs[core][0], pairs[core][1], size)  # lets go of Python's lock

    with ThreadPoolExecutor(cores) as pool:
        seconds = best(lambda: [*pool.map(copy, range(cores))])
    return 2 * size * cores / seconds, 0.0, f"cpu, {cores} cores, without MLX", 0


def main() -> None:
    try:
        read, compute, name, limit = with_mlx()
    except ImportError:
        read, compute, name, limit = without_mlx()
    answer = {
        "bandwidth": round(read / 1e9, 1),
        "compute": round(compute / 1e12, 3),
        "computes_with": name,
        "gpu_limit_bytes": limit,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
