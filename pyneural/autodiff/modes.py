"""Grad modes: whether ops on tensors that require a gradient are put on the tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _engine


class set_grad_enabled:
    """Switches recording on or off for this thread; also a context manager and a decorator."""

    def __init__(self, mode: bool) -> None:
        self.before = _engine.set_grad_mode(mode)
        self.mode = mode

    def __enter__(self) -> None:
        _engine.set_grad_mode(self.mode)

    def __exit__(self, *_: Any) -> None:
        _engine.set_grad_mode(self.before)


class _Mode:
    """A context manager and decorator with a fixed mode; unlike :class:`set_grad_enabled` it acts only when entered."""

    mode: bool

    def __init__(self, function: Callable | None = None) -> None:
        self.before: list[bool] = []

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        if function is None:
            return self
        self.__init__()  # type: ignore[misc]
        return self(function)

    def __enter__(self) -> None:
        self.before.append(_engine.set_grad_mode(self.mode))

    def __exit__(self, *_: Any) -> None:
        _engine.set_grad_mode(self.before.pop())

    def __call__(self, function: Callable) -> Callable:
        from functools import wraps

        cls = type(self)

        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with cls():
                return function(*args, **kwargs)

        return inside


class no_grad(_Mode):
    """Within it nothing is recorded (per thread). Also a decorator, with or without parentheses."""

    mode = False


class enable_grad(_Mode):
    """Within it recording is on, inside :class:`no_grad` too (per thread). Also a decorator."""

    mode = True


is_grad_enabled = _engine.is_grad_enabled
