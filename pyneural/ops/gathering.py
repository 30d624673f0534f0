"""Reading, adding and writing at places given by index tensors: gather, scatter_add, index_select, masks, sort.

``take`` reads along neighbouring axes seen as one, ``add_at`` is its adjoint, ``put_at`` writes; ``gather`` and
``scatter_add`` are PyTorch's. Sums at repeated places run in index order, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _engine
from .._arguments import numpy_names
from .record import RECORDS, composed, op
from .shape import _embed_slice, _expand, axis_of, ravel

__all__ = [
    "argsort", "bincount", "flatnonzero", "gather", "index_add", "index_select", "masked_fill", "masked_select",
    "nonzero", "one_hot", "scatter_add", "sort", "take_along_dim", "topk",
]  # fmt: skip
METHODS = tuple([name for name in __all__ if name not in ("flatnonzero", "one_hot")])

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor
_INT64 = np.dtype(np.int64)
_BOOL = np.dtype(bool)


def to_dtype(x: Tensor, dtype: np.dtype) -> Tensor:
    """x converted, or itself if it has that dtype."""
    return x if x.dtype == dtype else RECORDS["cast"].function(x, _engine.dtype_code(dtype))


def index_tensor(name: str, index: Any) -> Tensor:
    """index as an int64 tensor.

    Raises:
        TypeError: It holds something else than integers.
    """
    if isinstance(index, (list, tuple)) and len(index) == 0:
        index = np.zeros(0, np.int64)
    index = as_tensor(index, name)
    if index.dtype == _INT64:
        return index
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: index is {index.dtype} but must hold integers")
    return to_dtype(index, _INT64)


# ---- primitives ----


def _take_reference(x: np.ndarray, index: np.ndarray, dim: int, count: int) -> np.ndarray:
    shape = x.shape
    return np.take(x.reshape(*shape[:dim], int(np.prod(shape[dim : dim + count])), *shape[dim + count :]), index, dim)


def _add_at_reference(g: np.ndarray, index: np.ndarray, shape: tuple, dim: int, count: int) -> np.ndarray:
    y = np.zeros((*shape[:dim], int(np.prod(shape[dim : dim + count])), *shape[dim + count :]), g.dtype)
    place: Any = (slice(None),) * dim + (index,)
    np.add.at(y, place, g)
    return y.reshape(shape)


def _put_at_reference(x: np.ndarray, index: np.ndarray, value: np.ndarray, dim: int, count: int) -> tuple:
    axes = x.shape[dim : dim + count]
    places = np.unravel_index(index % int(np.prod(axes)), axes)
    x = x.copy()
    x[(slice(None),) * dim + places] = value
    return (x,)


#: ``take(x, index, dim, count)``: the ``count`` axes from dim on are indexed; they give way to index's axes.
_take: Any = op(
    "take",
    "x index",
    attributes="dim count",
    reference=_take_reference,
    gradient={"x": lambda g, index, x_shape, dim, count: _add_at(g, index, x_shape, dim, count)},
    formula={"x": r"\sum g\text{ at each place}"},
    samples=lambda make: [(make(5, 3), make.integers(-5, 5, (7,)), 0, 1),
                          (make(2, 5, 3), make.integers(0, 5, (2, 2)), 1, 1),
                          (make(4, 5, 3), make.integers(-20, 20, (6,)), 0, 2),
                          (make(3, 4), make.integers(0, 4, ()), 1, 1),
                          (make(3, 4), make.integers(0, 3, (0, 2)), 0, 1),
                          (make(33), make.integers(-33, 33, (65,)), 0, 1),
                          (make(50, 333), make.integers(0, 50, (300,)), 0, 1),
                          (make(2, 3, 2, 5), make.integers(0, 6, (3,)), 1, 2),
                          (make(3, 40, 7), make.integers(-280, 280, (50, 70)), 1, 2)],
    errors=lambda make: [((make(5, 3), np.array([0, 5]), 0, 1), IndexError,
                          "index 5 is out of range for dim 0 of size 5"),
                         ((make(5, 3), np.array([-6]), 0, 1), IndexError, "index -6 is out of range"),
                         ((make(5, 3), np.array([0.5]), 0, 1), TypeError, "must be int64"),
                         ((make(5, 3), np.array([0]), 1, 2), IndexError, "are not among")],
    dtypes="any",
)  # fmt: skip

#: ``add_at(g, index, shape, dim, count)``: zeros of that shape, with g's entries added at the places: take's adjoint.
_add_at: Any = op(
    "add_at",
    "g index",
    attributes="shape dim count",
    reference=_add_at_reference,
    gradient={"g": lambda g, index, dim, count: _take(g, index, dim, count)},
    formula={"g": r"g\text{ at the places}"},
    samples=lambda make: [(make(7, 3), make.integers(-5, 5, (7,)), (5, 3), 0, 1),
                          (make(2, 2, 2, 3), make.integers(0, 5, (2, 2)), (2, 5, 3), 1, 1),
                          (make(6, 3), make.integers(-20, 20, (6,)), (4, 5, 3), 0, 2),
                          (make(65), make.integers(0, 9, (65,)), (9,), 0, 1),
                          (make(0, 3), make.integers(0, 5, (0,)), (5, 3), 0, 1),
                          (make(200, 700), make.integers(0, 30, (200,)), (30, 700), 0, 1)],
    errors=lambda make: [((make(2, 3), np.array([0, 5]), (5, 3), 0, 1), IndexError, "index 5 is out of range"),
                         ((make(2, 2), np.array([0, 1]), (5, 3), 0, 1), ValueError, r"needs \(2, 3\)")],
    tolerance=64,
    dtypes="any",
)  # fmt: skip

#: ``put_at(x, index, value, dim, count)``: writes value where take would read. In place, not recorded.
_put_at: Any = op(
    "put_at",
    "x index value",
    attributes="dim count",
    reference=_put_at_reference,
    samples=lambda make: [(make(5, 3), make.integers(-5, 5, (7,)), make(7, 3), 0, 1),
                          (make(2, 5, 3), make.integers(0, 5, (2,)), make(3), 1, 1),
                          (make(4, 5), make.integers(-20, 20, (6,)), make(), 0, 2),
                          (make(4), make.integers(0, 4, (0,)), make(0), 0, 1)],
    errors=lambda make: [((make(5, 3), np.array([5]), make(3), 0, 1), IndexError, "index 5 is out of range"),
                         ((make(5, 3), np.array([1]), make(2), 0, 1), ValueError,
                          r"value of shape \(2,\) does not fit")],
    differences=False,
)  # fmt: skip

#: Index tensors for several axes as one tensor of flat indices over them.
_flat_index: Any = op(
    "flat_index",
    "*indices",
    attributes="sizes",
    reference=lambda indices, sizes: np.ravel_multi_index(
        np.broadcast_arrays(*[i % n for i, n in zip(indices, sizes, strict=True)]), sizes).astype(np.int64),
    samples=lambda make: [([make.integers(-3, 3, (4,)), make.integers(0, 5, (4,))], (3, 5)),
                          ([make.integers(0, 3, (2, 1)), make.integers(-5, 5, (3,)), make.integers(0, 2, ())], (3, 5,
                           2))],
    errors=lambda make: [(([np.array([3]), np.array([0])], (3, 5)), IndexError,
                          "index 3 is out of range for indexed dimension 0"),
                         (([np.array([1, 2]), np.array([0, 1, 2])], (3, 5)), IndexError, "does not broadcast")],
    differences=False,
)  # fmt: skip


def _gather_reference(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    if x.ndim == 0:
        return x.copy()
    part = tuple([slice(None) if d == dim % x.ndim else slice(n) for d, n in enumerate(index.shape)])
    return np.take_along_axis(x[part], index, dim)


def _scatter_add_reference(x: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    y = np.atleast_1d(x).copy()
    index, src = np.atleast_1d(index), np.atleast_1d(src)
    places: list[Any] = list(np.indices(index.shape))
    places[dim] = index
    np.add.at(y, tuple(places), src[tuple([slice(n) for n in index.shape])])
    return y.reshape(x.shape)


def _zeros(shape: Sequence[int], dtype: np.dtype) -> Tensor:
    return _expand(as_tensor(np.zeros((), dtype)), shape)


def _pad_end(g: Tensor, shape: Sequence[int]) -> Tensor:
    """g with zeros behind it, up to this shape."""
    return g if g.shape == tuple(shape) else _embed_slice(g, shape, [0] * g.ndim, g.shape, [1] * g.ndim, 0.0)


_gather: Any = op(
    "gather",
    "x index",
    attributes="dim",
    reference=_gather_reference,
    gradient={"x": lambda g, x_shape, index, dim: _scatter_add(_zeros(x_shape, g.dtype), index, g, dim)},
    formula={"x": r"\sum g\text{ at each place}"},
    samples=lambda make: [(make(4, 5), make.integers(0, 5, (4, 7)), 1), (make(4, 5), make.integers(0, 4, (6, 3)), 0),
                          (make(3, 4, 5), make.integers(0, 4, (2, 6, 5)), -2),
                          (make(9), make.integers(0, 9, (17,)), 0),
                          (make(), make.integers(0, 1, ()), 0), (make(3, 4), make.integers(0, 4, (0, 4)), 1),
                          (make(300, 65), make.integers(0, 300, (1200, 65)), 0)],
    errors=lambda make: [((make(4, 5), np.array([[5]]), 1), IndexError,
                          "gather: index 5 is out of range for dim 1 of size 5"),
                         ((make(4, 5), np.array([[-1]]), 1), IndexError, "gather: index -1 is out of range"),
                         ((make(4, 5), np.array([1]), 1), ValueError, "as many dimensions"),
                         ((make(1, 5), np.zeros((2, 5), np.int64), 1), ValueError, r"longer than x of shape")],
    dtypes="any",
)  # fmt: skip

_scatter_add: Any = op(
    "scatter_add",
    "x index src",
    attributes="dim",
    reference=_scatter_add_reference,
    gradient={"x": lambda g: g, "src": lambda g, src_shape, index, dim: _pad_end(_gather(g, index, dim), src_shape)},
    formula={"x": "g", "src": r"g\text{ at the places}"},
    samples=lambda make: [(make(4, 5), make.integers(0, 5, (4, 7)), make(4, 7), 1),
                          (make(4, 5), make.integers(0, 4, (6, 3)), make(7, 4), 0),
                          (make(3, 4, 5), make.integers(0, 4, (2, 6, 5)), make(2, 6, 5), -2),
                          (make(9), make.integers(0, 9, (65,)), make(65), 0),
                          (make(), make.integers(0, 1, ()), make(), 0),
                          (make(3, 4), make.integers(0, 4, (0, 4)), make(0, 4), 1),
                          (make(30, 65), make.integers(0, 30, (1200, 65)), make(1200, 65), 0)],
    errors=lambda make: [((make(4, 5), np.array([[5]]), make(1, 1), 1), IndexError,
                          "scatter_add: index 5 is out of range"),
                         ((make(4, 5), np.zeros((1, 2), np.int64), make(1, 1), 1), ValueError,
                          "must not be longer than src")],
    tolerance=64,
    dtypes="any",
)  # fmt: skip

_nonzero: Any = op(
    "nonzero",
    "x",
    attributes="flat",
    reference=lambda x, flat: np.flatnonzero(x) if flat else np.argwhere(x),
    samples=lambda make: [(make.bools(3, 4), False), (make.bools(7, 33), True), (make.integers(0, 2, (5,)), False),
                          (make(), False), (make(0, 2), False), (make(4), True), (make.bools(3, 5, 300), False),
                          (make.integers(0, 2, (2, 700)), True)],
    dtypes="any",
    differences=False,
)  # fmt: skip

_one_hot: Any = op(
    "one_hot",
    "labels",
    attributes="num_classes",
    reference=lambda labels, num_classes: np.eye(num_classes, dtype=np.int64)[labels],
    samples=lambda make: [(make.integers(0, 5, (7,)), 5), (make.integers(0, 3, (2, 3)), 4),
                          (make.integers(0, 1, ()), 1),
                          (make.integers(0, 3, (0,)), 3)],
    errors=lambda make: [((np.array([3]), 3), IndexError, "one_hot: index 3 is out of range for num_classes.* 3"),
                         ((np.array([-1]), 3), IndexError, "one_hot: index -1"),
                         ((np.array([0]), 0), ValueError, "at least 1")],
    dtypes="any",
    differences=False,
)  # fmt: skip


def _argsort_reference(x: np.ndarray, dim: int, descending: bool, first: int | None) -> np.ndarray:
    if x.ndim == 0:
        return np.zeros((), np.int64)
    if descending:
        # Equal entries keep their order when read backwards.
        order = x.shape[dim] - 1 - np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)
    else:
        order = np.argsort(x, axis=dim, kind="stable")
    return np.take(order, range(x.shape[dim] if first is None else first), axis=dim)


#: ``argsort(x, dim, descending, first)``: the first so many places alone, if that is not None.
_argsort: Any = op(
    "argsort",
    "x",
    attributes="dim descending first",
    reference=_argsort_reference,
    samples=lambda make: [(make(5, 7), 1, False, None), (make(5, 7), 0, True, None),
                          (make.integers(0, 3, (4, 33)), -1, True, None), (make(), 0, False, None),
                          (make(0, 3), 1, False, None), (make(3, 0), 1, True, None),
                          (make.integers(0, 5, (65,)), 0, False, None), (make(4, 33), 1, True, 3),
                          (make.integers(0, 9, (40, 3)), 0, False, 7), (make.integers(0, 9, (3, 300)), 1, True, 99),
                          (make.integers(0, 9, (3, 70)), 1, True, 64), (make(3, 5), 1, False, 0),
                          (make(3, 5), 0, False, 3)],
    errors=lambda make: [((make(3), 1, False, None), IndexError, "argsort: dim 1 is out of range"),
                         ((make(3, 2), 0, False, 4), ValueError, "the first 4 places of dim 0 of .* do not exist")],
    dtypes="any",
    differences=False,
)  # fmt: skip


# ---- public ----


def gather(x: Tensor, dim: int, index: Any) -> Tensor:
    """Values of x picked along one dimension: for two dimensions and dim 1, ``y[i, j] = x[i, index[i, j]]``.

    Args:
        x: Tensor.
        dim: The dimension that index runs through.
        index: Integers in ``[0, x.shape[dim])``; as many dimensions as x, none but dim longer than x's.

    Returns:
        A tensor of index's shape. Gradients to places that were read several times add up in index order.

    Raises:
        IndexError: dim or an index is out of range (negative indices too).
        ValueError: The shapes do not fit.
    """
    return _gather(x, index_tensor("gather", index), dim)


def scatter_add(x: Tensor, dim: int, index: Any, src: Tensor) -> Tensor:
    """x with src added at the places that :func:`gather` would read: ``y[i, index[i, j]] += src[i, j]`` for dim 1.

    Additions to one place are made in index order, so that the bits do not depend on the number of threads.

    Args:
        x: Tensor; it is not changed.
        dim: The dimension that index runs through.
        index: Integers in ``[0, x.shape[dim])``; no dimension longer than src's and, but for dim, than x's.
        src: What is added, of x's dtype.

    Raises:
        IndexError: dim or an index is out of range (negative indices too).
        ValueError: The shapes do not fit.
        TypeError: src has another dtype than x.
    """
    return _scatter_add(x, index_tensor("scatter_add", index), src, dim)


@numpy_names
@composed(
    reference=lambda x, dim, index: np.take(x, index, dim),
    samples=lambda make: [(make(5, 3), 0, [4, 0, 0]), (make(5, 3), -1, [2, 1, 1, 0]), (make(2, 3, 4), 1, []),
                          (make(3, 33), 1, [32, 31])],
    errors=lambda make: [((make(5, 3), 1, [3]), IndexError, "index 3 is out of range for dim 1 of size 3"),
                         ((make(5, 3), 0, [[1]]), ValueError, "index must be a vector")],
    dtypes="any",
)  # fmt: skip
def index_select(x: Tensor, dim: int, index: Any) -> Tensor:
    """The entries of x along one dimension at the given indices, in their order.

    Raises:
        IndexError: dim or an index is out of range.
        ValueError: index has more than one dimension.
    """
    x, index = as_tensor(x), index_tensor("index_select", index)
    if index.ndim > 1:
        raise ValueError(f"index_select: index must be a vector, got shape {index.shape}")
    return _take(x, index if index.ndim else _expand(index, (1,)), axis_of("index_select", dim, x.ndim, x.shape), 1)


@numpy_names
def index_add(x: Tensor, dim: int, index: Any, source: Tensor, *, alpha: float = 1) -> Tensor:
    """x with ``alpha * source`` added along one dimension at the given indices: the adjoint of :func:`index_select`.

    Args:
        x: Tensor; it is not changed.
        dim: The dimension.
        index: A vector of indices.
        source: One entry along dim for each index, else of x's shape.
        alpha: Factor of source.

    Raises:
        IndexError: dim or an index is out of range.
        ValueError: The shapes do not fit.
    """
    x, source = as_tensor(x), as_tensor(source)
    dim = axis_of("index_add", dim, x.ndim, x.shape)
    added = _add_at(source, index_tensor("index_add", index), x.shape, dim, 1)
    return x + (added if alpha == 1 else added * alpha)


def take_along_dim(x: Tensor, indices: Any, dim: int | None = None) -> Tensor:
    """:func:`gather` with broadcasting between x and indices; without dim, x and indices are taken as vectors.

    Raises:
        IndexError: dim or an index is out of range.
        ValueError: The shapes do not broadcast.
    """
    x, indices = as_tensor(x), index_tensor("take_along_dim", indices)
    if dim is None:
        return gather(ravel(x), 0, ravel(indices))
    dim = axis_of("take_along_dim", dim, x.ndim, x.shape)
    if indices.ndim != x.ndim:
        raise ValueError(f"take_along_dim: indices {indices.shape} must have as many dimensions as x {x.shape}")
    a, b = list(x.shape), list(indices.shape)
    a[dim] = b[dim] = 1
    shape = list(np.broadcast_shapes(tuple(a), tuple(b)))
    sizes = [*shape[:dim], x.shape[dim], *shape[dim + 1 :]], [*shape[:dim], indices.shape[dim], *shape[dim + 1 :]]
    return _gather(_expand(x, sizes[0]), _expand(indices, sizes[1]), dim)


def nonzero(x: Tensor, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """The indices of the nonzero elements, one row each, in row-major order: int64, (count, ndim).

    With ``as_tuple`` one vector of indices per dimension, as ``x[...]`` takes them.
    """
    rows = _nonzero(x, False)
    return tuple([rows[:, d] for d in range(rows.shape[1])]) if as_tuple else rows


def flatnonzero(x: Tensor) -> Tensor:
    """The indices of the nonzero elements of x seen as a vector, rising: int64, (count,)."""
    return _nonzero(x, True)


def _mask(name: str, mask: Any) -> Tensor:
    mask = as_tensor(mask)
    if mask.dtype != _BOOL:
        raise TypeError(f"{name}: mask is {mask.dtype} but must be bool")
    return mask


@composed(
    reference=lambda x, mask: np.broadcast_arrays(x, mask)[0][np.broadcast_arrays(x, mask)[1]],
    samples=lambda make: [(make(3, 4), make.bools(3, 4)), (make(3, 1), make.bools(2, 1, 4)),
                          (make(0), make.bools(0))],
    errors=lambda make: [((make(3), make.bools(2)), ValueError, "do not broadcast|broadcast")],
    dtypes="any",
)  # fmt: skip
def masked_select(x: Tensor, mask: Any) -> Tensor:
    """The elements of x where mask is true, as a vector. x and mask broadcast together.

    Raises:
        TypeError: mask is not bool.
        ValueError: The shapes do not broadcast.
    """
    x, mask = as_tensor(x), _mask("masked_select", mask)
    try:
        shape = np.broadcast_shapes(x.shape, mask.shape)
    except ValueError:
        raise ValueError(f"masked_select: shapes {x.shape} and {mask.shape} do not broadcast") from None
    places = _nonzero(_expand(mask, shape), True)
    return _take(_expand(x, shape if shape else (1,)), places, 0, max(len(shape), 1))


@composed(
    reference=lambda x, mask, value: np.where(mask, np.asarray(value, x.dtype), x),
    samples=lambda make: [(make(3, 4), make.bools(3, 4), 1.5), (make(3, 4), make.bools(4), 0.0)],
    dtypes="float",
)
def masked_fill(x: Tensor, mask: Any, value: Any) -> Tensor:
    """x with value (a number or a tensor without dimensions) where mask is true; mask broadcasts.

    Raises:
        TypeError: mask is not bool.
        ValueError: The shapes do not broadcast.
    """
    from .elementwise import where

    return where(_mask("masked_fill", mask), value, x)


def one_hot(labels: Any, num_classes: int = -1) -> Tensor:
    """Labels as rows with a single 1: int64, shape ``labels.shape + (num_classes,)``.

    Args:
        labels: Integers in ``[0, num_classes)``.
        num_classes: -1 takes the largest label plus 1.

    Raises:
        IndexError: A label is out of range.
        ValueError: num_classes is missing and there are no labels, or it is less than 1.
        TypeError: labels holds no integers.
    """
    labels = index_tensor("one_hot", labels)
    if num_classes == -1:
        if not labels.numel():
            raise ValueError("one_hot: num_classes cannot be told from no labels; pass it")
        num_classes = int(np.asarray(labels).max()) + 1
    return _one_hot(labels, num_classes)


def bincount(x: Any, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, ... occurs in a vector of non-negative integers, or the sum of their weights.

    Raises:
        ValueError: x is no vector, holds a negative number, or weights has another shape.
        TypeError: x holds no integers.
    """
    x = index_tensor("bincount", x)
    values = np.asarray(x)
    if x.ndim != 1 or (values.size and values.min() < 0):
        raise ValueError(f"bincount: x must be a vector of integers that are at least 0, got shape {x.shape}"
                         + (f" with {values.min()}" if values.size else ""))  # fmt: skip
    n = max(minlength, int(values.max()) + 1 if values.size else 0)
    counted = as_tensor(np.ones(values.shape, np.int64)) if weights is None else as_tensor(weights)
    if counted.shape != x.shape:
        raise ValueError(f"bincount: weights have shape {counted.shape} but x has shape {x.shape}")
    return _add_at(counted, x, (n,), 0, 1) if n else as_tensor(np.zeros(0, counted.dtype))


