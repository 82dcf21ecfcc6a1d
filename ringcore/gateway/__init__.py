"""The OpenAI-compatible HTTP API; tokenises, streams text; never imports mlx."""
