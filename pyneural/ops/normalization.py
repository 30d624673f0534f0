"""Normalisation: over a batch, over groups of channels, over the last dimensions, over neighbouring channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integer, integers
from . import moments
from .elementwise import to
from .folds import fold_mean
from .pooling import avg_pool2d
from .rearrange import pad
from .record import composed
from .shape import reshape

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


def _update(
    running_mean: Tensor, running_var: Tensor, batches: Any, mean: Tensor, var: Tensor, momentum: float | None, n: int
) -> None:
    """Moves running statistics towards those of a batch of n values per channel, in place; counts the batch."""
    if mean.dtype != running_mean.dtype:
        mean, var = (to(a.detach(), running_mean.dtype) for a in (mean, var))
    share = 0.0 if momentum is None else float(momentum)
    moments.update_running_(running_mean, running_var, batches, mean, var, n, momentum is None, share)


# ---- arguments ----


def _checked(
    name: str, x: Any, least: int, weight: Any = None, bias: Any = None, running_mean: Any = None,
    running_var: Any = None,
) -> tuple[Tensor, tuple[int, ...]]:  # fmt: skip
    """x as a tensor, and its shape.

    Raises:
        ValueError: x has too few dimensions, or one of the others is not (C,).
    """
    x = as_tensor(x, name)
    shape = x.shape
    if len(shape) < least:
        axes = "batch and channels" if least == 2 else "batch, channels and at least one spatial"
        raise ValueError(f"{name}: x must have {least} dimensions or more ({axes}), but its shape is {shape}")
    wanted = shape[1:2]
    for what, v in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if v is not None and v.shape != wanted:
            raise ValueError(f"{name}: {what} has shape {v.shape} but x has {shape[1]} channels, so it must be {wanted} "
                             f"(x is {shape})")  # fmt: skip
    return x, shape


def _check_running(name: str, running_mean: Any, running_var: Any, needed: bool, why: str) -> None:
    if needed and (running_mean is None or running_var is None):
        raise ValueError(f"{name}: {why} needs running_mean and running_var; give both, or let x be its own statistics")
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{name}: give running_mean and running_var both, or neither")


def _check_eps(name: str, eps: float, positive: bool) -> float:
    if not (eps > 0 if positive else eps >= 0):
        raise ValueError(f"{name}: eps is {eps} but must be {'above 0' if positive else 'at least 0'}")
    return float(eps)


# ---- public ----


def _standardized(x: np.ndarray, axes: tuple[int, ...], eps: float, centred: bool = True) -> np.ndarray:
    x = x.astype(np.float64)
    mean = x.mean(axes, keepdims=True) if centred else 0.0
    return (x - mean) / np.sqrt(np.mean(np.square(x - mean), axes, keepdims=True) + eps)


def _channels(v: Any, ndim: int) -> Any:
    return v.reshape(-1, *[1] * (ndim - 2))


def _scaled(h: np.ndarray, weight: Any, bias: Any, dtype: Any) -> np.ndarray:
    """h with a scale and a shift for each channel."""
    h = h if weight is None else h * _channels(weight, h.ndim)
    return np.asarray(h if bias is None else h + _channels(bias, h.ndim)).astype(dtype)


def _batch_norm_reference(
    x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1,
    eps: float = 1e-5,
) -> np.ndarray:  # fmt: skip
    if training:
        h = _standardized(x, (0, *range(2, x.ndim)), eps)
    else:
        h = (x - _channels(mean, x.ndim)) / np.sqrt(_channels(var, x.ndim) + eps)
    return _scaled(h, weight, bias, x.dtype)


def _batch_norm_samples(make: Any) -> list[tuple]:
    samples = []
    for i, (n, c, *sizes) in enumerate(
        ((5, 3), (2, 3, 4), (3, 2, 5, 7), (7, 1, 1), (2, 3, 2, 3, 4), (64, 33), (3, 17, 3, 3))
    ):
        x, weight, bias = make(n, c, *sizes), make(c) if i % 3 else None, make(c) if i % 2 else None
        samples += [(x, None, None, weight, bias, True, 0.1, 1e-3),
                    (x, make(c), make.positive(c), weight, bias, False, 0.1, 1e-5)]  # fmt: skip
    return samples


@composed(
    name="F.batch_norm",  # the primitives have the plain names
    reference=_batch_norm_reference,
    samples=_batch_norm_samples,
    errors=lambda make: [
        ((make(3), None, None), ValueError, r"batch_norm: x must have 2 dimensions or more .* shape is \(3,\)"),
        ((make(4, 3), make(3), make(3), make(4)), ValueError, r"weight has shape \(4,\) but x has 3 channels"),
        ((make(4, 3), make(2), make(3)), ValueError, r"running_mean has shape \(2,\) but x has 3 channels"),
        ((make(4, 3), None, None), ValueError, "training=False needs running_mean and running_var"),
        ((make(4, 3), None, make(3), None, None, True), ValueError, "both, or neither"),
        ((make(1, 3, 1), None, None, None, None, True), ValueError, "more than 1 value per channel when training"),
        ((make(4, 3), None, None, None, None, True, 0.1, 0.0), ValueError, "eps is 0.0 but must be above 0"),
        ((make(4, 3), make(3), make(3), None, None, False, 0.1, -1.0), ValueError, "must be at least 0"),
    ],
    tolerance=64,
)
def batch_norm(
    x: Tensor, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel, over the batch and all places (Ioffe and Szegedy
    2015, arXiv:1502.03167).

    Args:
        x: Floats (N, C, ...).
        running_mean: (C,). In training moved in place by ``momentum`` towards the mean of x, else used in its stead.
        running_var: (C,). The same for the variance; it moves towards the unbiased one, while x is divided by the
            biased one, as in PyTorch.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        training: Normalise by the statistics of x.
        momentum: The share of the new statistics.
        eps: Added to the variance.

    Returns:
        A tensor of x's shape.

    Raises:
        ValueError: Shapes misfit, statistics are missing, eps is not positive, or x has one value per channel in
            training. Nothing is changed then.
    """
    return batch_norm_counting(x, running_mean, running_var, None, weight, bias, training, momentum, eps)


