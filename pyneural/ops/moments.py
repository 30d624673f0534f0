"""Normalisation by mean and variance: the primitives behind :mod:`.normalization`.

They give ``y, mean, var``. ``batch_norm`` takes x (N, C, ...) and has statistics (C,) of each channel. ``group_norm``
takes dimensions ``begin`` to ``end`` of x as its channels, those before as its batch, those behind as places, and has
statistics (batch * groups,) of groups of channels of each batch element; uncentred, its mean is 0 and its variance the
mean square. With ``h = (x - mean) / sqrt(var + eps)`` y is ``h * weight + bias``, both of the channels' shape.
``batch_norm_fixed`` takes the statistics of the channels as they are given.

The gradient of x is one op in each case, with the gradients of weight and bias; it takes the gradients of mean and var as
well, so that second derivatives can go through them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _engine
from .elementwise import rsqrt
from .folds import fold_sum
from .record import op
from .shape import reshape

__all__: list[str] = []
METHODS: tuple[str, ...] = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


class _Axes:
    """x as (N, groups, channels of a group, S), and where its statistics and its channels lie in that.

    ``split`` is (begin, end, groups), or None for the statistics of a batch.
    """

    def __init__(self, shape: tuple[int, ...], split: tuple[int, int, int] | None) -> None:
        begin, end, groups = split or (1, 2, None)
        n, c, s = (math.prod(part) for part in (shape[:begin], shape[begin:end], shape[end:]))
        per_batch = groups is None
        g = c if groups is None else groups
        self.full = (n, g, c // g if g else 0, s)
        self.folded = (0, 2, 3) if per_batch else (2, 3)
        self.statistics = (1 if per_batch else n, g, 1, 1)
        self.channels = (1, *self.full[1:3], 1)
        self.count = float(np.prod([self.full[d] for d in self.folded]))


# ---- references ----


def _reference(x: np.ndarray, weight: Any, bias: Any, split: Any, eps: float, centred: bool) -> tuple:
    axes = _Axes(x.shape, split)
    z = x.astype(np.longdouble).reshape(axes.full)
    mean = z.mean(axes.folded, keepdims=True) if centred else np.zeros(axes.statistics)
    var = np.square(z - mean).mean(axes.folded, keepdims=True)
    y = (z - mean) / np.sqrt(var + eps)
    if weight is not None:
        y = y * weight.reshape(axes.channels)
    if bias is not None:
        y = y + bias.reshape(axes.channels)
    return y.reshape(x.shape).astype(x.dtype), mean.reshape(-1).astype(x.dtype), var.reshape(-1).astype(x.dtype)


def _fixed_reference(x: np.ndarray, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> np.ndarray:
    z = x.astype(np.longdouble).reshape(*x.shape[:2], math.prod(x.shape[2:]))
    m, v = (a.astype(np.longdouble)[:, None] for a in (mean, var))
    y = (z - m) / np.sqrt(v + eps)
    if weight is not None:
        y = y * weight[:, None]
    return np.asarray(y if bias is None else y + bias[:, None]).reshape(x.shape).astype(x.dtype)


def _backward_reference(
    dy: Any, x: Any, weight: Any, mean: Any, var: Any, dmean: Any, dvar: Any, split: Any, eps: float, centred: bool
) -> tuple:
    axes = _Axes(x.shape, split)
    g, z = (a.astype(np.longdouble).reshape(axes.full) for a in (dy, x))
    m, v, dm, dv = (
        np.zeros(axes.statistics) if a is None else a.astype(np.longdouble).reshape(axes.statistics)
        for a in (mean, var, dmean, dvar)
    )
    r = 1 / np.sqrt(v + eps)
    d = z - m if centred else z
    e = g if weight is None else g * weight.reshape(axes.channels)

    def average(a: np.ndarray) -> np.ndarray:
        return a.sum(axes.folded, keepdims=True) / axes.count

    dx = r * (e - d * r**2 * average(e * d)) + 2 * dv * d / axes.count
    if centred:
        dx = dx - r * average(e) + dm / axes.count
    begin, end = split[:2] if split else (1, 2)
    dweight, dbias = (a.sum((0, 3)).reshape(x.shape[begin:end]) for a in (g * d * r, g))
    return tuple([a.astype(x.dtype) for a in (dx.reshape(x.shape), dweight, dbias)])


# ---- gradient rules ----


def _or_zeros(g: Any, x: Tensor) -> Tensor:
    return as_tensor(np.zeros(x.shape, x.dtype)) if g is None else g


def _backward_gradients(
    g: tuple, dy: Any, x: Any, weight: Any, mean: Any, var: Any, dmean: Any, dvar: Any, split: Any, eps: float,
    centred: bool,
) -> tuple:  # fmt: skip
    """What the gradients g of dx, dweight and dbias are for each input of a backward op.

    With n elements of a statistic, r = 1 / sqrt(var + eps), d = x - mean, h = d r, e = dy weight and sums over those
    elements, dx is r (e - sum(e) / n - h sum(e h) / n) + dmean / n + 2 dvar d / n; dweight and dbias are the sums of dy h
    and dy over a channel.
    """
    axes, shape = _Axes(x.shape, split), x.shape
    n = axes.count
    u, dy, x = (reshape(a, axes.full) for a in (_or_zeros(g[0], x), dy, x))
    gw, gb = (None if a is None else reshape(a, axes.channels) for a in g[1:])
    m, v = (reshape(a, axes.statistics) for a in (mean, var))
    w = 1.0 if weight is None else reshape(weight, axes.channels)
    r = rsqrt(v + eps)
    d = x - m if centred else x
    h, e = d * r, dy * w

    def total(a: Tensor) -> Tensor:
        return fold_sum(a, axes.folded, True)

    eh, uh = total(e * h) / n, total(u * h) / n
    of_e = r * (u - h * uh)
    of_h = -r * (uh * e + eh * u)
    if gw is not None:
        of_h = of_h + gw * dy
    of_r = total(u * e) - n * eh * uh + total(d * of_h)
    of_d = r * of_h
    if dvar is not None:
        of_d = of_d + reshape(dvar, axes.statistics) * (2 / n) * u
    of_mean = of_dmean = None
    if centred:
        of_dmean = total(u) / n
        of_e = of_e - r * of_dmean
        of_r = of_r - total(e) * of_dmean
        of_mean = reshape(-total(of_d), mean.shape)
        of_dmean = reshape(of_dmean, mean.shape)
    of_dy = w * of_e
    if gw is not None:
        of_dy = of_dy + gw * h
    if gb is not None:
        of_dy = of_dy + gb
    return (
        reshape(of_dy, shape),
        reshape(of_d, shape),
        None if weight is None else reshape(fold_sum(dy * of_e, (0, 3), False), weight.shape),
        of_mean,
        reshape(of_r * (r * r * r * -0.5), var.shape),
        None if dmean is None else of_dmean,
        None if dvar is None else reshape(total(u * d) * (2 / n), var.shape),
    )


_INPUTS = "dy x weight mean var dmean dvar"
_GROUPED = "begin end groups centred eps"
_FORMULA = {
    "x": r"\frac{w}{\sqrt{v + \epsilon}} (g - \overline{g} - h\,\overline{g h})",
    "weight": r"\sum g\,h",
    "bias": r"\sum g",
}
_BACKWARD_FORMULA = {
    name: rf"\partial \langle g, (dx, dw, db) \rangle / \partial {symbol}"
    for name, symbol in zip(_INPUTS.split(), ("dy", "x", "w", "m", "v", "dm", "dv"), strict=True)
}


# ---- samples ----

_SHAPES = (
    (2, 3, 4), (5, 3), (1, 2, 7), (3, 1, 17), (2, 6, 4, 4), (7, 4, 5, 3), (1, 4, 33), (300, 3, 2), (2, 130), (65, 33, 3),
    (3, 2, 4100), (64, 20, 81), (130, 70), (2, 12, 10, 103), (9, 2, 3, 1, 2, 5),
)  # fmt: skip
# Shapes with their channels' dimensions for group_norm, beside (1, 2).
_SPLITS = (((33,), 0, 1), ((4, 3, 65), 2, 3), ((19, 2, 10), 1, 3), ((2, 3, 4, 5), 2, 3), ((3, 1, 1500), 2, 3))


def _cases(grouped: bool) -> list[tuple[tuple[int, ...], Any]]:
    """Shapes, each with None or with (begin, end, groups)."""
    if not grouped:
        return [(shape, None) for shape in _SHAPES]
    cases = [(shape, (1, 2, k)) for shape in _SHAPES for k in (1, 3, shape[1]) if shape[1] % k == 0]
    return cases + [(shape, (begin, end, 1)) for shape, begin, end in _SPLITS]


def _samples(make: Any, grouped: bool, backward: bool) -> list[tuple]:
    samples = []
    for i, (shape, split) in enumerate(_cases(grouped)):
        axes = _Axes(shape, split)
        if axes.count == 1:
            continue  # a single value
        begin, end = split[:2] if split else (1, 2)
        of_weight, k = shape[begin:end], math.prod(axes.statistics)
        x, weight = make(*shape), make(*of_weight) if i % 3 else None
        rest = (*split, i % 4 != 3, 1e-3) if split else (1e-3,)
        if backward:
            dmean, dvar = make(k) if i % 4 else None, make(k) if i % 5 else None
            samples.append((make(*shape), x, weight, make(k), make.positive(k), dmean, dvar, *rest))
        else:
            samples.append((x, weight, make(*of_weight) if i % 2 else None, *rest))
    return samples


def _errors(make: Any, grouped: bool) -> list[tuple]:
    rest: tuple = (1, 2, 2, True, 1e-5) if grouped else (1e-5,)
    x = make(2, 4, 3)
    errors: list[tuple] = [
        ((x, make(3), None, *rest), ValueError, r"weight has shape \(3,\) but x, of shape \(2, 4, 3\), needs \(4,\)"),
        ((x, None, make(4, 1), *rest), ValueError, r"bias has shape \(4, 1\)"),
    ]
    if not grouped:
        return [((make(4), None, None, *rest), ValueError, r"x must be \(N, C, \.\.\.\), got \(4,\)"), *errors]
    return [
        ((x, None, None, 1, 2, 3, True, 1e-5), ValueError, "groups is 3 but must divide the 4"),
        ((x, None, None, 2, 4, 1, True, 1e-5), ValueError, r"channels are dimensions 2 to 4 but x is \(2, 4, 3\)"),
        *errors,
    ]


def _backward_errors(make: Any, grouped: bool) -> list[tuple]:
    rest: tuple = (1, 2, 1, True, 1e-5) if grouped else (1e-5,)
    k = 2 if grouped else 4
    x, v = make(2, 4, 3), [make(k) for _ in range(4)]
    return [
        ((make(2, 4), x, None, *v, *rest), ValueError, r"x is \(2, 4, 3\), so the gradient of y is, too; got \(2, 4\)"),
        ((x, x, make(3), *v, *rest), ValueError, r"weight has shape \(3,\)"),
        ((x, x, None, v[0], make(3), *v[2:], *rest), ValueError, rf"var has shape \(3,\) but x, .* needs \({k},\)"),
    ]


# ---- primitives ----

#: ``batch_norm(x, weight, bias, eps)``
batch_norm: Any = op(
    "batch_norm",
    "x weight? bias?",
    attributes="eps",
    reference=lambda x, weight, bias, eps: _reference(x, weight, bias, None, eps, True),
    gradient={
        "x weight bias": lambda x, weight, y1, y2, eps, g0=None, g1=None, g2=None: batch_norm_backward(
            _or_zeros(g0, x), x, weight, y1, y2, g1, g2, eps
        )
    },
    formula=_FORMULA,
    samples=lambda make: _samples(make, False, False),
    errors=lambda make: _errors(make, False),
    tolerance=32,
)

#: ``batch_norm_backward(dy, x, weight, mean, var, dmean, dvar, eps)``: the gradients of x, weight and bias.
batch_norm_backward: Any = op(
    "batch_norm_backward",
    "dy x weight? mean var dmean? dvar?",
    attributes="eps",
    reference=lambda dy, x, weight, mean, var, dmean, dvar, eps: _backward_reference(
        dy, x, weight, mean, var, dmean, dvar, None, eps, True
    ),
    gradient={
        _INPUTS: lambda dy, x, weight, mean, var, dmean, dvar, eps, g0=None, g1=None, g2=None: _backward_gradients(
            (g0, g1, g2), dy, x, weight, mean, var, dmean, dvar, None, eps, True
        )
    },
    formula=_BACKWARD_FORMULA,
    samples=lambda make: _samples(make, False, True),
    errors=lambda make: _backward_errors(make, False),
    tolerance=512,  # of sums of many terms that nearly cancel
)

#: ``group_norm(x, weight, bias, begin, end, groups, centred, eps)``
group_norm: Any = op(
    "group_norm",
    "x weight? bias?",
    attributes=_GROUPED,
    reference=lambda x, weight, bias, begin, end, groups, centred, eps: _reference(
        x, weight, bias, (begin, end, groups), eps, centred
    ),
    gradient={
        "x weight bias": lambda x, weight, y1, y2, begin, end, groups, centred, eps, g0=None, g1=None, g2=None: (
            group_norm_backward(_or_zeros(g0, x), x, weight, y1, y2, g1, g2, begin, end, groups, centred, eps)
        )
    },
    formula=_FORMULA,
    samples=lambda make: _samples(make, True, False),
    errors=lambda make: _errors(make, True),
    tolerance=32,
)

#: ``group_norm_backward(dy, x, weight, mean, var, dmean, dvar, begin, end, groups, centred, eps)``
group_norm_backward: Any = op(
    "group_norm_backward",
    "dy x weight? mean var dmean? dvar?",
    attributes=_GROUPED,
    reference=lambda dy, x, weight, mean, var, dmean, dvar, begin, end, groups, centred, eps: _backward_reference(
        dy, x, weight, mean, var, dmean, dvar, (begin, end, groups), eps, centred
    ),
    gradient={
        _INPUTS: lambda dy, x, weight, mean, var, dmean, dvar, begin, end, groups, centred, eps, g0=None, g1=None, g2=None: (
            _backward_gradients((g0, g1, g2), dy, x, weight, mean, var, dmean, dvar, (begin, end, groups), eps, centred)
        )
    },
    formula=_BACKWARD_FORMULA,
    samples=lambda make: _samples(make, True, True),
    errors=lambda make: _backward_errors(make, True),
    tolerance=512,  # of sums of many terms that nearly cancel
)


def _fixed_gradients(g: Tensor, x: Tensor, mean: Tensor, var: Tensor, weight: Any, eps: float) -> tuple:
    channels = (-1, *[1] * (x.ndim - 2))
    m, r = (reshape(a, channels) for a in (mean, rsqrt(var + eps)))
    factor = r if weight is None else r * reshape(weight, channels)
    of_bias, of_weight = (fold_sum(a, (0, *range(2, x.ndim)), False) for a in (g, g * ((x - m) * r)))
    factors, ratios = (reshape(a, mean.shape) for a in (factor, factor * r * -0.5))
    return g * factor, -factors * of_bias, ratios * of_weight, None if weight is None else of_weight, of_bias


#: ``batch_norm_fixed(x, mean, var, weight, bias, eps)``: y of given statistics of the channels.
batch_norm_fixed: Any = op(
    "batch_norm_fixed",
    "x mean var weight? bias?",
    attributes="eps",
    reference=_fixed_reference,
    gradient={"x mean var weight bias": _fixed_gradients},
    formula={
        "x": r"\frac{w}{\sqrt{v + \epsilon}} g",
        "mean": r"-\frac{w}{\sqrt{v + \epsilon}} \sum g",
        "var": r"-\frac{w}{2 (v + \epsilon)} \sum g\,h",
        "weight": r"\sum g\,h",
        "bias": r"\sum g",
    },
    samples=lambda make: [
        (make(n, c, *s), make(c), make.positive(c), make(c) if i % 3 else None, make(c) if i % 2 else None, 1e-3)
        for i, (n, c, *s) in enumerate((*_SHAPES, (0, 3, 2)))
    ],
    errors=lambda make: [
        ((make(4), make(4), make(4), None, None, 1e-5), ValueError, r"x must be \(N, C, \.\.\.\), got \(4,\)"),
        (
            (make(2, 4, 3), make(4), make(3), None, None, 1e-5),
            ValueError,
            r"var has shape \(3,\) but x, .* needs \(4,\)",
        ),
    ],
    tolerance=32,
)


def _update_reference(
    running_mean: Any,
    running_var: Any,
    batches: Any,
    mean: Any,
    var: Any,
    count: int,
    cumulative: bool,
    momentum: float,
) -> tuple:
    batches = batches + 1
    share = 1 / batches if cumulative else momentum
    return (
        (1 - share) * running_mean + share * mean,
        (1 - share) * running_var + share * var * count / (count - 1),
        batches,
    )


#: ``update_running_(running_mean, running_var, batches, mean, var, count, cumulative, momentum)``: counts a batch and moves
#: running statistics by a share, ``momentum`` or 1 / batches, towards those of ``count`` values per channel; in place.
update_running_: Any = op(
    "update_running_",
    "running_mean running_var batches? mean var",
    attributes="count cumulative momentum",
    reference=_update_reference,
    samples=lambda make: [
        (make(c), make.positive(c), make.integers(0, 9, ()), make(c), make.positive(c), count, cumulative, 0.3)
        for c, count, cumulative in ((1, 2, False), (7, 5, True), (33, 2000, False), (0, 2, True))
    ],
    errors=lambda make: [
        ((make(3), make(4), None, make(3), make(3), 2, False, 0.1), ValueError, r"running_var is float64 \(4,\)"),
        ((make(3), make(3), make(1), make(3), make(3), 2, False, 0.1), ValueError, "must be one int64, got float64"),
        ((make(3), make(3), None, make(3), make(3), 2, True, 0.1), ValueError, "needs their count"),
    ],
    differences=False,
)
