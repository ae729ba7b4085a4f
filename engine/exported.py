"""Exported models: an ONNX file that tells what it is, opened as a network. Nothing but its graph is ever run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from engine.datasets import plain_json
from engine.types import UserError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

SUFFIX = ".onnx"
KEY = "lightbox"  # of the metadata that holds the card
INPUT = "images"
OUTPUTS = {"detect": ("logits", "boxes"), "instance": ("logits", "boxes", "masks"), "semantic": ("logits",), "classify": ("logits",)}
STANDARD = ("", "ai.onnx")
PLAIN_LOG = 4  # onnxruntime's "fatal": what goes wrong is told by its exceptions


@dataclass(frozen=True)
class Card:
    """What an exported file says of itself; the names are those of best.pt. `threshold` is what the predictor shows from."""

    model_name: str
    task: str
    classes: tuple[str, ...]
    preprocess: dict[str, Any]
    threshold: float
    options: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def of(cls, text: str, file: Path) -> Card:
        """Raises UserError for what does not describe a model."""
        told = plain_json.parse(text.encode("utf-8", "surrogatepass"), file.name)
        try:
            how = told["preprocess"]
            stretch: dict[str, Any] = {"size": int(how["size"]), "resize": str(how.get("resize", "stretch")),
                       **{name: [float(value) for value in how[name]] for name in ("mean", "std")}}
            card = cls(str(told["model_name"]), str(told["task"]), tuple(map(str, told["classes"])), stretch, float(told["threshold"]),
                       dict(told["options"]), dict(told["thresholds"]), str(told["version"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _broken(file, f"{type(error).__name__} {error}") from error
        if card.task not in OUTPUTS or not card.classes or stretch["size"] < 1 or any(len(stretch[name]) != 3 for name in ("mean", "std")):
            raise _broken(file, f"task {card.task}, {len(card.classes)} classes, {stretch['size']} px")
        return card


class Graph(nn.Module):
    """images f32[B,3,S,S] -> what the network gave that was exported: a dict of tensors, or one. Computed by onnxruntime on the processor."""

    def __init__(self, session: onnxruntime.InferenceSession, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.session, self.outputs = session, outputs

    def forward(self, images: Tensor) -> dict[str, Tensor] | Tensor:
        found = self.session.run(self.outputs, {INPUT: images.float().contiguous().numpy()})
        tensors = {name: torch.from_numpy(values) for name, values in zip(self.outputs, found, strict=True)}
        return tensors if len(tensors) > 1 else tensors[self.outputs[0]]


def read(file: Path) -> tuple[Graph, Card]:
    """The network and what is known of it, with as many threads as torch has.

    Raises UserError for a damaged file, one that was not exported here, and one that wants more than standard operators and its own numbers.
    """
    import onnx
    from google.protobuf.message import DecodeError

    content = file.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise _broken(file, str(error)) from error
    told = {each.key: each.value for each in model.metadata_props}
    if not model.graph.node:
        raise _broken(file, "0 nodes")
    _check_harmless(model, file)
    if KEY not in told:
        raise UserError("exported_foreign", path=str(file))
    card = Card.of(told[KEY], file)
    session = _session(content, file)
    _check_shapes(session, card, file)
    return Graph(session, OUTPUTS[card.task]), card


def _session(content: bytes, file: Path) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = PLAIN_LOG
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _refusals() as error:
        raise _broken(file, str(error)) from error


def _refusals() -> tuple[type[Exception], ...]:
    """What onnxruntime raises for a graph that it cannot run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "NoSuchFile", "RuntimeException")
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def _check_harmless(model: onnx.ModelProto, file: Path) -> None:
    """Raises UserError for operators beyond the standard ones and for numbers that lie in other files."""
    import onnx

    domains = {each.domain for each in model.opset_import} | {node.domain for node in _nodes(model.graph.node)} - set(STANDARD)
    foreign = sorted({*domains, *(each.domain or each.name for each in model.functions)} - set(STANDARD))
    if foreign:
        raise UserError("exported_operators", path=str(file), names=", ".join(foreign)[:200])
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in _tensors(model.graph)):
        raise UserError("exported_external", path=str(file))


def _graphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    """The graphs inside nodes, at any depth."""
    for node in nodes:
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield graph
                yield from _graphs(graph.node)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    yield from nodes
    for graph in _graphs(nodes):
        yield from graph.node


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All stored numbers of a graph and of those inside it."""
    for each in (graph, *_graphs(graph.node)):
        yield from each.initializer
        yield from (part for sparse in each.sparse_initializer for part in (sparse.values, sparse.indices))
    for node in _nodes(graph.node):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _check_shapes(session: onnxruntime.InferenceSession, card: Card, file: Path) -> None:
    """Raises UserError unless the graph takes and gives what its card says."""
    given = {each.name: each.shape for each in session.get_inputs()}
    made = {each.name: each.shape for each in session.get_outputs()}
    side = card.preprocess["size"]
    fits = list(given) == [INPUT] and len(given[INPUT]) == 4 and all(isinstance(each, str) or each == side for each in given[INPUT][2:])
    if not fits or any(name not in made for name in OUTPUTS[card.task]):
        raise _broken(file, f"{_told(given)} -> {_told(made)}")


def _told(shapes: Mapping[str, list[Any]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())[:150]


def _broken(file: Path, reason: str) -> UserError:
    return UserError("exported_broken", path=str(file), reason=" ".join(reason.split())[:200])
