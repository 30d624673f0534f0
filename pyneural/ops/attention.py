"""Scaled dot-product attention: softmax(scale q k^T + mask) v, without the matrix of scores.

The kernels go tile by tile (``csrc/kernels/cpu/attention.inl``), so memory grows with the length of the sequences and
not with its square; the gradient makes the scores anew from the logarithms of their sums. Second derivatives, and the
gradient of a mask of numbers, are made of matrices that are whole.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _engine
from .elementwise import exp, to, where
from .folds import fold_sum, sum_to
from .linalg import _transposed, matmul
from .randomness import GROUP, draws, dropped
from .record import op
from .shape import expand, flatten, movedim, reshape, take_slice, unflatten, unsqueeze

__all__ = ["scaled_dot_product_attention"]
METHODS: tuple[str, ...] = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

#: Queries whose weights are drawn together: query i and key j have word i % 64 of group (i // 64) * keys + j.
_TILE = 4 * GROUP


# ---- references ----


def _moved(x: np.ndarray, dim: int) -> np.ndarray:
    return np.moveaxis(x, dim, -2)


def _scores(
    query: np.ndarray, key: np.ndarray, mask: np.ndarray | None, dim: int, causal: bool, scale: float
) -> np.ndarray:
    s = _moved(query, dim) @ _moved(key, dim).swapaxes(-1, -2) * query.dtype.type(scale)
    if mask is not None:
        s = s + (np.where(mask, s.dtype.type(0), s.dtype.type(-np.inf)) if mask.dtype == bool else mask)
    return np.where(np.tri(*s.shape[-2:]) > 0, s, s.dtype.type(-np.inf)) if causal else s


def _factors(stream: np.ndarray | None, p: float, scores: np.ndarray) -> np.ndarray:
    """What the weights are multiplied by: 0 for a dropped one, else 1 / (1 - p)."""
    if p == 0 or stream is None:
        return np.ones_like(scores)
    *batch, queries, keys = scores.shape
    tiles = -(-queries // _TILE)
    word = draws(stream, math.prod(batch) * tiles * keys * _TILE).reshape(*batch, tiles, keys, _TILE)
    word = word.swapaxes(-1, -2).reshape(*batch, tiles * _TILE, keys)[..., :queries, :]
    kept = word >= min(np.rint(p * 2.0**32), 2.0**32 - 1)
    return (kept / (1 - p) if p < 1 else np.zeros_like(scores)).astype(scores.dtype)


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(x == -np.inf, x.dtype.type(0), x)


def _attention_reference(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray | None, stream: np.ndarray | None,
    dim: int, causal: bool, p: float, scale: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    s = _scores(query, key, mask, dim, causal, scale)
    top = _finite(s.max(-1, keepdims=True, initial=-np.inf))
    weight = np.exp(s - top)
    total = weight.sum(-1, keepdims=True)
    weight = weight / np.where(total == 0, total.dtype.type(1), total) * _factors(stream, p, s)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + top)[..., 0]
    return np.moveaxis(weight @ _moved(value, dim), -2, dim), np.moveaxis(lse, -1, dim)


def _backward_reference(
    dy: np.ndarray, lse: np.ndarray, delta: np.ndarray, query: np.ndarray, key: np.ndarray, value: np.ndarray,
    mask: np.ndarray | None, stream: np.ndarray | None, dim: int, causal: bool, p: float, scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    s = _scores(query, key, mask, dim, causal, scale)
    factor = _factors(stream, p, s)
    lse, delta = (np.moveaxis(x, dim, -1)[..., None] for x in (_finite(lse), delta))
    weight, dy, value = np.exp(s - lse), _moved(dy, dim), _moved(value, dim)
    ds = weight * (factor * (dy @ value.swapaxes(-1, -2)) - delta) * s.dtype.type(scale)
    gradients = ds @ _moved(key, dim), ds.swapaxes(-1, -2) @ _moved(query, dim), (weight * factor).swapaxes(-1, -2) @ dy
    return tuple(np.moveaxis(g, -2, dim) for g in gradients)


# ---- the same in ops, for what the kernels do not give ----


def _matrix(x: Tensor, dim: int) -> Tensor:
    return movedim(x, dim, -2)


def _column(x: Tensor, dim: int) -> Tensor:
    return movedim(x, dim, -1).unsqueeze(-1)


def _weights(query: Tensor, key: Tensor, lse: Tensor, mask: Tensor, dim: int, causal: bool, scale: float) -> Tensor:
    """exp(scores - lse)."""
    s = matmul(_matrix(query, dim), _transposed(_matrix(key, dim))) * scale
    if mask is not None:
        s = where(mask, s, -math.inf) if mask.dtype == bool else s + mask
    if causal:
        s = where(as_tensor(np.tri(*s.shape[-2:]) > 0), s, -math.inf)
    return exp(s - _column(where(lse == -math.inf, 0.0, lse), dim))


def _dropped(weights: Tensor, stream: Tensor, p: float) -> Tensor:
    """Weights with what is dropped at 0 and the rest times 1 / (1 - p)."""
    if p == 0:
        return weights
    *batch, queries, keys = weights.shape
    tiles = -(-queries // _TILE)
    factor = dropped(as_tensor(np.ones((*batch, tiles, keys, _TILE), weights.dtype)), stream, p)
    factor = reshape(_transposed(factor), (*batch, tiles * _TILE, keys))
    return weights * take_slice(factor, len(batch), 0, queries)


def _delta(g0: Tensor, y0: Tensor, g1: Tensor | None) -> Tensor:
    # What the sum of a query's weights, which is fixed, takes from the gradient of each of its scores.
    delta = fold_sum(g0 * y0, (-1,), False)
    return delta if g1 is None else delta - g1


def _gradients(
    g0: Tensor, y0: Tensor, y1: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, stream: Tensor,
    dim: int, causal: bool, p: float, scale: float, g1: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return _backward(g0, y1, _delta(g0, y0, g1), query, key, value, mask, stream, dim, causal, p, scale)


def _mask_gradient(
    g0: Tensor, y0: Tensor, y1: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, stream: Tensor,
    dim: int, causal: bool, p: float, scale: float, g1: Tensor | None = None,
) -> Tensor:  # fmt: skip
    weights = _weights(query, key, y1, mask, dim, causal, scale)
    d = _dropped(matmul(_matrix(g0, dim), _transposed(_matrix(value, dim))), stream, p)
    return sum_to(weights * (d - _column(_delta(g0, y0, g1), dim)), mask.shape)


def _second_gradients(
    g0: Tensor, g1: Tensor, g2: Tensor, y0: Tensor, y1: Tensor, y2: Tensor, dy: Tensor, lse: Tensor, delta: Tensor,
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, stream: Tensor, dim: int, causal: bool, p: float,
    scale: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The adjoint of ``attention_backward``: of <g0, dq> + <g1, dk> + <g2, dv>.

    With W = exp(scores - lse) and the factors M, that is <W (M (dy v^T) - delta), A> + <W, M (dy g2^T)> for
    A = scale (g0 k^T + q g1^T). The outputs y0 to y2 are named so that they are kept: they say the shape of a g that
    nothing sent.
    """
    q, k, v, d, h0, h1, h2 = (_matrix(x, dim) for x in (query, key, value, dy, g0, g1, g2))
    w = _weights(query, key, lse, mask, dim, causal, scale)
    a = (matmul(h0, _transposed(k)) + matmul(q, _transposed(h1))) * scale
    x = _dropped(matmul(d, _transposed(v)), stream, p) - _column(delta, dim)
    wa, wx = w * a, w * x
    z = wa * x + w * _dropped(matmul(d, _transposed(h2)), stream, p)  # for the scores
    turned = _transposed(wx), _transposed(_dropped(wa, stream, p)), _transposed(z)
    of_dy = matmul(_dropped(wa, stream, p), v) + matmul(_dropped(w, stream, p), h2)
    of_query = (matmul(wx, h1) + matmul(z, k)) * scale
    of_key = (matmul(turned[0], h0) + matmul(turned[2], q)) * scale
    of_value = matmul(turned[1], d)
    of_rows = (movedim(-fold_sum(r, (-1,), False), -1, dim) for r in (z, wa))
    of_mask = None if mask is None or mask.dtype == bool else sum_to(z, mask.shape)
    return (movedim(of_dy, -2, dim), *of_rows, *(movedim(x, -2, dim) for x in (of_query, of_key, of_value)), of_mask)


