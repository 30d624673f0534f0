"""Rearrangements made of the primitives of :mod:`pyneural.ops.shape`: flip, roll, repeat, pad, triangles, diagonals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integer, integers, numpy_names
from .gathering import _add_at, _take, index_select
from .record import composed, op
from .shape import (
    _concatenate,
    _embed_slice,
    _expand,
    _permute,
    _reshape,
    _slice,
    axis_of,
    ravel,
    reshape,
    sizes_of,
    take_slice,
)

__all__ = ["diag", "diagonal", "flip", "pad", "repeat", "repeat_interleave", "roll", "tile", "tril", "triu"]
METHODS = ("diag", "diagonal", "flip", "repeat", "repeat_interleave", "roll", "tile", "tril", "triu")

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


@numpy_names
@composed(
    reference=lambda x, dims=None: np.flip(x, dims),
    samples=lambda make: [
        (make(3, 4), (0,)),
        (make(2, 3, 5), (0, -1)),
        (make(7), 0),
        (make(0, 2), (0,)),
        (make(33, 65), (1,)),
    ],
    errors=lambda make: [
        ((make(3), 1), IndexError, "flip: dim 1 is out of range"),
        ((make(3), (0, 0)), ValueError, "twice"),
    ],
    dtypes="any",
)
def flip(x: Tensor, dims: int | Sequence[int], *more: int) -> Tensor:
    """A view of x with the order along some dimensions reversed: ``x.flip(0, 1)`` or ``x.flip((0, 1))``.

    Raises:
        IndexError: A dimension does not exist.
        ValueError: A dimension is named twice.
    """
    x = as_tensor(x)
    shape = x.shape
    wanted: Any = dims if isinstance(dims, (tuple, list)) else (dims, *more)
    named = [axis_of("flip", d, x.ndim, shape) for d in wanted]
    if len(set(named)) != len(named):
        raise ValueError(f"flip: dims {wanted} name a dimension twice")
    starts = [n - 1 if d in named and n else 0 for d, n in enumerate(shape)]
    return _slice(x, starts, shape, [-1 if d in named else 1 for d in range(x.ndim)])


@numpy_names
@composed(
    reference=lambda x, shifts, dims=None: np.roll(x, shifts, dims),
    samples=lambda make: [(make(3, 4), 1, 0), (make(3, 4), (1, -2), (0, 1)), (make(2, 5), 3), (make(7), -9, 0),
                          (make(0, 2), 1, 0)],
    errors=lambda make: [((make(3, 2), (1, 2), (0,)), ValueError, "roll: 2 shifts"),
                         ((make(3), 1, 4), IndexError, "roll: dim 4")],
    dtypes="any",
)  # fmt: skip
def roll(x: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """x with its elements moved on by ``shifts`` along dims, those pushed out coming in at the other end.

    Without dims, x is rolled as a vector and takes its shape again.

    Raises:
        ValueError: shifts and dims differ in length.
        IndexError: A dimension does not exist.
    """
    x = as_tensor(x)
    if dims is None:
        return reshape(roll(ravel(x), shifts, 0), x.shape)
    by = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
    along = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(by) != len(along):
        raise ValueError(f"roll: {len(by)} shifts for {len(along)} dims")
    for n, d in zip(by, along, strict=True):
        d = axis_of("roll", d, x.ndim, x.shape)
        size = x.shape[d]
        n = integer("roll", "shifts", n) % size if size else 0
        if n:
            x = _concatenate([take_slice(x, d, size - n, n), take_slice(x, d, 0, size - n)], d)
    return x


@composed(
    reference=lambda x, *sizes: np.tile(x, sizes[0] if isinstance(sizes[0], tuple) else sizes),
    samples=lambda make: [(make(2, 3), (2, 2)), (make(3), (4, 2)), (make(2, 1), (1, 0)), (make(), (3,))],
    errors=lambda make: [((make(2, 3), (2,)), ValueError, r"repeat: sizes are \(2,\), but each of the 2 dim")],
    dtypes="any",
)
def repeat(x: Tensor, *sizes: Any) -> Tensor:
    """x repeated along its dimensions, as many times as sizes say; more sizes than dimensions add dimensions in front.

    (PyTorch's repeat, which NumPy calls tile; NumPy's repeat is :func:`repeat_interleave`.)

    Raises:
        ValueError: Fewer sizes than dimensions, or a negative one.
    """
    x = as_tensor(x)
    times = sizes_of("repeat", "sizes", sizes)
    if len(times) < x.ndim or min(times, default=0) < 0:
        raise ValueError(
            f"repeat: sizes are {times}, but each of the {x.ndim} dimensions of x, of shape {x.shape}, needs one that "
            "is at least 0"
        )
    shape = (1,) * (len(times) - x.ndim) + x.shape
    x = _reshape(x, [n for size in shape for n in (1, size)])
    x = _expand(x, [n for pair in zip(times, shape, strict=True) for n in pair])
    return reshape(x, [k * n for k, n in zip(times, shape, strict=True)])


def tile(x: Tensor, *dims: Any) -> Tensor:
    """x repeated along its dimensions; missing sizes in front count as 1. See :func:`repeat`."""
    x = as_tensor(x)
    times = sizes_of("tile", "dims", dims)
    return repeat(x, (1,) * (x.ndim - len(times)) + times)


@numpy_names
def repeat_interleave(x: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """x with each entry along a dimension repeated, one beside the other. Without dim, x is taken as a vector.

    Args:
        x: Tensor.
        repeats: How often: one number, or one for each entry.
        dim: The dimension.

    Raises:
        ValueError: The number of repeats does not fit, or one is negative.
        IndexError: dim does not exist.
    """
    x = as_tensor(x)
    if dim is None:
        x, dim = ravel(x), 0
    dim = axis_of("repeat_interleave", dim, x.ndim, x.shape)
    times = np.asarray(repeats)
    if (
        times.ndim > 1
        or times.dtype.kind not in "iu"
        or (times.ndim and times.size not in (1, x.shape[dim]))
        or (times < 0).any()
    ):
        raise ValueError(
            f"repeat_interleave: repeats must be one number or {x.shape[dim]} (the size of dim {dim}), at least 0, "
            f"got {repeats!r}"
        )
    return index_select(x, dim, np.repeat(np.arange(x.shape[dim]), times))


_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _extend_reference(x: np.ndarray, mode: int, before: tuple, after: tuple) -> np.ndarray:
    return np.pad(x, list(zip(before, after, strict=True)), mode=[*_PAD_MODES.values()][mode])  # type: ignore[call-overload]


def _extend_backward_reference(x: np.ndarray, mode: int, before: tuple, after: tuple) -> np.ndarray:
    shape = [n - a - b for n, a, b in zip(x.shape, before, after, strict=True)]
    y = np.zeros(int(np.prod(shape)))
    np.add.at(y, _extend_reference(np.arange(y.size).reshape(shape), mode, before, after), x)
    return y.reshape(shape).astype(x.dtype)


#: Shape of x, mode, entries before and after each axis.
_EXTENSIONS = (
    ((7,), 0, (3,), (6,)), ((3, 5), 0, (0, 4), (2, 1)), ((2, 3, 4, 5), 0, (0, 0, 1, 2), (0, 0, 3, 0)),
    ((1, 2), 1, (0, 3), (2, 4)), ((17, 3, 4), 1, (0, 1, 0), (0, 2, 0)), ((2, 2, 3, 4, 5), 2, (0, 0, 1, 2, 5), (0, 0, 3, 0, 1)),
    ((0, 3), 0, (0, 1), (0, 2)), ((2, 70, 66), 2, (0, 3, 5), (0, 1, 7)), ((3, 1, 4200, 1), 1, (0, 0, 2, 0), (0, 0, 1, 0)),
)  # fmt: skip


def _extend_errors(make: Any) -> list[tuple]:
    return [
        ((make(3, 4), 0, (1,), (1,)), ValueError, "an entry for each dimension"),
        ((make(3), 2, (-1,), (1,)), ValueError, "dim 0 of size .* cannot be gone on"),
    ]


#: ``extend(x, mode, before, after)``: axes gone on beyond their ends; modes by number in the order of _PAD_MODES.
_extend: Any = op(
    "extend",
    "x",
    attributes="mode before after",
    reference=_extend_reference,
    gradient={"x": lambda g, mode, before, after: _extend_backward(g, mode, before, after)},
    formula={"x": r"\sum g \text{ at the copies}"},
    samples=lambda make: [(make(*shape), *rest) for shape, *rest in _EXTENSIONS],
    errors=lambda make: [
        *_extend_errors(make),
        ((make(3), 0, (3,), (0,)), ValueError, r"dim 0 of size 3 cannot be gone on by 3 and 0 elements \(at most 2\)"),
    ],
)

#: The adjoint: each entry is the sum of those that it was copied to.
_extend_backward: Any = op(
    "extend_backward",
    "x",
    attributes="mode before after",
    reference=_extend_backward_reference,
    gradient={"x": lambda g, mode, before, after: _extend(g, mode, before, after)},
    formula={"x": r"g \text{ gone on}"},
    samples=lambda make: [
        (make(*[n + a + b for n, a, b in zip(shape, before, after, strict=True)]), mode, before, after)
        for shape, mode, before, after in _EXTENSIONS
    ],
    errors=_extend_errors,
)


def _pad_reference(x: np.ndarray, pad: tuple, mode: str = "constant", value: float | None = None) -> np.ndarray:
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    crop = tuple([slice(max(0, -a), -max(0, -b) or None) for a, b in pairs])
    pairs = [(max(0, a), max(0, b)) for a, b in pairs]
    if mode == "constant":
        return np.pad(x[crop], pairs, constant_values=value or 0)
    if mode == "circular":
        return np.pad(x[crop], pairs, mode="wrap")
    return np.pad(x, pairs, mode=_PAD_MODES[mode])[crop]  # type: ignore[call-overload]


@composed(
    reference=_pad_reference,
    samples=lambda make: [(make(3, 4), (1, 2)), (make(3, 4), (1, 2, 0, 3), "constant", 1.5),
                          (make(2, 3, 4), (-1, 2, 1, -1)),
                          (make(0), (2, 1)), (make(3, 4), ()), (make(3, 5), (2, 1), "reflect"),
                          (make(3, 5), (2, 6, 1, 0), "replicate"),
                          (make(2, 3, 4), (3, 4, 1, 1), "circular"), (make(65, 17), (8, 7)),
                          (make(2, 3, 4), (-1, 3, 2, -1), "reflect"), (make(2, 1), (-1, 2), "replicate"),
                          (make(2, 3, 4), (-1, 3, 2, -1), "circular"), (make(0, 3), (2, 1), "reflect")],
    errors=lambda make: [((make(3, 4), (1,)), ValueError, "pad: pad has 1 entries"),
                         ((make(3), (1, 1, 1, 1)), ValueError, "pad has 4"),
                         ((make(3), (-2, -2)), ValueError, "nothing is left"),
                         ((make(3), (1, 1), "mirror"), ValueError, "mode"),
                         ((make(3), (3, 1), "reflect"), ValueError, "'reflect' goes on by at most 2 entries .* size 3"),
                         ((make(3), (4, 1), "circular"), ValueError, "'circular' goes on by at most 3 entries"),
                         ((make(0), (1, 1), "replicate"), ValueError, "at most 0 entries for the size 0")],
)  # fmt: skip
def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """x with entries added around it, or taken off where the number is negative.

    Where both are asked for, "reflect" and "replicate" go on from the whole of x, "circular" from what is left of it.

    Args:
        x: Tensor.
        pad: Numbers of entries in pairs (before, after), for the last dimension first, as in PyTorch.
        mode: "constant" fills with value; "reflect" mirrors without the border, "replicate" repeats the border entries,
            "circular" goes on at the other end.
        value: The filling of mode "constant"; 0 by default.

    Raises:
        ValueError: pad has an odd or too large number of entries, takes off more than there is, or goes beyond what the
            mode can continue.
    """
    x = as_tensor(x)
    shape = x.shape
    pad = integers("pad", "pad", pad)
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        raise ValueError(
            f"pad: pad has {len(pad)} entries, but pairs are wanted for at most the {len(shape)} dimensions of x"
        )
    if mode != "constant" and mode not in _PAD_MODES:
        raise ValueError(f"pad: mode {mode!r} is none of 'constant', {', '.join(map(repr, _PAD_MODES))}")
    pairs = [(0, 0)] * (len(shape) - len(pad) // 2)
    pairs += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if any(n + min(a, 0) + min(b, 0) < 0 for (a, b), n in zip(pairs, shape, strict=True)):
        raise ValueError(f"pad: nothing is left of x of shape {shape} after taking off {tuple(pad)}")
    cut = [(max(0, -a), max(0, -b)) for a, b in pairs]
    pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    if mode in ("constant", "circular"):
        x = _cut(x, cut)
        shape = x.shape
    if mode == "constant":
        whole = tuple([a + n + b for (a, b), n in zip(pairs, shape, strict=True)])
        return _embed_slice(x, whole, [a for a, _ in pairs], shape, [1] * len(shape), float(value or 0))
    for d, (a, b) in enumerate(pairs):
        most = {"reflect": max(shape[d] - 1, 0), "circular": shape[d]}.get(mode, max(a, b) if shape[d] else 0)
        if max(a, b) > most:
            raise ValueError(
                f"pad: mode {mode!r} goes on by at most {most} entries for the size {shape[d]} of dim {d} of shape {shape}, "
                f"but {max(a, b)} are asked for"
            )
    before, after = zip(*pairs, strict=True) if pairs else ((), ())
    if any(before + after):
        x = _extend(x, list(_PAD_MODES).index(mode), before, after)
    return x if mode == "circular" else _cut(x, cut)


def _cut(x: Tensor, cut: list[tuple[int, int]]) -> Tensor:
    """x without so many entries before and after each dimension."""
    if not any(a or b for a, b in cut):
        return x
    return _slice(x, [a for a, _ in cut], [n - a - b for (a, b), n in zip(cut, x.shape, strict=True)], [1] * len(cut))


def _triangle(name: str, x: Tensor, keep: Any, diagonal: int) -> Tensor:
    from .elementwise import where

    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"{name}: x must have at least 2 dimensions, got shape {x.shape}")
    return where(keep(np.ones(x.shape[-2:], bool), diagonal), x, as_tensor(np.zeros((), x.dtype)))


@composed(
    reference=lambda x, diagonal=0: np.tril(x, diagonal),
    samples=lambda make: [(make(4, 5),), (make(4, 3), -1), (make(2, 3, 3), 2), (make(0, 3),)],
    errors=lambda make: [((make(3),), ValueError, "tril: x must have at least 2")],
    dtypes="any",
)
def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices (the last two dimensions), zero above the given diagonal.

    Raises:
        ValueError: x has fewer than two dimensions.
    """
    return _triangle("tril", x, np.tril, diagonal)


