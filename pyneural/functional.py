"""Functional forms, under the names, argument orders and defaults of ``torch.nn.functional``.

Differences from PyTorch, each on purpose:

- ``inplace=True`` is accepted, so that code ports, but a function always returns its result and leaves ``x`` alone.
- ``softmax`` and its relatives need ``dim``; PyTorch guesses it and warns.
- Losses refuse an input and a target of different shapes, where PyTorch's ``mse_loss`` broadcasts ``(n, 1)`` against
  ``(n,)`` into ``(n, n)`` with a warning.
- The long-deprecated ``size_average`` and ``reduce`` are gone; what follows the tensors is given by keyword.
"""

from __future__ import annotations

import math
from typing import Any

from . import ops
from ._arguments import probability
from ._losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from .ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    affine_grid,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    batch_norm,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    embedding,
    embedding_bag,
    fold,
    grid_sample,
    group_norm,
    instance_norm,
    interpolate,
    layer_norm,
    linear,
    local_response_norm,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    one_hot,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    rms_norm,
    scaled_dot_product_attention,
    unfold,
)
from .ops.randomness import drop
from .tensor import Tensor, zeros_like

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]

# The constants of SELU (Klambauer et al. 2017, "Self-Normalizing Neural Networks", arXiv:1706.02515): with them mean 0
# and variance 1 are a fixed point of the layer.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


# ---------------------------------------------------------------------------------------------------- activations


