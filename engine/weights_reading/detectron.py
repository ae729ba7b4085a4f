"""What Detectron2's DetectionCheckpointer would do with a file. Its rules are restated, its code is not needed.

detectron2/checkpoint/detection_checkpoint.py and fvcore/common/checkpoint.py, read at 02b5c4e and 3378afe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from engine.weights_reading import builders
from engine.weights_reading.containers import Content
from engine.weights_reading.inert import Array, type_name

Outcome = Literal["loads", "raises", "loads_nothing"]
ROOT = "backbone."  # the model that would be filled has these names
WRAPPERS = ("module.", "_orig_mod.", "model.", "encoder.")
NOT_WEIGHTS_ONLY = "UnpicklingError: Weights only load failed"


@dataclass(frozen=True)
class Verdict:
    """`message`: the error it would raise; `cause` names the problem that explains it; `matched` of `total` tensors find a place."""

    outcome: Outcome
    message: str = ""
    cause: str = ""
    values: tuple[tuple[str, Any], ...] = ()
    matched: int = 0
    total: int = 0


def verdict(content: Content) -> Verdict:
    """The suffix decides how Detectron2 opens a file, whatever it is."""
    suffix = content.path.suffix
    return _pickled(content) if suffix == ".pkl" else _torch(content, pycls=suffix == ".pyth")


def _raises(message: str, cause: str, **values: Any) -> Verdict:
    return Verdict("raises", message, cause, tuple(values.items()))


def _pickled(content: Content) -> Verdict:
    """*.pkl: pickle.load; without both `model` and `__author__` the whole is taken for a Caffe2 file."""
    if content.container in ("torch_zip", "torchscript"):
        return _raises("UnpicklingError: A load persistent id instruction was encountered", "weights_d2_torch_named_pkl")
    if content.container == "torch_legacy":
        return _raises("TypeError: argument of type 'int' is not iterable", "weights_d2_torch_named_pkl")
    if content.container == "safetensors":
        return _raises("UnpicklingError: invalid load key", "weights_d2_safetensors")
    if content.container == "npz":
        return _raises("UnpicklingError: invalid load key, 'P'.", "weights_d2_npz")
    root = content.root
    if not isinstance(root, dict):
        return _raises(f"AttributeError: '{type_name(root)}' object has no attribute 'items'", "weights_d2_no_table")
    if "model" in root and "__author__" in root:
        return _filled(root["model"], heuristics=bool(root.get("matching_heuristics")), caffe=root["__author__"] == "Caffe2", authored=True)
    table = root["blobs"] if isinstance(root.get("blobs"), dict) else root
    return _filled({name: value for name, value in table.items() if not str(name).endswith("_momentum")}, heuristics=True, caffe=True)


def _torch(content: Content, *, pycls: bool) -> Verdict:
    """Anything else: torch.load with weights_only; without `model` the whole is taken for the weights."""
    if content.container == "npz":
        return _raises("RuntimeError: PytorchStreamReader failed locating file data.pkl: file not found", "weights_d2_npz")
    if content.container in ("pickle", "safetensors"):
        return _raises(NOT_WEIGHTS_ONLY, "weights_d2_pickle_named_torch" if content.container == "pickle" else "weights_d2_safetensors",
                       suffix=content.path.suffix or "-")
    refused = next((name for name in content.names if not builders.is_weights_only(name)), None)
    if refused is not None:
        return _raises(NOT_WEIGHTS_ONLY, "weights_d2_objects", found=refused)
    root = content.root
    if not isinstance(root, dict):
        return _raises(f"TypeError: argument of type '{type_name(root)}' is not iterable", "weights_d2_no_table")
    if pycls and "model_state" not in root:
        return _raises("AssertionError", "weights_d2_no_table")
    if pycls:
        return _filled(root["model_state"], heuristics=True)
    if "model" not in root:
        return _filled(root)
    return _filled(root["model"], heuristics=bool(root.get("matching_heuristics")), authored=True)


def _filled(weights: Any, *, heuristics: bool = False, caffe: bool = False, authored: bool = False) -> Verdict:
    if not isinstance(weights, dict):
        return _raises(f"AttributeError: '{type_name(weights)}' object has no attribute 'keys'", "weights_d2_no_table")
    for name, value in weights.items():
        if not isinstance(value, Array):
            kind = type_name(value)
            cause = "weights_d2_nested" if isinstance(value, dict) else "weights_d2_value"
            if caffe and not authored and name == "model":
                cause = "weights_d2_no_author"
            return _raises(f"ValueError: Unsupported type found in checkpoint! {name}: <class '{kind}'>", cause, name=str(name)[:80], found=kind)
    names = [str(name) for name in weights]
    if heuristics:
        matched = len(names) if caffe else sum(name.startswith(ROOT) or not name.startswith(WRAPPERS) for name in names)
    else:
        wrapped = "module." if all(name.startswith("module.") for name in names) else ""
        matched = sum(name.removeprefix(wrapped).startswith(ROOT) for name in names)
    if matched:
        return Verdict("loads", matched=matched, total=len(names))
    return Verdict("loads_nothing", cause="weights_d2_names", values=(("example", names[0][:80] if names else "-"),), total=len(names))