# ---- records ----


def _attention_samples(make: Any) -> list[tuple]:
    """(query, key, value, mask, stream, dim, causal, p, scale)"""
    stream = np.array([7, 32])

    def qkv(batch: tuple, queries: int, keys: int, width: int, values: int, dim: int = -2) -> tuple:
        shapes = ((queries, width), (keys, width), (keys, values))
        dim = len(batch) + 2 + dim
        return *[np.ascontiguousarray(np.moveaxis(make(*batch, *s), -2, dim)) for s in shapes], dim

    def case(sizes: tuple, mask: Any = None, causal: bool = False, p: float = 0.0, scale: float = 0.5) -> tuple:
        q, k, v, dim = qkv(*sizes)
        return q, k, v, mask, stream if p else None, dim, causal, p, scale

    hidden = make.bools(3, 7) | (np.arange(7) == 2)
    blind = make(65, 130)
    blind[[3, 64]] = -np.inf  # queries that see nothing, whose logarithm -inf has no differences: in a large sample
    added = make(2, 1, 5)
    added[:, :, 1] = -np.inf
    return [
        case(((), 3, 4, 5, 6)),
        case(((2,), 3, 7, 4, 2), hidden),
        case(((2, 3), 4, 5, 3, 3), added[:, None]),
        case(((2,), 5, 4, 3, 2, -3), None, True, 0.0, -0.7),
        case(((2, 2), 4, 6, 3, 2, -3), make(2, 1, 4, 6), False, 0.3),
        case(((), 3, 3, 2, 2), make.bools(3, 3), True, 0.5),
        case(((), 2, 3, 2, 2), None, False, 1.0),
        case(((2,), 0, 4, 3, 3)),
        case(((0,), 3, 2, 3, 3)),
        case(((3,), 64, 64, 16, 16), None, False, 0.1, 0.25),
        case(((2,), 65, 130, 17, 9), blind, False, 0.2, 0.25),
        case(((1,), 130, 67, 33, 64), make.bools(1, 67), True, 0.0, 0.2),
        case(((1, 2), 70, 700, 8, 24, -3), make(130)[:70, None], False, 0.1, 0.3),
        case(((), 300, 520, 16, 16), None, True, 0.0, 0.25),
    ]  # fmt: skip


