"""Shape ops: views (reshape, permute, expand, slices) and the copies that cannot be views (concatenate, embed_slice).

A view shares its tensor's memory. Every basic index ``x[1:5, ::-2, 3]`` is one ``slice``; its adjoint is
``embed_slice``, and each is the other's gradient rule. Most of the functions here are made of these few primitives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integer, integers, numpy_names
from .record import op

__all__ = [
    "broadcast_to", "cat", "chunk", "clone", "concat", "concatenate", "contiguous", "expand", "expand_as", "flatten",
    "moveaxis", "movedim", "narrow", "permute", "ravel", "reshape", "reshape_as", "select", "split", "squeeze", "stack",
    "swapaxes", "swapdims", "t", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as",
]  # fmt: skip
METHODS = tuple([name for name in __all__ if name not in ("cat", "concat", "concatenate", "stack")])

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


# ---- arguments ----


def axis_of(name: str, dim: int, ndim: int, shape: Sequence[int]) -> int:
    """dim counted from the front.

    Raises:
        IndexError: There is no such dimension.
    """
    dim = integer(name, "dim", dim)
    if not -ndim <= dim < ndim:
        raise IndexError(f"{name}: dim {dim} is out of range for shape {tuple(shape)} (use {-ndim} to {ndim - 1})")
    return dim + ndim if dim < 0 else dim


def sizes_of(name: str, what: str, sizes: tuple) -> tuple[int, ...]:
    """The sizes in ``f(2, 3)`` or ``f((2, 3))``. TypeError if they are no integers."""
    return integers(name, what, sizes[0] if len(sizes) == 1 else sizes)


# ---- primitives ----

_reshape: Any = op(
    "reshape",
    "x",
    attributes="shape",
    reference=lambda x, shape: np.reshape(x, shape),
    gradient={"x": lambda g, x_shape: reshape(g, x_shape)},
    formula={"x": r"\mathrm{reshape}(g)"},
    samples=lambda make: [(make(2, 6), (3, 4)), (make(2, 3, 5), (-1, 5)), (make(), (1, 1)), (make(1), ()),
                          (make(0, 3), (3, 0)), (make(2, 0), (5, 0)), (make(7, 33), (231,))],
    errors=lambda make: [((make(2, 3), (4, 2)), ValueError, r"shape \(2, 3\) has 6 elements.*\(4, 2\)"),
                         ((make(2, 3), (-1, -1)), ValueError, "no shape"),
                         ((make(0, 3), (-1, 0)), ValueError, "elements")],
    dtypes="any",
)  # fmt: skip

_permute: Any = op(
    "permute",
    "x",
    attributes="dims",
    reference=lambda x, dims: np.transpose(x, dims),
    gradient={"x": lambda g, dims: _permute(g, _inverse(dims))},
    formula={"x": r"\mathrm{permute}^{-1}(g)"},
    samples=lambda make: [(make(2, 3, 5), (2, 0, 1)), (make(3, 17), (-1, 0)), (make(), ()), (make(0, 4), (1, 0)),
                          (make(2, 1, 3, 2), (3, 1, 0, 2))],
    errors=lambda make: [((make(2, 3), (0, 0)), ValueError, "must name each of the 2 dimensions"),
                         ((make(2, 3), (0,)), ValueError, "must name each"),
                         ((make(2, 3), (0, 2)), IndexError, "out of range")],
    dtypes="any",
)  # fmt: skip

_expand: Any = op(
    "expand",
    "x",
    attributes="shape",
    reference=lambda x, shape: np.broadcast_to(
        x, [x.shape[i - len(shape) + x.ndim] if n == -1 else n for i, n in enumerate(shape)]),
    gradient={"x": lambda g: g},
    formula={"x": r"\sum g \text{ over the stretched axes}"},
    samples=lambda make: [(make(3, 1), (3, 4)), (make(1, 5), (2, 7, 5)), (make(), (2, 2)), (make(2, 1), (-1, 3)),
                          (make(1, 3), (0, 3)), (make(4), (4,))],
    errors=lambda make: [((make(2, 3), (2, 4)), ValueError, r"shape \(2, 3\) does not expand to \(2, 4\)"),
                         ((make(2, 3), (3,)), ValueError, "does not expand"),
                         ((make(3), (-1, 3)), ValueError, "does not expand")],
    dtypes="any",
)  # fmt: skip


def _slices(starts: Sequence[int], lengths: Sequence[int], steps: Sequence[int]) -> tuple:
    """The NumPy index of a slice op."""
    index: list[Any] = []
    for start, length, step in zip(starts, lengths, steps, strict=True):
        if length == -1:
            index.append(start)
        else:
            stop = start + length * step
            index.append(slice(start, None if stop < 0 else stop, step) if length else slice(0, 0))
    return tuple(index)


def _embed_reference(x: np.ndarray, shape: tuple, *rest: Any) -> np.ndarray:
    y = np.full(shape, rest[-1], x.dtype)
    y[_slices(*rest[:-1])] = x
    return y


#: ``slice(x, starts, lengths, steps)``: a basic index, per axis; length -1 takes the one index and drops the axis.
_slice: Any = op(
    "slice",
    "x",
    attributes="starts lengths steps",
    reference=lambda x, starts, lengths, steps: x[_slices(starts, lengths, steps)],
    gradient={"x": lambda g, x_shape, starts, lengths, steps: _embed_slice(g, x_shape, starts, lengths, steps, 0.0)},
    formula={"x": r"\text{zeros with } g \text{ at the slice}"},
    samples=lambda make: [(make(5, 7), (1, 6), (3, 3), (1, -3)), (make(5, 7), (2, 0), (-1, 7), (1, 1)),
                          (make(4), (3,), (-1,), (1,)), (make(3, 4), (0, 2), (0, 2), (1, 1)), (make(), (), (), ()),
                          (make(33, 65), (1, 64), (16, 65), (2, -1))],
    errors=lambda make: [((make(5), (3,), (3,), (1,)), IndexError, r"leave dimension 0 of shape \(5,\)"),
                         ((make(5), (1,), (3,), (-1,)), IndexError, "leave dimension 0"),
                         ((make(5), (1,), (3,), (0,)), IndexError, "steps of 0"),
                         ((make(5, 5), (1,), (3,), (1,)), ValueError, "one entry for each")],
    dtypes="any",
)  # fmt: skip

#: ``embed_slice(x, shape, starts, lengths, steps, value)``: x at a slice of a tensor that else holds value.
_embed_slice: Any = op(
    "embed_slice",
    "x",
    attributes="shape starts lengths steps value",
    reference=_embed_reference,
    gradient={"x": lambda g, starts, lengths, steps: _slice(g, starts, lengths, steps)},
    formula={"x": r"g\text{ at the slice}"},
    samples=lambda make: [(make(3, 3), (5, 7), (1, 6), (3, 3), (1, -3), 0.0),
                          (make(7), (5, 7), (2, 0), (-1, 7), (1, 1), 1.5),
                          (make(), (4,), (3,), (-1,), (1,), 1.0), (make(0, 2), (3, 4), (0, 2), (0, 2), (1, 1), 2.0),
                          (make(200, 300), (401, 602), (1, 601), (200, 300), (2, -2), 0.0)],
    errors=lambda make: [((make(3), (5,), (1,), (2,), (1,), 0.0), ValueError,
                          r"does not fit the slice of shape \(2,\)"),
                         ((make(3), (5,), (3,), (3,), (1,), 0.0), IndexError, "leave dimension 0")],
    dtypes="any",
)  # fmt: skip

_contiguous: Any = op(
    "contiguous",
    "x",
    reference=lambda x: x.copy(),
    gradient={"x": lambda g: g},
    formula={"x": "g"},
    samples=lambda make: [(make(3, 4),), (make(),), (make(0, 2),), (make(400, 333),)],
    dtypes="any",
)

_concatenate: Any = op(
    "concatenate",
    "*xs",
    attributes="dim",
    reference=lambda xs, dim: np.concatenate(xs, dim),
    gradient={"xs": lambda g, xs_shape, dim, index: _part_of(g, xs_shape, dim, index)},
    formula={"xs": r"g\text{ at its place}"},
    samples=lambda make: [([make(2, 3), make(4, 3)], 0), ([make(2, 3), make(2, 1), make(2, 0)], -1), ([make(5)], 0),
                          ([make(200, 170), make(200, 333)], 1), ([make(1, 1, 2) for _ in range(9)], 1)],
    errors=lambda make: [(([make(2, 3), make(4, 2)], 0), ValueError, r"tensor 1 of shape \(4, 2\) does not fit"),
                         (([make(), make()], 0), ValueError, "use stack"),
                         (([make(2)], 1), IndexError, "out of range"),
                         (([], 0), ValueError, "at least one")],
    dtypes="any",
)  # fmt: skip


def _assign_reference(x: np.ndarray, y: np.ndarray) -> tuple:
    x = x.copy()
    x[...] = y
    return (x,)


#: ``assign(x, y)``: writes y, broadcast and converted, into x's memory. In place, not recorded.
_assign: Any = op(
    "assign",
    "x y",
    reference=_assign_reference,
    samples=lambda make: [(make(3, 4), make(4)), (make(2, 3), make(2, 3)), (make(0), make()),
                          (make(3, 2), make.integers(0, 9, (3, 1)))],
    errors=lambda make: [((make(3), make(3, 3)), ValueError, r"\(3, 3\) does not fit the place of shape \(3,\)")],
    differences=False,
)  # fmt: skip


def _inverse(dims: Sequence[int]) -> tuple[int, ...]:
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d] = i
    return tuple(inverse)


def _part_of(g: Tensor, shapes: tuple, dim: int, i: int) -> Tensor:
    """The part of a concatenation's gradient that belongs to input i."""
    dim = dim % len(shapes[i])
    return narrow(g, dim, sum([s[dim] for s in shapes[:i]]), shapes[i][dim])


