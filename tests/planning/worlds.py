"""Models, profiles and facts for the planner, as small as the question allows."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import HostOptions, Profile, RingOptions
from ringcore.spec.units import GIB, MIB


def model(layers: int | Sequence[int] = 12, **changes: Any) -> ModelCard:
    """Layers of 100 MiB (or the sizes given), an embedding and a head of 50 MiB, 1 KiB of KV a token."""
    sizes = (100 * MIB,) * layers if isinstance(layers, int) else layers
    values: dict[str, Any] = {
        "name": "toy",
        "architecture": "llama",
        "layers": tuple(LayerCard(weight_bytes=size, kv_bytes_per_token=1024) for size in sizes),
        "hidden_size": 64,
        "vocab_size": 1000,
        "embedding_bytes": 50 * MIB,
        "norm_bytes": 4096,
        "head_bytes": 50 * MIB,
        "tied": False,
        "dtype": "float32",
        "attention_heads": 4,
        "mlp_width": 128,
        "revision": "r1",
    }
    return ModelCard(**(values | changes))


def quantised(dtype: str) -> ModelCard:
    """4 layers of 4 bits, a head of 8."""
    plain = model(4)
    return structs.replace(
        plain,
        dtype=dtype,
        quantization="4-bit g32",
        layers=tuple(
            structs.replace(layer, weight_bytes=2 * MIB, read_bytes_per_token=2 * MIB, four_bit_bytes=2 * MIB)
            for layer in plain.layers
        ),
        head_bytes=16 * MIB,
        four_bit_head_bytes=8 * MIB,
        embedding_bytes=16 * MIB,
        four_bit_embedding_bytes=8 * MIB,
    )


def hosts(count: int, **changes: Any) -> tuple[HostOptions, ...]:
    """Hosts h0, h1, ... on machines of their own."""
    return tuple(
        HostOptions(**({"name": f"h{n}", "ssh": f"h{n}.local", "address": f"10.0.0.{n + 1}"} | changes))
        for n in range(count)
    )


def local_hosts(count: int, **changes: Any) -> tuple[HostOptions, ...]:
    return hosts(count, ssh="local", address="127.0.0.1", **changes)


def profile(hosts: tuple[HostOptions, ...], **ring: Any) -> Profile:
    return Profile(
        name="t",
        model="/m",
        hosts=hosts,
        ring=RingOptions(**({"context": 1024, "sequences": 1, "prefill_chunk": 64} | ring)),
    )


def facts(*available: int, **changes: Any) -> list[HostFacts]:
    """One Linux host for each number of free bytes."""
    values: dict[str, Any] = {
        "os": "linux",
        "arch": "x86_64",
        "user": "u",
        "home": "/home/u",
        "shell": "/bin/sh",
        "cores": 8,
        "disk_free_bytes": 100 * GIB,
        "chip": "one and the same",
    } | changes
    return [
        HostFacts(
            **({"host": f"h{n}", "total_memory_bytes": 2 * free, "available_memory_bytes": free} | values)
        )
        for n, free in enumerate(available)
    ]
