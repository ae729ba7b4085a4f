"""A trained model as one file for other programs, compared with the original before it is handed out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from engine import __version__
from engine.datasets.faults import writing
from engine.exported import INPUT, KEY, OUTPUTS, SUFFIX, Card, read
from engine.predict import Predictor, load_named
from engine.types import UserError

if TYPE_CHECKING:
    import onnx

TARGETS = ("onnx",)
PRECISIONS = ("fp32",)
OPSET = 18
TOLERANCE = 1e-3  # of the largest value, where that is above 1
LEAST_AGREEING = 0.99
LARGE = (96, 160)  # px: no map of it has a side of 1, which the exporter would take for always


@dataclass(frozen=True)
class Agreement:
    """How the file's outputs compare with the network's: the share of rows (queries, pixels, images) that agree, and by how much those differ."""

    share: float
    largest: float


@dataclass(frozen=True)
class Exported:
    """What was written. `outputs` are the shapes, 0 where a side is free; `free_sides`: images of other sizes are taken as well."""

    file: Path
    card: Card
    outputs: dict[str, list[int]]
    free_sides: bool
    agreement: Agreement

    def as_dict(self) -> dict[str, Any]:
        size = self.card.preprocess["size"]
        return {"file": str(self.file), "bytes": self.file.stat().st_size, "format": "onnx", "precision": "fp32", "opset": OPSET,
                "model": self.card.model_name, "task": self.card.task, "classes": list(self.card.classes),
                "input": {"name": INPUT, "shape": [0, 3, *([0, 0] if self.free_sides else [size, size])]}, "outputs": self.outputs,
                "verified": {"share": self.agreement.share, "largest_difference": self.agreement.largest}}


class Flat(nn.Module):
    """The network with its outputs in a fixed order."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.network(images)
        return tuple(found[name] for name in self.names) if isinstance(found, dict) else (found,)


def export(model: str | Path, out: Path, *, to: str = "onnx", precision: str = "fp32", name: str | None = None,
           classes: Sequence[str] | None = None, options: Mapping[str, Any] = MappingProxyType({}), image_size: int = 0,
           force: bool = False) -> Exported:
    """Writes `model` (as for `predict.load_named`; `name` is that of the architecture) to `out`: a file, or a folder in which it gets
    its own name. `classes`: a name for each class, in place of the model's own.

    Raises UserError for a target that is not known, a file that stands already (unless `force`), a network that cannot be exported, and
    outputs that differ; nothing is left behind then.
    """
    for known, wanted, kind in ((TARGETS, to, "to"), (PRECISIONS, precision, "precision")):
        if wanted not in known:
            raise UserError("option_choice", name=kind, value=wanted, choices=", ".join(known))
    file = target(Path(model), out, force=force)
    if Path(model).suffix.lower() == SUFFIX:
        raise UserError("export_again", path=str(model))
    predictor = load_named(model, name, classes, device="cpu", options=options, image_size=image_size)
    card = card_of(predictor)
    proto = traced(predictor, free_sides=predictor.slides)
    meta = proto.metadata_props.add()
    meta.key, meta.value = KEY, card.as_json()
    part = file.with_name(f".{file.name}.part")
    with writing(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(proto.SerializeToString())
            agreement = compared(predictor, part, file)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    sides = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in (*proto.graph.input, *proto.graph.output)}
    return Exported(file, card, {each: sides[each] for each in OUTPUTS[card.task]}, not sides[INPUT][-1], agreement)


def target(model: Path, out: Path, *, force: bool) -> Path:
    """The file that `out` means. Raises UserError for another ending and for a file that stands already."""
    if out.is_dir() or not out.suffix:
        out = out / f"{model.resolve().name if model.is_dir() else model.stem}{SUFFIX}"
    if out.suffix.lower() != SUFFIX:
        raise UserError("weights_out_suffix", path=str(out), known=SUFFIX)
    if out.is_dir() or (out.exists() and not force):
        raise UserError("weights_out_exists", path=str(out))
    return out


def card_of(predictor: Predictor) -> Card:
    return Card(predictor.name, predictor.task.name, predictor.classes, predictor.preprocess.as_dict(), predictor.threshold,
                dict(predictor.task.options), dict(predictor.task.thresholds), __version__)


def traced(predictor: Predictor, *, free_sides: bool = False) -> onnx.ModelProto:
    """The network's forward as a graph for any number of images; `free_sides`: and for other sizes, where the network allows it.

    Raises UserError naming a model that cannot be written as one.
    """
    if free_sides:
        try:
            return _traced(predictor, free_sides=True)
        except UserError:
            pass
    return _traced(predictor, free_sides=False)


def _traced(predictor: Predictor, *, free_sides: bool) -> onnx.ModelProto:
    side, names = predictor.preprocess.size, OUTPUTS[predictor.task.name]
    example = torch.rand(2, 3, side, side)
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=1 << 16)}
    if free_sides:
        example = torch.rand(2, 3, *LARGE)
        free |= {2: 32 * torch.export.Dim("rows", min=1, max=1 << 10), 3: 32 * torch.export.Dim("columns", min=1, max=1 << 10)}
    try:
        with _quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                Flat(predictor.network, names), (example,), dynamo=True, opset_version=OPSET, input_names=[INPUT],
                output_names=list(names), dynamic_shapes=(free,), external_data=False, verbose=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, NotImplementedError) as error:
        raise UserError("export_impossible", model=predictor.name, reason=" ".join(str(error.__cause__ or error).split())[:300]) from error
    proto: onnx.ModelProto = program.model_proto
    if proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value:
        raise UserError("export_impossible", model=predictor.name, reason="batch = 2")
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter writes what it does into logs and warnings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


# ---- is it the same?

def compared(predictor: Predictor, part: Path, file: Path) -> Agreement:
    """Raises UserError when the exported file gives something else than the network, for one image and for two.

    In a detector that has learnt nothing the first choice of queries is a toss-up that rounding decides: it may be refused for that alone.
    """
    graph, _ = read(part)
    found = []
    for squares in probes(predictor.preprocess.size):
        images = predictor._normalised(squares)
        with torch.inference_mode():
            found.append(agreement(_named(predictor.network(images)), _named(graph(images))))
    whole = Agreement(min(each.share for each in found), max(each.largest for each in found))
    if whole.share < LEAST_AGREEING:
        raise UserError("export_differs", path=str(file), model=predictor.name, share=f"{100 * whole.share:.1f}", largest=f"{whole.largest:.2g}")
    return whole


def probes(side: int) -> list[np.ndarray]:
    """u8[1,side,side,3] of random pixels; u8[2,side,side,3] of others and of a drawn scene."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    y, x = np.mgrid[:side, :side] / side
    scene = np.stack([128 + 100 * np.sin(6 * x), 60 + 120 * y, 90 + 60 * x * y], -1)
    for cx, cy, radius, *colour in zip(*random.random((3, 8)), *random.integers(0, 256, (3, 8)), strict=True):
        scene[(x - cx) ** 2 + (y - cy) ** 2 < (0.05 + radius / 6) ** 2] = colour
    return [noise[:1], np.stack([noise[1], scene.astype(np.uint8)])]


def _named(found: dict[str, Tensor] | Tensor) -> dict[str, Tensor]:
    return found if isinstance(found, dict) else {"logits": found}


def agreement(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Agreement:
    """Queries are matched as sets, by class and box: among equals of the first choice the order may change. All else is compared place by place."""
    if "boxes" in ours:
        pairs = [_matched({name: values[index] for name, values in ours.items()}, {name: values[index] for name, values in theirs.items()})
                 for index in range(len(ours["boxes"]))]
        gaps = torch.cat(pairs)
    else:
        gaps = _gap(ours["logits"], theirs["logits"]).amax(1).flatten()
    agrees = gaps <= TOLERANCE
    return Agreement(float(agrees.float().mean()), float(gaps[agrees].max()) if agrees.any() else float("inf"))


def _matched(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Tensor:
    """f32[2Q]: of every query of one image how far the nearest of the other side is, in both directions."""
    scale = ours["logits"].abs().max().clamp(min=1)
    rows, other = (torch.cat((each["logits"] / scale, each["boxes"]), 1).float() for each in (ours, theirs))
    apart = torch.nan_to_num(torch.cdist(rows, other, p=float("inf")), nan=float("inf"))
    gaps = []
    for distances, mine, yours in ((apart, ours, theirs), (apart.T, theirs, ours)):
        near, place = distances.min(1)
        gaps.append(torch.maximum(near, _gap(mine["masks"], yours["masks"][place]).amax((1, 2))) if "masks" in ours else near)
    return torch.cat(gaps)


def _gap(ours: Tensor, theirs: Tensor) -> Tensor:
    """Differences, relative to the largest value where that is above 1; infinite where only one is a number."""
    gap = (ours - theirs).abs() / ours[ours.isfinite()].abs().max().clamp(min=1)
    return torch.where(ours == theirs, torch.zeros_like(gap), torch.nan_to_num(gap, nan=float("inf")))