def take_slice(x: Tensor, dim: int, start: int, length: int, step: int = 1) -> Tensor:
    """A slice along one axis, the others whole; length -1 drops the axis."""
    shape = x.shape
    starts, lengths, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[dim], lengths[dim], steps[dim] = start, length, step
    return _slice(x, starts, lengths, steps)


# ---- public: views of the same elements ----


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """x with its elements, in row-major order, in another shape: a view where the strides allow one, else a copy.

    Args:
        x: Tensor of any shape and dtype.
        shape: The new sizes, as numbers or one tuple; one of them may be -1 and is worked out.

    Raises:
        ValueError: The number of elements differs.
    """
    x = as_tensor(x)
    sizes = sizes_of("reshape", "shape", shape)
    if x.is_contiguous():
        return _reshape(x, sizes)
    try:
        return _reshape(x, sizes)
    except ValueError:  # no view in that shape, or no such shape, which the second call then says
        return _reshape(_contiguous(x), sizes)


def view(x: Tensor, *shape: Any) -> Tensor:
    """x in another shape on the same memory.

    Raises:
        ValueError: The number of elements differs, or the strides of x allow no view (reshape copies then).
    """
    return _reshape(as_tensor(x), sizes_of("view", "shape", shape))


def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of another tensor; see :func:`reshape`."""
    return reshape(x, other.shape)


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of another tensor, on the same memory; see :func:`view`."""
    return view(x, other.shape)