def _backward_samples(make: Any) -> list[tuple]:
    samples = []
    for sample in _attention_samples(make):
        y, lse = _attention_reference(*sample)
        samples.append((make(*y.shape), lse, make(*lse.shape), *sample))
    return samples


def _attention_errors(make: Any) -> list[tuple]:
    q, k, v = make(2, 3, 4), make(2, 5, 4), make(2, 5, 6)
    rest = (None, None, 1, False, 0.0, 1.0)
    return [
        ((q, make(2, 5, 3), v, *rest), ValueError, r"query is \(2, 3, 4\), key \(2, 5, 3\).* one last size"),
        ((q, k, make(2, 4, 6), *rest), ValueError, "key and value must agree in dimension 1"),
        ((q, make(3, 5, 4), v, *rest), ValueError, "all three must agree in dimension 0"),
        ((q, k[0], v, *rest), ValueError, "as many dimensions each"),
        ((q, k, v, make(4, 5), *rest[1:]), ValueError, r"mask is \(4, 5\) but must broadcast to the scores, \(2, 3, 5\)"),
        ((q, k, v, np.zeros((3, 5), np.int64), *rest[1:]), TypeError, "mask is int64 but must be bool"),
        ((q, k.astype(np.float32), v, *rest), TypeError, "one dtype"),
        ((np.zeros((2, 3, 4), np.int64), k, v, *rest), TypeError, "query is int64"),
        ((q, k, v, None, None, 2, False, 0.0, 1.0), IndexError, "dim 2 is out of range"),
        ((q, k, v, None, None, 1, False, 1.5, 1.0), ValueError, "p is 1.5"),
        ((q, k, v, None, None, 1, False, 0.5, 1.0), ValueError, "no stream"),
        ((q, k, v, None, np.zeros(3, np.int64), 1, False, 0.5, 1.0), TypeError, "key must be int64"),
    ]  # fmt: skip


