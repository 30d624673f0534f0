"""The losses; ``pyneural.functional`` is where they are found.

Every loss takes ``reduction``: ``"mean"``, ``"sum"`` or ``"none"``. A real-valued target of another dtype is converted
to the input's, so that a float64 label array does not turn a float32 network into a float64 one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _engine, ops
from .ops import losses
from .tensor import Tensor, arange, as_tensor, full_like

_REDUCTIONS = ("mean", "sum", "none")


def _check_reduction(op: str, reduction: str, allowed: tuple[str, ...] = _REDUCTIONS) -> None:
    if reduction not in allowed:
        raise ValueError(f"{op}: reduction must be one of {', '.join(allowed)}; got {reduction!r}")


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def _as(x: Any, like: Tensor) -> Tensor:
    t = x if isinstance(x, Tensor) else as_tensor(x)
    return t if t.dtype == like.dtype else t.to(like.dtype)


def _pair(op: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    x = input if isinstance(input, Tensor) else as_tensor(input)
    t = _as(target, x)
    if x.shape != t.shape:
        raise ValueError(f"{op}: input is {x.shape} but target is {t.shape}; reshape one, they are not broadcast")
    return x, t


def _weighted(loss: Tensor, weight: Any) -> Tensor:
    return loss if weight is None else loss * _as(weight, loss)


# ----------------------------------------------------------------------------------------------------- regression


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Any = None) -> Tensor:
    """(input - target)^2, averaged; with ``weight`` the mean is weighted: sum(w d^2) / sum(w). Same shapes required."""
    _check_reduction("mse_loss", reduction)
    x, t = _pair("mse_loss", input, target)
    return _weighted_mean(ops.square(x - t), weight, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Any = None) -> Tensor:
    """abs(input - target), whose derivative at 0 is 0; ``weight`` as in :func:`mse_loss`. Same shapes required."""
    _check_reduction("l1_loss", reduction)
    x, t = _pair("l1_loss", input, target)
    return _weighted_mean(ops.abs(x - t), weight, reduction)


def _weighted_mean(loss: Tensor, weight: Any, reduction: str) -> Tensor:
    if weight is None:
        return _reduce(loss, reduction)
    w = ops.expand(_as(weight, loss), loss.shape)
    return (loss * w).sum() / w.sum() if reduction == "mean" else _reduce(loss * w, reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where abs(d) < beta, else abs(d) - beta / 2. Raises ValueError for a negative ``beta``."""
    _check_reduction("smooth_l1_loss", reduction)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    x, t = _pair("smooth_l1_loss", input, target)
    d = ops.abs(x - t)
    loss = d if beta == 0 else ops.where(d < beta, ops.square(d) * (0.5 / beta), d - 0.5 * beta)
    return _reduce(loss, reduction)


def huber_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Tensor:
    """d^2 / 2 where abs(d) <= delta, else delta (abs(d) - delta / 2). Raises ValueError unless ``delta`` > 0."""
    _check_reduction("huber_loss", reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")
    x, t = _pair("huber_loss", input, target)
    d = ops.abs(x - t)
    loss = ops.where(d <= delta, ops.square(d) * 0.5, (d - 0.5 * delta) * delta)
    # PyTorch divides this weighted mean by the number of elements, unlike that of mse_loss.
    return _reduce(loss if weight is None else loss * ops.expand(_as(weight, x), x.shape), reduction)


# ---------------------------------------------------------------------------------------------- binary cross-entropy


def _floored_log(x: Tensor) -> Tensor:
    # max(log x, -100), with gradient 0 where the floor is reached; a plain clamp would give 0 / 0 at x = 0. The
    # comparison is written so that NaN and what lies outside [0, 1] stay visible as NaN.
    zero = x == 0
    return ops.where(zero, -100.0, ops.log(ops.where(zero, 1.0, x)))


def _floored_log1m(x: Tensor) -> Tensor:
    one = x == 1
    return ops.where(one, -100.0, ops.log1p(-ops.where(one, 0.0, x)))


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) for probabilities ``input`` in [0, 1]; a logarithm of 0 counts as -100.

    Same shapes required. NaN for an input outside [0, 1]. At exactly 0 and 1 the derivative is 0. Prefer
    :func:`binary_cross_entropy_with_logits`, which loses nothing to rounding.
    """
    _check_reduction("binary_cross_entropy", reduction)
    x, t = _pair("binary_cross_entropy", input, target)
    loss = -(t * _floored_log(x) + (1.0 - t) * _floored_log1m(x))
    return _reduce(_weighted(loss, weight), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), finite and exact in its gradient for inputs of any size.

    ``pos_weight`` multiplies the loss of positive targets and is broadcast, as ``weight`` is. Same shapes required.
    """
    _check_reduction("binary_cross_entropy_with_logits", reduction)
    x, t = _pair("binary_cross_entropy_with_logits", input, target)
    softly = ops.logsigmoid(x)
    if pos_weight is not None:
        softly = softly * ((_as(pos_weight, x) - 1.0) * t + 1.0)
    return _reduce(_weighted((1.0 - t) * x - softly, weight), reduction)


