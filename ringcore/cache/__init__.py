"""KV caches of the layers of one stage."""
