"""XML that nobody vouches for: no entities, nothing fetched, damage named with its place."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engine.types import UserError


def parse(data: bytes, where: str) -> Element:
    """The root element. Raises UserError with the file and, where the parser knows it, line and column."""
    try:
        return fromstring(data, forbid_entities=True, forbid_external=True)
    except ParseError as error:
        line, column = error.position
        raise UserError("xml_damaged", where=f"{where}:{line}:{column + 1}", reason=str(error).partition(":")[0]) from error
    except DefusedXmlException as error:
        raise UserError("xml_entities", where=where) from error
    except (ValueError, LookupError, RecursionError) as error:
        raise UserError("xml_damaged", where=where, reason=str(error)[:200]) from error


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
