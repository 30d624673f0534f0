"""Losses of class numbers: cross-entropy of logits, the negative entry at the class, and their adjoints.

Private primitives behind ``pyneural.functional``'s losses. They take rows of classes ``x`` (N, C) and an int64
``target`` (N), and check the class numbers in C++, so that no value is read in Python and a captured step can contain
them. Rows whose target is ``ignore_index`` count for nothing. ``reduction`` is a number: see :data:`REDUCTIONS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _engine
from .elementwise import to, where
from .folds import fold_sum
from .normalized import _shifted, softmax
from .record import op

__all__: list[str] = []
METHODS: tuple[str, ...] = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

#: The attribute ``reduction`` of the ops here, by name.
REDUCTIONS = {"none": 0, "sum": 1, "mean": 2}


# ---- references ----


def _one_hot(target: np.ndarray, classes: int) -> np.ndarray:
    return target[:, None] == np.arange(classes)


def _at_target(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.where(_one_hot(target, x.shape[1]), x, 0).sum(1)


def _reduced(rows: np.ndarray, target: np.ndarray, ignore_index: int, reduction: int) -> np.ndarray:
    counts = target != ignore_index
    rows = np.where(counts, rows, np.zeros_like(rows))
    return rows if reduction == 0 else rows.sum() if reduction == 1 else rows.sum() / counts.sum().astype(rows.dtype)


def _spread(dy: np.ndarray, target: np.ndarray, ignore_index: int, reduction: int) -> np.ndarray:
    # The gradient of each row's loss (N, 1).
    counts = target != ignore_index
    each = dy / counts.sum().astype(dy.dtype) if reduction == 2 else dy
    return np.where(counts, each, np.zeros_like(dy))[:, None]


def _cross_entropy_reference(x: np.ndarray, target: np.ndarray, ignore_index: int, reduction: int) -> np.ndarray:
    z = _shifted(x, 1)
    return _reduced(np.log(np.exp(z).sum(1)) - _at_target(z, target), target, ignore_index, reduction)


def _cross_entropy_backward_reference(
    dy: np.ndarray, x: np.ndarray, target: np.ndarray, ignore_index: int, reduction: int
) -> np.ndarray:
    e = np.exp(_shifted(x, 1))
    y = _spread(dy, target, ignore_index, reduction) * (e / e.sum(1, keepdims=True) - _one_hot(target, x.shape[1]))
    return np.where(target[:, None] == ignore_index, np.zeros_like(y), y)


def _nll_loss_reference(x: np.ndarray, target: np.ndarray, ignore_index: int, reduction: int) -> np.ndarray:
    return _reduced(-_at_target(x, target), target, ignore_index, reduction)


def _nll_loss_backward_reference(
    dy: np.ndarray, target: np.ndarray, classes: int, ignore_index: int, reduction: int
) -> np.ndarray:
    at = _one_hot(target, classes) & (target[:, None] != ignore_index)
    return np.where(at, -_spread(dy, target, ignore_index, reduction), np.zeros((), dy.dtype))


# ---- gradient rules ----


def _row_gradients(dy: Tensor, target: Tensor, ignore_index: int, reduction: int) -> Tensor:
    # What _spread is in the references, in ops.
    counts = target != ignore_index
    if reduction == REDUCTIONS["mean"]:
        dy = dy / fold_sum(to(counts, dy.dtype), None, False)
    return where(counts, dy, 0.0).unsqueeze(1)


def _wrt_dy(g: Tensor, x: Tensor, target: Tensor, ignore_index: int, reduction: int) -> Tensor:
    # The backward op is linear in dy: (dy_n softmax(x)_n - dy_n e_t) . g_n, row by row and then reduced.
    one = as_tensor(np.ones((), x.dtype))
    rows = fold_sum(g * _cross_entropy_backward(one, x, target, ignore_index, REDUCTIONS["sum"]), (1,), False)
    if reduction == REDUCTIONS["none"]:
        return rows
    total = fold_sum(rows, None, False)
    if reduction == REDUCTIONS["sum"]:
        return total
    return total / fold_sum(to(target != ignore_index, x.dtype), None, False)


def _wrt_x(g: Tensor, dy: Tensor, x: Tensor, target: Tensor, ignore_index: int, reduction: int) -> Tensor:
    p = softmax(x, 1)
    y = p * (g - fold_sum(g * p, (1,), True)) * _row_gradients(dy, target, ignore_index, reduction)
    # where, not the product alone: an ignored row may hold infinities.
    return where((target != ignore_index).unsqueeze(1), y, 0.0)


# ---- samples ----


def _targets(make: Any, rows: int, classes: int, ignore_index: int | None, ignored: int) -> np.ndarray:
    target = make.integers(0, classes, (rows,)) if classes else np.zeros(rows, np.int64)
    if ignore_index is not None:
        target[:ignored] = ignore_index
    return target


def _cases(make: Any, large: bool = True) -> list[tuple[int, int, np.ndarray, int, int]]:
    """(rows, classes, target, ignore_index, reduction); no mean of nothing, which is NaN."""
    sizes = [(5, 3, -100, 1, 0), (1, 1, -100, 0, 2), (3, 1, -100, 0, 2), (4, 7, 2, 2, 2), (9, 10, -100, 2, 1),
             (6, 15, -100, 0, 2), (2, 16, -100, 0, 0), (5, 17, -1, 1, 2), (3, 33, -100, 0, 1), (2, 64, -100, 0, 2),
             (2, 65, -100, 1, 0), (0, 3, -100, 0, 0), (0, 3, -100, 0, 1), (3, 0, -100, 3, 1),
             (2, 4, -100, 2, 1)]  # fmt: skip
    if large:
        sizes += [(64, 1000, -100, 5, 2), (3, 1500, -100, 0, 0), (9000, 9, 4, 3, 2), (30, 5000, -100, 0, 1)]
    return [(n, c, _targets(make, n, c, ignore, k), ignore, reduction) for n, c, ignore, k, reduction in sizes]


def _loss_samples(make: Any) -> list[tuple]:
    return [(make(n, c, low=-9.0, high=9.0), *rest) for n, c, *rest in _cases(make)]


def _gradient_of(make: Any, rows: int, reduction: int) -> np.ndarray:
    return make(rows) if reduction == 0 else make()


def _cross_entropy_backward_samples(make: Any) -> list[tuple]:
    return [(_gradient_of(make, n, r), make(n, c, low=-3.0, high=3.0), t, i, r) for n, c, t, i, r in _cases(make)]


def _nll_loss_backward_samples(make: Any) -> list[tuple]:
    return [(_gradient_of(make, n, r), t, c, i, r) for n, c, t, i, r in _cases(make)]


def _loss_errors(make: Any) -> list[tuple]:
    x = make(2, 3)
    return [
        ((x, np.array([0, 5]), -100, 0), IndexError, r"target 5 is out of range for 3 classes \(at 1\)"),
        ((x, np.array([-1, 0]), -100, 2), IndexError, "target -1 is out of range for 3 classes"),
        ((x, np.array([0, 1, 2]), -100, 2), ValueError, r"must be \(2,\), got \(3,\)"),
        ((x, np.array([0.0, 1.0]), -100, 2), TypeError, "must be int64"),
        ((make(3), np.array([0]), -100, 2), ValueError, r"must be \(N, C\)"),
        ((np.zeros((2, 3), np.int64), np.array([0, 1]), -100, 2), TypeError, "must be float32 or float64"),
    ]


def _cross_entropy_backward_errors(make: Any) -> list[tuple]:
    x, t = make(2, 3), np.array([0, 1])
    return [
        ((make(2), x, np.array([0, 3]), -100, 0), IndexError, "target 3 is out of range for 3 classes"),
        ((make(3), x, t, -100, 0), ValueError, r"shape \(2,\), so its gradient has, too; got \(3,\)"),
        ((make(2), x, t, -100, 2), ValueError, r"shape \(\), so its gradient has, too; got \(2,\)"),
        ((make(2).astype(np.float32), x, t, -100, 0), TypeError, "must have one dtype"),
    ]


def _nll_loss_backward_errors(make: Any) -> list[tuple]:
    return [
        ((make(2), np.array([0, 3]), 3, -100, 0), IndexError, "target 3 is out of range for 3 classes"),
        ((make(3), np.array([0, 1]), 3, -100, 0), ValueError, r"got \(3,\)"),
        ((make(), np.array([[0, 1]]), 3, -100, 1), ValueError, r"target must be \(N,\)"),
    ]


# ---- primitives ----

#: ``cross_entropy(x, target, ignore_index, reduction)``: logsumexp(row) - row[target] of each row, reduced.
_cross_entropy: Any = op(
    "cross_entropy",
    "x target",
    attributes="ignore_index reduction",
    reference=_cross_entropy_reference,
    gradient={
        "x": lambda g, x, target, ignore_index, reduction: _cross_entropy_backward(
            g, x, target, ignore_index, reduction
        )
    },
    formula={"x": r"g\,(\mathrm{softmax}(x) - e_{\mathrm{target}})"},
    samples=_loss_samples,
    errors=_loss_errors,
    tolerance=16,
)

#: ``cross_entropy_backward(dy, x, target, ignore_index, reduction)``: the gradient of cross_entropy for x, in one pass.
#: It takes the softmax anew: a saved logarithm would cost an output and, for large logits, digits.
_cross_entropy_backward: Any = op(
    "cross_entropy_backward",
    "dy x target",
    attributes="ignore_index reduction",
    reference=_cross_entropy_backward_reference,
    gradient={"dy": _wrt_dy, "x": _wrt_x},
    formula={
        "dy": r"\sum g\,(\mathrm{softmax}(x) - e_{\mathrm{target}})",
        "x": r"dy\,p\,(g - \sum g\,p),\ p = \mathrm{softmax}(x)",
    },
    samples=_cross_entropy_backward_samples,
    errors=_cross_entropy_backward_errors,
    tolerance=8,
)

#: ``nll_loss(x, target, ignore_index, reduction)``: -row[target] of each row, reduced.
_nll_loss: Any = op(
    "nll_loss",
    "x target",
    attributes="ignore_index reduction",
    reference=_nll_loss_reference,
    gradient={
        "x": lambda g, x_shape, target, ignore_index, reduction: _nll_loss_backward(
            g, target, x_shape[1], ignore_index, reduction
        )
    },
    formula={"x": r"-g\,e_{\mathrm{target}}"},
    samples=_loss_samples,
    errors=_loss_errors,
    tolerance=64,
)

#: ``nll_loss_backward(dy, target, classes, ignore_index, reduction)``: the adjoint of nll_loss.
_nll_loss_backward: Any = op(
    "nll_loss_backward",
    "dy target",
    attributes="classes ignore_index reduction",
    reference=_nll_loss_backward_reference,
    gradient={"dy": lambda g, target, ignore_index, reduction: _nll_loss(g, target, ignore_index, reduction)},
    formula={"dy": r"-\sum g_{\mathrm{target}}"},
    samples=_nll_loss_backward_samples,
    errors=_nll_loss_backward_errors,
)

#: ``class_numbers(target, classes, ignore_index)``: the target, checked, with 0 in place of ``ignore_index`` (None:
#: there is none), and the mask of the elements that are not ignored. For losses that are made of other ops.
_class_numbers: Any = op(
    "class_numbers",
    "target",
    attributes="classes ignore_index",
    reference=lambda target, classes, ignore_index: (
        np.where(target == ignore_index, 0, target),
        np.asarray(target != ignore_index),
    ),
    samples=lambda make: [(_targets(make, n, c, i, k), c, i) for n, c, i, k in
                          ((5, 3, -100, 0), (65, 3, -100, 9), (7, 3, 1, 2), (0, 3, -100, 0), (4, 2, None, 0))]
                         + [(make.integers(0, 4, (3, 2, 5)), 4, 2), (make.integers(0, 4, ()), 4, -100)],
    errors=lambda make: [((np.array([0, 5]), 3, -100), IndexError, r"target 5 is out of range for 3 classes \(at 1\)"),
                         ((np.array([[0, 1], [1, -2]]), 3, -1), IndexError, r"target -2 is .* \(at \(1, 1\)\)"),
                         ((np.array(3), 3, -100), IndexError, "target 3 is out of range for 3 classes$"),
                         ((np.array([0.5]), 3, -100), TypeError, "must be int64")],
    differences=False,
)  # fmt: skip

#: ``require_finite(x)``: raises FloatingPointError if an element is NaN or infinite. A step, eager or replayed, stops
#: there before it updates anything.
require_finite: Any = op(
    "require_finite",
    "x",
    reference=lambda x: (),
    samples=lambda make: [(make(3),), (make(),), (make(0),)],
    errors=lambda make: [((np.array([1.0, np.nan]),), FloatingPointError, "element 1 of 2 is nan"),
                         ((np.array([-np.inf]),), FloatingPointError, "element 0 of 1 is -inf"),
                         ((np.array([1]),), TypeError, "must be float32 or float64")],
    differences=False,
)  # fmt: skip