def permute(x: Tensor, *dims: Any) -> Tensor:
    """A view of x with its dimensions in another order: dimension i of the result is dimension ``dims[i]`` of x.

    Raises:
        ValueError: dims does not name every dimension once.
        IndexError: A dimension does not exist.
    """
    return _permute(as_tensor(x), sizes_of("permute", "dims", dims))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view of x with two dimensions swapped. (PyTorch's signature; NumPy's transpose is :func:`permute`.)

    Raises:
        IndexError: A dimension does not exist.
    """
    x = as_tensor(x)
    ndim = x.ndim
    i, j = axis_of("transpose", dim0, ndim, x.shape), axis_of("transpose", dim1, ndim, x.shape)
    dims = list(range(ndim))
    dims[i], dims[j] = j, i
    return _permute(x, dims)


swapaxes = swapdims = transpose


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are.

    Raises:
        ValueError: x has more than two dimensions.
    """
    x = as_tensor(x)
    if x.ndim > 2:
        raise ValueError(f"t: x has shape {x.shape}, but only matrices have one transpose; use permute or x.mT")
    return x if x.ndim < 2 else _permute(x, (1, 0))


def movedim(x: Tensor, source: Any, destination: Any) -> Tensor:
    """A view of x with some dimensions moved to other positions, the rest in order.

    Args:
        x: Tensor.
        source: One dimension or several.
        destination: Where each of them goes.

    Raises:
        ValueError: source and destination differ in length or repeat a dimension.
        IndexError: A dimension does not exist.
    """
    x = as_tensor(x)
    pairs = [d if isinstance(d, (tuple, list)) else (d,) for d in (source, destination)]
    old, new = ([axis_of("movedim", d, x.ndim, x.shape) for d in p] for p in pairs)
    if len(old) != len(new) or len(set(old)) != len(old) or len(set(new)) != len(new):
        raise ValueError(f"movedim: source {source} and destination {destination} must match, without repeats")
    rest = iter([d for d in range(x.ndim) if d not in old])
    back = dict(zip(new, old, strict=True))
    return _permute(x, [back[d] if d in back else next(rest) for d in range(x.ndim)])


