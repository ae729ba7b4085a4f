"""Text that people and their tools wrote: the encoding is found out, nothing is ever refused."""

from __future__ import annotations

import codecs

LATIN = "latin-1"
UNICODE = frozenset(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"))
HEAD = 4096  # bytes from which on data may be the beginning of a file, cut within a character
SAMPLE = 1 << 18  # bytes by which an encoding is judged
PLAUSIBLE = 0.5
DAMAGED = 0.2  # share of broken characters up to which text is UTF-8 all the same
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CHINESE = {"gb18030": ("gb2312", range(0xB0, 0xD8)), "cp950": ("big5", range(0xA4, 0xC7))}  # lead bytes of everyday characters
SHOWN = {"gb18030": "GB18030", "cp950": "Big5", "big5hkscs": "Big5-HKSCS"}
_PRIVATE = range(0xE000, 0xF900)


def decoded(data: bytes) -> str:
    """The text, without its mark. What no encoding explains is replaced."""
    return data.decode(encoding_of(data), "replace")


def encoding_of(data: bytes) -> str:
    """By its mark; else UTF-16 without one, UTF-8, GB 18030 or Big5, whichever makes the more common characters; else Latin-1."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    start = data[:2000]
    if start.count(0) * 4 > len(start):
        return "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"
    if fits(data, "utf-8") or _barely_damaged(data[:SAMPLE]):
        return "utf-8"
    scores = {encoding: _plausible(data[:SAMPLE], encoding) for encoding in _CHINESE if fits(data, encoding)}
    best = max(scores, key=lambda encoding: scores[encoding], default=LATIN)
    if best == LATIN or scores[best] >= PLAUSIBLE:
        return best
    return best if any(0x80 <= byte < 0xA0 for byte in data[:SAMPLE]) else LATIN  # these are no letters in Latin-1


def fits(data: bytes, encoding: str) -> bool:
    """Whether all of it can be read so, but for a character that the end of a head cuts."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return len(data) >= HEAD and error.start >= len(data) - 4
    return True


def _barely_damaged(data: bytes) -> bool:
    text = [char for char in data.decode("utf-8", "replace") if not char.isascii()]
    return text.count("\ufffd") <= DAMAGED * len(text)


def _plausible(data: bytes, encoding: str) -> float:
    """1 where all characters beyond ASCII are everyday ones; rare ones count half, those for private use against it."""
    codec, everyday = _CHINESE[encoding]
    text = [char for char in data.decode(encoding, "ignore") if not char.isascii()]
    score = 0.0
    for char in text:
        code = char.encode(codec, "ignore")
        score += -1 if ord(char) in _PRIVATE else 1 if code and code[0] in everyday else 0.5 if code else 0
    return score / max(1, len(text))