def relu(x: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
    return ops.relu(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return ops.leaky_relu(x, negative_slope)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x; ``weight`` has one entry, or one for each channel (dimension 1 of ``x``).

    Raises ValueError if ``weight`` fits neither.
    """
    count = weight.numel()
    if count != 1:
        channels = x.shape[1] if x.ndim > 1 else 1
        if count != channels:
            raise ValueError(
                f"prelu: weight has {count} entries but x has {channels} channels (x is {x.shape}); use 1 or {channels}"
            )
        weight = weight.reshape((1, count) + (1,) * (x.ndim - 2))
    return ops.where(x > 0, x, weight * x)


def rrelu(
    x: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU with a random slope per element, uniform in [lower, upper), in training; their mean otherwise."""
    if lower > upper:
        raise ValueError(f"rrelu: lower {lower} is above upper {upper}")
    if not training:
        return ops.leaky_relu(x, (lower + upper) / 2)
    slope = zeros_like(x).uniform_(lower, upper)
    return ops.where(x >= 0, x, slope * x)


def elu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return ops.elu(x, alpha)


def selu(x: Tensor, inplace: bool = False) -> Tensor:
    """scale * elu(x, alpha) with the two constants that keep mean 0 and variance 1 (arXiv:1706.02515)."""
    return _SELU_SCALE * ops.elu(x, _SELU_ALPHA)


def celu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0). Raises ValueError for alpha = 0."""
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    if alpha == 1:
        return ops.elu(x)
    # The clamp keeps the branch that is not taken from overflowing, which would make its gradient 0 * inf.
    below = ops.clamp(x, max=0.0) if alpha > 0 else x
    return ops.where(x > 0, x, alpha * ops.expm1(below / alpha))


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x) with the normal distribution function Phi, or its tanh form for ``approximate="tanh"``."""
    return ops.gelu(x, approximate)


def silu(x: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return ops.silu(x)


def mish(x: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))."""
    return x * ops.tanh(ops.softplus(x))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(x)


def logsigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow for large negative x."""
    return ops.logsigmoid(x)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""
    return ops.softplus(x, beta, threshold)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return ops.tanh(x)


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x cut to [min_val, max_val]; the derivative is 0 at both ends (``clamp`` has 1 there)."""
    return ops.elementwise.hardtanh(x, min_val, max_val)


def relu6(x: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6, a sigmoid of three straight pieces."""
    return relu6(x + 3.0) / 6.0


def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6."""
    return x * relu6(x + 3.0) / 6.0


def softsign(x: Tensor) -> Tensor:
    """x / (1 + abs(x))."""
    return x / (1.0 + ops.abs(x))


def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    return x - ops.tanh(x)


def hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """0 where abs(x) <= lambd, else x."""
    return ops.where(ops.abs(x) <= lambd, 0.0, x)


def softshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by ``lambd``, and 0 within it. Raises ValueError for a negative ``lambd``."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must be at least 0, got {lambd}")
    return x - ops.clamp(x, -lambd, lambd)


def threshold(x: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else ``value``."""
    return ops.where(x <= threshold, float(value), x)


def glu(x: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b) with the halves a and b of ``x`` along ``dim``. Raises ValueError if they do not exist."""
    if x.ndim == 0 or x.shape[dim] % 2:
        raise ValueError(f"glu: dimension {dim} of x must have even length, x is {x.shape}")
    a, b = ops.chunk(x, 2, dim)
    return a * ops.sigmoid(b)


def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along ``dim``, without overflow; computed in ``dtype`` if given."""
    return ops.softmax(x if dtype is None else x.to(dtype), dim)


def softmin(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """softmax(-x) along ``dim``."""
    return softmax(-x, dim, dtype)


def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along ``dim``, accurate where the softmax underflows."""
    return ops.log_softmax(x if dtype is None else x.to(dtype), dim)


# -------------------------------------------------------------------------------------------------------- dropout


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, sets each element to 0 with probability ``p`` and multiplies the others by 1 / (1 - p).

    The mask comes from the generator's counter, so a seed fixes it, for any number of threads. Raises ValueError if
    ``p`` is no probability.
    """
    probability("dropout", "p", p)
    return ops.dropout(x, p, training) if training and p > 0 else x


def _channel_dropout(op: str, x: Tensor, p: float, training: bool, spatial: int) -> Tensor:
    probability(op, "p", p)
    if x.ndim not in (spatial + 1, spatial + 2):
        raise ValueError(f"{op}: x must have {spatial + 1} or {spatial + 2} dimensions, x is {x.shape}")
    return drop(x, p, math.prod(x.shape[-spatial:])) if training and p > 0 else x


def dropout1d(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of ``x``, (N, C, L) or (C, L)."""
    return _channel_dropout("dropout1d", x, p, training, 1)


def dropout2d(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of ``x``, (N, C, H, W) or (C, H, W)."""
    return _channel_dropout("dropout2d", x, p, training, 2)


def dropout3d(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of ``x``, (N, C, D, H, W) or (C, D, H, W)."""
    return _channel_dropout("dropout3d", x, p, training, 3)


def _alpha_dropout(op: str, x: Tensor, p: float, training: bool, each: int) -> Tensor:
    """One decision for ``each`` neighbouring elements."""
    probability(op, "p", p)
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    low = -_SELU_ALPHA * _SELU_SCALE
    scale = ((1 - p) * (1 + p * low * low)) ** -0.5
    return drop(x, p, each, low=low, scale=scale, shift=-scale * p * low)


def alpha_dropout(x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for SELU networks: dropped elements take SELU's lower limit, an affine map restores mean and variance.

    Klambauer et al. 2017, arXiv:1706.02515. Raises ValueError if ``p`` is no probability.
    """
    return _alpha_dropout("alpha_dropout", x, p, training, 1)


def feature_alpha_dropout(x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """:func:`alpha_dropout` of whole channels of ``x``, (N, C, ...).

    Raises ValueError if ``p`` is no probability or ``x`` has no channels.
    """
    if x.ndim < 2:
        raise ValueError(f"feature_alpha_dropout: x must have at least 2 dimensions (batch, channels), x is {x.shape}")
    return _alpha_dropout("feature_alpha_dropout", x, p, training, math.prod(x.shape[2:]))


# ------------------------------------------------------------------------------------------- distances and products


def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x1^T weight_o x2 + bias_o for x1 (*, m), x2 (*, n), weight (o, m, n); ValueError for other shapes."""
    if weight.ndim != 3 or x1.shape[-1] != weight.shape[1] or x2.shape[-1] != weight.shape[2]:
        raise ValueError(
            f"bilinear: x1 {x1.shape} and x2 {x2.shape} do not fit weight {weight.shape}, which is (out, in1, in2)"
        )
    if x1.shape[:-1] != x2.shape[:-1]:
        raise ValueError(f"bilinear: x1 {x1.shape} and x2 {x2.shape} differ before the last dimension")
    # (*, 1, 1, m) (o, m, n) -> (*, o, 1, n), then a dot product with x2 along n.
    left = ops.matmul(x1.reshape((*x1.shape[:-1], 1, 1, x1.shape[-1])), weight)
    y = (left.squeeze(-2) * x2.unsqueeze(-2)).sum(-1)
    return y if bias is None else y + bias


def normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(norm of x along ``dim``, eps)."""
    return x / ops.clamp(ops.norm(x, p, dim, True), min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(norm(x1), eps) * max(norm(x2), eps)) along ``dim``."""
    n1 = ops.clamp(ops.norm(x1, 2, dim, True), min=eps)
    n2 = ops.clamp(ops.norm(x2, 2, dim, True), min=eps)
    return (x1 / n1 * (x2 / n2)).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dimension."""
    return ops.norm(x1 - x2 + eps, p, -1, keepdim)
