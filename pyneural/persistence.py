"""save and load: nested containers of tensors, arrays, numbers and text as one safetensors file.

The tensors are the file's tensors, under the dotted path of where they were found (``model.0.weight``), so that every
reader of safetensors finds them by name. How they were nested, and everything that is no tensor, is JSON in the
header's metadata. Nothing is executed by reading a file, and there is no pickle.

The format is that of https://github.com/huggingface/safetensors, whose library checks a header's lengths, types and
offsets before anything is read. Files of other programs have no such JSON: they give a dict of tensors.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._files import write_whole
from .nn.module import Module
from .tensor import Tensor, from_numpy

__all__ = ["FormatError", "load", "save"]

_VERSION = 1
_KEY = "pyneural"  # of the header's metadata
_WRITTEN = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32",
            "float64", "complex64")  # fmt: skip
_READ = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
         "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
         "C64": "complex64"}  # fmt: skip
#: Types that tensors lack, and the smallest one that holds all their values.
_WIDER = {"float16": "float32", "uint16": "int32", "uint32": "int64"}


class FormatError(ValueError):
    """A file that cannot be read: damaged, of a newer version, or not a safetensors file at all."""


def save(obj: Any, f: Any) -> None:
    """Writes an object to a file, whole or not at all.

    Args:
        obj: A tensor, NumPy array or scalar, bool, int, float (also NaN and infinities), str, None, or lists, tuples
            and mappings of these, nested as you like; keys are str or int. Usually a state dict. A tensor that occurs
            twice is written twice.
        f: A path, or a binary file open for writing.

    Raises:
        TypeError: Something else is in obj, and the message says where; or f is neither a path nor a file.
        ValueError: A container holds itself.
        OSError: The file cannot be written; a file that was there is left as it was.
    """
    content = to_bytes(obj)
    if hasattr(f, "write"):
        f.write(content)
    else:
        write_whole(_path("save", f), content)


def load(f: Any) -> Any:
    """Reads what :func:`save` has written, or any other safetensors file.

    Args:
        f: A path, or a binary file open for reading.

    Returns:
        The object as it was saved: tensors as tensors, arrays as arrays, tuples as tuples; mappings as dicts. A file of
        another program (PyTorch's ``safetensors.torch.save_file``) gives a dict of tensors: float16 and bfloat16 become
        float32, uint16 int32 and uint32 int64, which hold every value of theirs.

    Raises:
        FormatError: The file is damaged, of a newer version, no safetensors file, or holds a type that tensors lack.
        OSError: The file cannot be read.
        TypeError: f is neither a path nor a file.
    """
    if hasattr(f, "read"):
        return from_bytes(f.read(), getattr(f, "name", "the file"))
    with open(_path("load", f), "rb") as file:
        return from_bytes(file.read(), os.fspath(f))


def _path(owner: str, f: Any) -> Any:
    """A path as it is; open() would take a number for a file descriptor."""
    if not isinstance(f, (str, bytes, os.PathLike)):
        raise TypeError(f"{owner}: f must be a path or an open binary file, got {type(f).__name__}")
    return f


def to_bytes(obj: Any) -> bytes:
    """What :func:`save` writes."""
    from safetensors.numpy import save as serialize

    arrays: dict[str, np.ndarray] = {}
    tree = _encode(obj, (), arrays, set())
    head = json.dumps({"version": _VERSION, "tree": tree}, allow_nan=False, separators=(",", ":"))
    return serialize(arrays, {_KEY: head})


def from_bytes(content: bytes, name: Any = "the file") -> Any:
    """What :func:`load` returns for a file's content; ``name`` stands in messages."""
    from safetensors import SafetensorError, deserialize

    try:
        try:
            entries = dict(deserialize(content))
        except SafetensorError as error:
            # A header's length may begin with these bytes, too, but is followed by the header.
            if (content[:2] == b"PK" or content[:1] == b"\x80") and content[8:9] != b"{":
                raise FormatError(
                    "it is a zip or pickle file, as torch.save writes it, and no safetensors file. Pickle runs code "
                    "and is never read here; save the state dict with safetensors.torch.save_file"
                ) from None
            raise FormatError(f"it is damaged or no safetensors file ({error})") from None
        head = _head(content)
        if head is None:
            return {key: _tensor(key, entries[key]) for key in sorted(entries)}
        obj = _decode(head["tree"], entries)
        if entries:
            raise FormatError(f"its structure has no place for {_few(entries)}")
        return obj
    except FormatError as error:
        raise FormatError(f"load: {name}: {error}") from None
    except RecursionError:
        raise FormatError(f"load: {name}: it is nested too deeply") from None


def _encode(value: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray], above: set[int]) -> Any:
    """value as JSON; its tensors go to arrays. What JSON lacks is [kind, ...]."""
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else ["float", repr(value)]
    kind = next((k for k, t in _KINDS.items() if isinstance(value, t)), None)
    if kind is not None:
        array = np.asarray(value.detach() if isinstance(value, Tensor) else value)
        if array.dtype.name not in _WRITTEN:
            raise TypeError(f"save: {_where(path)} is an array of {array.dtype}, which safetensors has no type for")
        name = ".".join(path) or "data"
        while name in arrays or name == "__metadata__":
            name += "'"
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
        return [kind, name]
    if isinstance(value, Module) or hasattr(value, "state_dict"):
        raise TypeError(f"save: {_where(path)} is a {type(value).__name__}; save its state_dict()")
    if type(value) not in (list, tuple) and not isinstance(value, Mapping):
        raise TypeError(
            f"save: {_where(path)} is a {type(value).__name__}; what can be saved are tensors, arrays, numbers, text, "
            "None, and lists, tuples and mappings of these"
        )
    if id(value) in above:
        raise ValueError(f"save: {_where(path)} is a container that holds itself")
    above.add(id(value))
    try:
        if isinstance(value, Mapping):
            for key in value:
                if type(key) not in (str, int):
                    raise TypeError(f"save: {_where(path)} has the key {key!r}; keys must be str or int")
            return ["dict", *([k, _encode(v, (*path, str(k)), arrays, above)] for k, v in value.items())]
        items = (_encode(v, (*path, str(i)), arrays, above) for i, v in enumerate(value))
        return [type(value).__name__, *items]
    finally:
        above.discard(id(value))


