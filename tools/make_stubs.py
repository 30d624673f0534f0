#!/usr/bin/env python3
"""Writes the type stubs of what type checkers cannot see by themselves; ``--check`` only tells whether they are up to
date.

    pyneural/_kernels.pyi       the pybind11 module, by pybind11-stubgen
    pyneural/_engine.pyi        the Cython module, by inspection; the types of its results are in the table below
    pyneural/ops/__init__.pyi   the ops, which are attached by name
    pyneural/_methods.pyi       the ops as methods: base class of ``Tensor`` for type checkers only

Run it in an environment where the package and the ``lint`` extra are installed, after a change of an op's signature or
of the bindings.
"""

from __future__ import annotations

import difflib
import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyneural
from pyneural import _engine, ops

PACKAGE = Path(__file__).resolve().parents[1] / "pyneural"
HEAD = "# Made by tools/make_stubs.py; do not edit.\n"
RESULT = "_Result"

#: Types of the engine's functions, methods and properties; what is missing here is Any. Operators are added by rule.
ENGINE = {
    "NUMPY_TYPES": "tuple[np.dtype[Any], ...]",
    "as_tensor": RESULT,
    "dtype_code": "int",
    "is_grad_enabled": "bool",
    "op_names": "list[str]",
    "set_grad_mode": "bool",
    "set_operators": "None",
    "set_tensor_class": "None",
    "tensor_from_array": RESULT,
    "Node.attributes": "tuple[Any, ...]",
    "Node.inputs": "tuple[Any, ...]",
    "Node.number": "int",
    "Node.op": "Op",
    "Op.attributes": "tuple[str, ...]",
    "Op.flags": "frozenset[str]",
    "Op.gradient": "dict[str, Any]",
    "Op.inputs": "tuple[str, ...]",
    "Op.name": "str",
    "Op.variadic": "bool",
    "Op.writes": "tuple[int, ...]",
    "Tensor.__array__": "np.ndarray[Any, Any]",
    "Tensor.__bool__": "bool",
    "Tensor.__float__": "float",
    "Tensor.__hash__": "int",
    "Tensor.__index__": "int",
    "Tensor.__int__": "int",
    "Tensor.__len__": "int",
    "Tensor._dtype_code": "int",
    "Tensor._version": "int",
    "Tensor._share": "None",
    "Tensor._write": "Self",
    "Tensor.detach": RESULT,
    "Tensor.dtype": "np.dtype[Any]",
    "Tensor.grad": f"{RESULT} | None",
    "Tensor.grad_fn": "Node | None",
    "Tensor.is_contiguous": "bool",
    "Tensor.is_leaf": "bool",
    "Tensor.ndim": "int",
    "Tensor.numel": "int",
    "Tensor.numpy": "np.ndarray[Any, Any]",
    "Tensor.output_nr": "int",
    "Tensor.requires_grad": "bool",
    "Tensor.shape": "tuple[int, ...]",
    "Tensor.strides": "tuple[int, ...]",
}
SETTABLE = ("Tensor.grad", "Tensor.requires_grad")
BINARY = "add sub mul truediv floordiv mod pow matmul and or xor".split()
OPERATORS = {f"__{r}{n}__" for n in BINARY for r in ("", "r")} | {f"__{n}__" for n in "lt le gt ge".split()}
UNARY = {f"__{n}__" for n in "neg pos abs invert".split()}
SKIPPED = {"__new__", "__doc__", "__reduce__", "__setstate__", "__repr__", "__module__", "__get__", "__init__"}


