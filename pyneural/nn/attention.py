"""Multi-head attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from .._arguments import probability
from ..ops.attention import as_mask, attend
from ..tensor import Tensor, as_tensor, zeros
from . import init
from .linear import Linear, _check_count
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """Several scaled dot-product attentions side by side, as ``torch.nn.MultiheadAttention``, whose state dict loads as
    it is.

    Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762: query, key and value are mapped to ``num_heads``
    heads of embed_dim / num_heads each, every head attends, and the heads, joined, are mapped once more. A query that
    may look nowhere gets 0 (PyTorch with ``need_weights``: NaN) before that last map.

    Args:
        embed_dim: Size of the query and of the result.
        num_heads: Number of heads, a divisor of embed_dim.
        dropout: Probability with which a weight is dropped in training.
        bias: Learn biases of the maps.
        add_bias_kv: Learn a key and a value that are added to every sequence.
        add_zero_attn: Add a key and a value of zeros to every sequence.
        kdim, vdim: Sizes of key and value; embed_dim by default.
        batch_first: Sequences are (N, L, size) rather than (L, N, size).
        dtype: Of the parameters; float32 by default.

    Raises:
        ValueError: num_heads does not divide embed_dim, a size is below 1, or dropout is no probability.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = "MultiheadAttention"
        self.embed_dim = _check_count(name, "embed_dim", embed_dim, 1)
        self.num_heads = _check_count(name, "num_heads", num_heads, 1)
        if embed_dim % num_heads:
            raise ValueError(f"{name}: embed_dim {embed_dim} must be a multiple of num_heads {num_heads}")
        self.kdim = _check_count(name, "kdim", embed_dim if kdim is None else kdim, 1)
        self.vdim = _check_count(name, "vdim", embed_dim if vdim is None else vdim, 1)
        self.head_dim = embed_dim // num_heads
        self.dropout = probability(name, "dropout", dropout)
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        kind = np.float32 if dtype is None else dtype

        def parameter(*shape: int) -> Parameter:
            return Parameter(zeros(shape, dtype=kind))

        together = self.kdim == embed_dim and self.vdim == embed_dim
        self.register_parameter("in_proj_weight", parameter(3 * embed_dim, embed_dim) if together else None)
        for letter, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{letter}_proj_weight", None if together else parameter(embed_dim, size))
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype)
        for letter in "kv":
            self.register_parameter(f"bias_{letter}", parameter(1, 1, embed_dim) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Glorot's uniform distribution for the first maps, his normal one for bias_k and bias_v, 0 for biases."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)  # type: ignore[arg-type]
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends from every query to all keys.

        Args:
            query: (L, N, embed_dim), or (N, L, embed_dim) if ``batch_first``, or (L, embed_dim) for one sequence.
            key: The same with S for L, and kdim.
            value: The same with S for L, and vdim.
            key_padding_mask: (N, S), or (S) for one sequence. Bool: True where a key counts for nothing; float: added
                to the scores.
            need_weights: Return the weights, too, for which the matrix of (L, S) must be made.
            attn_mask: (L, S), or (N * num_heads, L, S) for a mask of each head. Bool: True where a query must not look
                (the other way round than in ``scaled_dot_product_attention``); float: added to the scores.
            average_attn_weights: Return the mean of the heads' weights.
            is_causal: Query i looks at keys 0 to i alone; ``attn_mask`` may be left out (PyTorch wants it all the same)
                and is not looked at.

        Returns:
            The result in the layout of ``query``, and the weights, after dropout: (N, L, S) or (N, num_heads, L, S),
            without N for one sequence; None unless needed.

        Raises:
            ValueError: The shapes do not fit.
            TypeError: A mask holds integers.
        """
        query, key, value = (as_tensor(x) for x in (query, key, value))
        alone = query.ndim == 2
        dim = 1 if self.batch_first else 0
        if alone:
            query, key, value = (x.unsqueeze(1 - dim) if x.ndim == 2 else x for x in (query, key, value))
        self._check(query, key, value)
        n, length, size = query.shape[1 - dim], query.shape[dim], key.shape[dim]
        padding = hidden = None
        if key_padding_mask is not None:
            padding = self._mask(key_padding_mask, query, "key_padding_mask", [(n, size)] + [(size,)] * alone)
            padding = padding.reshape((n, 1, 1, size))
        if attn_mask is not None and not is_causal:
            shapes = [(length, size), (n * self.num_heads, length, size)]
            hidden = self._mask(attn_mask, query, "attn_mask", shapes)
            hidden = hidden.reshape((-1, self.num_heads if hidden.ndim == 3 else 1, length, size))

        q, k, v = self._projected(query, key, value, dim)
        masks = [m for m in (padding, hidden) if m is not None]
        more = k.shape[dim] - size
        if more and is_causal:
            masks.append(as_tensor(np.tri(length, size) == 0))
            is_causal = False
        mask = _merged([ops.pad(m, (0, more)) if more else m for m in masks], q.dtype)
        p = self.dropout if self.training else 0.0
        y, weights = attend(q, k, v, mask, dim, is_causal, p, None, need_weights)
        y = self.out_proj(y.reshape(query.shape))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if alone:
            y, weights = y.squeeze(1 - dim), None if weights is None else weights.squeeze(0)
        return y, weights

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        sizes = (self.embed_dim, self.kdim, self.vdim)
        batch = 0 if self.batch_first else 1
        given = {"query": query, "key": key, "value": value}
        fits = all(x.ndim == 3 and x.shape[2] == s for x, s in zip(given.values(), sizes, strict=True))
        if not fits or key.shape[:2] != value.shape[:2] or key.shape[batch] != query.shape[batch]:
            layout = "(N, {}, {})" if self.batch_first else "({}, N, {})"
            wanted = ", ".join(layout.format(length, s) for length, s in zip("LSS", sizes, strict=True))
            raise ValueError(
                f"MultiheadAttention: query, key and value must be {wanted}, got {query.shape}, "
                f"{key.shape}, {value.shape}"
            )

    def _mask(self, mask: Any, query: Tensor, what: str, shapes: list[tuple[int, ...]]) -> Tensor:
        mask = as_mask(f"MultiheadAttention: {what}", mask, query.dtype)
        if mask.shape not in shapes:
            raise ValueError(
                f"MultiheadAttention: {what} is {mask.shape} but must be {' or '.join(map(str, shapes))} for query "
                f"{query.shape} (batch_first={self.batch_first})"
            )
        return mask

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, dim: int) -> list[Tensor]:
        """Queries, keys and values of the heads, (N, L, heads, size) or (L, N, heads, size), with what is added."""
        e = self.embed_dim
        together, bias = self.in_proj_weight, self.in_proj_bias
        separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        heads = []
        for i, (x, weight, extra) in enumerate(
            zip((query, key, value), separate, (None, self.bias_k, self.bias_v), strict=True)
        ):
            part = slice(i * e, (i + 1) * e)
            y = ops.linear(x, weight if together is None else together[part], None if bias is None else bias[part])
            added = [] if extra is None else [extra.expand(*[1 if d == dim else y.shape[d] for d in (0, 1)], e)]
            if self.add_zero_attn and i > 0:
                added.append(zeros((*[1 if d == dim else y.shape[d] for d in (0, 1)], e), dtype=y.dtype))
            y = ops.cat([y, *added], dim) if added else y
            heads.append(y.reshape((*y.shape[:2], self.num_heads, self.head_dim)))
        return heads


def _merged(hidden: list[Tensor], dtype: np.dtype) -> Tensor | None:
    """One mask for ``attend``: bool, where a query may look, if all are bool; else numbers."""
    if not hidden:
        return None
    if all(m.dtype == bool for m in hidden):
        merged = hidden[0] if len(hidden) == 1 else ops.logical_or(*hidden)
        return ops.logical_not(merged)
    added = [ops.where(m, -np.inf, zeros((), dtype=dtype)) if m.dtype == bool else m for m in hidden]
    return added[0] if len(added) == 1 else added[0] + added[1]
