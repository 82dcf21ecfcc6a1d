"""One pipeline stage: link, loop, weights. Imports mlx."""