def kernels_stub() -> str:
    """The stub of the pybind11 module."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pybind11_stubgen", "pyneural._kernels", "-o", folder, "--exit-code"]
        subprocess.run(command, check=True, capture_output=True)
        text = Path(folder, "pyneural", "_kernels.pyi").read_text()
    return HEAD + text


def signature(function: Any, skip_self: bool = True) -> list[str]:
    """Parameters of a Cython function as a stub has them, without types."""
    parameters = list(inspect.signature(function).parameters.values())
    return [p.name + (": Any = ..." if p.default is not p.empty else ": Any") for p in parameters[skip_self:]]


def engine_class(cls: type) -> Iterator[str]:
    """The lines of a class of the engine."""
    base = cls.__base__
    yield f"class {cls.__name__}{'' if base in (None, object) else f'({base.__name__})'}:"
    for name, member in vars(cls).items():
        full = f"{cls.__name__}.{name}"
        kind = ENGINE.get(full, "Any")
        if name in SKIPPED or name.startswith("__pyx"):
            continue
        if name in OPERATORS:
            yield f"    def {name}(self, other: TensorLike, /) -> {RESULT}: ..."
        elif name in UNARY:
            yield f"    def {name}(self) -> {RESULT}: ..."
        elif name in ("__eq__", "__ne__"):
            yield f"    def {name}(self, other: TensorLike, /) -> {RESULT}: ...  # type: ignore[override]"
        elif name == "__call__":
            yield f"    def __call__(self, *args: Any) -> {kind}: ..."
        elif inspect.isgetsetdescriptor(member):
            yield f"    @property\n    def {name}(self) -> {kind}: ..."
            if full in SETTABLE:
                yield f"    @{name}.setter\n    def {name}(self, value: {kind}) -> None: ..."
        elif not callable(member):
            yield f"    {name}: {kind}"
        else:
            given = [] if type(member).__name__ == "wrapper_descriptor" else signature(member)
            yield f"    def {name}({', '.join(['self', *given])}) -> {kind}: ..."
    if not issubclass(cls, Exception):
        yield "    def __init__(self, *args: Any) -> None: ..."
    yield ""


def engine_stub() -> str:
    """The stub of the Cython module."""
    lines = [HEAD + "from typing import Any, TypeAlias\n", "import numpy as np", "import numpy.typing as npt",
             "from typing_extensions import Self\n", "from .tensor import Tensor as _Result\n",
             "TensorLike: TypeAlias = Tensor | npt.ArrayLike\n"]  # fmt: skip
    members = {n: v for n, v in vars(_engine).items() if not n.startswith("_")}
    known = {"NUMPY_TYPES"}
    for name, value in members.items():
        if inspect.isclass(value) and value.__module__ == _engine.__name__:
            lines += engine_class(value)
            known |= {f"{name}.{n}" for n in vars(value)}
    lines.append(f"NUMPY_TYPES: {ENGINE['NUMPY_TYPES']}\n")
    for name, value in members.items():
        if type(value).__name__ == "cython_function_or_method":
            known.add(name)
            lines.append(f"def {name}({', '.join(signature(value, False))}) -> {ENGINE.get(name, 'Any')}: ...")
    gone = set(ENGINE) - known
    if gone:
        raise SystemExit(f"make_stubs: the engine no longer has {', '.join(sorted(gone))}; remove the rows of ENGINE")
    return "\n".join(lines) + "\n"


# ---- ops ----


def result_type(name: str, function: Any) -> str:
    """What an op returns: a tensor, unless its annotation says something else; max and min depend on their
    arguments.
    """
    if isinstance(function, _engine.Op):
        return "Tensor"
    given = inspect.signature(function).return_annotation
    return "Any" if name in ("max", "min") else "Tensor" if given == "Any" else given


def op_parameters(function: Any) -> list[str]:
    """Parameters as they stand in a stub. Where a tensor is taken, so is what makes one; NumPy's names stand beside
    ours.
    """
    if isinstance(function, _engine.Op):
        return [*(f"{n}: TensorLike" for n in function.inputs), *(f"{n}: Any" for n in function.attributes), "/"]
    given = list(inspect.signature(function).parameters.values())
    ours = {p.name for p in given}
    also = []  # see pyneural.ops._arguments.numpy_names
    if getattr(function, "__code__", None) and function.__code__.co_name == "with_numpy_names":
        dim = "dim" if "dim" in ours else "dims"
        also = [
            (n, p) for n, of in (("axis", dim), ("axes", dim), ("keepdims", "keepdim")) for p in given if p.name == of
        ]
    # A stub cannot say "dim or axis" where required parameters follow dim; there it has dim alone.
    required = [p.name for p in given if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    also = [(n, p) for n, p in also if p.name not in required or p.name == required[-1]]
    renamed = {p.name for _, p in also}
    parts = []
    for place, p in enumerate(given):
        kind = re.sub(r"\bTensor\b", "TensorLike", p.annotation)
        kind = "TensorLike" if place == 0 and kind == "Any" else kind
        default = " = ..." if p.default is not p.empty or p.name in renamed else ""
        star = "*" if p.kind is p.VAR_POSITIONAL else ""
        if p.kind is p.KEYWORD_ONLY and "*" not in parts and not any(x.startswith("*") for x in parts):
            parts.append("*")
        parts.append(f"{star}{p.name}: {kind}{default}")
    if also and not any(x.startswith("*") for x in parts):
        parts.append("*")
    return parts + [f"{name}: {p.annotation} = ..." for name, p in also]


def ops_stub() -> str:
    """The stub of ``pyneural.ops``: every op as a function."""
    modules = sorted(
        n for n, v in vars(ops).items() if inspect.ismodule(v) and v.__name__ == f"pyneural.ops.{n}" and n[0] != "_"
    )
    lines = [HEAD + "from collections.abc import Sequence", "from types import ModuleType", "from typing import Any\n",
             "from pyneural._engine import TensorLike", "from pyneural.tensor import Tensor\n",
             *(f"from . import {m} as {m}" for m in modules),
             "from .folds import Dims", "from .record import RECORDS as RECORDS\n",
             "FAMILIES: tuple[ModuleType, ...]", "METHODS: dict[str, Any]\n"]  # fmt: skip
    for name in ops.__all__:
        function = getattr(ops, name)
        lines.append(f"def {name}({', '.join(op_parameters(function))}) -> {result_type(name, function)}: ...")
    return "\n".join(lines) + "\n\n__all__ = [\n" + "".join(f'    "{n}",\n' for n in ops.__all__) + "]\n"


def methods_stub() -> str:
    """The stub of a class that exists for type checkers only: the ops that ``pyneural`` attaches to its tensor type."""
    lines = [HEAD + "from collections.abc import Sequence", "from typing import Any\n",
             "from pyneural._engine import Tensor as _Base", "from pyneural._engine import TensorLike",
             "from pyneural.ops.folds import Dims", "from pyneural.tensor import Tensor\n",
             "class TensorWithOps(_Base):"]  # fmt: skip
    for name, function in ops.METHODS.items():
        parameters = ["self", *op_parameters(function)[1:]]
        if parameters[-1] == "/" and len(parameters) == 2:
            parameters.pop()
        lines.append(f"    def {name}({', '.join(parameters)}) -> {result_type(name, function)}: ...")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the stubs, or with --check prints how the present ones differ and returns 1 if they do."""
    made = {"_kernels.pyi": kernels_stub(), "_engine.pyi": engine_stub(), "ops/__init__.pyi": ops_stub(),
            "_methods.pyi": methods_stub()}  # fmt: skip
    stale = 0
    for name, text in made.items():
        path = PACKAGE / name
        before = path.read_text() if path.exists() else ""
        if before == text:
            continue
        stale += 1
        if "--check" in sys.argv[1:]:
            print(
                *difflib.unified_diff(before.splitlines(), text.splitlines(), name, "made now", lineterm=""), sep="\n"
            )
        else:
            path.write_text(text)
            print(f"wrote {path}")
    if "--check" not in sys.argv[1:]:
        return 0
    print(f"stubs of pyneural {pyneural.__version__}: {f'{stale} out of date' if stale else 'up to date'}")
    return stale > 0


if __name__ == "__main__":
    sys.exit(main())
