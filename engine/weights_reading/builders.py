"""What the calls of an honest checkpoint make, as descriptions; and which names an honest checkpoint asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from engine.weights_reading.inert import (
    Array,
    Made,
    NumpyArray,
    NumpyType,
    Ordered,
    Ref,
    Storage,
    contiguous,
    dimensions,
    storage_type,
)
from engine.weights_reading.source import DamagedError

LOAD_BYTES = "torch.storage._load_from_bytes"
PLAIN = re.compile(
    r"torch\.((cuda|sparse|storage|_tensor)\.)?(sparse\.)?\w*(Storage|Tensor)|torch\.(bool|device|Size|(b?complex|u?int|q?u?int|b?float|bits)\w*|per_\w+|strided)"
    r"|torch\.(nn\.parameter\.)?(Parameter|Buffer)|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+|bool_?|[uif]\w*\d+|complex\d+)|_codecs\.encode|collections\.(OrderedDict|Counter)|builtins\.(set|bytearray|complex)")
WEIGHTS_ONLY = re.compile(
    r"torch\.(cuda\.|sparse\.|cuda\.sparse\.)?\w+(Storage|Tensor)|torch\.(Tensor|device|Size|(b?complex|q?u?int|b?float|bits)\w*|bool|per_\w+)"
    r"|torch\.storage\.(Typed|Untyped)Storage|torch\.nn\.parameter\.Parameter|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
    r"|torch\._utils\._rebuild_\w+|_codecs\.encode|collections\.(OrderedDict|Counter)|builtins\.(set|bytearray|complex)")
OBJECTS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|collections\.(defaultdict|deque)|pathlib\.\w*Path|datetime\.\w+|decimal\.Decimal|uuid\.UUID"
    r"|builtins\.(object|list|dict|tuple|int|float|str|bool|bytes|frozenset|slice|range)|copyreg\._reconstructor|fractions\.Fraction"
    r"|yacs\.config\.CfgNode|easydict\.EasyDict|omegaconf\.(dictconfig\.DictConfig|listconfig\.ListConfig|base\.\w+|nodes\.\w+)|typing\.Any"
    r"|numpy\.core\.multiarray\.scalar|configs\.default_config\.Config")
Builder = Callable[[tuple[Any, ...]], Any]


def build(name: str, args: tuple[Any, ...]) -> Any:
    """The description of `name(*args)`. Raises DamagedError when an honest name is called with nonsense."""
    builder = BUILDERS.get(name)
    try:
        return Made(name, args) if builder is None else builder(args)
    except (IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DamagedError from error


def is_plain(name: str) -> bool:
    """Asked for by checkpoints of tensors and nothing else."""
    return name in BUILDERS or bool(PLAIN.fullmatch(name)) or name == LOAD_BYTES


def is_object(name: str) -> bool:
    """A record beside the weights, known to do nothing when it is opened."""
    return bool(OBJECTS.fullmatch(name))


def is_weights_only(name: str) -> bool:
    """torch.load(weights_only=True) accepts it."""
    return bool(WEIGHTS_ONLY.fullmatch(name))


def storage_of(kind: Any, numel: Any) -> Storage:
    """From the persistent id of a storage: its class, and its length in elements (bytes for the untyped)."""
    dtype = storage_type(kind.name) if isinstance(kind, Ref) else None
    if dtype is None or type(numel) is not int or not 0 <= numel < 2**62:
        raise DamagedError
    return Storage(dtype, numel, untyped="Untyped" in kind.name)


def _tensor(args: tuple[Any, ...]) -> Array:
    storage, offset, shape, stride = args[:4]
    return _view(storage, offset, shape, stride, None)


def _tensor_of_type(args: tuple[Any, ...]) -> Array:
    storage, offset, shape, stride, _, _, dtype = args[:7]
    return _view(storage, offset, shape, stride, dtype.name.removeprefix("torch."))


def _view(storage: Any, offset: Any, shape: Any, stride: Any, dtype: str | None) -> Array:
    sizes, steps = dimensions(shape), dimensions(stride)
    if not isinstance(storage, Storage) or type(offset) is not int or not 0 <= offset < 2**62 or len(sizes) != len(steps):
        raise DamagedError
    return Array(dtype or storage.dtype, sizes, steps, offset, storage)


def _meta(args: tuple[Any, ...]) -> Array:
    shape = dimensions(args[1])
    return Array(args[0].name.removeprefix("torch."), shape, contiguous(shape), 0, None)


def _of_type(args: tuple[Any, ...]) -> Any:
    function, _, inner = args[:3]
    return BUILDERS[function.name](inner) if re.fullmatch(r"torch\._utils\._rebuild_\w+", function.name) else Made(function.name)


def _from_numpy(args: tuple[Any, ...]) -> Any:
    return args[0]


def _frombuffer(args: tuple[Any, ...]) -> NumpyArray:
    data, kind, shape, order = args[:4]
    array = NumpyArray()
    array.fill(kind, dimensions(shape), data, column_major=order == "F")
    return array


def _ordered(args: tuple[Any, ...]) -> Ordered:
    """Of pairs, as Python 2 wrote it; else it is filled later."""
    from engine.weights_reading.machine import key_of

    made = Ordered()
    for pair in args[0] if args and isinstance(args[0], list) else ():
        made[key_of(pair[0])] = pair[1]
    return made


def _plain_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    return args[0] if args and isinstance(args[0], dict) else {}


def _scalar(args: tuple[Any, ...]) -> Made:
    kind = args[0]
    return Made(f"numpy.{kind.dtype}" if isinstance(kind, NumpyType) else "numpy.generic", args)


BUILDERS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor": _tensor, "torch._utils._rebuild_tensor_v2": _tensor, "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": lambda args: args[0], "torch._utils._rebuild_parameter_with_state": lambda args: args[0],
    "torch.nn.parameter.Parameter": lambda args: args[0], "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_numpy, "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_numpy,
    "torch._tensor._rebuild_from_type_v2": _of_type, "torch.Size": lambda args: args[0] if args else (),
    "torch._utils._rebuild_qtensor": _tensor,
    "collections.OrderedDict": _ordered, "collections.Counter": _plain_dict, "collections.defaultdict": lambda args: {},
    "numpy.core.multiarray._reconstruct": lambda args: NumpyArray(), "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy.dtype": lambda args: NumpyType(str(args[0])[:20]), "numpy.core.multiarray.scalar": _scalar,
    "_codecs.encode": lambda args: args[0],
    "builtins.set": lambda args: args[0] if args else [], "builtins.frozenset": lambda args: args[0] if args else [],
}
