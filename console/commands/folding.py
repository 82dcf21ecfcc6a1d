"""Long lines on a narrow terminal: broken between words, the rest of a line under its beginning.

Where no terminal reads, lines stay whole: whoever searches them finds them.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator

_LEAST = 40  # narrower, what is left of a line would be a column of syllables


def width() -> int:
    """Cells of the terminal that reads our answer; 0 where none does."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def folded(lines: Iterable[str], width: int, hang: int = 2) -> Iterator[str]:
    """``hang``: cells by which what follows is set further in than the line itself. ``width`` 0: as it is."""
    for line in lines:
        if not width or len(line) <= width:
            yield line
            continue
        own = len(line) - len(line.lstrip())
        yield from textwrap.wrap(
            line,
            max(width, _LEAST, own + hang + _LEAST // 2),
            subsequent_indent=" " * (own + hang),
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )


def cells(head: str, text: str, width: int) -> Iterator[str]:
    """``text`` without words, such as a map of layers, behind ``head``; cut anywhere."""
    room = max(8, width - len(head)) if width else max(1, len(text))
    for start in range(0, max(1, len(text)), room):
        yield (head if start == 0 else " " * len(head)) + text[start : start + room]
