"""Phrases on as few lines as a width takes: a line ends between two of them, never within one that fits."""

from collections.abc import Iterable

GAP = "   "


def fitted(phrases: Iterable[str], width: int) -> str:
    """Without a width (0) all on one line."""
    lines: list[str] = []
    for phrase in phrases:
        if lines and (not width or len(lines[-1]) + len(GAP) + len(phrase) <= width):
            lines[-1] += GAP + phrase
        else:
            lines.append(phrase)
    return "\n".join(lines)
