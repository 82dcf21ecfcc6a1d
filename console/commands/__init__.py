"""One module a command of `mlxring`."""