# ------------------------------------------------------------------------------------------------------------ classes


def _class_shapes(op: str, x: Tensor, target: Tensor) -> int:
    """Checks input (C), (N, C) or (N, C, ...) against class numbers () or (N) or (N, ...); returns the class dim."""
    if x.ndim == 0:
        raise ValueError(f"{op}: input must be (C), (N, C) or (N, C, ...), got a scalar")
    dim = 0 if x.ndim == 1 else 1
    expected = x.shape[:dim] + x.shape[dim + 1 :]
    if target.shape != expected:
        raise ValueError(
            f"{op}: input is {x.shape}, so a target of class numbers must be {expected}, got {target.shape}"
            + (
                "; for class probabilities give a target of the input's shape and a float dtype"
                if x.shape == target.shape
                else ""
            )
        )
    return dim


def _class_weight(op: str, weight: Any, classes: int, like: Tensor) -> Tensor | None:
    if weight is None:
        return None
    w = _as(weight, like)
    if w.shape != (classes,):
        raise ValueError(f"{op}: weight must have one entry per class, ({classes},), got {w.shape}")
    return w


def _checked(op: str, target: Tensor, classes: int, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """The class numbers with 0 for those to ignore, and the mask of those that count.

    Raises IndexError if one is neither ``ignore_index`` nor in [0, classes).
    """
    try:
        checked: tuple[Tensor, Tensor] = losses._class_numbers(target, classes, ignore_index)
    except IndexError as e:
        raise IndexError(str(e).replace("class_numbers", op, 1)) from None
    return checked


def _by_rows(primitive: Any, op: str, x: Tensor, target: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """Calls a primitive that takes rows of classes (N, C); other shapes are brought to that one."""
    if x.dtype.kind != "f":
        x = x.to(np.float32)
    code = losses.REDUCTIONS[reduction]
    if x.ndim == 2 and target.ndim == 1:
        loss: Tensor = primitive(x, target, ignore_index, code)  # it checks the sizes
        return loss
    dim = _class_shapes(op, x, target)
    classes = x.shape[dim]
    _checked(op, target, classes, ignore_index)  # here, where a message can say the place in the target's own shape
    rows = ops.movedim(x, dim, -1).reshape(target.numel(), classes)
    loss = primitive(rows, target.reshape(target.numel()), ignore_index, code)
    return loss.reshape(target.shape) if reduction == "none" else loss


def _pick(logp: Tensor, target: Tensor, counts: Tensor, dim: int, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """-logp at each class times its weight, 0 for what does not count, and the weight of each element."""
    picked = -ops.gather(logp, dim, target.unsqueeze(dim)).squeeze(dim)
    w = counts.to(logp.dtype)
    if weight is not None:
        w = weight[target] * w
    # where, not a product: an ignored element may hold -inf, and 0 * inf is NaN.
    return ops.where(counts, picked * w, 0.0), w


def nll_loss(
    input: Tensor, target: Tensor, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-input at the target class, for log-probabilities ``input`` (N, C, ...) and class numbers (N, ...).

    The mean is weighted: sum(w_n l_n) / sum(w_n). Elements whose target is ``ignore_index`` do not count. Raises
    IndexError for a class number outside [0, C), ValueError for misfitting shapes.
    """
    op = "nll_loss"
    _check_reduction(op, reduction)
    x = input if isinstance(input, Tensor) else as_tensor(input)
    target = _class_numbers(op, target)
    if weight is None:
        return _by_rows(losses._nll_loss, op, x, target, ignore_index, reduction)
    dim = _class_shapes(op, x, target)
    w = _class_weight(op, weight, x.shape[dim], x)
    loss, element = _pick(x, *_checked(op, target, x.shape[dim], ignore_index), dim, w)
    return loss.sum() / element.sum() if reduction == "mean" else _reduce(loss, reduction)


def _class_numbers(op: str, target: Any) -> Tensor:
    t = target if isinstance(target, Tensor) else as_tensor(target)
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"{op}: class numbers must be integers, target has dtype {t.dtype}; convert it with .to(np.int64)"
        )
    return t if t.dtype == np.int64 else t.to(np.int64)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of softmax(input) along the class dimension.

    ``input`` holds logits, (C), (N, C) or (N, C, ...). ``target`` holds class numbers of shape (), (N) or (N, ...), or
    class probabilities of the input's shape and a float dtype. ``weight`` (C) rescales the classes; for class numbers
    the mean is then sum(w_n l_n) / sum(w_n). Elements whose target is ``ignore_index`` do not count.
    ``label_smoothing`` e mixes the target with the uniform distribution: (1 - e) t + e / C.

    Raises IndexError for a class number outside [0, C), ValueError for misfitting shapes or a smoothing outside [0, 1].
    """
    op = "cross_entropy"
    _check_reduction(op, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{op}: label_smoothing must lie between 0 and 1, got {label_smoothing}")
    x = input if isinstance(input, Tensor) else as_tensor(input)
    t = target if isinstance(target, Tensor) else as_tensor(target)
    if t.dtype.kind == "f":
        return _soft_cross_entropy(x, t, weight, reduction, label_smoothing)
    t = _class_numbers(op, t)
    if weight is None and label_smoothing == 0:
        return _by_rows(losses._cross_entropy, op, x, t, ignore_index, reduction)
    dim = _class_shapes(op, x, t)
    classes = x.shape[dim]
    w = _class_weight(op, weight, classes, x)
    t, counts = _checked(op, t, classes, ignore_index)
    logp = ops.log_softmax(x, dim)
    loss, element = _pick(logp, t, counts, dim, w)
    if label_smoothing > 0:
        spread = -logp if w is None else -logp * w.reshape((classes,) + (1,) * (x.ndim - dim - 1))
        smooth = ops.where(counts, spread.sum(dim), 0.0)
        loss = (1.0 - label_smoothing) * loss + (label_smoothing / classes) * smooth
    return loss.sum() / element.sum() if reduction == "mean" else _reduce(loss, reduction)


def _soft_cross_entropy(x: Tensor, t: Tensor, weight: Any, reduction: str, smoothing: float) -> Tensor:
    op = "cross_entropy"
    if x.ndim == 0 or x.shape != t.shape:
        raise ValueError(
            f"{op}: class probabilities (a float target) must have the input's shape {x.shape}, got {t.shape}"
            "; class numbers must be integers"
        )
    dim = 0 if x.ndim == 1 else 1
    classes = x.shape[dim]
    t = _as(t, x)
    if smoothing > 0:
        t = t * (1.0 - smoothing) + smoothing / classes
    logp = ops.log_softmax(x, dim)
    w = _class_weight(op, weight, classes, x)
    if w is not None:
        logp = logp * w.reshape((classes,) + (1,) * (x.ndim - dim - 1))
    return _reduce(-(logp * t).sum(dim), reduction)


def multi_margin_loss(
    input: Tensor, target: Tensor, *, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """sum over j != y of max(0, margin - x_y + x_j)^p / C, input (N, C) or (C), classes (N) or (), p 1 or 2."""
    op = "multi_margin_loss"
    _check_reduction(op, reduction)
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p}")
    if input.ndim not in (1, 2):
        raise ValueError(f"{op}: input must be (N, C) or (C), got {input.shape}")
    target = _class_numbers(op, target)
    dim = _class_shapes(op, input, target)
    classes = input.shape[dim]
    target, _ = _checked(op, target, classes, None)
    w = _class_weight(op, weight, classes, input)
    own = ops.gather(input, dim, target.unsqueeze(dim))
    short = ops.relu(margin - own + input)
    loss = short if p == 1 else ops.square(short)
    if w is not None:
        loss = loss * w[target].unsqueeze(dim)
    others = arange(classes) != target.unsqueeze(dim)
    return _reduce(ops.where(others, loss, 0.0).sum(dim) / classes, reduction)


# ------------------------------------------------------------------------------------------------------ distributions


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - input) for log-probabilities ``input``; ``target`` holds probabilities or their logarithms.

    ``reduction="batchmean"`` divides the sum by the batch size, which is the divergence itself; ``"mean"`` divides by
    the number of elements, as PyTorch does. Where t is 0 the term is 0. Same shapes required.
    """
    _check_reduction("kl_div", reduction, (*_REDUCTIONS, "batchmean"))
    x, t = _pair("kl_div", input, target)
    if log_target:
        loss = ops.exp(t) * (t - x)
    else:
        zero = t == 0
        loss = t * ops.log(ops.where(zero, 1.0, t)) - t * x
    if reduction == "batchmean":
        return loss.sum() / (x.shape[0] if x.ndim else 1)
    return _reduce(loss, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - t x, or x - t log(x + eps) if not ``log_input``; ``full`` adds Stirling's log t! for t > 1."""
    _check_reduction("poisson_nll_loss", reduction)
    x, t = _pair("poisson_nll_loss", input, target)
    loss = ops.exp(x) - t * x if log_input else x - t * ops.log(x + eps)
    if full:
        safe = ops.where(t > 1, t, 1.0)
        stirling = safe * ops.log(safe) - safe + 0.5 * ops.log(2 * math.pi * safe)
        loss = loss + ops.where(t > 1, stirling, 0.0)
    return _reduce(loss, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log v + (input - target)^2 / v) / 2 with v = max(var, eps); ``full`` adds log(2 pi) / 2.

    ``var`` has the input's shape, or lacks its last dimension, or has length 1 there, or is a number. As in PyTorch the
    gradient ignores the floor. Raises ValueError for other shapes or a negative variance.
    """
    op = "gaussian_nll_loss"
    _check_reduction(op, reduction)
    x, t = _pair(op, input, target)
    v = _as(var, x)
    if v.ndim and v.shape != x.shape:
        if v.shape == x.shape[:-1]:
            v = v.unsqueeze(-1)
        elif v.shape != (*x.shape[:-1], 1):
            raise ValueError(
                f"{op}: var {v.shape} does not fit input {x.shape}; "
                f"give {x.shape}, {x.shape[:-1]} or {(*x.shape[:-1], 1)}"
            )
    # A step that is being captured must not read values in Python; its replays go without this check.
    if _engine.capturing() is None and np.any(np.asarray(v.detach()) < 0):
        raise ValueError(f"{op}: var has a negative entry; variances are at least 0")
    held = v.detach()
    v = v + (ops.maximum(held, full_like(held, eps)) - held)
    loss = 0.5 * (ops.log(v) + ops.square(x - t) / v)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(loss, reduction)


# ------------------------------------------------------------------------------------------------ margins, embeddings


def hinge_embedding_loss(input: Tensor, target: Tensor, *, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    _check_reduction("hinge_embedding_loss", reduction)
    x, t = _pair("hinge_embedding_loss", input, target)
    loss = ops.where(t != 1, ops.relu(margin - x), 0.0) + ops.where(t != -1, x, 0.0)
    return _reduce(loss, reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Any, *, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos(a, b) where the target is 1, max(0, cos(a, b) - margin) where it is -1; inputs (N, D) or (D)."""
    op = "cosine_embedding_loss"
    _check_reduction(op, reduction)
    t = _as(target, input1)
    if input1.shape != input2.shape or input1.ndim not in (1, 2) or t.shape != input1.shape[:-1]:
        raise ValueError(
            f"{op}: inputs must be (N, D) with a target (N), or (D) with (); "
            f"got {input1.shape}, {input2.shape} and {t.shape}"
        )
    # PyTorch's form: the small number keeps the derivative finite at the zero vector.
    tiny = 1e-12
    dot = (input1 * input2).sum(-1)
    size1 = ops.square(input1).sum(-1) + tiny
    size2 = ops.square(input2).sum(-1) + tiny
    cosine = dot / ops.sqrt(size1 * size2)
    loss = ops.where(t == 1, 1.0 - cosine, 0.0) + ops.where(t == -1, ops.relu(cosine - margin), 0.0)
    return _reduce(loss, reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Any, *, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, -t (x1 - x2) + margin): x1 should rank above x2 where the target is 1, below where it is -1."""
    _check_reduction("margin_ranking_loss", reduction)
    x1, x2 = _pair("margin_ranking_loss", input1, input2)
    _, t = _pair("margin_ranking_loss", x1, target)
    return _reduce(ops.relu(margin - t * (x1 - x2)), reduction)


def soft_margin_loss(input: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-t x)) for targets 1 and -1, without overflow."""
    _check_reduction("soft_margin_loss", reduction)
    x, t = _pair("soft_margin_loss", input, target)
    return _reduce(-ops.logsigmoid(t * x), reduction)


def multilabel_soft_margin_loss(input: Tensor, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy with logits, averaged over the last dimension, for targets 0 and 1 of the input's shape."""
    _check_reduction("multilabel_soft_margin_loss", reduction)
    x, t = _pair("multilabel_soft_margin_loss", input, target)
    loss = (1.0 - t) * x - ops.logsigmoid(x)
    return _reduce(_weighted(loss, weight).mean(-1), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin) with the p-norm; ``swap`` takes min(d(a, n), d(p, n)) for d(a, n)."""

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return ops.norm(a - b + eps, p, -1, False)

    return _triplet("triplet_margin_loss", anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with a distance of one's own (default: the 2-norm distance)."""
    if distance_function is None:
        return triplet_margin_loss(anchor, positive, negative, margin=margin, swap=swap, reduction=reduction)
    op = "triplet_margin_with_distance_loss"
    return _triplet(op, anchor, positive, negative, distance_function, margin, swap, reduction)


def _triplet(
    op: str,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    _check_reduction(op, reduction)
    if margin <= 0:
        raise ValueError(f"{op}: margin must be above 0, got {margin}")
    if not anchor.shape == positive.shape == negative.shape:
        raise ValueError(
            f"{op}: the three inputs must have one shape, got {anchor.shape}, {positive.shape} and {negative.shape}"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return _reduce(ops.relu(near - far + margin), reduction)
