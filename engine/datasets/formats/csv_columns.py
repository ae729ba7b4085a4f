"""What the columns of a table of labels are for: told by their headings and by what stands in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from engine.datasets.formats.csv_kinds import are_fractions, bare_boxes, holds_runs, is_fraction, is_retinanet, kind_of_heading, no_names, plain
from engine.datasets.formats.image_index import ImageIndex
from engine.datasets.images import is_image
from engine.datasets.objects import number
from engine.datasets.tree import SPLIT_WORDS, split_of
from engine.types import UNCERTAIN


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Headings as they compare: small letters, digits and words without anything between them. Of several that fit, the first counts.
IMAGE_HEADS = _words("""image images imagename filename file path imagepath filepath imagefile imageindex imageid imgid imgname img imgpath name id
    fname fn picture photo relativepath originalimage 图像 图片 影像 圖片 文件名 檔名 文件 檔案""")
LABEL_HEADS = _words("""labels findinglabels label finding findings classes class classname labelname categories category categoryname tags tag
    diagnosis diagnoses dx species breed disease target y 标签 標籤 类别 類別 诊断 診斷 分类 分類""")
SPLIT_HEADS = frozenset(_words("split set subset partition phase usage datasetsplit 划分 劃分"))
GROUP_HEADS = _words("""group groupid patientid patient subjectid subject caseid case lesionid personid videoid video participantid 病人 患者 病例""")
OTHER_HEADS = frozenset(_words("""sex gender age patientage patientgender patientsex ageapprox view viewposition frontallateral appa followup width
    height index fold istrain istest isvalid train valid val test weight laterality side date time imagewidth imageheight frame year month day unnamed
    confidence score studyid dicomid quality 性别 性別 年龄 年齡"""))
ON_OFF: dict[str, float | None] = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y", "是"), 1.0), **dict.fromkeys(("0", "0.0", "false", "f", "no", "n", "否"), 0.0),
    **dict.fromkeys(("-1", "-1.0", "0.5"), UNCERTAIN), **dict.fromkeys(("", "nan", "na", "n/a", "null", "none"), None)}
_NUMBERS: dict[float | None, float] = {1.0: 1.0, 0.0: 0.0, -1.0: UNCERTAIN, UNCERTAIN: UNCERTAIN}
_STARTS = frozenset("+-.,0123456789")
NO_LABEL = frozenset(("no finding", "no findings", "nofinding", "none", "nan", ""))
NORMAL = frozenset(("normal", "正常"))
SURE = 0.9  # share of the cells that must be words for splits where no heading says so
MIN_COMBINED = 8  # different texts; blanks part labels only where few words make up many of them
PATIENT = re.compile(r"(?:^|/)(patient[ _-]?\d+)/", re.IGNORECASE)


def switched(text: str) -> float | None:
    """What a cell of a class says: 1, 0, UNCERTAIN, None for a blank; NaN for anything else. Decimals may have a comma: "1,0"."""
    value = ON_OFF.get(text, np.nan)
    return value if value == value else ON_OFF.get(text.casefold(), _NUMBERS.get(_decimal(text), np.nan))


def _decimal(text: str) -> float | None:
    return number(text.replace(",", ".", 1)) if text[:1] in _STARTS else None


@dataclass
class Columns:
    """Places of the columns: `image`; `labels`, or one `flags` column a class (place -> name); `split` and `group` where there are any.

    `heading` = the first row names the columns. `texts` = all that stands in the labels column. `ignored` are the headings of those columns
    that say nothing about classes, `probabilities` of those that hold fractions beside columns of classes.
    """

    image: int
    flags: dict[int, str] = field(default_factory=dict)
    labels: int | None = None
    split: int | None = None
    group: int | None = None
    heading: bool = True
    width: int = 0
    texts: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    probabilities: list[str] = field(default_factory=list)

    def uses(self, place: int) -> bool:
        return place in (self.image, self.labels, self.split, self.group) or place in self.flags

    @property
    def labeled(self) -> bool:
        return self.labels is not None or bool(self.flags)


@dataclass
class _Column:
    """One column of the rows that are looked at: its heading as it compares and how often each text stands in it."""

    place: int
    heading: str
    name: str
    values: Counter[str]

    def texts(self) -> set[str]:
        return {value.casefold() for value in self.values}

    @property
    def numeric(self) -> bool:
        return all(re.fullmatch(r"[+-]?\d*\.?\d*(e[+-]?\d+)?", value) for value in self.values)

    @property
    def switches(self) -> bool:
        """Whether it holds nothing but yes, no, perhaps and blanks.

        A slip in a long column is forgiven, and so is a minority of fractions; all are reported when they are read.
        """
        total = sum(self.values.values())
        said = {value: switched(value) for value in self.values}
        wrong = {value: self.values[value] for value, meaning in said.items() if meaning is not None and meaning != meaning}
        right = sum(self.values[value] for value, meaning in said.items() if meaning is not None and meaning == meaning)
        fractions = sum(count for value, count in wrong.items() if is_fraction(value))
        return right > 0 and (sum(wrong.values()) <= (1 if 4 <= total < 10 else total // 10) or (fractions == sum(wrong.values()) <= right))


def columns_of(rows: Iterable[list[str]], index: ImageIndex, classes: Sequence[str] = (), *, beside: str = "",
               trusting: bool = False) -> Columns | None:
    """The roles of the columns as `rows` (the heading included) show them; None when no column names images of the tree.

    `classes` are the names that a classes.txt beside the table lists, `beside` is the folder of the table. `trusting` believes a heading
    that says "image" although none of the images is there.
    """
    stream = iter(rows)
    first = next(stream, None)
    if first is None:
        return None
    heading = not any(index.find(cell, beside) for cell in first if is_image(cell) or "/" in cell)
    names = list(first) if heading else [""] * len(first)
    found = [_Column(place, plain(name), name, Counter()) for place, name in enumerate(names)]
    if len(found) < 2 or is_about_boxes(first, heading=heading):
        return None
    for row in stream if heading else chain([first], stream):
        for column, cell in zip(found, row, strict=False):
            column.values[cell] += 1
    if any(holds_runs(column.heading, column.values) for column in found):
        return None
    image = _image_column(found, index, beside) or (min(_called_images(found), key=_image_rank, default=None) if trusting else None)
    if image is None:
        return None
    roles = Columns(image.place, _as_written(names, classes) or {}, heading=heading, width=len(found))
    rest = [column for column in found if column.place != image.place and column.place not in roles.flags]
    _side_columns(roles, rest)
    if not roles.flags:
        _label_columns(roles, [column for column in rest if column.place not in (roles.split, roles.group)])
    if roles.labels is not None:
        roles.texts = list(found[roles.labels].values)
    unused = [column for column in rest if column.name and not roles.uses(column.place)]
    roles.probabilities = [column.name for column in unused if roles.flags and column.heading not in OTHER_HEADS and are_fractions(column.values)]
    roles.ignored = [column.name for column in unused if column.name not in roles.probabilities]
    return roles


def promises_labels(heading: Sequence[str]) -> bool:
    """Whether the headings alone speak of images and something else."""
    return len(heading) > 1 and not {plain(cell) for cell in heading}.isdisjoint(IMAGE_HEADS) and not is_about_boxes(heading, heading=True)


def is_about_boxes(first: Sequence[str], *, heading: bool) -> bool:
    """Whether a table holds boxes, outlines or run lengths, by its headings, or by the four numbers in its first row."""
    if heading:
        return kind_of_heading(first) is not None
    return is_retinanet(first) or bare_boxes(first) is not None


def _image_column(found: list[_Column], index: ImageIndex, beside: str) -> _Column | None:
    """By its heading where its texts are images of the tree, else by its texts alone."""
    def hits(column: _Column) -> int:
        return sum(1 for value in column.values if value and index.find(value, beside) is not None)
    called = _called_images(found)
    best = max(sorted(called, key=_image_rank), key=hits, default=None)
    if best is not None and hits(best):
        return best
    others = [column for column in found if column not in called and not column.numeric and hits(column) * 2 >= len(column.values)]
    return max(others, key=hits, default=None)


def _called_images(found: list[_Column]) -> list[_Column]:
    return [column for column in found if column.heading in IMAGE_HEADS]


def _image_rank(column: _Column) -> int:
    return IMAGE_HEADS.index(column.heading)


def _as_written(names: list[str], classes: Sequence[str]) -> dict[int, str] | None:
    """The layout of our own writer: image, then one column for each line of classes.txt, whatever the classes are called."""
    own = list(classes)
    return dict(enumerate(own, 1)) if own and names[:1] == ["image"] and names[1:1 + len(own)] == own else None


def _side_columns(roles: Columns, rest: list[_Column]) -> None:
    for column in rest:
        if roles.split is None and _names_splits(column, roles):
            roles.split = column.place
    groups = [column for column in rest if column.heading in GROUP_HEADS and column.place != roles.split and column.texts() - {""}]
    if groups:
        roles.group = min(groups, key=lambda column: GROUP_HEADS.index(column.heading)).place


def _names_splits(column: _Column, roles: Columns) -> bool:
    """A heading that says so needs one word for a split among its texts; any other column must hold nothing else, but for a slip."""
    if column.heading in SPLIT_HEADS:
        return any(split_of(text) for text in column.values)
    known = {text for text in column.values if text.casefold() in SPLIT_WORDS}
    total = sum(count for text, count in column.values.items() if text)
    right = sum(column.values[text] for text in known)
    told = right == total or (right >= SURE * total and len({split_of(text) for text in known}) > 1)
    return bool(known) and told and (not roles.heading or column.heading not in LABEL_HEADS)


def _label_columns(roles: Columns, rest: list[_Column]) -> None:
    """One column of labels, or one column a class."""
    called = [column for column in rest if column.heading in LABEL_HEADS]
    for column in sorted(called, key=lambda column: (column.numeric, LABEL_HEADS.index(column.heading))):
        if _names_classes(column):
            roles.labels = column.place
            return
    for column in rest:
        empty_among_flags = column.place - 1 in roles.flags and not column.texts() - {""}
        if column.name and column.heading not in OTHER_HEADS and (column.switches or empty_among_flags):
            roles.flags[column.place] = column.name
    if roles.flags:
        return
    texts = [column for column in rest if not column.numeric and column.heading not in OTHER_HEADS.union(IMAGE_HEADS) and _names_classes(column)]
    repeated = [column for column in texts if len(column.values) < sum(column.values.values()) or not roles.heading]
    if len(repeated) == 1 and len(rest) <= 2:  # among many columns an unknown one may say anything
        roles.labels = repeated[0].place
    elif not roles.heading and rest and _names_classes(rest[0]):
        roles.labels = rest[0].place
    else:  # ours, with a label for none of the images
        roles.labels = next((column.place for column in called if column.heading == "labels" and not column.texts() - {""}), None)


def _names_classes(column: _Column) -> bool:
    """Neither measurements, nor texts that are different for every image, nor labels of another kind."""
    total, different = sum(column.values.values()), len(column.values)
    if not column.texts() - {""} or any(value.startswith(("[{", "{")) for value in column.values) or no_names(column.values):
        return False
    return not (column.numeric and total > 20 and (different > total / 2 or any("." in value for value in column.values if not value.endswith(".0"))))


# ---- one cell of labels

@dataclass(frozen=True)
class Cells:
    """How the texts of a labels column are taken apart: at `separator`, if there is any; `nothing` are the words for no label."""

    separator: str | None
    nothing: frozenset[str]

    def names(self, text: str) -> list[str]:
        if text.startswith("[") and text.endswith("]"):
            parts = [part.strip().strip("'\"") for part in text[1:-1].split(",")]
        else:
            parts = text.split(self.separator) if self.separator else [text]
        names = [part.strip() for part in parts]
        return [name for name in dict.fromkeys(names) if name.casefold() not in self.nothing]


def cells_of(texts: Iterable[str], classes: Sequence[str] = ()) -> Cells:
    """From all different texts of a labels column. Where `classes` are listed, the separator is the one that leads to nothing else."""
    known = [text for text in texts if text]
    listed = {name.casefold() for name in classes}
    nothing = NO_LABEL - listed
    for separator in (None, "|", ";", ",") if listed else ():
        cells = Cells(separator, nothing)
        if all(name.casefold() in listed for text in known for name in cells.names(text)):
            return cells
    separator = next((mark for mark in ("|", ";") if any(mark in text for text in known)), None)
    if separator is None and any("," in text for text in known):
        whole = {text.strip() for text in known if "," not in text}
        parts = {part.strip() for text in known if "," in text for part in text.split(",")}
        separator = "," if parts & whole else None  # else the comma belongs to the name
    if separator is None and len(known) >= MIN_COMBINED and 2 * len({word for text in known for word in text.split()}) <= len(known):
        separator = " "
    cells = Cells(separator, nothing)
    several = [names for names in map(cells.names, known) if len(names) > 1]
    normal_alone = bool(several) and not any(NORMAL.intersection(map(str.casefold, names)) for names in several)
    return Cells(separator, nothing | NORMAL - listed) if normal_alone else cells