_KINDS: dict[str, type] = {"tensor": Tensor, "array": np.ndarray, "scalar": np.generic}


def _where(path: tuple[str, ...]) -> str:
    return "the object" if not path else "the entry " + "".join(f"[{part!r}]" for part in path)


def _head(content: bytes) -> dict[str, Any] | None:
    """What save left in the metadata of a valid header; None if another program wrote the file."""
    size = int.from_bytes(content[:8], "little")
    header = _json(content[8 : 8 + size])
    text = header.get("__metadata__", {}).get(_KEY)
    if text is None:
        return None
    head = _json(text)
    version = head.get("version") if isinstance(head, dict) else None
    if type(version) is not int or version < 1:
        raise FormatError("its header has no version")
    if version > _VERSION:
        raise FormatError(
            f"it was written by a newer pyneural, in version {version} of the format; this one reads up to {_VERSION}"
        )
    if "tree" not in head:
        raise FormatError("its header has no structure")
    return head


def _json(text: Any) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"its header is no valid JSON ({error})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("a name stands in its header twice")
    return found


def _no_constant(name: str) -> Any:
    raise FormatError(f"its header holds {name}, which is no JSON")


def _decode(node: Any, entries: dict[str, Any]) -> Any:
    """The object that _encode made a node of; takes the tensors that it names out of entries."""
    if not isinstance(node, (list, dict)):
        return node
    if isinstance(node, list) and node:
        kind, *items = node
        if not isinstance(kind, str):
            kind = ""
        if kind in _KINDS and len(items) == 1 and isinstance(items[0], str):
            name = items[0]
            if name not in entries:
                raise FormatError(f"it lacks the tensor {name!r} that its structure names, or names it twice")
            entry = entries.pop(name)
            return _tensor(name, entry) if kind == "tensor" else _array(name, entry)[() if kind == "scalar" else ...]
        if kind == "float" and items in (["nan"], ["inf"], ["-inf"]):
            return float(items[0])
        if kind in ("list", "tuple"):
            values = [_decode(item, entries) for item in items]
            return values if kind == "list" else tuple(values)
        if kind == "dict" and all(isinstance(i, list) and len(i) == 2 and type(i[0]) in (str, int) for i in items):
            found = {key: _decode(value, entries) for key, value in items}
            if len(found) == len(items):
                return found
    raise FormatError(f"its structure holds {str(node)[:60]!r}, which is not understood")


def _array(name: str, entry: Mapping[str, Any]) -> np.ndarray:
    """A tensor of the file as an array of its own; bfloat16, which NumPy lacks, as float32."""
    kind, data = entry["dtype"], entry["data"]
    try:
        if kind == "BF16":
            # The upper half of a float32.
            return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
        if kind in _READ:
            dtype = np.dtype(_READ[kind])
            return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(entry["shape"])
    except ValueError as error:
        raise FormatError(f"the tensor {name!r} of shape {entry['shape']} cannot be made: {error}") from None
    raise FormatError(f"the tensor {name!r} is of type {kind}, which is not supported; convert it before it is saved")


def _tensor(name: str, entry: Mapping[str, Any]) -> Tensor:
    array = _array(name, entry)
    array = array.astype(_WIDER.get(array.dtype.name, array.dtype), copy=False)
    try:
        return from_numpy(array)
    except (TypeError, ValueError) as error:
        raise FormatError(f"the tensor {name!r} cannot be made: {error}") from None


def _few(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
