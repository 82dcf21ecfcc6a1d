"""One module a pane; a pane knows state values and messages, nothing of SSH."""