@composed(
    reference=lambda x, diagonal=0: np.triu(x, diagonal),
    samples=lambda make: [(make(4, 5),), (make(4, 3), -1), (make(2, 3, 3), 2), (make(0, 3),)],
    errors=lambda make: [((make(3),), ValueError, "triu: x must have at least 2")],
    dtypes="any",
)
def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices (the last two dimensions), zero below the given diagonal.

    Raises:
        ValueError: x has fewer than two dimensions.
    """
    return _triangle("triu", x, np.triu, diagonal)


def _diagonal_places(rows: int, columns: int, offset: int) -> np.ndarray:
    """Flat indices of a diagonal of a (rows, columns) matrix."""
    n = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    return np.arange(n) * (columns + 1) + (offset if offset >= 0 else -offset * columns)


@composed(
    reference=lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2).copy(),
    samples=lambda make: [(make(4, 5),), (make(4, 5), 2), (make(4, 5), -3), (make(2, 3, 4), 0, -2, -1),
                          (make(3, 3), 5),
                          (make(2, 3, 4), 1, 2, 0), (make(0, 3),)],
    errors=lambda make: [((make(3, 3), 0, 1, -1), ValueError, "diagonal: dim1 and dim2"),
                         ((make(3),), IndexError, "out of range")],
    dtypes="any",
)  # fmt: skip
def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A diagonal of x over two of its dimensions; it becomes the last dimension. A copy (PyTorch gives a view).

    Args:
        x: Tensor with at least two dimensions.
        offset: 0 for the main diagonal, positive above and negative below it.
        dim1: The dimension that counts as rows.
        dim2: The dimension that counts as columns.

    Raises:
        ValueError: dim1 and dim2 are the same.
        IndexError: A dimension does not exist.
    """
    x = as_tensor(x)
    i, j = axis_of("diagonal", dim1, x.ndim, x.shape), axis_of("diagonal", dim2, x.ndim, x.shape)
    if i == j:
        raise ValueError(f"diagonal: dim1 and dim2 are both {i}")
    rest = [d for d in range(x.ndim) if d not in (i, j)]
    return _take(_permute(x, [*rest, i, j]), _diagonal_places(x.shape[i], x.shape[j], offset), len(rest), 2)


@composed(
    reference=lambda x, diagonal=0: np.diag(x, diagonal).copy(),
    samples=lambda make: [(make(4),), (make(3), 2), (make(3), -1), (make(4, 5),), (make(5, 3), -1), (make(0),)],
    errors=lambda make: [((make(2, 2, 2),), ValueError, "diag: x must be a vector or a matrix")],
    dtypes="any",
)
def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with vector x on a diagonal, or the diagonal of matrix x.

    Raises:
        ValueError: x is neither a vector nor a matrix.
    """
    x = as_tensor(x)
    if x.ndim == 1:
        n = x.shape[0] + abs(diagonal)
        return _add_at(x, _diagonal_places(n, n, diagonal), (n, n), 0, 2)
    if x.ndim != 2:
        raise ValueError(f"diag: x must be a vector or a matrix, got shape {x.shape}")
    return _take(x, _diagonal_places(x.shape[0], x.shape[1], diagonal), 0, 2)
