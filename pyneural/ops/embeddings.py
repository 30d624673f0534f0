"""Rows of a table by number: embeddings, and their sums, means and maxima over bags."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integer
from .elementwise import where
from .gathering import _add_at, _put_at, _take, index_tensor, to_dtype
from .record import op
from .reduction import cumsum, norm
from .segments import segment_max
from .shape import reshape, unsqueeze

__all__ = ["embedding", "embedding_bag"]
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


def _gradient(
    g: Tensor, index: Tensor, weight_shape: tuple[int, ...], padding_idx: int | None, scale_grad_by_freq: bool
) -> Tensor:
    if scale_grad_by_freq:
        ones = as_tensor(np.ones(index.shape, g.dtype))
        g = g / unsqueeze(_take(_add_at(ones, index, weight_shape[:1], 0, 1), index, 0, 1), -1)
    if padding_idx is not None:
        g = where(unsqueeze(index == padding_idx, -1), as_tensor(np.zeros((), g.dtype)), g)
    return _add_at(g, index, weight_shape, 0, 1)


#: ``embedding(weight, index, padding_idx, scale_grad_by_freq)``: rows of weight; the rest is for the gradient alone.
_embedding: Any = op(
    "embedding",
    "weight index",
    attributes="padding_idx scale_grad_by_freq",
    reference=lambda weight, index, padding_idx, scale_grad_by_freq: weight[index],
    gradient={
        "weight": lambda g, index, weight_shape, padding_idx, scale_grad_by_freq: _gradient(
            g, index, weight_shape, padding_idx, scale_grad_by_freq
        )
    },
    formula={"weight": r"\sum g \text{ at each place of the row}"},
    samples=lambda make: [
        (make(5, 3), make.integers(0, 5, (7,)), None, False),
        (make(7, 1), make.integers(0, 7, (2, 3)), None, False),
        (make(9, 17), make.integers(0, 9, (2, 1, 5)), None, False),
        (make(4, 33), make.integers(0, 4, ()), None, False),
        (make(4, 2), make.integers(0, 4, (0, 3)), None, False),
        (make(50, 130), make.integers(0, 50, (300,)), None, False),
    ],
    errors=lambda make: [
        (
            (make(5, 3), np.array([5]), None, False),
            IndexError,
            "embedding: index 5 is out of range for dim 0 of size 5",
        ),
        ((make(5, 3), np.array([-1]), None, False), IndexError, r"index -1 is out of range .*valid: 0 to 4"),
        ((make(5), np.array([0]), None, False), ValueError, r"weight \(5,\) must have 2 dimensions"),
        ((make(5, 3), make(2), None, False), TypeError, "index is float64 but must be int64"),
        ((make.integers(0, 3, (5, 3)), np.array([0]), None, False), TypeError, "weight is int64"),
    ],
)


# ---- public ----


def row_number(name: str, padding_idx: int | None, rows: int) -> int | None:
    """padding_idx counted from the front.

    Raises:
        ValueError: There is no such row.
    """
    if padding_idx is None:
        return None
    i = integer(name, "padding_idx", padding_idx)
    if not -rows <= i < rows:
        raise ValueError(
            f"{name}: padding_idx is {i} but must lie between {-rows} and {rows - 1} for {rows} embeddings"
        )
    return i % rows


def _limit_norms(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales, in place, the rows that index names down to at most that norm."""
    from ..autodiff.modes import no_grad

    with no_grad():
        places = reshape(index, (-1,))
        rows = _take(weight, places, 0, 1)
        size = norm(rows, norm_type, 1, True)
        _put_at(weight, places, rows * where(size > max_norm, max_norm / (size + 1e-7), 1.0), 0, 1)


def _rows(
    name: str, index: Any, weight: Tensor, padding_idx: int | None, max_norm: float | None, norm_type: float,
    scale_grad_by_freq: bool, sparse: bool,
) -> tuple[Tensor, Tensor, int | None]:  # fmt: skip
    """The index as a tensor, its rows of weight, and padding_idx counted from the front."""
    weight, index = as_tensor(weight), index_tensor(name, index)
    if sparse:
        raise ValueError(f"{name}: sparse gradients do not exist here; use sparse=False")
    if weight.ndim != 2:
        raise ValueError(f"{name}: weight must have 2 dimensions (embeddings, their entries), got shape {weight.shape}")
    padding_idx = row_number(name, padding_idx, weight.shape[0])
    if max_norm is not None:
        _embedding(weight.detach(), index, None, False)  # refuses a wrong index before anything changes
        _limit_norms(weight, index, float(max_norm), float(norm_type))
    return index, _embedding(weight, index, padding_idx, bool(scale_grad_by_freq)), padding_idx


