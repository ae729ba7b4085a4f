"""Names of classes beside masks: by index, by colour, or both, in the notations that tools write."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.datasets import plain_json, plain_text
from engine.datasets.objects import clean_name, shown
from engine.datasets.tree import Tree
from engine.types import Problem, UserError

LEGENDS = ("dataset_meta.json", "labelmap.txt", "label_colors.txt", "label_colours.txt", "class_dict.csv", "class_dict_seg.csv", "_classes.csv",
           "classes.csv", "class_names.txt", "classes.txt", "labels.txt", "classes.json", "labels.json", "label_map.json", "id2label.json",
           "label_names.txt", "class_dict.json", "colormap.json", "obj_class_to_machine_color.json")
VOID_NAMES = frozenset(("void", "ignore", "ignored", "__ignore__", "ignore_label", "ignore label"))
BACKGROUNDS = frozenset(("background", "_background_", "bg", "背景", "背景类", "背景類"))  # case-folded
NUMBERED = "# index name"  # the first line of a list that gives the indices itself
MAX_BYTES = 4 << 20
MAX_NAMES = 65_535
_TRIPLE = r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})"
_CVAT = re.compile(rf"^(?P<name>[^:]+):{_TRIPLE}(?::|$)")
_BEFORE = re.compile(rf"^{_TRIPLE}[\s,]+(?P<name>\S.*)$")
_AFTER = re.compile(rf"^(?P<name>.*?\S)[\s,]+{_TRIPLE}$")
_NUMBERED = re.compile(r"^(?P<number>\d{1,5})(?:\s*[:,\t]\s*|\s+)(?P<name>\S.*)$")
_HEX = re.compile(r"^#?([0-9A-Fa-f]{6})$")


@dataclass
class Legend:
    """Class names `by_index` and `by_colour` (0xRRGGBB) in the file's order; `numbered` = the file itself gives the indices.

    `faults` are lines that cannot be understood, and colours that are given twice.
    """

    path: str = ""
    by_index: dict[int, str] = field(default_factory=dict)
    by_colour: dict[int, str] = field(default_factory=dict)
    numbered: bool = False
    faults: list[Problem] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.by_index or self.by_colour)


def find_legend(tree: Tree, masks: Iterable[str]) -> Legend:
    """The first legend that can be read: beside the masks, in the folders above them, in the root. An empty one when there is none."""
    folders: dict[str, None] = {"": None}
    for path in masks:
        parts = path.split("/")[:-1]
        folders.update({"/".join(parts[:depth]): None for depth in range(len(parts), 0, -1)})
        if len(folders) > 50:
            break
    for name in LEGENDS:
        for folder in folders:
            found = tree.find(f"{folder}/{name}" if folder else name) if tree.has_folder(folder) else None
            legend = read_legend(tree, found) if found else Legend()
            if legend:
                return legend
    return Legend()


def read_legend(tree: Tree, path: str) -> Legend:
    """Empty when nothing in it can be understood."""
    try:
        data = tree.read(path, MAX_BYTES)
        faults: list[Problem] = []
        is_json = path.lower().endswith(".json")
        entries, numbered = _json_entries(data, path) if is_json else _text_entries(plain_text.decoded(data), path, faults)
    except UserError:
        return Legend()
    legend = Legend(path, numbered=numbered, faults=faults)
    for number, name, colour in entries[:MAX_NAMES]:
        name = clean_name(name)
        name = "background" if name.casefold() in BACKGROUNDS else name or f"class {number}"
        if number is not None:
            legend.by_index.setdefault(number, name)
        first = legend.by_colour.setdefault(colour, name) if colour is not None else name
        if first != name:
            legend.faults.append(Problem("legend_colour_twice", "warning", path, {"colour": f"#{colour:06x}", "name": name, "first": first}))
    return legend


Entry = tuple[int | None, str, int | None]  # index, name, colour


def _text_entries(text: str, path: str, faults: list[Problem]) -> tuple[list[Entry], bool]:
    if path.lower().endswith(".csv"):
        return _csv_entries(text)
    lines = [line.strip() for line in text.splitlines()]
    ours = lines[:1] == [NUMBERED]
    lines = [line for line in lines if ours or not line.startswith("#")][ours:]
    written = [line for line in lines if line]
    matches = [] if ours else [_CVAT.match(line) or _BEFORE.match(line) or _AFTER.match(line) for line in written]
    entries = [_coloured(place, match) for place, match in enumerate(matches)]
    known = [entry for entry in entries if entry is not None]
    if 2 * len(known) >= len(written) > 0:
        heading = entries[0] is None and not any(map(str.isdecimal, written[0]))
        whole = {line: number for number, line in reversed(list(enumerate(map(str.strip, text.splitlines()), 1)))}
        strange = [line for line, entry in zip(written, entries, strict=True) if entry is None][heading:]
        faults += [Problem("legend_line_wrong", "warning", f"{path}:{whole[line]}", {"line": shown(line)}) for line in strange]
        return [(place - heading, name, colour) for place, name, colour in known if place is not None], False
    numbered = [_NUMBERED.match(line) for line in written]
    numbers = [int(match["number"]) for match in numbered if match]
    if written and len(numbers) == len(written) and all(low < high for low, high in zip(numbers, numbers[1:], strict=False)):
        return [(int(match["number"]), match["name"], None) for match in numbered if match], True
    while lines and not lines[-1]:
        lines.pop()
    start = -1 if lines and lines[0] == "__ignore__" else 0  # the list of labelme's exporter counts from -1
    return [(place, line, None) for place, line in enumerate(lines, start) if place >= 0], False


def _coloured(place: int, match: re.Match[str] | None) -> Entry | None:
    """None for what is no name with a colour."""
    colour = _colour([value for key, value in enumerate(match.groups()) if _is_channel(match, key)]) if match else None
    return (place, match["name"], colour) if match and colour is not None else None


def _is_channel(match: re.Match[str], group: int) -> bool:
    return group + 1 != match.re.groupindex["name"]


def _csv_entries(text: str) -> tuple[list[Entry], bool]:
    """Columns by their headings: a name, red/green/blue or a colour, an index."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), skipinitialspace=True) if any(cell.strip() for cell in row)]
    if not rows:
        return [], False
    heads = {re.sub(r"[^a-z]", "", cell.casefold()): place for place, cell in enumerate(rows[0])}
    def place_of(*words: str) -> int | None:
        return next((heads[word] for word in words if word in heads), None)
    name = place_of("name", "class", "classname", "label", "labelname", "category")
    index = place_of("pixelvalue", "index", "id", "value", "classid", "labelid")
    channels = [place_of(*words) for words in (("r", "red"), ("g", "green"), ("b", "blue"))]
    joint = place_of("color", "colour", "hex", "rgb")
    if name is None:
        return [], False
    entries: list[Entry] = []
    for row in rows[1:]:
        def cell(place: int | None, row: list[str] = row) -> str:
            return row[place] if place is not None and place < len(row) else ""
        colour = _colour([cell(place) for place in channels]) if None not in channels else _colour(cell(joint))
        number = int(cell(index)) if cell(index).isdecimal() and len(cell(index)) < 6 else None if index is not None else len(entries)
        entries.append((number, cell(name), colour))
    return entries, index is not None