def batch_norm_counting(
    x: Tensor, running_mean: Any, running_var: Any, batches: Any, weight: Any, bias: Any, training: bool,
    momentum: float | None, eps: float,
) -> Tensor:  # fmt: skip
    """The same with a counter of batches (int64, no dimensions), which is raised first. With momentum None the running
    statistics are the mean over all batches so far."""
    eps = _check_eps("batch_norm", eps, training)
    refused = None
    if not training:
        try:
            return moments.batch_norm_fixed(x, running_mean, running_var, weight, bias, eps)
        except (TypeError, ValueError) as error:
            refused = error  # told below in this function's words
    x, shape = _checked("batch_norm", x, 2, weight, bias, running_mean, running_var)
    _check_running("batch_norm", running_mean, running_var, not training, "training=False")
    if refused is not None:
        raise refused
    n = shape[0] * math.prod(shape[2:])
    if n == 1:
        raise ValueError(f"batch_norm: needs more than 1 value per channel when training, but x is {shape}")
    y, mean, var = moments.batch_norm(x, weight, bias, eps)
    if running_mean is not None and n:
        _update(running_mean, running_var, batches, mean, var, momentum, n)
    return y


def _group_norm_reference(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> np.ndarray:
    rows = x.reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups)
    return _scaled(_standardized(rows, (2,), eps).reshape(x.shape), weight, bias, x.dtype)


