"""A trained model as a function: image in, labels in original pixels out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from engine import class_heads, exported, slicing, weights
from engine.bare_weights import recognised
from engine.config import TrainConfig
from engine.datasets.images import open_image, resize
from engine.machine import choose_device
from engine.models import ModelSpec, create
from engine.tasks.loading import normalised
from engine.tasks.task import PLACEHOLDER, Slides, Task, tasks
from engine.types import Instances, Labels, UserError

Picture = str | Path | np.ndarray | Image.Image
AT_ONCE = 4  # tiles of a large image


@dataclass(frozen=True)
class Preprocess:
    """How pixels become the network's input: RGB in 0..1, minus mean, over std, of a square of `size`.

    `resize`: "stretch" shows the whole image in the square, "crop" a piece of it at its own resolution.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "stretch"

    @classmethod
    def of(cls, spec: ModelSpec, size: int, resize: str = "stretch") -> Preprocess:
        return cls(size, spec.mean, spec.std, resize)

    def as_dict(self) -> dict[str, Any]:
        return {"resize": self.resize, "size": self.size, "mean": list(self.mean), "std": list(self.std)}


class Predictor:
    """Calls give all candidates with their scores; `labels.above(threshold, only)` filters without another forward.

    With `tta` each image is also seen mirrored and the like, and the views are merged. With `tiled` a window slides over images that are
    larger than the network's input (masks only). `slices` (objects only): the side in pixels of the tiles that large images are cut into as well,
    slicing.AUTO or slicing.OFF.
    """

    def __init__(self, network: nn.Module, *, name: str, task: Task, classes: Sequence[str], preprocess: Preprocess,
                 device: torch.device, threshold: float = 0.45, tta: bool = False) -> None:
        self.network, self.name, self.task, self.classes = network.eval(), name, task, tuple(classes)
        self.preprocess, self.device, self.threshold, self.tta = preprocess, device, threshold, tta
        self.tiled = preprocess.resize == "crop"
        self.slices = slicing.OFF

    @property
    def slides(self) -> bool:
        """Whether large images are seen piece by piece."""
        return self.tiled and isinstance(self.task, Slides)

    @property
    def cut(self) -> float:
        """The threshold that a prediction is shown with when nobody gives one."""
        return 0.45 if self.task.name == "detect" else 0.0 if self.exclusive else self.threshold

    @property
    def exclusive(self) -> bool:
        """Whether classes exclude each other, so that the likeliest is the answer."""
        return self.task.options.get("mode") == "multiclass"

    def adjust(self, **thresholds: Any) -> None:
        """Thresholds of the task ("nms", "every_class", "detections") in place of those that were stored with the model; None leaves one as it is."""
        given = {name: value for name, value in thresholds.items() if value is not None}
        self.task = self.task.bound(self.task.options, {**self.task.thresholds, **given})

    def tag_thresholds(self, wanted: float | None) -> list[float]:
        """Per class, from which probability on a tag counts as there: as wanted, else as found in validation."""
        if wanted is not None or self.exclusive:
            return [0.5 if wanted is None else wanted] * len(self.classes)
        return list(self.task.thresholds.get("classes") or [0.5] * len(self.classes))

    def __call__(self, image: Picture) -> Labels:
        return self.batch([image])[0]

    @torch.inference_mode()
    def batch(self, images: Sequence[Picture]) -> list[Labels]:
        """Labels of several images in one forward. Raises UserError naming a file that cannot be read."""
        pixels = [as_pixels(each) for each in images]
        if self.slides and isinstance(self.task, Slides):
            return [self.task.from_windows(self._forward_u8, each, self.preprocess.size, self.tta) for each in pixels]
        if self.slices != slicing.OFF:
            return [self._sliced(each) for each in pixels]
        return self._seen(pixels)

    def _seen(self, pixels: Sequence[np.ndarray]) -> list[Labels]:
        """Each of u8[H,W,3] stretched to the network's input."""
        side = self.preprocess.size
        return self.infer(np.stack([resize(each, (side, side)) for each in pixels]), [(each.shape[1], each.shape[0]) for each in pixels])

    def _sliced(self, image: np.ndarray) -> Labels:
        """The whole u8[H,W,3], and the tiles of a large one, a few at a time. Raises UserError for far too many."""
        size = (image.shape[1], image.shape[0])
        side = slicing.side_for(size, self.preprocess.size, self.slices)
        if not side:
            return self._seen([image])[0]
        parts, found = slicing.tiles(size, side), []
        for first in range(0, len(parts), AT_ONCE):
            some = parts[first : first + AT_ONCE]
            for tile, labels in zip(some, self._seen([tile.of(image) for tile in some]), strict=True):
                if not isinstance(labels, Instances):
                    raise UserError("slices_objects_only", model=self.name)
                found.append((slicing.placed(labels, tile, size), tile))
        return slicing.merged(found, size)

    @torch.inference_mode()
    def infer(self, squares: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """u8[B,S,S,3] already resized -> labels in pixels of the originals, whose (width, height) are given."""
        pixels = self._normalised(squares)
        if self.tta:
            return self.task.from_views(self.network, pixels, sizes)
        return self.task.decode(self.network(pixels), sizes)

    def _normalised(self, squares: np.ndarray) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(squares.transpose(0, 3, 1, 2))).to(self.device)
        return normalised(images, self.preprocess.mean, self.preprocess.std)

    def _forward_u8(self, squares: np.ndarray) -> Tensor:
        """u8[B,h,w,3] -> the network's outputs."""
        return self.network(self._normalised(squares))

    def stream(self, files: Sequence[Path], batch: int = 4) -> Iterator[tuple[Path, tuple[int, int], Labels | UserError]]:
        """(file, size, labels) one by one; a file that can't be read gives its error and the rest goes on."""
        for first in range(0, len(files), batch):
            opened: list[tuple[Path, np.ndarray | UserError]] = [(each, _opened(each)) for each in files[first : first + batch]]
            pixels = [each for _, each in opened if isinstance(each, np.ndarray)]
            found = iter(self.batch(pixels) if pixels else [])
            for file, each in opened:
                if isinstance(each, UserError):
                    yield file, (0, 0), each
                else:
                    yield file, (each.shape[1], each.shape[0]), next(found)