moveaxis = movedim


def expand(x: Tensor, *sizes: Any) -> Tensor:
    """A view of x with dimensions of size 1 stretched to the given sizes (-1 keeps one) and new ones in front.

    Raises:
        ValueError: A size of x is neither 1 nor the wanted one.
    """
    return _expand(as_tensor(x), sizes_of("expand", "sizes", sizes))


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x stretched to the shape of another tensor; see :func:`expand`."""
    return _expand(as_tensor(x), other.shape)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x stretched to a shape; see :func:`expand`."""
    return _expand(as_tensor(x), tuple(shape))


@numpy_names
def squeeze(x: Tensor, dim: Any = None) -> Tensor:
    """A view of x without its dimensions of size 1: all of them, or those named by dim that have size 1.

    Raises:
        IndexError: A dimension does not exist.
    """
    x = as_tensor(x)
    shape = x.shape
    if dim is None:
        return _reshape(x, [n for n in shape if n != 1])
    drop = {axis_of("squeeze", d, x.ndim, shape) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    return _reshape(x, [n for d, n in enumerate(shape) if n != 1 or d not in drop])


@numpy_names
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A view of x with a dimension of size 1 put in before dimension dim.

    Raises:
        IndexError: dim is outside ``[-ndim - 1, ndim]``.
    """
    x = as_tensor(x)
    shape = list(x.shape)
    shape.insert(axis_of("unsqueeze", dim, x.ndim + 1, (*shape, 1)), 1)
    return _reshape(x, shape)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """x with the dimensions from start_dim to end_dim, both included, made one. A tensor without dimensions gets one.

    Raises:
        IndexError: A dimension does not exist.
        ValueError: start_dim lies behind end_dim.
    """
    x = as_tensor(x)
    shape = x.shape or (1,)
    i, j = axis_of("flatten", start_dim, len(shape), shape), axis_of("flatten", end_dim, len(shape), shape)
    if i > j:
        raise ValueError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim} (x has shape {x.shape})")
    return reshape(x, (*shape[:i], math.prod(shape[i : j + 1]), *shape[j + 1 :]))


def ravel(x: Tensor) -> Tensor:
    """x as a vector; see :func:`flatten`."""
    return reshape(x, (-1,)) if as_tensor(x).numel() else reshape(x, (0,))


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """x with one dimension split into several; one of their sizes may be -1.

    Raises:
        IndexError: dim does not exist.
        ValueError: The sizes do not multiply to that of dim.
    """
    x = as_tensor(x)
    i = axis_of("unflatten", dim, x.ndim, x.shape)
    shape, sizes = x.shape, list(sizes)
    known = math.prod([n for n in sizes if n != -1])
    if sizes.count(-1) == 1 and known and shape[i] % known == 0:
        sizes[sizes.index(-1)] = shape[i] // known
    if -1 in sizes or math.prod(sizes) != shape[i]:
        raise ValueError(f"unflatten: sizes {tuple(sizes)} do not multiply to the size of dim {dim} of shape {shape}")
    return reshape(x, (*shape[:i], *sizes, *shape[i + 1 :]))


def contiguous(x: Tensor) -> Tensor:
    """x itself if its elements lie in row-major order without gaps, else a copy in which they do."""
    x = as_tensor(x)
    return x if x.is_contiguous() else _contiguous(x)


def clone(x: Tensor) -> Tensor:
    """A copy of x on memory of its own; gradients pass through it."""
    return _contiguous(as_tensor(x))


copy = clone


# ---- public: parts and joins ----


@numpy_names
def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A view of ``length`` indices of one dimension, from start on.

    Raises:
        IndexError: dim does not exist, or the indices leave it.
    """
    x = as_tensor(x)
    dim = axis_of("narrow", dim, x.ndim, x.shape)
    size = x.shape[dim]
    if not (-size <= start <= size and length >= 0 and (start + size if start < 0 else start) + length <= size):
        raise IndexError(f"narrow: {length} indices from {start} on leave dim {dim} of shape {x.shape}")
    return take_slice(x, dim, start + size if start < 0 else start, length)


@numpy_names
def select(x: Tensor, dim: int, index: int) -> Tensor:
    """A view of x at one index of a dimension, which is dropped.

    Raises:
        IndexError: dim or index is out of range.
    """
    x = as_tensor(x)
    dim = axis_of("select", dim, x.ndim, x.shape)
    size, index = x.shape[dim], integer("select", "index", index)
    if not -size <= index < size:
        raise IndexError(f"select: index {index} is out of range for dim {dim} of size {size} (x has shape {x.shape})")
    return take_slice(x, dim, index % size, -1)


@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along an existing dimension; their other sizes must be equal. Types are promoted.

    Raises:
        ValueError: No tensors, or sizes that do not fit.
        IndexError: dim does not exist.
    """
    return _concatenate(tensors, dim)


concat = concatenate = cat


@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension.

    Raises:
        ValueError: No tensors, or their shapes differ.
        IndexError: dim is outside ``[-ndim - 1, ndim]``.
    """
    tensors = [as_tensor(x) for x in tensors]
    for i, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise ValueError(f"stack: tensor {i} of shape {x.shape} differs from tensor 0 of shape {tensors[0].shape}")
    if not tensors:
        raise ValueError("stack: needs at least one tensor, got an empty sequence")
    dim = axis_of("stack", dim, tensors[0].ndim + 1, (*tensors[0].shape, len(tensors)))
    return _concatenate([unsqueeze(x, dim) for x in tensors], dim)


@numpy_names
def split(x: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts along a dimension.

    Args:
        x: Tensor with at least one dimension.
        split_size_or_sections: The size of each part (the last may be smaller), or the sizes of all parts.
        dim: The dimension.

    Raises:
        ValueError: A size is negative (or 0, where one size is given), or the sizes do not add up to that of dim.
        IndexError: dim does not exist.
    """
    x = as_tensor(x)
    dim = axis_of("split", dim, x.ndim, x.shape)
    size = x.shape[dim]
    if isinstance(split_size_or_sections, (tuple, list)):
        sections = list(integers("split", "split_size_or_sections", split_size_or_sections))
        if sum(sections) != size or min(sections, default=0) < 0:
            raise ValueError(f"split: sizes {sections} do not add up to the size of dim {dim} of shape {x.shape}")
    else:
        each = integer("split", "split_size_or_sections", split_size_or_sections)
        if each < 1:
            raise ValueError(f"split: the size of a part is {each} but must be at least 1")
        sections = [min(each, size - i) for i in range(0, size, each)] or [0]
    starts = [0]
    for n in sections:
        starts.append(starts[-1] + n)
    return tuple([take_slice(x, dim, starts[i], n) for i, n in enumerate(sections)])


@numpy_names
def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most ``chunks`` consecutive parts of equal size along a dimension; the last may be smaller.

    Raises:
        ValueError: chunks is less than 1.
        IndexError: dim does not exist.
    """
    x = as_tensor(x)
    if integer("chunk", "chunks", chunks) < 1:
        raise ValueError(f"chunk: chunks is {chunks} but must be at least 1")
    size = x.shape[axis_of("chunk", dim, x.ndim, x.shape)]
    return split(x, max(1, -(-size // chunks)), dim) if size else split(x, [0] * chunks, dim)


@numpy_names
def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of x at every index of a dimension, which is dropped.

    Raises:
        IndexError: dim does not exist.
    """
    x = as_tensor(x)
    dim = axis_of("unbind", dim, x.ndim, x.shape)
    return tuple([take_slice(x, dim, i, -1) for i in range(x.shape[dim])])