@composed(
    name="F.group_norm",
    reference=_group_norm_reference,
    samples=lambda make: [
        (make(n, c, *sizes), groups, make(c) if i % 3 else None, make(c) if i % 2 else None, 1e-5)
        for i, (n, c, groups, *sizes) in enumerate(((2, 6, 3), (3, 4, 2, 5), (2, 6, 1, 3, 5), (1, 3, 3, 7, 2),
                                                     (2, 4, 4, 2, 3, 3), (5, 34, 17, 33)))
    ],
    errors=lambda make: [
        ((make(3), 1), ValueError, r"group_norm: x must have 2 dimensions or more"),
        ((make(2, 6), 4), ValueError, "num_groups is 4 but must divide the 6 channels of x"),
        ((make(2, 6), 0), ValueError, "num_groups is 0"),
        ((make(2, 6), 3, make(3)), ValueError, r"weight has shape \(3,\) but x has 6 channels"),
        ((make(1, 6), 6), ValueError, "needs more than 1 value per group"),
    ],
    tolerance=64,
)  # fmt: skip
def group_norm(x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias with the statistics of groups of channels of each row (Wu and He
    2018, arXiv:1803.08494).

    Args:
        x: Floats (N, C, ...).
        num_groups: Divides C.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        eps: Added to the (biased) variance.

    Returns:
        A tensor of x's shape.

    Raises:
        ValueError: Shapes misfit, the groups do not divide C, or x is a single group of one value.
    """
    x = as_tensor(x, "group_norm")
    if math.prod(x.shape) == num_groups:
        raise ValueError(f"group_norm: needs more than 1 value per group, but x is {x.shape} in {num_groups} groups")
    try:
        return moments.group_norm(x, weight, bias, 1, 2, num_groups, True, float(eps))[0]
    except (TypeError, ValueError) as error:
        refused = error  # told below in this function's words
    shape = _checked("group_norm", x, 2, weight, bias)[1]
    groups = integer("group_norm", "num_groups", num_groups)
    if groups < 1 or shape[1] % groups:
        raise ValueError(f"group_norm: num_groups is {groups} but must divide the {shape[1]} channels of x ({shape})")
    raise refused


def _instance_norm_reference(
    x: Any, mean: Any = None, var: Any = None, weight: Any = None, bias: Any = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> np.ndarray:  # fmt: skip
    if not use_input_stats:
        return _batch_norm_reference(x, mean, var, weight, bias, False, momentum, eps)
    return _scaled(_standardized(x, tuple(range(2, x.ndim)), eps), weight, bias, x.dtype)


@composed(
    reference=_instance_norm_reference,
    samples=lambda make: [
        (make(3, 2, 5), None, None, make(2), make(2), True, 0.1, 1e-5),
        (make(2, 3, 4, 5), None, None, None, None, True, 0.1, 1e-2),
        (make(2, 3, 3, 2, 5), None, None, None, make(3), True, 0.1, 1e-5),
        (make(2, 3, 4, 5), make(3), make.positive(3), make(3), make(3), False, 0.1, 1e-5),
    ],
    errors=lambda make: [
        ((make(3, 2),), ValueError, "instance_norm: x must have 3 dimensions or more"),
        ((make(3, 2, 1),), ValueError, "needs more than 1 spatial element"),
        ((make(3, 2, 4), None, None, None, None, False), ValueError, "use_input_stats=False needs running_mean"),
        ((make(3, 2, 4), None, None, make(3)), ValueError, r"weight has shape \(3,\) but x has 2 channels"),
    ],
    tolerance=64,
)
def instance_norm(
    x: Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """(x - mean) / sqrt(var + eps) * weight + bias with the statistics of each channel of each row (Ulyanov et al. 2016,
    arXiv:1607.08022).

    Args:
        x: Floats (N, C, ...) with at least one spatial dimension.
        running_mean: (C,). Moved in place by ``momentum`` towards the mean over the rows' means, or used in their
            stead.
        running_var: (C,). The same for the unbiased variances.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        use_input_stats: Normalise by the statistics of x; else by the running ones.
        momentum: The share of the new statistics.
        eps: Added to the variance.

    Returns:
        A tensor of x's shape.

    Raises:
        ValueError: Shapes misfit, statistics are missing, or x has a single place. Nothing is changed then.
    """
    x, shape = _checked("instance_norm", x, 3, weight, bias, running_mean, running_var)
    _check_running("instance_norm", running_mean, running_var, not use_input_stats, "use_input_stats=False")
    if not use_input_stats:
        return moments.batch_norm_fixed(x, running_mean, running_var, weight, bias, float(eps))
    places = math.prod(shape[2:])
    if places == 1:
        raise ValueError(f"instance_norm: needs more than 1 spatial element, but x is {shape}")
    y, mean, var = moments.group_norm(x, weight, bias, 1, 2, max(shape[1], 1), True, float(eps))
    if running_mean is not None and 0 not in shape:
        rows = shape[:2]
        _update(running_mean, running_var, None, fold_mean(reshape(mean, rows), (0,), False),
                fold_mean(reshape(var, rows), (0,), False), momentum, places)  # fmt: skip
    return y


def _group_of_last(
    name: str, x: Any, normalized_shape: Any, weight: Any, bias: Any, centred: bool, eps: float | None
) -> Tensor:
    """x with each group of its last dimensions normalised.

    Raises:
        ValueError: The last dimensions of x are others than ``normalized_shape``, or those of weight or bias are.
    """
    x = as_tensor(x, name)
    shape, sizes = shape_of(normalized_shape), x.shape
    begin = len(sizes) - len(shape)
    if not shape:
        raise ValueError(f"{name}: normalized_shape must have at least one dimension, got {normalized_shape!r}")
    if begin < 0 or sizes[begin:] != shape:
        raise ValueError(f"{name}: normalized_shape is {shape} but x ends otherwise (x is {sizes})")
    if eps is None:
        eps = np.finfo(x.dtype if x.dtype.kind == "f" else np.float32).eps
    try:
        return moments.group_norm(x, weight, bias, begin, len(sizes), 1, centred, float(eps))[0]
    except (TypeError, ValueError) as error:
        refused = error
    for what, v in (("weight", weight), ("bias", bias)):
        if v is not None and v.shape != shape:
            raise ValueError(f"{name}: {what} has shape {v.shape} but normalized_shape is {shape}")
    raise refused


def shape_of(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape from a number or a sequence of numbers."""
    return integers("normalization", "normalized_shape", normalized_shape)


def _last(x: Any, shape: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim - len(shape), x.ndim))


