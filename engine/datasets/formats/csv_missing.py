"""What tables name and nobody knows: images that are not there, each named once and from some number on counted; splits that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.datasets.formats.image_index import ImageIndex
from engine.datasets.objects import shown
from engine.types import Problem

MAX_NAMED = 100


@dataclass
class Missing:
    """Says of each entry once that it means no image of the `index`, or several."""

    index: ImageIndex
    seen: set[str] = field(default_factory=set)
    blank: int = 0
    unnamed: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})  # by whether several images fit

    def entry(self, text: str, where: str) -> Iterator[Problem]:
        """The problem of one row; rows without a text are different ones."""
        if text in self.seen:
            return
        if text:
            self.seen.add(text)
        self.blank += not text
        several = len(self.index.candidates(text)) > 1
        if len(self.seen) + self.blank <= MAX_NAMED:
            yield Problem("listed_image_ambiguous" if several else "listed_image_missing", "error", where, {"entry": shown(text) or "-"})
        else:
            self.unnamed[several] += 1

    def rest(self) -> Iterator[Problem]:
        """How many more there were than have been named."""
        for several, count in self.unnamed.items():
            if count:
                yield Problem("listed_images_ambiguous" if several else "listed_images_missing", "error", ".", {"count": count})


def split_words_unknown(path: str, words: Counter[str]) -> Problem:
    """What stands in the split column of the table at `path` and is no split."""
    names = ", ".join(shown(word) for word, _ in words.most_common(5)) + (", ..." if len(words) > 5 else "")
    return Problem("table_split_unknown", "error", path, {"count": words.total(), "words": names})
