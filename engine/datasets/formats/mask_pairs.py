"""Which picture is the mask of which image: told by folders, by what stands before or behind the name, or by lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine.datasets.formats.image_index import SHOWN_FOLDERS, ImageIndex, lines_of, split_of_list, without_shown
from engine.datasets.tree import SPLIT_WORDS, Tree, folded, split_of
from engine.types import Problem, UserError

IMAGE_WORDS = frozenset(("images", "image", "imgs", "img", "jpegimages", "input", "inputs", "originals", "original", "photos", "photo", "pictures",
                         "rgb", "leftimg8bit", "frames", "scans", "src", "img_dir", "image_dir", "images_dir", "pngimages", "cxr_png",
                         "701_stillsraw_full", "图像", "图片", "影像", "圖片", "原图", "原圖"))
MASK_WORDS = ("manual", "segmentationclass", "segmentationclasspng", "segmentationclassraw", "masks", "mask", "labels", "label", "annotations",
              "annotation", "annot", "labelids", "segmentation", "segmentations", "seg", "segs", "gt", "gts", "groundtruth", "ground_truth",
              "ground truth", "ground-truth", "gtfine", "trimaps", "trimap", "targets", "target", "lbl", "matte", "mattes", "segmentationclassaug",
              "ann_dir", "mask_dir", "masks_dir", "label_dir", "labels_dir", "pedmasks", "manualmask", "labeledapproved_full",
              "掩码", "掩膜", "标签", "标注", "遮罩", "標籤", "標註")  # the first of two folders wins
NO_MASKS = SHOWN_FOLDERS | {"segmentationobject", "segmentationobjectpng", "segmentationclassnpy", "overlay", "overlays", "previews", "2nd_manual",
                            "gtcoarse", "masks_human"}
NNUNET = {"tr": "train", "ts": "test", "va": "valid"}  # imagesTr and labelsTr
_ENDS = "masks?|labels?|seg|segs|segmentations?|gt|groundtruth|ground_truth|annotations?|annots?|trimaps?|mattes?|labelids|gtfine_labelids|manual\\d?"
_FOLDER_END = re.compile(rf"^(?:(?P<head>.+?)[_\- .](?:{_ENDS})|(?P<glued>.+?)(?:annots?|masks)|(?:left|right)masks?|"
                         rf"(?:{_ENDS})[_\- .](?P<tail>.+)|\d+(?:st|nd)_manual)$")
_IMAGE_END = re.compile(r"^(?:(?P<head>.+?)[_\- .](?:images?|imgs?)|(?:images?|imgs?)[_\- .](?P<tail>.+))$")
_STEM_END = re.compile(rf"^(?P<base>.+?)[_\-. ](?:{_ENDS}|l|bw)(?P<number>[_\- .]?\d{{1,3}})?$")
_STEM_START = re.compile(r"^(?:masks?|labels?|seg|segmentation|gt|annotation|lbl)[_\-. ]?(?P<base>.*\d.*|.{3,})$")
_IMAGE_STEM = re.compile(r"^(?:(?:images?|img|im|input)[_\-. ]?(?P<tail>.*\d.*|.{3,})|"
                         r"(?P<head>.+?)[_\-. ](?:images?|img|im|rgb|sat|input|original|leftimg8bit|training|test|0000))$")
_NNUNET = re.compile(r"^(?P<word>images|labels)(?P<split>tr|ts|va)$")
_SIBLING = re.compile(r"^(?P<base>.+)_(?:color|instanceids|instancetrainids|labeltrainids)$")
_SIDE = re.compile(r"^(?:left|right)[_\-. ]?masks?$")
_HINT = re.compile(r"mask|lab|lbl|seg|gt|ground|anno|trimap|matte|manual|[_\-. ](?:l|bw)\b")
LABELME_DUMP = {"img", "label"}  # what labelme writes into a folder for each image
MAX_LISTS = 60
TWINS = 1000  # the rank of pictures that only a second suffix tells from the images


@dataclass
class Pairing:
    """Images in the order of their folders, the masks of each, its split, the masks that belong to none, and what lists got wrong.

    `clear` are images without a mask whose folder says that there is nothing to find; `sure` counts the pairs that folders told, not only names.
    """

    images: list[str] = field(default_factory=list)
    masks: dict[str, list[str]] = field(default_factory=dict)
    splits: dict[str, str | None] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)  # (mask, image) that another mask was taken for
    problems: list[Problem] = field(default_factory=list)
    clear: set[str] = field(default_factory=set)
    sure: int = 0


@dataclass(frozen=True)
class _Picture:
    path: str
    key: tuple[str, ...]
    stem: str
    rank: int = 0

    @property
    def written(self) -> str:
        """The stem as it is written; `stem` is how it compares."""
        return self.path.rpartition("/")[2].rpartition(".")[0]


def pair(tree: Tree) -> Pairing:
    """Looks at names only, but for the lists of splits."""
    images, masks = _sorted_out(tree)
    found = Pairing([image.path for image in images])
    if masks:
        taken = _Lists(tree, found, images, masks).read()
        _Matcher(found, images).match([mask for mask in masks if mask.path not in taken])
    if any("ground_truth" in mask.path.split("/") for mask in masks):  # beside good/ there are only masks of faulty pieces
        found.clear = {path for path in found.images if path not in found.masks and path.split("/")[-2:-1] == ["good"]}
    for path in found.images:
        found.splits.setdefault(path, split_of(*path.split("/")[:-1]) or split_of(*_role(path.rpartition("/")[0])[0]))
    return found


# ---- images here, masks there

def _sorted_out(tree: Tree) -> tuple[list[_Picture], list[_Picture]]:
    images: list[_Picture] = []
    masks: list[_Picture] = []
    for folder, listing in tree.walk():
        names = without_shown(listing.images())
        if not names:
            continue
        key, role = _role(folder)
        prefix = f"{folder}/" if folder else ""
        if role is not None:
            names = _without_siblings(names)
        inside, rank = (set(names), role) if role is not None else masks_among(names)
        if rank >= 0:
            masks += [_Picture(prefix + name, key, _stem(name), rank) for name in names if name in inside]
            images += [_Picture(prefix + name, key, _stem(name)) for name in names if name not in inside]
    return images, masks


def _without_siblings(names: list[str]) -> list[str]:
    """Of the pictures that Cityscapes has for each image, the one with the ids of the classes."""
    known = {stem.removesuffix("_labelids") for name in names if (stem := _stem(name)).endswith("_labelids")}
    return [name for name in names if not ((match := _SIBLING.match(_stem(name))) and match["base"] in known)] if known else names


def _role(folder: str) -> tuple[tuple[str, ...], int | None]:
    """(what is left of the path without the words for images and masks, None for images | the mask word's place | -1 for neither)."""
    key: list[str] = []
    role: int | None = None
    for part in folder.split("/") if folder else ():
        word = folded(part)
        mask, medical = _FOLDER_END.match(word), _NNUNET.match(word)
        if medical is not None:
            role = MASK_WORDS.index("labels") if medical["word"] == "labels" else None
            key.append(NNUNET[medical["split"]])
        elif word in NO_MASKS:
            role = -1
        elif word in MASK_WORDS:
            role = MASK_WORDS.index(word)
        elif word in IMAGE_WORDS:
            role = None
        elif mask is not None:
            rest = mask["head"] or mask["glued"] or mask["tail"]
            role = MASK_WORDS.index("masks") if rest else 0
            key += [SPLIT_WORDS.get(rest, rest)] if rest else []
        else:
            named = _IMAGE_END.match(word)
            rest = (named["head"] or named["tail"]) if named else word
            key.append(SPLIT_WORDS.get(rest, rest))
    return tuple(key), role


def masks_among(names: list[str]) -> tuple[set[str], int]:
    """The masks in a folder that holds images too, and their rank: x_mask.png beside x.jpg, or (TWINS) x.png beside x.jpg throughout."""
    if {*map(_stem, names)} == LABELME_DUMP:
        return {name for name in names if _stem(name) == "label"}, 0
    hints = [name for name in names if _HINT.search(folded(name))]
    if hints:
        stems = {_stem(name) for name in names}
        bases = stems | {_image_base(stem) for stem in stems}
        found = {name for name in hints if any(base in bases and base != _stem(name) for base in _bases(_stem(name)))}
        if found:
            return found, 0
    photos = {_stem(name) for name in names if name.lower().endswith((".jpg", ".jpeg"))}
    flat = [name for name in names if name.lower().endswith((".png", ".gif", ".bmp"))]
    return (set(flat), TWINS) if flat and photos and all(_stem(name) in photos for name in flat) else (set(), 0)


def _stem(name: str) -> str:
    return folded(name.rpartition(".")[0])


def _bases(stem: str) -> list[str]:
    """What the image of a mask may be called: 7_mask -> 7, mask_7 -> 7."""
    matches = (pattern.match(stem) for pattern in (_STEM_END, _STEM_START))
    return [match["base"] for match in matches if match]


def _image_base(stem: str) -> str:
    """The image's name without what only says that it is one: 7_leftimg8bit -> 7, img_7 -> 7."""
    match = _IMAGE_STEM.match(stem)
    return (match["tail"] or match["head"]) if match else stem


def _unsplit(key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for part in key if part not in SPLIT_WORDS)


# ---- one to the other

class _Matcher:
    """Hands masks to images: same place and same name first, then looser."""

    def __init__(self, found: Pairing, images: list[_Picture]) -> None:
        self.found, self.images = found, images
        self.placed: dict[tuple[tuple[str, ...], str], list[_Picture]] = {}
        self.loosely: dict[tuple[tuple[str, ...], str], _Picture] = {}
        self.stems: dict[str, list[_Picture]] = {}
        self.unsplit: dict[tuple[tuple[str, ...], str], list[_Picture]] = {}
        self.groups: dict[tuple[str, ...], list[_Picture]] = {}
        for image in images:
            base = _image_base(image.stem)
            self.placed.setdefault((image.key, image.stem), []).append(image)
            self.loosely.setdefault((image.key, base), image)
            self.groups.setdefault(image.key, []).append(image)
            self.unsplit.setdefault((_unsplit(image.key), image.stem), []).append(image)
            for stem in {image.stem, base}:
                self.stems.setdefault(stem, []).append(image)

    def match(self, masks: list[_Picture]) -> None:
        for mask in sorted(masks, key=lambda mask: mask.rank):
            image = self._beside(mask)
            self.found.sure += image is not None and mask.rank != TWINS
            image = image or self._anywhere(mask) or self._only_one(mask)
            if image is None:
                self.found.strays.append(mask.path)
            elif image.path not in self.found.masks or self._is_part(mask, image):
                self.found.masks.setdefault(image.path, []).append(mask.path)
            else:
                self.found.others.append((mask.path, image.path))

    def _beside(self, mask: _Picture) -> _Picture | None:
        names = [mask.stem, *_bases(mask.stem)]
        for name in names:
            known = self.placed.get((mask.key, name))
            if known is not None:  # of S0 and s0 the one that is written like the mask
                return next((image for image in known if image.written in mask.written), known[0])
        image = next((image for name in names if (image := self.loosely.get((mask.key, name)))), None)
        if image is None and mask.key and not split_of(*mask.key):
            alike = next((found for name in names if (found := self.unsplit.get((mask.key, name)))), [])
            image = alike[0] if len(alike) == 1 else None
        return image

    def _anywhere(self, mask: _Picture) -> _Picture | None:
        for name in (mask.stem, *_bases(mask.stem)):
            known = self.stems.get(name, [])
            same = [image for image in known if split_of(*image.key) == split_of(*mask.key)] or known
            if len(same) == 1:
                return same[0]
        return None

    def _only_one(self, mask: _Picture) -> _Picture | None:
        """The masks of single objects, in a folder that belongs to one image."""
        group = self.groups.get(mask.key, ())
        return group[0] if mask.key and len(group) == 1 and not split_of(mask.key[-1]) else None

    def _is_part(self, mask: _Picture, image: _Picture) -> bool:
        """Whether several masks share the image's objects: x_mask_1, x_mask_2, or a folder of its own."""
        match = _STEM_END.match(mask.stem)
        if _SIDE.match(folded(mask.path.split("/")[-2] if "/" in mask.path else "")):
            return True
        if match is not None and match["number"] is not None and match["base"] in (image.stem, _image_base(image.stem)):
            return True
        return mask.key == image.key and self._only_one(mask) is image and image.stem not in (mask.stem, *_bases(mask.stem))


# ---- lists

class _Lists:
    """train.txt and its like: names of one split, or an image and its mask on each line."""

    def __init__(self, tree: Tree, found: Pairing, images: list[_Picture], masks: list[_Picture]) -> None:
        self.tree, self.found = tree, found
        self.images = ImageIndex(tree, [image.path for image in images])
        self.masks = ImageIndex(tree, [mask.path for mask in masks])
        self.taken: set[str] = set()

    def read(self) -> set[str]:
        """Fills splits and pairs; returns the masks that the lists gave away."""
        for path in self._files():
            split = split_of_list(path.rpartition("/")[2])
            try:
                lines = lines_of(self.tree, path)
            except UserError:
                continue
            found = [self._image(line) for line in lines]
            if split is None or not any(found):
                continue
            for number, (line, image) in enumerate(zip(lines, found, strict=True), 1):
                if image is not None:
                    self.found.splits.setdefault(image, split)
                    self._take_mask(image, line)
                elif line:
                    self.found.problems.append(Problem("listed_image_missing", "error", f"{path}:{number}", {"entry": line[:120]}))
        return self.taken

    def _files(self) -> Iterable[str]:
        """The lists at the root or in folders made for them; those for segmentation before all others."""
        paths: list[str] = []
        for folder in [""] + [f"{outer}{inner}" for outer in ("ImageSets", "imagesets", "splits", "split", "lists", "list")
                              for inner in ("/Segmentation", "/segmentation", "")]:
            if self.tree.has_folder(folder) and not (folder.lower() == "imagesets" and paths):
                paths += [f"{folder}/{name}" if folder else name for name in self.tree.folder(folder).files if name.lower().endswith(".txt")]
        return paths[:MAX_LISTS]

    def _image(self, line: str) -> str | None:
        return None if not line else self.images.find(line) or next((found for word in line.split()[:1] if (found := self.images.find(word))), None)

    def _take_mask(self, image: str, line: str) -> None:
        words = line.split()
        mask = self.masks.find(words[1]) if len(words) > 1 else None
        if mask is not None and mask not in self.taken and image not in self.found.masks:
            self.taken.add(mask)
            self.found.masks[image] = [mask]
            self.found.sure += 1


def strays(found: Pairing) -> Iterator[Problem]:
    """Masks that belong to no image, and second masks of one."""
    yield from (Problem("mask_without_image", "warning", path) for path in found.strays)
    yield from (Problem("mask_second", "warning", mask, {"image": image, "used": found.masks[image][0]}) for mask, image in found.others)
