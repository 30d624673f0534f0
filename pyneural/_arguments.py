"""How the public ops read their arguments: NumPy's names, and dimensions counted from either end."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def numpy_names(function: Function) -> Function:
    """Lets a function with PyTorch's argument names take NumPy's as well: ``axis`` or ``axes`` for ``dim`` or ``dims``,
    ``keepdims`` for ``keepdim``.

    Raises:
        TypeError: (when called) Both names of one argument are given.
    """
    parameters = inspect.signature(function).parameters
    dim = "dim" if "dim" in parameters else "dims"
    other_names = {"axis": dim, "axes": dim, "keepdims": "keepdim"}
    other_names = {theirs: ours for theirs, ours in other_names.items() if ours in parameters}

    @functools.wraps(function)
    def with_numpy_names(*args: Any, **named: Any) -> Any:
        if named:
            for theirs, ours in other_names.items():
                if theirs in named:
                    if ours in named:
                        raise TypeError(f"{function.__name__}: {theirs} is another name of {ours}; give one of them")
                    named[ours] = named.pop(theirs)
        return function(*args, **named)

    return with_numpy_names  # type: ignore[return-value]


def integer(owner: str, name: str, value: Any) -> int:
    """An argument that must be an integer. TypeError if it is something else."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{owner}: {name} is {value!r} but must be an integer") from None


def integers(owner: str, name: str, values: Any) -> tuple[int, ...]:
    """An argument that must be an integer or a sequence of them. TypeError if it is something else."""
    try:
        if isinstance(values, (tuple, list)) or (not isinstance(values, int) and getattr(values, "ndim", False)):
            return tuple([operator.index(v) for v in values])
        return (operator.index(values),)
    except TypeError:
        raise TypeError(f"{owner}: {name} is {values!r} but must be an integer or a sequence of them") from None


def number(owner: str, name: str, value: Any) -> float:
    """An argument that must be a number. TypeError if it is something else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{owner}: {name} is {value!r} but must be a number") from None


def probability(owner: str, name: str, value: Any) -> float:
    """An argument that must be a number between 0 and 1. TypeError or ValueError if it is something else."""
    if not 0.0 <= number(owner, name, value) <= 1.0:
        raise ValueError(f"{owner}: {name} must be a probability between 0 and 1, got {value}")
    return float(value)


def dims_of(owner: str, dim: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """The dimensions of a reduction as its op takes them: None for all, which ``()`` means too (as in PyTorch)."""
    return None if dim is None else integers(owner, "dim", dim) or None


def axes(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The dimensions that ``dim`` names in a tensor of ``ndim`` dimensions, counted from the front, in rising order.

    None names all of them. A 0-d tensor has none, though 0 and -1 may be given for it (as in PyTorch). The op that
    ``dim`` belongs to has checked that there is such a dimension.
    """
    if dim is None:
        return tuple(range(ndim))
    found = []
    for d in dim if isinstance(dim, (tuple, list)) else (dim,):
        if ndim:
            found.append(d + ndim if d < 0 else d)
    return tuple(sorted(found))


def kept_shape(shape: Sequence[int], dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """``shape`` with size 1 along the named dimensions: what a reduction with ``keepdim=True`` gives."""
    folded = axes(dim, len(shape))
    return tuple([1 if d in folded else n for d, n in enumerate(shape)])
