"""From the values of a set of masks to classes: which value is which class, which is void, and what had to be assumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from engine.datasets.formats.mask_legends import BACKGROUNDS, VOID_NAMES, Legend
from engine.datasets.formats.mask_levels import check_colours, check_masks, nearest, soft_colours, soft_gray
from engine.datasets.formats.mask_values import TRANSPARENT, Levels, Raw, Survey, Tally, bands
from engine.types import IGNORE, Problem, UserError

UNKNOWN = 0xFFFE  # in a table: no mask that was looked at before has this value
VOC_VOID = 0xE0E0C0
BACKGROUND = "background"
BACKGROUND_NAMES = BACKGROUNDS | {"back ground", "none", "nothing", "unlabeled", "unlabelled"}
BINARY = (1, 255, 65535)  # what stands for "yes" beside 0
SMALL = 32  # indices below this are counted, not chosen


@dataclass
class Coding:
    """`classes` and the `table` from value to class id (IGNORE = void). `colours`: values are 0xRRGGBB, else gray or indices."""

    colours: bool
    classes: list[str] = field(default_factory=list)
    table: dict[int, int] = field(default_factory=dict)
    notes: list[Problem] = field(default_factory=list)

    def id_of(self, name: str) -> int:
        if name not in self.classes:
            self.classes.append(name)
        return self.classes.index(name)

    def first(self, name: str) -> int:
        """Puts a class before all others, and gives its id."""
        if name in self.classes:
            return self.classes.index(name)
        self.classes.insert(0, name)
        self.table = {value: number if number == IGNORE else number + 1 for value, number in self.table.items()}
        return 0

    @cached_property
    def _lookup(self) -> np.ndarray:
        lookup = np.full(TRANSPARENT + 1 if self.colours else 1 << 16, UNKNOWN, np.uint16)
        lookup[list(self.table)] = list(self.table.values())
        return lookup

    def apply(self, raw: Raw) -> tuple[np.ndarray, list[int]]:
        """(classes u16[H,W], values that have no class: their pixels become void)."""
        classes = np.empty(raw.values.shape, np.uint16)
        unknown: set[int] = set()
        for band in bands(raw.values.shape):
            values = raw.values[band]
            if self.colours and raw.kind == "gray":
                values = (values if values.dtype == np.uint8 else values >> 8).astype(np.uint32) * 0x010101
            elif self.colours and raw.palette is not None:
                values = raw.palette[values]
            classes[band] = self._lookup[values]
            strange = classes[band] == UNKNOWN
            if strange.any():
                unknown.update(np.unique(values[strange]).tolist())
                classes[band][strange] = IGNORE
        return classes, sorted(unknown)


def decide(survey: Survey, legend: Legend, name: str) -> Coding:
    """Raises UserError when the pictures of the set, `name` for one, are no masks, or when compression has destroyed their classes."""
    levels, colours = _view(survey)
    grays = colours and all(value != TRANSPARENT and value == (value & 255) * 0x010101 for value in levels)
    plain = {value & 255: tally for value, tally in levels.items()} if grays else levels
    by_value = not colours or grays
    peaks = soft_gray(plain, lossy=bool(survey.lossy)) if by_value and not _all_named(plain, legend) else None
    peaks = soft_colours(levels, legend.by_colour) if not by_value else peaks
    if by_value and peaks is not None and len(peaks) == 2 and peaks[0] < 64 and 192 <= peaks[1] < 256:
        peaks = [0, 255]  # the ends themselves may have been blurred away
    if survey.lossy and len(peaks if peaks is not None else levels) > 2:
        raise UserError("masks_lossy", name=survey.lossy, levels=len(levels))
    snapped = nearest(list(plain), peaks, colours=not by_value) if peaks is not None else {value: value for value in plain}
    kept: Levels = {}
    for value, tally in plain.items():
        kept.setdefault(snapped[value], Tally()).add(tally)
    if not _all_named(kept, legend):
        check_masks(kept, name)
        if not by_value and not legend:
            check_colours(kept, name)
    coding = Coding(colours)
    _Namer(coding, kept, legend, survey if not colours else None).name(by_value)
    own = coding.table
    coding.table = {value: own[snapped[value & 255 if grays else value]] for value in levels}
    if peaks is not None or survey.soft:
        code = "mask_lossy_thresholded" if survey.lossy else "mask_thresholded"
        shown = [_shown(peak, by_value) for peak in peaks or sorted(kept)]
        coding.notes.append(Problem(code, "warning", ".", {"levels": len(levels), "kept": ", ".join(shown[:8])}))
    return coding


def _view(survey: Survey) -> tuple[Levels, bool]:
    """(levels, whether they are colours): indices as they are where all palettes agree, else what the eye sees."""
    if survey.index and not (survey.gray or survey.colour or survey.clash):
        shades = {value & 255: tally for value, tally in survey.by_palette.items() if value == (value & 255) * 0x010101}
        blended = soft_gray(shades) if len(shades) == len(survey.by_palette) else soft_colours(survey.by_palette)
        if blended is None:
            return survey.index, False
    elif not survey.index and not survey.colour:
        return survey.gray, False
    united: Levels = {}
    wide = max(survey.gray, default=0) > 255
    for value, tally in survey.gray.items():
        united.setdefault((value >> 8 if wide else value) * 0x010101, Tally()).add(tally)
    for source in (survey.by_palette, survey.colour):
        for value, tally in source.items():
            united.setdefault(value, Tally()).add(tally)
    return united, True


def _all_named(levels: Levels, legend: Legend) -> bool:
    """Whether the legend knows nearly every value, so that nothing has to be guessed."""
    return bool(legend) and all(value in legend.by_index or value in legend.by_colour or value in (255, 65535) for value in levels)


def _shown(value: int, by_value: bool) -> str:
    return str(value) if by_value else "transparent" if value == TRANSPARENT else f"#{value:06x}"


@dataclass
class _Namer:
    """Gives names to the values that are left. `survey` is given for indices, whose palette may be what the legend speaks of."""

    coding: Coding
    levels: Levels
    legend: Legend
    survey: Survey | None

    def name(self, by_value: bool) -> None:
        coding, legend = self.coding, self.legend
        if not by_value:
            self._colours()
        elif legend:
            self._gray_with_legend()
        else:
            self._gray()
        void = [value for value, number in coding.table.items() if number == IGNORE]
        if void:
            share = sum(self.levels[value].count for value in void) / max(1, sum(tally.count for tally in self.levels.values()))
            shown = ", ".join(_shown(value, by_value) for value in void)
            coding.notes.append(Problem("mask_void", "note", ".", {"values": shown, "share": _percent(share)}))

    # ---- gray values and indices

    def _gray(self) -> None:
        values = self._without_void()
        if set(values) <= {0} or (len(values) <= 2 and values[-1] in BINARY and values[0] in (0, values[-1])):
            self._binary(values[-1] if values and values[-1] else 255)
            return
        counted = values[-1] < max(SMALL, 2 * len(values))
        for value in values:
            name = BACKGROUND if value == 0 else f"class {value}" if counted else f"value {value}"
            self.coding.table[value] = self.coding.id_of(name)
        if not self.legend:
            self.coding.notes.append(Problem("mask_no_names", "note", ".", {"count": sum(value != 0 for value in values)}))

    def _binary(self, high: int) -> None:
        """0 is background when it covers the most; else nobody can tell which of the two is the object."""
        counts = {value: self.levels[value].count if value in self.levels else 0 for value in (0, high)}
        total = sum(counts.values())
        clear = counts[0] * 2 >= total
        names = (BACKGROUND, "foreground") if clear else ("value 0", f"value {high}")
        self.coding.table.update((value, self.coding.id_of(name)) for value, name in zip((0, high), names, strict=True))
        if not clear:
            shares = {"low": _percent(counts[0] / total), "high": _percent(counts[high] / total), "value": high}
            self.coding.notes.append(Problem("mask_polarity_unclear", "warning", ".", shares))

    def _without_void(self, known: bool = False) -> list[int]:
        """The values in order; 255 (or 65535) beside small indices becomes void."""
        values = sorted(self.levels)
        top = values[-1] if values else 0
        rest = values[:-1]
        beside = bool(rest) and (rest[-1] < SMALL or len(rest) * 2 >= rest[-1])
        if top in (255, 65535) and (known or (beside and rest[-1] > 0)):
            self.coding.table[top] = IGNORE
            return rest
        return values

    def _gray_with_legend(self) -> None:
        names, certain = self._names_by_value()
        if set(self.levels) == {0, 255} and len(names) > 2 and not (certain or 255 in names):
            self.coding.notes.append(Problem("mask_legend_unused", "warning", self.legend.path, {"count": len(names)}))
            self._gray()
            return
        if certain or set(self.levels) <= set(names):
            values = self._without_void(known=bool(self.levels) and max(self.levels) not in names)
        else:
            names, values = self._in_order(names)
        for number in names:
            if not self._is_void(names[number], number):
                self.coding.id_of(names[number])
        unnamed = []
        for value in values:
            if value in names:
                self.coding.table[value] = IGNORE if self._is_void(names[value], value) else self.coding.id_of(names[value])
            elif value == 0 and not BACKGROUND_NAMES.intersection(map(str.casefold, names.values())):
                self.coding.table[0] = self.coding.first(BACKGROUND)
            else:
                unnamed.append(value)
        for value in unnamed:
            self.coding.table[value] = self.coding.id_of(f"class {value}")
        if unnamed:
            shown = ", ".join(map(str, unnamed[:10])) + (", ..." if len(unnamed) > 10 else "")
            self.coding.notes.append(Problem("mask_values_unnamed", "warning", self.legend.path, {"values": shown}))

    def _names_by_value(self) -> tuple[dict[int, str], bool]:
        """What the legend calls each value: by the colour that it has, as gray or in the palette, else by its index; whether it says so itself."""
        legend, palette = self.legend, self.survey.palette if self.survey else {}
        if legend.by_colour and not legend.numbered:
            seen = {value: palette.get(value, value * 0x010101 if value < 256 else -1) for value in self.levels}
            if any(colour in legend.by_colour for value, colour in seen.items() if value) and all(
                    colour in legend.by_colour or value in (0, 255) for value, colour in seen.items()):
                own = {colour: value for value, colour in seen.items()}
                spare = iter(range(1 << 16, 1 << 17))
                return {own.get(colour, next(spare)): name for colour, name in legend.by_colour.items()}, True
        return dict(sorted(legend.by_index.items())), legend.numbered

    def _in_order(self, names: dict[int, str]) -> tuple[dict[int, str], list[int]]:
        """Names that give no index and do not fit as they stand: background left out, 0 and 255 for two, or one a value in order."""
        values, listed = sorted(self.levels), [names[number] for number in sorted(names)]
        lacks = bool(listed) and listed[0].casefold() not in BACKGROUND_NAMES
        if 0 < len(listed) <= 2 and len(values) <= 2 and values[-1] in BINARY and values[0] in (0, values[-1]):
            pair = [BACKGROUND, *listed] if len(listed) == 1 else listed
            return dict(zip((0, values[-1]), pair, strict=True)), values
        rest = self._without_void()
        if lacks and 0 in rest and rest[-1] == len(listed):
            return dict(enumerate(listed, 1)), rest
        if len(rest) == len(listed) and rest[-1] >= len(listed):
            return dict(zip(rest, listed, strict=True)), rest
        return names, self._without_void(known=values[-1] not in names)

    def _is_void(self, name: str, value: int) -> bool:
        """A class called void is none, unless most of the picture is that: then it is a background."""
        total = sum(tally.count for tally in self.levels.values())
        said = self.legend.numbered and value in (255, 65535)
        return name.casefold() in VOID_NAMES and (said or value not in self.levels or self.levels[value].count * 2 < total)

    # ---- colours

    def _colours(self) -> None:
        coding, named = self.coding, self._names_by_colour()
        for colour, name in named.items():
            if self._is_void(name, colour):
                coding.table[colour] = IGNORE
            else:
                coding.table[colour] = coding.id_of(name)
        nothing = [colour for colour in (TRANSPARENT, 0) if colour in self.levels and colour not in coding.table]
        others = [colour for colour in sorted(self.levels) if colour not in coding.table and colour not in nothing]
        if len(nothing) == 2 and not others and not named:
            others, nothing = [0], [TRANSPARENT]
        if VOC_VOID in others and len(self.levels) > 2:
            others.remove(VOC_VOID)
            coding.table[VOC_VOID] = IGNORE
        for colour in nothing:
            coding.table[colour] = coding.first(BACKGROUND)
        for colour in others:
            coding.table[colour] = coding.id_of(f"colour {_shown(colour, False)}")
        coding.table = {colour: number for colour, number in coding.table.items() if colour in self.levels}
        if others:
            shown = ", ".join(_shown(colour, False) for colour in others[:8]) + (", ..." if len(others) > 8 else "")
            values = {"count": len(others), "colours": shown}
            coding.notes.append(Problem("mask_colours_unlisted", "warning", self.legend.path, values) if named else
                                Problem("mask_colours_unnamed", "note", ".", values))

    def _names_by_colour(self) -> dict[int, str]:
        """The legend's, or where it gives indices only, those by the colours that PASCAL VOC gives to indices."""
        if self.legend.by_colour or not self.legend.by_index:
            return self.legend.by_colour
        usual = {voc_colour(number): name for number, name in self.legend.by_index.items() if number < 256}
        return usual if all(colour in usual or colour in (VOC_VOID, TRANSPARENT) for colour in self.levels) else {}


def voc_colour(index: int) -> int:
    """0xRRGGBB of an index in the PASCAL VOC palette: its bits, three by three, from the highest bit of each channel down."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red, green, blue = (channel | (index >> place & 1) << shift for place, channel in enumerate((red, green, blue)))
        index >>= 3
    return red << 16 | green << 8 | blue


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