def _layer_norm_reference(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> np.ndarray:
    y = _standardized(x, _last(x, shape), eps)
    y = y if weight is None else y * weight
    return np.asarray(y if bias is None else y + bias).astype(x.dtype)


@composed(
    reference=_layer_norm_reference,
    samples=lambda make: [
        (make(*lead, *shape), shape, make(*shape) if i % 3 else None, make(*shape) if i % 2 else None, 1e-5)
        for i, (lead, shape) in enumerate((((5,), (7,)), ((2, 3), (16,)), ((), (33,)), ((3,), (2, 5)), ((4, 2), (65,)),
                                           ((1,), (3, 2, 5))))
    ],
    errors=lambda make: [
        ((make(4, 3), (4,)), ValueError, r"layer_norm: normalized_shape is \(4,\) but x ends otherwise \(x is \(4, 3\)\)"),
        ((make(4, 3), ()), ValueError, "at least one dimension"),
        ((make(4, 3), (3,), make(4)), ValueError, r"weight has shape \(4,\) but normalized_shape is \(3,\)"),
        ((make(4, 3), (3,), make(3), make(1)), ValueError, r"bias has shape \(1,\)"),
    ],
    tolerance=64,
)  # fmt: skip
def layer_norm(
    x: Tensor, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias with the statistics of the last dimensions (Ba et al. 2016,
    arXiv:1607.06450).

    Args:
        x: Floats (\\*, *normalized_shape).
        normalized_shape: The sizes of the dimensions that are normalised.
        weight: (*normalized_shape), or None for 1.
        bias: (*normalized_shape), or None for 0.
        eps: Added to the (biased) variance.

    Returns:
        A tensor of x's shape.

    Raises:
        ValueError: Shapes misfit.
    """
    return _group_of_last("layer_norm", x, normalized_shape, weight, bias, True, eps)


def _rms_norm_reference(x: Any, shape: Any, weight: Any = None, eps: float | None = None) -> np.ndarray:
    y = _standardized(x, _last(x, shape), np.finfo(x.dtype).eps if eps is None else eps, False)
    return np.asarray(y if weight is None else y * weight).astype(x.dtype)


@composed(
    reference=_rms_norm_reference,
    samples=lambda make: [
        (make(5, 7), (7,), make(7), None),
        (make(2, 3, 16), (16,), None, 1e-5),
        (make(3, 2, 5), (2, 5), make(2, 5), 1e-3),
        (make(33), (33,), make(33), None),
    ],
    errors=lambda make: [
        ((make(4, 3), (4,)), ValueError, r"rms_norm: normalized_shape is \(4,\) but x ends otherwise"),
        ((make(4, 3), (3,), make(4)), ValueError, r"weight has shape \(4,\)"),
    ],
    tolerance=64,
)
def rms_norm(x: Tensor, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimensions (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
        x: Floats (\\*, *normalized_shape).
        normalized_shape: The sizes of the dimensions that are normalised.
        weight: (*normalized_shape), or None for 1.
        eps: Added to the mean square; None: the distance from 1 to the next number of x's type.

    Returns:
        A tensor of x's shape.

    Raises:
        ValueError: Shapes misfit.
    """
    return _group_of_last("rms_norm", x, normalized_shape, weight, None, False, eps)


def _local_response_reference(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> np.ndarray:
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1].astype(np.float64)
        y[:, c] = x[:, c] / (k + alpha / size * np.square(near).sum(1)) ** beta
    return y.astype(x.dtype)


@composed(
    reference=_local_response_reference,
    samples=lambda make: [
        (make(2, 5, 3), 3, 0.5, 0.75, 1.0),
        (make(2, 4, 3, 2), 2, 1e-4, 0.75, 1.0),
        (make(1, 7, 2, 1, 3), 5, 1.0, 1.5, 2.0),
        (make(0, 3, 2), 3, 1.0, 1.5, 2.0),
    ],
    errors=lambda make: [
        ((make(2, 3), 2), ValueError, "local_response_norm: x must have 3 dimensions or more"),
        ((make(2, 3, 4), 0), ValueError, "size is 0 but must be at least 1"),
    ],
    tolerance=16,
)
def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha / size * sum of x^2 over ``size`` neighbouring channels)^beta (Krizhevsky et al. 2012).

    Args:
        x: Floats (N, C, ...) with at least one spatial dimension.
        size: Channels in a sum, from ``size // 2`` before to ``(size - 1) // 2`` after; beyond the ends they are 0.
        alpha: Factor of the mean square.
        beta: Exponent.
        k: Added to the mean square.

    Returns:
        A tensor of x's shape.

    Raises:
        ValueError: x has fewer than 3 dimensions, or size is below 1.
    """
    x, shape = _checked("local_response_norm", x, 3)
    size = integer("local_response_norm", "size", size)
    if size < 1:
        raise ValueError(f"local_response_norm: size is {size} but must be at least 1")
    if math.prod(shape) == 0:
        return x
    square = reshape(x * x, (shape[0], 1, shape[1], math.prod(shape[2:])))
    mean = avg_pool2d(pad(square, (0, 0, size // 2, (size - 1) // 2)), (size, 1), 1)
    return x / (reshape(mean, shape) * alpha + k) ** beta
