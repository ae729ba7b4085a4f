"""From whatever a person points at - folder, archive, label file - to a folder, its format and a stream of samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from engine.datasets import archive, looking, owners
from engine.datasets.archive_names import is_nested_archive
from engine.datasets.formats import Format, formats
from engine.datasets.formats.foreign import foreign
from engine.datasets.images import is_image
from engine.datasets.tree import Tree, shared_listings, split_of
from engine.types import Problem, Reading, UserError

STRUCTURE = frozenset(("images", "labels", "annotations", "image", "label", "masks", "imagesets", "jpegimages"))
MAX_FOUND = 8
BARE = 3  # the rank of formats that hold nothing but images


@contextmanager
def opened(src: Path, scratch: Path | None = None, *, problems: list[Problem] | None = None,
           progress: archive.Progress | None = None) -> Iterator[Path]:
    """The folder (or single label file) that `src` stands for; an archive is unpacked into `scratch`, or for the time being.

    What the archive could not give is added to `problems`. Raises UserError.
    """
    if not src.exists():
        raise UserError("path_missing", path=src.name or str(src))
    if src.is_dir():
        looking.check_is_no_disk(src)
    if src.is_dir() or (src.suffix.lower() in label_file_suffixes() and archive.kind_of(src) is None):
        with shared_listings():
            yield unwrapped(src) if src.is_dir() else src
        return
    with owners.temporary("lightbox-unpacked") if scratch is None else nullcontext(scratch) as own:
        found = archive.unpack(src, own / "unpacked", progress)
        if problems is not None:
            problems += found
        with shared_listings():
            yield unwrapped(own / "unpacked")


def label_file_suffixes() -> set[str]:
    return {suffix for entry in formats.entries().values() for suffix in entry.files}


def unwrapped(root: Path) -> Path:
    """Goes through folders that only hold one other folder, unless its name says that it is a part of a data set."""
    while True:
        inside = Tree(root).folder("")
        if len(inside.folders) != 1 or any(_matters(name) for name in inside.files):
            return root
        name = inside.folders[0]
        if name.casefold() in STRUCTURE or split_of(name):
            return root
        root = root / name


TELLING_SUFFIXES = (".yaml", ".yml", ".json", ".xml", ".csv", ".names", ".data", ".sqlite")


def _matters(name: str) -> bool:
    """Whether a file beside the only folder speaks for the data set; a README or a licence does not."""
    return is_image(name) or is_nested_archive(name) or name.lower().endswith(TELLING_SUFFIXES)


def evidence(root: Path) -> dict[str, str]:
    """What speaks for each format: name -> evidence. Weaker evidence counts only where there is no stronger."""
    readers = formats.entries().values()
    asked = [entry for entry in readers if root.is_dir() or root.suffix.lower() in entry.files]
    for rank in sorted({entry.rank for entry in asked}):
        found = ((entry.name, entry.detects(root)) for entry in asked if entry.rank == rank)
        certain = {name: text for name, text in found if text is not None}
        if certain:
            return certain
    return {}


def recognise(root: Path, name: str | None = None) -> tuple[Format, str]:
    """The format of a data set and what speaks for it. Raises UserError when none or several do, naming the evidence."""
    if name is not None:
        chosen = formats.get(name)
        seen = chosen.detects(root) if root.is_dir() or root.suffix.lower() in chosen.files else None
        if seen is None and chosen.rank == BARE and root.is_dir() and any(listing.images() for _, listing in Tree(root).walk()):
            seen = _contents(root)  # whoever asks for the images alone gets them, whatever lies beside them
        if seen is None:
            raise UserError("format_not_found", name=name, found=_contents(root))
        return chosen, seen
    candidates = evidence(root)
    if not candidates:
        nested = [path for path in _files(root) if is_nested_archive(path)]
        if nested:
            raise UserError("only_nested_archives", names=", ".join(nested[:MAX_FOUND]))
        raise foreign(root) or UserError("no_format", found=_contents(root), known=", ".join(formats.names()))
    if len(candidates) > 1:
        raise UserError("several_formats", evidence="; ".join(f"{key} ({text})" for key, text in candidates.items()))
    chosen_name, seen = next(iter(candidates.items()))
    return formats.get(chosen_name), seen


def read(root: Path, name: str | None = None) -> Reading:
    """The classes and the lazy stream of the data set at `root`."""
    return recognise(root, name)[0].read(root)


def _files(root: Path) -> list[str]:
    if root.is_file():
        return [root.name]
    listing = Tree(root).folder("")
    return [*listing.files, *(f"{name}/" for name in listing.folders)]


def _contents(root: Path) -> str:
    """The first names in a folder and how many images lie in it, so that an error can say what came."""
    names = _files(root)
    shown = ", ".join(names[:MAX_FOUND]) + (", ..." if len(names) > MAX_FOUND else "")
    images = 0 if root.is_file() else sum(len(listing.images()) for _, listing in Tree(root).walk())
    return f"{shown or '-'} ({images} images)"
