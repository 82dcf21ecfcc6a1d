"""The Textual app: one module a pane."""