@numpy_names
def argsort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort x along a dimension: int64. Equal elements keep their order; NaN counts as the largest.

    Raises:
        IndexError: dim does not exist.
    """
    return _argsort(x, dim, bool(descending), None)


class Sorted(NamedTuple):
    """What :func:`sort` and :func:`topk` return."""

    values: Tensor
    indices: Tensor


@numpy_names
def sort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """``values``, x sorted along a dimension, and the ``indices`` that sort it; see :func:`argsort`.

    Raises:
        IndexError: dim does not exist.
    """
    x = as_tensor(x)
    order = _argsort(x, dim, bool(descending), None)
    return Sorted(_gather(x, order, dim), order)


@numpy_names
def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """``values``, the k largest (or smallest) elements along a dimension, in order, and their ``indices``; ties in order of index.

    Raises:
        IndexError: dim does not exist.
        ValueError: k is more than there are elements, or negative.
    """
    x = as_tensor(x)
    d = axis_of("topk", dim, max(x.ndim, 1), x.shape or (1,))
    n = x.shape[d] if x.ndim else 1
    if not 0 <= k <= n:
        raise ValueError(f"topk: k is {k} but dim {dim} of shape {x.shape} has {n} elements")
    order = _argsort(x, dim, bool(largest), k)
    return Sorted(_gather(x, order, dim), order)
