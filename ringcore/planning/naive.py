"""Splits as others make them, whether they fit or not: what ours is compared with. Layers, rank 0 first."""

from collections.abc import Sequence


def even(total: int, ranks: int) -> list[int]:
    """The same number of layers for each rank; the first of them take what is left over."""
    return [total // ranks + (rank < total % ranks) for rank in range(ranks)]


def by_free_memory(total: int, free: Sequence[int]) -> list[int]:
    """Layers in proportion to each host's memory; knows nothing of caches, head and embedding."""
    sizes = [max(1, each) for each in free]
    shares = [total * each / sum(sizes) for each in sizes]
    layers = [max(1, int(share)) for share in shares]
    # Largest remainders first; a rank that was raised to one layer has none.
    order = sorted(range(len(shares)), key=lambda rank: layers[rank] - shares[rank])
    for turn in range(total):
        if sum(layers) < total:
            layers[order[turn % len(order)]] += 1
    while sum(layers) > total:
        layers[layers.index(max(layers))] -= 1
    return layers
