"""Normalisation by mean and variance: the primitives behind :mod:`.normalization`.

They take x as (N, C, S) and give ``y, mean, var``. ``batch_norm`` has statistics (C,) of each channel, ``group_norm``
statistics (N * groups,) of groups of channels of each batch element; uncentred, its mean is 0 and its variance the mean
square. With ``h = (x - mean) / sqrt(var + eps)`` y is ``h * weight + bias``, both (C,). ``batch_norm_fixed`` takes the
statistics of the channels as they are given.

The gradient of x is one op in each case, with the gradients of weight and bias; it takes the gradients of mean and var as
well, so that second derivatives can go through them.
"""

from __future__ import annotations

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
    """x as (N, groups, channels of a group, S), and where its statistics and its channels lie in that."""

    def __init__(self, shape: tuple[int, ...], groups: int | None) -> None:
        n, c, s = shape
        per_batch = groups is None
        g = c if groups is None else groups
        self.full = (n, g, c // g if g else 0, s)
        self.folded = (0, 2, 3) if per_batch else (2, 3)
        self.statistics = (1 if per_batch else n, g, 1, 1)
        self.channels = (1, *self.full[1:3], 1)
        self.count = float(np.prod([self.full[d] for d in self.folded]))


# ---- references ----


def _reference(x: np.ndarray, weight: Any, bias: Any, groups: int | None, eps: float, centred: bool) -> tuple:
    axes = _Axes(x.shape, groups)
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
    m, v = (a.astype(np.longdouble)[:, None] for a in (mean, var))
    y = (x - m) / np.sqrt(v + eps)
    if weight is not None:
        y = y * weight[:, None]
    return np.asarray(y if bias is None else y + bias[:, None]).astype(x.dtype)


def _backward_reference(
    dy: Any,
    x: Any,
    weight: Any,
    mean: Any,
    var: Any,
    dmean: Any,
    dvar: Any,
    groups: int | None,
    eps: float,
    centred: bool,
) -> tuple:
    axes = _Axes(x.shape, groups)
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
    dweight, dbias = ((a).sum((0, 3)).reshape(-1) for a in (g * d * r, g))
    return tuple([a.astype(x.dtype) for a in (dx.reshape(x.shape), dweight, dbias)])


# ---- gradient rules ----


def _or_zeros(g: Any, x: Tensor) -> Tensor:
    return as_tensor(np.zeros(x.shape, x.dtype)) if g is None else g


def _backward_gradients(
    g: tuple, dy: Any, x: Any, weight: Any, mean: Any, var: Any, dmean: Any, dvar: Any, groups: int | None, eps: float,
    centred: bool,
) -> tuple:  # fmt: skip
    """What the gradients g of dx, dweight and dbias are for each input of a backward op.

    With n elements of a statistic, r = 1 / sqrt(var + eps), d = x - mean, h = d r, e = dy weight and sums over those
    elements, dx is r (e - sum(e) / n - h sum(e h) / n) + dmean / n + 2 dvar d / n; dweight and dbias are the sums of dy h
    and dy over a channel.
    """
    axes, shape = _Axes(x.shape, groups), x.shape
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
    (2, 3, 4), (5, 3, 1), (1, 2, 7), (3, 1, 17), (2, 6, 16), (7, 4, 15), (1, 4, 33), (300, 3, 2), (2, 130, 1), (65, 33, 3),
    (3, 2, 4100), (64, 20, 81), (130, 70, 1), (2, 12, 1030),
)  # fmt: skip


def _samples(make: Any, grouped: bool, backward: bool) -> list[tuple]:
    samples = []
    for i, (n, c, s) in enumerate(_SHAPES):
        for groups in [k for k in (1, 3, c) if c % k == 0][: 1 + (i > 0) * 2] if grouped else [None]:
            if (s if groups else n * s) * c // (groups or c) == 1:
                continue  # a single value
            x, weight = make(n, c, s), make(c) if i % 3 else None
            rest = (1e-3,) if groups is None else (groups, i % 4 != 3, 1e-3)
            k = c if groups is None else n * groups
            if backward:
                dmean, dvar = make(k) if i % 4 else None, make(k) if i % 5 else None
                samples.append((make(n, c, s), x, weight, make(k), make.positive(k), dmean, dvar, *rest))
            else:
                samples.append((x, weight, make(c) if i % 2 else None, *rest))
    return samples


