"""Where each layer goes: pure functions, no I/O."""
