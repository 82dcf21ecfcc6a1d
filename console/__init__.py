"""The operator side: command line, cluster, screen. Never imports mlx."""