def _errors(make: Any, grouped: bool) -> list[tuple]:
    rest: tuple = (2, True, 1e-5) if grouped else (1e-5,)
    errors: list[tuple] = [
        ((make(2, 4), None, None, *rest), ValueError, r"x must be \(N, C, S\), got \(2, 4\)"),
        ((make(2, 4, 3), make(3), None, *rest), ValueError, r"weight has shape \(3,\) but x needs \(4,\)"),
        ((make(2, 4, 3), None, make(4, 1), *rest), ValueError, r"bias has shape \(4, 1\)"),
    ]
    if grouped:
        errors.append(((make(2, 4, 3), None, None, 3, True, 1e-5), ValueError, "groups is 3 but must divide the 4"))
    return errors


def _backward_errors(make: Any, grouped: bool) -> list[tuple]:
    rest: tuple = (1, True, 1e-5) if grouped else (1e-5,)
    k = 2 if grouped else 4
    x, v = make(2, 4, 3), [make(k) for _ in range(4)]
    return [
        ((make(2, 4), x, None, *v, *rest), ValueError, r"x is \(2, 4, 3\), so the gradient of y is, too; got \(2, 4\)"),
        ((x, x, make(3), *v, *rest), ValueError, r"weight has shape \(3,\)"),
        ((x, x, None, v[0], make(3), *v[2:], *rest), ValueError, rf"var has shape \(3,\) but x needs \({k},\)"),
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

#: ``group_norm(x, weight, bias, groups, centred, eps)``
group_norm: Any = op(
    "group_norm",
    "x weight? bias?",
    attributes="groups centred eps",
    reference=lambda x, weight, bias, groups, centred, eps: _reference(x, weight, bias, groups, eps, centred),
    gradient={
        "x weight bias": lambda x, weight, y1, y2, groups, centred, eps, g0=None, g1=None, g2=None: group_norm_backward(
            _or_zeros(g0, x), x, weight, y1, y2, g1, g2, groups, centred, eps
        )
    },
    formula=_FORMULA,
    samples=lambda make: _samples(make, True, False),
    errors=lambda make: _errors(make, True),
    tolerance=32,
)

#: ``group_norm_backward(dy, x, weight, mean, var, dmean, dvar, groups, centred, eps)``
group_norm_backward: Any = op(
    "group_norm_backward",
    "dy x weight? mean var dmean? dvar?",
    attributes="groups centred eps",
    reference=lambda dy, x, weight, mean, var, dmean, dvar, groups, centred, eps: _backward_reference(
        dy, x, weight, mean, var, dmean, dvar, groups, eps, centred
    ),
    gradient={
        _INPUTS: lambda dy, x, weight, mean, var, dmean, dvar, groups, centred, eps, g0=None, g1=None, g2=None: (
            _backward_gradients((g0, g1, g2), dy, x, weight, mean, var, dmean, dvar, groups, eps, centred)
        )
    },
    formula=_BACKWARD_FORMULA,
    samples=lambda make: _samples(make, True, True),
    errors=lambda make: _backward_errors(make, True),
    tolerance=512,  # of sums of many terms that nearly cancel
)


def _fixed_gradients(g: Tensor, x: Tensor, mean: Tensor, var: Tensor, weight: Any, eps: float) -> tuple:
    m, r = (reshape(a, (-1, 1)) for a in (mean, rsqrt(var + eps)))
    factor = r if weight is None else r * reshape(weight, (-1, 1))
    of_bias, of_weight = (fold_sum(a, (0, 2), False) for a in (g, g * ((x - m) * r)))
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
        (make(n, c, s), make(c), make.positive(c), make(c) if i % 3 else None, make(c) if i % 2 else None, 1e-3)
        for i, (n, c, s) in enumerate((*_SHAPES, (0, 3, 2)))
    ],
    errors=lambda make: [
        ((make(2, 4), make(4), make(4), None, None, 1e-5), ValueError, r"x must be \(N, C, S\), got \(2, 4\)"),
        ((make(2, 4, 3), make(4), make(3), None, None, 1e-5), ValueError, r"var has shape \(3,\) but x needs \(4,\)"),
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
