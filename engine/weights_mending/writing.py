"""The three kinds of weights files that are written: safetensors, torch.save, and the pickle of numpy arrays that Detectron2 reads."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from engine import checkpoint
from engine.datasets.faults import writing
from engine.types import UserError

TORCH = (".pth", ".pt", ".bin", ".ckpt")
SUFFIXES = (".safetensors", *TORCH, ".pkl")
PROTOCOL = 4  # of pickle: the first with room for arrays above 4 GiB
CHUNK = 4 * 2**20


def check_target(out: Path, *, force: bool) -> None:
    """Raises UserError for an ending that says nothing, a folder that is not there, and a file that stands already (unless `force`)."""
    if out.suffix not in SUFFIXES:
        raise UserError("weights_out_suffix", path=str(out), known=", ".join(SUFFIXES))
    if not out.parent.is_dir():
        raise UserError("weights_out_folder", path=str(out), folder=str(out.parent))
    if out.is_dir() or (out.exists() and not force):
        raise UserError("weights_out_exists", path=str(out))


def write(out: Path, tensors: Mapping[str, Tensor], outer: Mapping[str, Any] | None) -> None:
    """Writes beside and renames. `outer` stands beside the key "model", None: the tensors alone; safetensors files hold them alone anyway.

    Raises UserError when the disk is full or cannot be written to.
    """
    if out.suffix in TORCH:
        checkpoint.save(dict(tensors) if outer is None else {"model": dict(tensors), **outer}, out)
        return
    temporary = out.with_name(f".{out.name}.tmp")
    with writing(out):
        try:
            if out.suffix == ".pkl":
                with temporary.open("wb") as file:
                    write_pickle(file, tensors, outer or {})
            else:
                _write_safetensors(temporary, tensors, out)
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)


def _write_safetensors(file: Path, tensors: Mapping[str, Tensor], out: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), file, metadata={"format": "pt"})
    except (SafetensorError, KeyError) as error:
        raise UserError("cannot_write", path=out.name, reason=str(error)[:200]) from error


def write_pickle(file: BinaryIO, tensors: Mapping[str, Tensor], outer: Mapping[str, Any]) -> None:
    """{"model": {name: ndarray}, **outer}, written instruction by instruction: arrays go to the file without a copy in between.

    It names numpy.core, which the versions of numpy on both sides of 2.0 understand.
    """
    file.write(b"\x80" + bytes((PROTOCOL,)) + b"}(" + _fragment("model") + b"}")
    for name, tensor in tensors.items():
        file.write(_fragment(str(name)))
        _write_array(file, tensor.detach().cpu().contiguous().numpy())
        file.write(b"s")
    for name, value in outer.items():
        file.write(_fragment(str(name)) + _fragment(value))
    file.write(b"u.")


def _write_array(file: BinaryIO, array: np.ndarray) -> None:
    file.write(b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + _fragment((0,)) + _fragment(b"b") + b"\x87R")
    kind = b"cnumpy\ndtype\n" + _fragment(array.dtype.str[1:]) + b"\x89\x88\x87R"
    order = "|" if array.dtype.itemsize == 1 else "<"
    kind += _fragment((3, order, None, None, None, -1, -1, 0)) + b"b"
    file.write(b"(" + _fragment(1) + _fragment(tuple(int(each) for each in array.shape)) + kind + b"\x89")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    file.write(b"\x8e" + struct.pack("<Q", little.nbytes))
    flat = little.reshape(-1).view(np.uint8).data if little.nbytes else memoryview(b"")
    for start in range(0, little.nbytes, CHUNK):
        file.write(flat[start:start + CHUNK])
    file.write(b"tb")


def _fragment(value: Any) -> bytes:
    """The instructions that push a plain value, without those that begin and end a pickle."""
    whole = pickle.dumps(value, 2) if not isinstance(value, bytes) else b"\x80\x03" + b"C" + bytes((len(value),)) + value + b"."
    return whole[2:-1]
