"""XML that nobody vouches for: no entities, nothing fetched, damage named with its place."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engine.datasets import plain_text
from engine.types import Problem, UserError

_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,1000}\?>")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([A-Za-z0-9_-]{1,20})["']""")
_NAMESPACES = (b"xmlns", b"x\0m\0l\0n\0s")  # as it stands in UTF-16, too
_CHINESE = {"gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "cp936": "gb18030", "big5": "cp950", "cp950": "cp950",
            "big5-hkscs": "big5hkscs"}


def parse(data: bytes, where: str, problems: list[Problem] | None = None) -> Element:
    """The root element; names are without their namespaces. Raises UserError with the file and, where the parser knows it, line and column.

    Chinese encodings, which the parser does not know, are read all the same; a note among `problems` says so.
    """
    try:
        return _parsed(data, where)
    except UserError as error:
        encoding = _chinese(data) if error.key == "xml_damaged" else None
        if encoding is None:
            raise
        try:
            content = _parsed(_DECLARATION.sub("", data.decode(encoding)).encode(), where)
        except UnicodeDecodeError:
            raise error from None
        if problems is not None and encoding != "utf-8":
            problems.append(Problem("label_encoding", "note", where, {"encoding": plain_text.SHOWN[encoding]}))
        return content


def _chinese(data: bytes) -> str | None:
    """The encoding of Chinese text, the declared one first; "utf-8" where the declaration is wrong; None for anything else."""
    declared = _DECLARED.match(data[:500])
    named = _CHINESE.get(declared[1].decode("ascii").lower()) if declared else None
    found = plain_text.encoding_of(data)
    if found == "utf-8":
        return found if named else None
    return next((encoding for encoding in (named, found) if encoding in plain_text.SHOWN and plain_text.fits(data, encoding)), None)


def _parsed(data: bytes, where: str) -> Element:
    try:
        root = fromstring(data, forbid_entities=True, forbid_external=True)
    except ParseError as error:
        line, column = error.position
        raise UserError("xml_damaged", where=f"{where}:{line}:{column + 1}", reason=str(error).partition(":")[0]) from error
    except DefusedXmlException as error:
        raise UserError("xml_entities", where=where) from error
    except (ValueError, LookupError, RecursionError) as error:
        raise UserError("xml_damaged", where=where, reason=str(error)[:200]) from error
    if any(mark in data for mark in _NAMESPACES):  # tools that declare one mean the same elements as those that do not
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    return root


def text_of(element: Element, path: str, otherwise: str = "") -> str:
    """The text of the first element at `path` below `element`, without blanks around it."""
    found = element.find(path)
    return (found.text or "").strip() if found is not None else otherwise


def number_of(element: Element, path: str) -> float | None:
    """The number at `path`; None when there is none."""
    try:
        return float(text_of(element, path))
    except ValueError:
        return None