def _backward_errors(make: Any) -> list[tuple]:
    q, k, v, rest = make(2, 3, 4), make(2, 5, 4), make(2, 5, 6), (None, None, 1, False, 0.0, 1.0)
    rows = make(2, 3)
    return [
        ((make(2, 3, 5), rows, rows, q, k, v, *rest), ValueError, r"shape \(2, 3, 6\), so its gradient is, too"),
        (
            (make(2, 3, 6), rows, make(2), q, k, v, *rest),
            ValueError,
            r"lse and delta must be float64 of shape \(2, 3\)",
        ),
        ((make(2, 3, 6), rows, rows, q, k, make(2, 4, 6), *rest), ValueError, "must agree in dimension 1"),
    ]


_SCORES = r"\alpha q k^T + \mathrm{mask}"

#: ``attention(query, key, value, mask?, stream?, dim, causal, p, scale)``: y, and the logsumexp of each query's scores.
#: The sequence lies along ``dim``; every other dimension but the last is a batch. Dropped weights are drawn from
#: ``stream``, anew in the gradient.
_attention: Any = op(
    "attention",
    "query key value mask? stream?",
    attributes="dim causal p scale",
    reference=_attention_reference,
    gradient={"query key value": _gradients, "mask": _mask_gradient},
    formula={
        "query": r"\alpha\,(P\,(g v^T - \delta))\,k,\ P = \mathrm{softmax}(" + _SCORES + r"),\ \delta = \sum g\,y",
        "key": r"\alpha\,(P\,(g v^T - \delta))^T q",
        "value": r"P^T g",
        "mask": r"P\,(g v^T - \delta)",
    },
    samples=_attention_samples,
    errors=_attention_errors,
    tolerance=64,
)

#: ``attention_backward(dy, lse, delta, query, key, value, ...)``: dq, dk and dv, with ``delta`` = sum(dy y) less the
#: gradient of lse.
_backward: Any = op(
    "attention_backward",
    "dy lse delta query key value mask? stream?",
    attributes="dim causal p scale",
    reference=_backward_reference,
    gradient={"dy lse delta query key value mask": _second_gradients},
    formula={
        "dy": r"(P A)\,v + P g2,\ A = \alpha\,(g0\,k^T + q\,g1^T),\ P = e^{" + _SCORES + r" - \mathrm{lse}}",
        "lse": r"-\sum Z,\ Z = P\,(A\,(dy\,v^T - \delta) + dy\,g2^T)",
        "delta": r"-\sum P A",
        "query": r"\alpha\,(P\,(dy\,v^T - \delta)\,g1 + Z k)",
        "key": r"\alpha\,((P\,(dy\,v^T - \delta))^T g0 + Z^T q)",
        "value": r"(P A)^T dy",
        "mask": "Z",
    },
    samples=_backward_samples,
    errors=_backward_errors,
    tolerance=256,
)


