"""The image files that COCO documents name: beside the document, in a folder of images, or known by another machine's path."""

from __future__ import annotations

from engine.datasets.formats.coco_documents import Document
from engine.datasets.formats.yolo_layout import IMAGE_FOLDERS
from engine.datasets.images import is_image
from engine.datasets.tree import Tree, folded, normal, split_of


def clean_path(name: str) -> tuple[str, bool]:
    """(`name` as a clean relative path, whether it led outside); "" when nothing can be made of it.

    Of a path that is absolute, climbs out or is an address, the part remains that may lie inside the data set.
    """
    if "\0" in name or (not name.isascii() and any("\ud800" <= char <= "\udfff" for char in name)):
        return "", True
    clean = normal(name)
    if clean:
        return clean, False
    parts = [part for part in name.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..") and not part.endswith(":")]
    return "/".join(parts), True


class ImageFinder:
    """Looks up the files that documents name, inside the tree and nowhere else."""

    def __init__(self, tree: Tree, skipped: set[str]) -> None:
        """`skipped` are folders of pictures that are labels."""
        self.tree, self.skipped = tree, skipped
        self._last: dict[str, str] = {}
        self._by_name: dict[str, list[str]] | None = None

    def find(self, document: Document, name: str) -> tuple[str | None, list[str]]:
        """(the file that `name`, clean and relative, stands for; else None), and the files between which nothing decides."""
        beside = document.path.rpartition("/")[0]
        for folder in dict.fromkeys((self._last.get(document.path, beside), beside)):
            found = self.tree.find(f"{folder}/{name}" if folder else name)
            if found is not None and (not self.skipped or found.rpartition("/")[0] not in self.skipped):
                return found, []
        fitting = self._fitting(document, name)
        if len(fitting) != 1:
            return None, fitting
        if fitting[0].endswith(f"/{name}"):
            self._last[document.path] = fitting[0][:-len(name) - 1]
        return fitting[0], []

    def _fitting(self, document: Document, name: str) -> list[str]:
        """The files of that name that share the longest end with its path; of equals those of the split, in the first folder called images."""
        found = self._named(name.rpartition("/")[2])
        parts = name.split("/")
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            sharing = [path for path in found if path == end or path.endswith(f"/{end}")]
            sharing = sharing or ([path for path in found if f"/{folded(path)}".endswith(f"/{folded(end)}")] if not end.isascii() else [])
            if sharing:
                found = sharing
                break
        found = [path for path in found if split_of(*path.split("/")[:-1]) == document.split] or found
        return [path for path in found if IMAGE_FOLDERS.intersection(path.casefold().split("/"))] or found if len(found) > 1 else found

    def _named(self, name: str) -> list[str]:
        if self._by_name is None:
            self._by_name = {}
            for folder, listing in self.tree.walk():
                for file in listing.files if folder not in self.skipped else ():
                    if is_image(file):
                        self._by_name.setdefault(folded(file), []).append(f"{folder}/{file}" if folder else file)
        fitting = self._by_name.get(folded(name), [])
        return [path for path in fitting if path.rpartition("/")[2] == name] or fitting
