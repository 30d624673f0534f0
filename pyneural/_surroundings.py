"""What a step sees besides its arguments: the variables around it, for the guards of captured programs.

A number that a step takes from a closure, a global, an object or a default is a constant of the recorded program. So
that none goes stale, :func:`watch` lists every place that the step's code can have read one from, with what stands
there.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _engine
from .nn.module import Module
from .optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .optim.optimizer import Optimizer

# Kinds of places, as Captured.miss() in bindings/capture.pxi knows them.
_CELL, _KEY, _ATTRIBUTE, _LENGTH, _POSITION = range(5)

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
_MOST_ENTRIES = 256  # of a container that are looked into
_DEEPEST = 6


class _Walk:
    def __init__(self) -> None:
        self.places: list[tuple[int, Any, Any, Any, str]] = []
        self.modules: list[Module] = []
        self._seen: set[int] = set()
        self._kept: list[Any] = []  # what _seen has ids of
        self.names: set[str] = set()
        self.texts: set[Any] = set()

    # ---- code ----

    def function(self, f: Any, label: str, depth: int) -> None:
        """Everything that a function can see."""
        if isinstance(f, functools.partial):
            self.function(f.func, label, depth)
            for i, value in enumerate(f.args):
                self.value(value, f"argument {i} of {label}", depth + 1)
            for name, value in f.keywords.items():
                self.value(value, f"argument {name} of {label}", depth + 1)
            return
        if isinstance(f, types.MethodType):
            # First the code: what it names decides which attributes of the object count.
            self.function(f.__func__, label, depth)
            self.value(f.__self__, "self", depth)
            return
        if isinstance(f, Module):
            self.value(f, label, depth)
            return
        if not isinstance(f, types.FunctionType):
            call = getattr(type(f), "__call__", None)  # noqa: B004
            if isinstance(call, types.FunctionType):
                self.function(call, label, depth)
                self.value(f, label, depth)
            return
        # The library's own functions read nothing but arguments and modules; the training step of a Trainer is one.
        if not self._first(f) or depth > _DEEPEST or (depth and _ours(f.__module__)):
            return
        self.names |= set().union(*[code.co_names for code in _codes(f.__code__)])
        self.texts |= {c for code in _codes(f.__code__) for c in code.co_consts if isinstance(c, str)}
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            self.place(_CELL, cell, name, value, name, depth)
        for name in sorted(set().union(*[code.co_names for code in _codes(f.__code__)])):
            if name in f.__globals__:
                self.place(_KEY, f.__globals__, name, f.__globals__[name], name, depth)
        for i, value in enumerate((*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values())):
            self.value(value, f"default {i} of {label}", depth + 1)

    # ---- data ----

    def place(self, kind: int, holder: Any, name: Any, value: Any, label: str, depth: int) -> None:
        """Watches one place, and what lies behind its value."""
        if isinstance(value, (types.ModuleType, types.BuiltinFunctionType, type)):
            self.value(value, label, depth + 1)
            return
        self.places.append((kind, holder, name, value, label))
        self.value(value, label, depth + 1)

    def value(self, value: Any, label: str, depth: int) -> None:
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            self.function(value, label, depth + 1)
            return
        if isinstance(value, (_engine.Tensor, np.ndarray, *_PLAIN)) or depth > _DEEPEST or not self._first(value):
            return
        if isinstance(value, Module):
            self.modules += value.modules()
            for module in value.modules():
                forward = type(module).forward
                if isinstance(forward, types.FunctionType):
                    self.function(forward, f"{type(module).__name__}.forward", depth + 1)
        elif isinstance(value, Optimizer):
            # A step size that the step reads as a number is baked in; what the update itself reads is not.
            for i, group in enumerate(value.param_groups):
                for key in group:
                    if key in self.texts and key != "params":
                        self.places.append((_KEY, group, key, group[key], f"{label}.param_groups[{i}][{key!r}]"))
        elif isinstance(value, (LRScheduler, ReduceLROnPlateau)):
            return
        elif isinstance(value, (list, tuple)):
            if not isinstance(value, tuple):
                self.places.append((_LENGTH, value, None, len(value), f"len({label})"))
            for i, item in enumerate(value[:_MOST_ENTRIES]):
                self.place(_POSITION, value, i, item, f"{label}[{i}]", depth)
        elif isinstance(value, dict):
            self.places.append((_LENGTH, value, None, len(value), f"len({label})"))
            for key, item in list(value.items())[:_MOST_ENTRIES]:
                self.place(_KEY, value, key, item, f"{label}[{key!r}]", depth)
        elif isinstance(value, types.ModuleType):
            if not _ours(value.__name__):
                for name in self.names & vars(value).keys():
                    if isinstance(vars(value)[name], (_engine.Tensor, *_PLAIN)):
                        self.places.append((_KEY, vars(value), name, vars(value)[name], f"{label}.{name}"))
        elif isinstance(value, type):
            for name in self.names & vars(value).keys():
                if isinstance(vars(value)[name], (_engine.Tensor, *_PLAIN)):
                    self.places.append((_ATTRIBUTE, value, name, vars(value)[name], f"{label}.{name}"))
        else:
            self._object(value, label, depth)

    def _object(self, value: Any, label: str, depth: int) -> None:
        """Those attributes of any other object whose names occur in the code."""
        kind = type(value)
        if not _ours(kind.__module__):
            for name in sorted(self.names):
                method = getattr(kind, name, None)
                method = method.fget if isinstance(method, property) else method
                if isinstance(method, types.FunctionType):
                    self.function(method, f"{kind.__name__}.{name}", depth + 1)
        names = self.names
        own = getattr(value, "__dict__", {})
        slots = {s for c in kind.__mro__ for s in getattr(c, "__slots__", ())}
        for name in sorted(names & (own.keys() | slots)):
            item = getattr(value, name, None)
            if not isinstance(item, types.MethodType):
                self.place(_ATTRIBUTE, value, name, item, f"{label}.{name}", depth)

    def _first(self, value: Any) -> bool:
        if id(value) in self._seen:
            return False
        self._seen.add(id(value))
        self._kept.append(value)
        return True


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _ours(module: str | None) -> bool:
    root = (module or "").partition(".")[0]
    return root in ("pyneural", "numpy", "builtins")


def watch(step: Callable[..., Any]) -> tuple[list[tuple[int, Any, Any, Any, str]], list[Module]]:
    """The places outside of its arguments that a step's code can read, and the modules that it can reach.

    Each place is (kind, holder, name, value, label): a closure's cell, an entry of a dict or list, an attribute, a
    length.
    """
    first, walk = _Walk(), _Walk()
    for w in (first, walk):  # the second time all names are known from the beginning
        w.names, w.texts = first.names, first.texts
        w.function(step, getattr(step, "__name__", "the step"), 0)
    return walk.places, walk.modules
