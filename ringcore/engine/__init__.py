"""What the leader decides: the next step and the next token."""
