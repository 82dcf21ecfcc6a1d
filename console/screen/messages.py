"""What the panes tell the app. They tell each other nothing."""

from textual.message import Message


class PaneChosen(Message):
    """A tab was clicked; ``name`` as in `console.screen.layout.PANES`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class ActRequested(Message):
    """A key hint was clicked: do the action ``id`` of the registry."""

    def __init__(self, id: str) -> None:
        super().__init__()
        self.id = id


class RetryAsked(Message):
    """Do again for one rank's host what failed there."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank


class DetailsAsked(Message):
    """Everything known about one rank's host."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank
