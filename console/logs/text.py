"""Text that came from a host, made harmless: no escape codes, nothing that moves a terminal's cursor.

Knows nothing of markup: whoever draws it must not interpret any.
"""

import re

MAX_LINE_CHARACTERS = 4000

# CSI and OSC sequences, and the two-character escapes (ECMA-48, 7-bit forms).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


# Of a streamed text: line ends and tabs belong to it, joiners to emoji and some scripts.
_UNSAFE_PIECE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def safe_line(text: str) -> str:
    """One line without colour codes; every other control character becomes a visible picture of itself.

    Tabs become spaces; text past `MAX_LINE_CHARACTERS` is cut (the host's log file has all of it).
    """
    text = text.rstrip("\r\n")
    if len(text) > MAX_LINE_CHARACTERS:
        text = text[:MAX_LINE_CHARACTERS] + "…"
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_picture, _ESCAPES.sub("", text.expandtabs(4)))


def safe_text(text: str) -> str:
    """The same for text of several lines: line ends stay."""
    return "\n".join(safe_line(line) for line in text.splitlines())


def safe_piece(text: str) -> str:
    """A piece of a text that comes bit by bit. Each character is judged alone, as an escape code may
    begin in one piece and end in the next: its letters stay and its control character is shown."""
    return _UNSAFE_PIECE.sub(_picture, text.replace("\r", ""))
