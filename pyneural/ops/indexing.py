"""``x[index]`` and ``x[index] = value``, with NumPy's meaning.

An index falls into a basic part, which is one ``slice`` (a view), and an advanced part, which is one ``take`` over
neighbouring axes seen as one.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .. import _engine
from .gathering import _flat_index, _nonzero, _put_at, _take, to_dtype
from .shape import _assign, _expand, _permute, _reshape, _slice, reshape, take_slice

__all__: list[str] = []
METHODS: tuple[str, ...] = ()  # getitem and setitem are the operators x[i] and x[i] = v

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor
_INT64 = np.dtype(np.int64)
_BOOL = np.dtype(bool)


class _Plan:
    """An index, taken apart.

    x is first sliced (a view), its indexed axes are brought side by side by a permutation, they are taken, and the axes
    of None are put in.
    """

    __slots__ = ("count", "dims", "front", "index", "lengths", "new_axes", "pre", "starts", "steps")

    def __init__(self, shape: tuple[int, ...], index: Any) -> None:
        items = _items(shape, index)
        self.starts: list[int] = []
        self.lengths: list[int] = []
        self.steps: list[int] = []
        kept: list[str] = []  # "s" or "a" for each axis after slicing
        arrays: list[Any] = []
        marks = []  # positions of what NumPy counts as advanced: arrays, and numbers beside them
        layout: list[str] = []  # the result's axes in order: "s" one of x, "n" a new one, "a" those of the indices
        for position, (kind, value, axes) in enumerate(items):
            if kind in "ia":
                marks.append(position)
            if kind == "n":
                layout.append("n")
                continue
            if kind == "a":
                if "a" not in layout:
                    layout.append("a")
                arrays.append((value, axes))
            for d in axes:
                start, length, step = (0, shape[d], 1) if kind == "a" else (value, -1, 1) if kind == "i" else value
                self.starts.append(start)
                self.lengths.append(length)
                self.steps.append(step)
                if kind != "i":
                    kept.append(kind)
            if kind == "s":
                layout.append("s")
        self.index: Any = None
        self.count = kept.count("a")
        if arrays:
            self.index = _places(shape, arrays)
            self.front = marks[-1] - marks[0] + 1 != len(marks)
            # Numbers beside arrays are advanced indices to NumPy: the first of all marks where the indices' axes go.
            before = sum([k in "sn" for k, _, _ in items[: marks[0]]])
            layout = [c for c in layout if c != "a"]
            layout.insert(0 if self.front else before, "a")
            self.pre = layout[: layout.index("a")].count("s")
            rest = [d for d, k in enumerate(kept) if k == "s"]
            chosen = [d for d, k in enumerate(kept) if k == "a"]
            order = [*rest[: self.pre], *chosen, *rest[self.pre :]]
            self.dims = None if order == sorted(order) else order
        self.new_axes = layout if "n" in layout else None

    def window(self, x: Tensor) -> Tensor:
        """The view of x that the advanced part reads; the whole result where there is none."""
        if any(n != m or s != 1 for n, m, s in zip(self.lengths, x.shape, self.steps, strict=True)):
            x = _slice(x, self.starts, self.lengths, self.steps)
        if self.index is not None and self.dims is not None:
            x = _permute(x, self.dims)
        return x

    def result_shape(self, taken: tuple[int, ...]) -> list[int]:
        """The shape with the axes of None put in."""
        assert self.new_axes is not None
        sizes, shape = list(taken), []
        for c in self.new_axes:
            if c == "n":
                shape.append(1)
            elif c == "s":
                shape.append(sizes.pop(0))
            else:
                shape.extend(sizes[: self.index.ndim])
                del sizes[: self.index.ndim]
        return shape


def _items(shape: tuple[int, ...], index: Any) -> list[tuple[str, Any, range]]:
    """An index as (kind, value, axes of x): "i" a number, "s" a slice (start, length, step), "n" None, "a" an array."""
    entries = [_entry(e) for e in (index if isinstance(index, tuple) else (index,))]
    used = sum([e.ndim if kind == "a" and e.dtype == _BOOL else kind in "isa" for kind, e in entries])
    if used > len(shape):
        raise IndexError(f"getitem: too many indices: {used} for x of shape {shape}")
    dots = [i for i, (kind, _) in enumerate(entries) if kind == "."]
    if len(dots) > 1:
        raise IndexError("getitem: an index can hold only one ellipsis (...)")
    at = dots[0] if dots else len(entries)
    entries[at : at + 1] = [("s", slice(None))] * (len(shape) - used)
    items, d = [], 0
    for kind, e in entries:
        n = 1
        if kind == "i":
            size = shape[d]
            if not -size <= e < size:
                raise IndexError(f"getitem: index {e} is out of range for dim {d} of size {size} (x has shape {shape})")
            e = e + size if e < 0 else e
        elif kind == "s":
            start, stop, step = e.indices(shape[d])
            length = len(range(start, stop, step))
            e = (start if length else 0, length, step if length > 1 else 1)
        elif kind == "n":
            n = 0
        elif e.dtype == _BOOL:
            n = e.ndim
            if e.shape != shape[d : d + n]:
                raise IndexError(
                    f"getitem: a mask of shape {e.shape} does not fit dims {d} to {d + n - 1} of shape {shape}"
                )
        items.append((kind, e, range(d, d + n)))
        d += n
    return items


def _entry(e: Any) -> tuple[str, Any]:
    """One part of an index and its kind; arrays become tensors of int64 or bool."""
    if e is None:
        return "n", None
    if e is Ellipsis:
        return ".", None
    if isinstance(e, slice):
        return "s", slice(*[None if v is None else operator.index(v) for v in (e.start, e.stop, e.step)])
    if isinstance(e, (bool, np.bool_)):
        raise IndexError("getitem: True and False are no indices; use x[None] or a mask of x's shape")
    if isinstance(e, (int, np.integer)):
        return "i", int(e)
    if isinstance(e, (list, range)):
        e = np.asarray(e) if len(e) else np.zeros(0, np.int64)
    if not isinstance(e, (_engine.Tensor, np.ndarray)):
        try:
            return "i", operator.index(e)
        except TypeError:
            raise IndexError(
                f"getitem: {type(e).__name__} is no index; use numbers, slices, None, ... or integer or bool arrays"
            ) from None
    e = as_tensor(e, "getitem")
    if e.dtype.kind not in "iub":
        raise IndexError(f"getitem: an index of dtype {e.dtype} must hold integers or bools")
    if e.ndim == 0 and e.dtype == _BOOL:
        raise IndexError("getitem: a bool without dimensions is no index; use x[None] or a mask of x's shape")
    return "a", e if e.dtype == _BOOL else to_dtype(e, _INT64)


def _places(shape: tuple[int, ...], arrays: list[tuple[Tensor, range]]) -> Tensor:
    """One tensor of indices into all indexed axes, seen as one."""
    if len(arrays) == 1:
        e = arrays[0][0]
        return _nonzero(e, True) if e.dtype == _BOOL else e
    columns, sizes = [], []
    for e, axes in arrays:
        if e.dtype == _BOOL:
            found = _nonzero(e, False)
            columns += [take_slice(found, 1, i, -1) for i in range(e.ndim)]
        else:
            columns.append(e)
        sizes += [shape[d] for d in axes]
    return _flat_index(columns, sizes)


def _basic(x: Tensor, index: tuple) -> Tensor | None:
    """``x[index]`` for an index of numbers, slices and at most one ellipsis; None if it holds anything else."""
    shape = x.shape
    ndim = len(shape)
    starts, lengths, steps = [0] * ndim, list(shape), [1] * ndim
    d, dots = 0, False
    for e in index:
        kind = type(e)
        if kind is int or kind is slice:
            if d >= ndim:
                return None
            size = shape[d]
            if kind is int:
                if not -size <= e < size:
                    return None
                starts[d], lengths[d] = e + size if e < 0 else e, -1
            else:
                start, stop, step = e.indices(size)
                length = len(range(start, stop, step))
                lengths[d] = length
                if length:
                    starts[d] = start
                if length > 1:
                    steps[d] = step
            d += 1
        elif e is Ellipsis and not dots and len(index) <= ndim + 1:
            dots = True
            d += ndim - len(index) + 1
        else:
            return None
    return _slice(x, starts, lengths, steps)


def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]``, with NumPy's meaning.

    Numbers, slices (negative steps too), None and ``...`` give a view. Integer and bool arrays or tensors give a copy;
    several of them broadcast together, and their axes stand where NumPy puts them.

    Raises:
        IndexError: An index is out of range, there are too many, masks or arrays do not fit, or something is no index.
    """
    # The two common kinds first; everything that they leave, wrong indices too, is sorted out by the plan.
    if isinstance(index, (_engine.Tensor, np.ndarray)):
        if index.dtype == _INT64 and x.ndim:
            return _take(x, index, 0, 1)
    else:
        y = _basic(x, index if type(index) is tuple else (index,))
        if y is not None:
            return y
    plan = _Plan(x.shape, index)
    y = plan.window(x)
    if plan.index is not None:
        y = _take(y, plan.index, plan.pre, plan.count)
    if plan.new_axes is not None:
        y = _reshape(y, plan.result_shape(y.shape))
    if y is x:  # x[...] is a new tensor on the same memory
        y = _reshape(x, x.shape) if x.is_contiguous() else _permute(x, tuple(range(x.ndim)))
    return y


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``: writes value, broadcast and converted, into x. If a place gets several, the last stays.

    Raises:
        RuntimeError: x requires a gradient and the tape records (use ``with pyneural.no_grad()``), or value does.
        IndexError: As for reading.
        ValueError: The value does not fit the places, or x lies on read-only memory.
    """
    value = as_tensor(value, "setitem")
    if _engine.is_grad_enabled() and (x.requires_grad or value.requires_grad):
        raise RuntimeError(
            "setitem: writing in place is not recorded for gradients; use `with pyneural.no_grad():`, or build the "
            "result with where() or concatenate()"
        )
    plan = _Plan(x.shape, index)
    x, value = x.detach(), value.detach()
    place = plan.window(x)
    if plan.index is None:
        target = place if plan.new_axes is None else _reshape(place, plan.result_shape(place.shape))
        _assign(target, _without_leading_ones(value, target.ndim))
        return
    taken = (*place.shape[: plan.pre], *plan.index.shape, *place.shape[plan.pre + plan.count :])
    if plan.new_axes is None:
        value = _without_leading_ones(value, len(taken))
    else:
        shape = plan.result_shape(taken)
        value = reshape(_expand(_without_leading_ones(value, len(shape)), shape), taken)
    _put_at(place, plan.index, value, plan.pre, plan.count)


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    """NumPy lets a value have more dimensions than its place as long as the first are 1."""
    extra = value.ndim - ndim
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return reshape(value, value.shape[extra:])
    return value