# ---- the public function ----


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dim: int,
    causal: bool,
    p: float,
    scale: float | None = None,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention along ``dim``, where every other dimension but the last is a batch, with weights dropped with
    probability p; and the matrix of those weights (batch..., L, S) if it is needed."""
    stream = None
    if 0 < p <= 1:
        from ..random import generator_or_default

        heads = math.prod(query.shape[:dim]) * math.prod(query.shape[dim + 1 : -1])
        stream = generator_or_default(None).draw(heads * -(-query.shape[dim] // _TILE) * key.shape[dim] * GROUP)
    scale = max(query.shape[-1], 1) ** -0.5 if scale is None else float(scale)
    y, lse = _attention(query, key, value, mask, stream, dim, causal, float(p), scale)
    if not need_weights:
        return y, None
    return y, _dropped(_weights(query, key, lse, mask, dim, causal, scale), stream, p)


def as_mask(name: str, mask: Any, dtype: np.dtype) -> Tensor:
    """A mask of bools, or of numbers in this dtype. TypeError for one of integers."""
    mask = as_tensor(mask, name)
    if mask.dtype == bool or mask.dtype == dtype:
        return mask
    if mask.dtype.kind != "f":
        raise TypeError(f"{name}: the mask is {mask.dtype} but must be bool or float; convert it with .to(bool)")
    return to(mask, dtype)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(scale query key^T + mask) value, as ``torch.nn.functional.scaled_dot_product_attention``.

    Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762. The matrix of weights is never whole in memory,
    forward and backward: only a second derivative, or the gradient of a mask of numbers, makes it.

    Args:
        query: (..., L, E).
        key: (..., S, E).
        value: (..., S, F). The dimensions in front of all three broadcast.
        attn_mask: Broadcasts to (..., L, S). Bool: where a query may look; float: added to the scores.
        dropout_p: Probability with which a weight is dropped, always (there is no ``training`` here); the others are
            divided by 1 - dropout_p. The numbers come from the package's generator, anew in the gradient.
        is_causal: Query i looks at keys 0 to i alone; only without ``attn_mask``.
        scale: 1 / sqrt(E) by default.
        enable_gqa: query has a multiple of the heads (dimension -3) of key and value, and each of theirs serves
            neighbours.

    Returns:
        (..., L, F). A query that may look nowhere has 0.

    Raises:
        ValueError: The shapes do not fit, ``dropout_p`` is no probability, or ``attn_mask`` and ``is_causal`` are both
            given.
        TypeError: The dtypes differ or are no floats, or the mask holds integers.
    """
    name = "scaled_dot_product_attention"
    query, key, value = (as_tensor(x, name) for x in (query, key, value))
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ValueError(
            f"{name}: query, key and value need at least 2 dimensions, their shapes are {query.shape}, {key.shape} and "
            f"{value.shape}"
        )
    if attn_mask is not None:
        if is_causal:
            raise ValueError(f"{name}: give attn_mask or is_causal, not both; attn_mask.tril() holds both")
        attn_mask = as_mask(name, attn_mask, query.dtype)
    groups = 1
    if enable_gqa:
        heads = [x.shape[-3] if x.ndim > 2 else 0 for x in (query, key, value)]
        if heads[1] != heads[2] or not heads[1] or heads[0] % heads[1]:
            raise ValueError(
                f"{name}: {heads[0]} heads of query cannot share {heads[1]} of key and {heads[2]} of value"
            )
        groups = heads[0] // heads[1]
    if groups > 1:
        query, key, value = unflatten(query, -3, (-1, groups)), unsqueeze(key, -3), unsqueeze(value, -3)
        if attn_mask is not None and attn_mask.ndim > 2:
            many = attn_mask.shape[-3] > 1
            attn_mask = unflatten(attn_mask, -3, (-1, groups)) if many else unsqueeze(attn_mask, -3)
    try:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    except ValueError:
        raise ValueError(
            f"{name}: the dimensions before the last two do not broadcast: query is {query.shape}, key {key.shape}, "
            f"value {value.shape}"
        ) from None
    query, key, value = (x if x.shape[:-2] == batch else expand(x, *batch, *x.shape[-2:]) for x in (query, key, value))
    y, _ = attend(query, key, value, attn_mask, query.ndim - 2, is_causal, dropout_p, scale)
    return flatten(y, -4, -3) if groups > 1 else y