def _json_entries(data: bytes, path: str) -> tuple[list[Entry], bool]:
    content = plain_json.parse(data, path)
    if isinstance(content, dict) and isinstance(content.get("label_map"), dict):
        colours = content.get("segmentation_colors")
        entries, _ = _of_mapping(content["label_map"])
        known = colours if isinstance(colours, list) else []
        return [(number, name, _colour(known[place]) if place < len(known) else None) for place, (number, name, _) in enumerate(entries)], True
    for key in ("classes", "labels", "names", "categories"):
        if isinstance(content, dict) and isinstance(content.get(key), list | dict):
            content = content[key]
    if isinstance(content, dict):
        return _of_mapping(content)
    return (_of_list(content), False) if isinstance(content, list) else ([], False)


def _of_mapping(content: dict[Any, Any]) -> tuple[list[Entry], bool]:
    """{"0": "road"}, {"road": 0} or {"road": [128, 64, 128]}; the last gives no indices."""
    entries: list[Entry] = []
    for key, value in content.items():
        if isinstance(value, str) and key.isdecimal() and len(key) < 6:
            entries.append((int(key), value, None))
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_NAMES:
            entries.append((value, key, None))
        elif _colour(value) is not None:
            entries.append((None, key, _colour(value)))
    if entries and all(number is None for number, _, _ in entries):
        return [(place, name, colour) for place, (_, name, colour) in enumerate(entries)], False
    return sorted(entries, key=lambda entry: entry[0] if entry[0] is not None else MAX_NAMES), True


def _of_list(content: list[Any]) -> list[Entry]:
    """["road", …] or [{"name": "road", "color": …}, …]."""
    entries: list[Entry] = []
    for place, value in enumerate(content[:MAX_NAMES]):
        if isinstance(value, dict):
            name = next((value[key] for key in ("name", "label", "title", "class") if isinstance(value.get(key), str)), "")
            number = next((value[key] for key in ("id", "index", "value") if type(value.get(key)) is int and 0 <= value[key] < MAX_NAMES), place)
            colour = next((found for key in ("color", "colour", "rgb") if (found := _colour(value.get(key))) is not None), None)
            entries.append((number, name, colour))
        elif isinstance(value, str | int | float):
            entries.append((place, str(value), None))
    return entries


def _colour(value: Any) -> int | None:
    """0xRRGGBB of three numbers 0..255, of "#rrggbb" or of a text of three numbers."""
    if isinstance(value, str):
        match = _HEX.match(value.strip())
        if match:
            return int(match[1], 16)
        value = re.findall(r"\d+", value)
    if not isinstance(value, list | tuple) or len(value) not in (3, 4):
        return None
    try:
        numbers = [int(channel) for channel in value[:3]]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers[0] << 16 | numbers[1] << 8 | numbers[2] if all(0 <= number < 256 for number in numbers) else None


def text_of(names: Iterable[str], void: int | None) -> str:
    """classes.txt: line i names index i; with the index in front where `void` is used, or where names could be mistaken for that."""
    lines = [" ".join(name.split()) or f"class {index}" for index, name in enumerate(names)]
    telling = void is not None or all(_NUMBERED.match(line) for line in lines) or any(line.startswith("#") for line in lines)
    telling = telling or any(_CVAT.match(line) or _BEFORE.match(line) or _AFTER.match(line) for line in lines)
    if telling:
        lines = [NUMBERED, *(f"{index} {line}" for index, line in enumerate(lines)), *([f"{void} ignore"] if void is not None else [])]
    return "".join(f"{line}\n" for line in lines)