def load(path: str | Path, model: str | None = None, *, classes: Sequence[str] | None = None, device: str = "auto",
         options: Mapping[str, Any] = MappingProxyType({}), image_size: int = 0) -> Predictor:
    """A predictor from a run folder, a best.pt, an exported file, or somebody's bare checkpoint.

    Exported files are computed on the processor. What a bare checkpoint is follows from its tensors, unless its `model`, `options` of that
    (encoder, backbone, mode, ...) or the `image_size` that it was trained at are told. `classes` are display names by id. Raises UserError for
    what can't be loaded.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "best.pt"
        if not file.is_file():
            raise UserError("run_without_best", path=str(path))
    if not file.exists():
        raise UserError("path_missing", path=str(path))
    given = [*options, *(["image_size"] if image_size else [])]
    if file.suffix.lower() == exported.SUFFIX:
        return _from_exported(file, model, given, classes, device)
    state = weights.safe_load(file)
    target = torch.device(choose_device(device))
    if isinstance(state, dict) and {"model", "model_name", "classes", "preprocess"} <= state.keys():
        _check_told(path, state["model_name"], model, given)
        return _from_best(state, file, classes, target)
    spec, found = recognised(state, file, model, options)
    stored = class_heads.names_in(state, found.get("num_classes")) if spec.task in ("detect", "instance") else ()
    return _from_checkpoint(file, spec, found, (classes, stored), target, image_size)


def load_named(path: str | Path, model: str | None, names: Sequence[str] | None, **how: Any) -> Predictor:
    """`load` with other keywords, its classes under the wanted `names`. Raises UserError unless there is one name for each class."""
    try:
        predictor = load(path, model, **how)
    except UserError as error:
        if names is None or error.key != "weights_no_classes":
            raise
        return load(path, model, classes=names, **how)  # the file does not show how many classes there are; the names do
    if names is not None:
        if len(names) != len(predictor.classes):
            raise UserError("class_names_differ", given=len(names), names=_some(names), wanted=len(predictor.classes), known=_some(predictor.classes))
        predictor.classes = tuple(names)
    return predictor


def _some(names: Sequence[str]) -> str:
    return textwrap.shorten(", ".join(names), 400, placeholder=" …")


def _check_told(path: str | Path, stored: str, model: str | None, given: Sequence[str]) -> None:
    """Raises UserError for what contradicts a file that says itself what it is."""
    if model not in (None, stored):
        raise UserError("model_differs", path=str(path), stored=stored, model=model)
    if given:
        raise UserError("weights_say_themselves", path=str(path), given=", ".join(given))


def _from_exported(file: Path, model: str | None, given: Sequence[str], classes: Sequence[str] | None, device: str) -> Predictor:
    if device not in ("auto", "cpu"):
        raise UserError("exported_device", path=str(file), device=device)
    network, card = exported.read(file)
    _check_told(file, card.model_name, model, given)
    return Predictor(network, name=card.model_name, task=tasks.get(card.task).bound(card.options, card.thresholds),
                     classes=_names(classes, card.classes, len(card.classes)), preprocess=_preprocess(card.preprocess),
                     device=torch.device("cpu"), threshold=card.threshold)


def _from_checkpoint(file: Path, spec: ModelSpec, options: dict[str, Any], names: tuple[Sequence[str] | None, Sequence[str]],
                     device: torch.device, image_size: int) -> Predictor:
    """A bare checkpoint of somebody else, built with `options`. `names`: of the classes, as wanted and as the file is known to have them."""
    count = options.pop("num_classes", 0) or len(names[0] or ())
    if not count:
        raise UserError("weights_no_classes", path=str(file), model=spec.name)
    network: Any = create(spec.name, count, **options)
    _fill(network, spec.name, file)
    mean, std = network.normalisation() or (spec.mean, spec.std)
    size = TrainConfig(image_size=image_size).image_size or spec.image_size
    return Predictor(network.to(device), name=spec.name, task=tasks.get(spec.task).bound({**options, "num_classes": count}),
                     classes=_names(*names, count), preprocess=Preprocess(size, mean, std), device=device)


def _from_best(state: dict[str, Any], file: Path, classes: Sequence[str] | None, device: torch.device) -> Predictor:
    options = dict(state["options"])
    network = create(state["model_name"], options.pop("num_classes"), **options)
    _fill(network, state["model_name"], file)
    thresholds = state["thresholds"]
    task = tasks.get(state["task"]).bound(state["options"], thresholds)
    return Predictor(network.to(device), name=state["model_name"], task=task, device=device, preprocess=_preprocess(state["preprocess"]),
                     classes=_names(classes, state["classes"], len(state["classes"])),
                     threshold=float(thresholds.get("score", 0.45 if state["task"] == "detect" else 0.5)))


def _preprocess(how: Mapping[str, Any]) -> Preprocess:
    return Preprocess(int(how["size"]), tuple(how["mean"]), tuple(how["std"]), str(how.get("resize", "stretch")))


def _fill(network: nn.Module, name: str, file: Path) -> None:
    """Raises UserError unless every tensor of the network finds its values in the file."""
    coverage = weights.load_into(network, file)
    if coverage.missing or coverage.reshaped:
        raise UserError("weights_do_not_fit", path=str(file), model=name, missing=len(coverage.missing) + len(coverage.reshaped),
                        first=(coverage.missing + coverage.reshaped)[0])


def _names(wanted: Sequence[str] | None, stored: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` names: the wanted ones for the first ids, then the stored ones, then "class 7". Raises UserError for more names than classes."""
    names = list(wanted or ())
    if len(names) > count:
        raise UserError("class_names_count", given=len(names), wanted=count, names=", ".join(names)[:200])
    names += stored[len(names):count]
    return tuple([*names, *(f"{PLACEHOLDER}{i}" for i in range(len(names), count))])


def as_pixels(image: Picture) -> np.ndarray:
    """u8[H,W,3] RGB of a file, a Pillow image or an array (gray and alpha accepted)."""
    if isinstance(image, (str, Path)):
        return open_image(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"an image array must be u8[H,W] or u8[H,W,3 or 4], not {pixels.dtype}{list(pixels.shape)}")
    return np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., :3])


def _opened(file: Path) -> np.ndarray | UserError:
    try:
        return open_image(file)
    except UserError as error:
        return error