def embedding(
    x: Any, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of weight that x names, as ``torch.nn.functional.embedding``.

    Args:
        x: Integers of any shape.
        weight: (embeddings, entries).
        padding_idx: A row that gets no gradient; -1 is the last one.
        max_norm: Rows named by x with a larger norm are first scaled down to it: weight changes in place.
        norm_type: Which norm that is.
        scale_grad_by_freq: Divide the gradient of each row by how often x names it.
        sparse: Must be False: gradients are dense.

    Returns:
        (\\*x.shape, entries). Gradients of a row add up in the order of x.

    Raises:
        IndexError: x names no row of weight.
        ValueError: weight is no matrix, padding_idx is none of its rows, or sparse is set.
        TypeError: x holds something else than integers.
    """
    return _rows("embedding", x, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)[1]


def embedding_bag(
    x: Any, weight: Tensor, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """Sums, means or maxima of rows of weight over bags, as ``torch.nn.functional.embedding_bag``.

    Args:
        x: Integers, (bags, n), or a vector that ``offsets`` cuts into bags.
        weight: (embeddings, entries).
        offsets: Where in a vector x each bag begins, rising from 0.
        mode: "sum", "mean" or "max". An empty bag gives zeros.
        per_sample_weights: Of x's shape: factors of the rows, for mode "sum".
        include_last_offset: The last offset is where the last bag ends, and begins none.
        padding_idx: Entries of x that take no part.
        max_norm, norm_type, scale_grad_by_freq, sparse: As for :func:`embedding`.

    Returns:
        (bags, entries).

    Raises:
        IndexError, TypeError: As for :func:`embedding`.
        ValueError: As there, or the arguments do not fit each other.
    """
    name = "embedding_bag"
    index = index_tensor(name, x)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name}: mode is {mode!r} but must be 'sum', 'mean' or 'max'")
    if index.ndim not in (1, 2) or (index.ndim == 1) != (offsets is not None):
        raise ValueError(f"{name}: x must be a matrix, or a vector with offsets, got shape {index.shape} "
                         f"{'without' if offsets is None else 'with'} offsets")  # fmt: skip
    if scale_grad_by_freq and mode == "max":
        raise ValueError(f"{name}: scale_grad_by_freq is for modes 'sum' and 'mean'")
    if per_sample_weights is not None:
        per_sample_weights = as_tensor(per_sample_weights)
        if mode != "sum" or per_sample_weights.shape != index.shape:
            raise ValueError(f"{name}: per_sample_weights, of shape {per_sample_weights.shape}, are for mode 'sum' and "
                             f"must have x's shape {index.shape}; mode is {mode!r}")  # fmt: skip
    n = index.numel()
    if offsets is None:
        bags = index.shape[0]
        owner = as_tensor(np.repeat(np.arange(bags), index.shape[1]))
    else:
        offsets = index_tensor(name, offsets)
        if offsets.ndim != 1 or (include_last_offset and offsets.shape[0] == 0):
            raise ValueError(f"{name}: offsets must be a vector of at least {int(include_last_offset)} entries, got "
                             f"shape {offsets.shape}")  # fmt: skip
        bags = offsets.shape[0]
        begins = _add_at(as_tensor(np.ones(bags, np.int64)), offsets, (n + 1,), 0, 1)
        owner = cumsum(begins, 0)[:n] - 1
    flat = reshape(index, (-1,))
    flat, rows, padding_idx = _rows(name, flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    zero = as_tensor(np.zeros((), rows.dtype))
    kept = None if padding_idx is None else flat != padding_idx
    if mode == "max":
        least = as_tensor(np.array(-np.inf, rows.dtype))
        y = segment_max(rows if kept is None else where(unsqueeze(kept, 1), rows, least), owner, bags)
        y = where(y == least, zero, y)
    else:
        if per_sample_weights is not None:
            rows = rows * reshape(per_sample_weights, (n, 1))
        if kept is not None:
            rows = where(unsqueeze(kept, 1), rows, zero)
        y = _add_at(rows, owner, (bags, rows.shape[1]), 0, 1)
        if mode == "mean":
            ones = as_tensor(np.ones(n, rows.dtype)) if kept is None else to_dtype(kept, rows.dtype)
            count = _add_at(ones, owner, (bags,), 0, 1)
            y = y / unsqueeze(where(count > 0, count, 1.0), 1)
    return y[: bags - 1] if offsets is not None and include_last_offset else y
