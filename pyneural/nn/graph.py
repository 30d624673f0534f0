"""Attention among the nodes of a graph, and pooling of nodes to graphs.

Edges are node numbers (2, E), sources above and targets below, as in PyTorch Geometric, whose names the layers have. A
node attends to the sources of the edges that lead to it. :class:`Edges` holds them grouped by node, which a layer does
anew in each call if it is given plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from .._arguments import probability
from ..ops.segments import Edges, Segments
from ..tensor import Tensor, as_tensor, zeros
from . import init
from .dropout import Dropout
from .linear import Identity, Linear, _check_count
from .module import Module
from .normalization import LayerNorm
from .parameter import Parameter
from .transformer import activation_of

__all__ = ["Edges", "GATConv", "GraphTransformerLayer", "Segments", "TransformerConv", "global_add_pool",
           "global_max_pool", "global_mean_pool"]  # fmt: skip


def edges_of(owner: str, x: Tensor, features: int, edge_index: Any, self_loops: bool | None) -> Edges:
    """The edges among the rows of x, grouped; those that are grouped already are left as they are.

    Raises:
        ValueError: x is not (N, features), or the edges were grouped for another number of nodes.
    """
    if x.ndim != 2 or x.shape[1] != features:
        raise ValueError(f"{owner}: x must have shape (nodes, {features}), got {x.shape}")
    if not isinstance(edge_index, Edges):
        return Edges.of(edge_index, x.shape[0], self_loops)
    if edge_index.num_nodes != x.shape[0]:
        raise ValueError(
            f"{owner}: x has {x.shape[0]} rows, but the edges were grouped for {edge_index.num_nodes} nodes"
        )
    return edge_index


class _Attention(Module):
    """What both kinds of attention share: heads, weighting, and what they are joined to."""

    bias: Parameter | None

    def __init__(self, in_channels: int, out_channels: int, heads: int, concat: bool, dropout: float) -> None:
        super().__init__()
        owner = self._get_name()
        self.in_channels = _check_count(owner, "in_channels", in_channels, 1)
        self.out_channels = _check_count(owner, "out_channels", out_channels, 1)
        self.heads = _check_count(owner, "heads", heads, 1)
        self.concat = concat
        self.dropout = probability(owner, "dropout", dropout)

    def _joined(self, edges: Edges, scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sums of the neighbours' values, heads side by side or averaged; and the weights."""
        alpha = edges.softmax(scores)
        y = edges.weighted_sum(F.dropout(alpha, self.dropout, self.training), values)
        return (y.reshape(-1, self.heads * self.out_channels) if self.concat else y.mean(1)), alpha

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.heads, self.out_channels)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}"


class GATConv(_Attention):
    """Additive graph attention (Velickovic et al. 2018, arXiv:1710.10903).

    With h = W x, in each head: e_vu = LeakyReLU(a_dst . h_v + a_src . h_u) for the edges u -> v, alpha_v = softmax of
    e_v over them, y_v = sum_u alpha_vu h_u + bias.

    Args:
        in_channels, out_channels: Features of a node, and of a node in each head.
        heads: Number of heads.
        concat: Put the heads side by side; else average them.
        negative_slope: Of the LeakyReLU.
        dropout: Probability with which a weight alpha is dropped in training.
        add_self_loops: Let each node attend to itself exactly once, whatever loops are given. Edges that are grouped
            already are taken as they are.
        bias: Whether there is one.
        dtype: Of the parameters; float32 by default.

    Shapes: x (N, in_channels), edge_index (2, E) or :class:`Edges`; y (N, heads * out_channels), or (N, out_channels)
    without ``concat``. A node without neighbours gets the bias alone.

    Parameters and buffers are named and start as PyTorch Geometric's: weights uniform by Glorot and Bengio, bias 0.

    Raises:
        IndexError: (when called) A node number is out of range.
        ValueError: A size is below 1, or (when called) a shape does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_channels, out_channels, heads, concat, dropout)
        self.negative_slope = negative_slope
        self.add_self_loops = add_self_loops
        kind = np.float32 if dtype is None else dtype
        self.lin = Linear(in_channels, heads * out_channels, bias=False, dtype=kind)
        self.att_src = Parameter(zeros((1, heads, out_channels), dtype=kind))
        self.att_dst = Parameter(zeros((1, heads, out_channels), dtype=kind))
        self.register_parameter(
            "bias", Parameter(zeros((heads * out_channels if concat else out_channels,), dtype=kind)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        init.xavier_uniform_(self.lin.weight)
        bound = math.sqrt(6.0 / (self.heads + self.out_channels))
        init.uniform_(self.att_src, -bound, bound)
        init.uniform_(self.att_dst, -bound, bound)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor, edge_index: Any, return_attention_weights: bool = False) -> Any:
        """y; with ``return_attention_weights`` (y, (edge_index, alpha)), alpha (E, heads) for all edges, loops too."""
        edges = edges_of("GATConv", x, self.in_channels, edge_index, True if self.add_self_loops else None)
        h = self._split(self.lin(x))
        toward, about = (h * self.att_dst).sum(-1), (h * self.att_src).sum(-1)
        scores = F.leaky_relu(edges.from_targets(toward) + edges.from_sources(about), self.negative_slope)
        y, alpha = self._joined(edges, scores, h)
        if self.bias is not None:
            y = y + self.bias
        return (y, (edges.edge_index, alpha)) if return_attention_weights else y


class TransformerConv(_Attention):
    """Scaled dot-product attention among neighbours (Shi et al. 2021, arXiv:2009.03509).

    With q = W_q x, k = W_k x, v = W_v x, in each head of size d: alpha_vu = softmax of q_v . k_u / sqrt(d) over the
    edges u -> v, y_v = sum_u alpha_vu v_u, plus W_skip x_v with ``root_weight``.

    Args:
        in_channels, out_channels: Features of a node, and of a node in each head.
        heads: Number of heads.
        concat: Put the heads side by side; else average them.
        dropout: Probability with which a weight alpha is dropped in training.
        self_loops: None: each node attends to itself if the edges say so; True: exactly once; False: never. Edges that
            are grouped already are taken as they are.
        bias: Whether the maps W have one.
        root_weight: Whether W_skip x is added.
        dtype: Of the parameters; float32 by default.

    Shapes: as for :class:`GATConv`. A node without neighbours gets W_skip x alone, or zeros. On a complete graph with
    self loops this is ordinary attention.

    Parameters are named as PyTorch Geometric's and start as those of :class:`Linear`.

    Raises:
        IndexError: (when called) A node number is out of range.
        ValueError: A size is below 1, or (when called) a shape does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        dropout: float = 0.0,
        self_loops: bool | None = None,
        bias: bool = True,
        root_weight: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_channels, out_channels, heads, concat, dropout)
        self.self_loops = self_loops
        self.lin_key = Linear(in_channels, heads * out_channels, bias, dtype)
        self.lin_query = Linear(in_channels, heads * out_channels, bias, dtype)
        self.lin_value = Linear(in_channels, heads * out_channels, bias, dtype)
        if root_weight:
            self.lin_skip = Linear(in_channels, heads * out_channels if concat else out_channels, bias, dtype)
        else:
            self.add_module("lin_skip", None)

    def forward(self, x: Tensor, edge_index: Any, return_attention_weights: bool = False) -> Any:
        """y; with ``return_attention_weights`` (y, (edge_index, alpha)), alpha (E, heads) for all edges, loops too."""
        edges = edges_of("TransformerConv", x, self.in_channels, edge_index, self.self_loops)
        query, key, value = (self._split(f(x)) for f in (self.lin_query, self.lin_key, self.lin_value))
        y, alpha = self._joined(edges, edges.dot(query, key) * (1.0 / math.sqrt(self.out_channels)), value)
        if self.lin_skip is not None:
            y = y + self.lin_skip(x)
        return (y, (edges.edge_index, alpha)) if return_attention_weights else y


class GraphTransformerLayer(Module):
    """One layer of a graph transformer (Dwivedi and Bresson 2021, arXiv:2012.09699): attention among neighbours, heads
    concatenated, add and norm, feed-forward, add and norm. The counterpart of PyTorch's ``TransformerEncoderLayer``.

    Args:
        d_model: Features of a node, a multiple of ``nhead``.
        nhead: Number of heads, each of d_model / nhead features.
        dim_feedforward: Width of the feed-forward part.
        dropout: Of the attention's weights, and before each sum.
        activation: "relu", "gelu", or a function of a tensor.
        layer_norm_eps: Of the norms.
        norm_first: Norm before each part and not after the sums.
        self_loops: As for :class:`TransformerConv`.
        bias: Whether the linear maps and the norms have one.
        out_proj: Map the concatenated heads linearly before they are added.
        dtype: Of the parameters; float32 by default.

    Shapes: x and y (N, d_model), edge_index (2, E) or :class:`Edges`.

    Raises:
        IndexError: (when called) A node number is out of range.
        ValueError: d_model is no multiple of nhead, or (when called) a shape does not fit.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        self_loops: bool | None = None,
        bias: bool = True,
        out_proj: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_count("GraphTransformerLayer", "nhead", nhead, 1)
        if _check_count("GraphTransformerLayer", "d_model", d_model, 1) % nhead:
            raise ValueError(f"GraphTransformerLayer: d_model {d_model} must be a multiple of nhead {nhead}")
        self.activation = activation_of("GraphTransformerLayer", activation)
        self.norm_first = norm_first
        self.self_attn = TransformerConv(d_model, d_model // nhead, nhead, dropout=dropout, self_loops=self_loops,
                                         bias=bias, root_weight=False, dtype=dtype)  # fmt: skip
        self.out_proj = Linear(d_model, d_model, bias, dtype) if out_proj else Identity()
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        if self.norm_first:
            x = x + self._attend(self.norm1(x), edge_index)
            return x + self._feed(self.norm2(x))
        x = self.norm1(x + self._attend(x, edge_index))
        return self.norm2(x + self._feed(x))

    def _attend(self, x: Tensor, edge_index: Any) -> Tensor:
        return self.dropout(self.out_proj(self.self_attn(x, edge_index)))

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(self.activation(self.linear1(x)))))


# ---- pooling ----


def _pool(fold: Any, x: Tensor, batch: Any, size: int | None) -> Tensor:
    x = as_tensor(x)
    if batch is None:
        batch = as_tensor(np.zeros(x.shape[0], np.int64))
        size = 1 if size is None else size
    return fold(x, batch, size)


def global_add_pool(x: Tensor, batch: Any = None, size: int | None = None) -> Tensor:
    """The sum of each graph's nodes.

    Args:
        x: (N, ...), all nodes of all graphs.
        batch: The graph number of each node, sorted or not, or :class:`Segments`; None: all belong to one graph.
        size: Number of graphs; None: max(batch) + 1, which a compiled step cannot look up.

    Returns:
        (size, ...); 0 for a graph without nodes.

    Raises:
        IndexError: A graph number is out of range.
        ValueError: There are not as many numbers as nodes.
    """
    return _pool(ops.segment_sum, x, batch, size)


def global_mean_pool(x: Tensor, batch: Any = None, size: int | None = None) -> Tensor:
    """The mean of each graph's nodes; see :func:`global_add_pool`."""
    return _pool(ops.segment_mean, x, batch, size)


def global_max_pool(x: Tensor, batch: Any = None, size: int | None = None) -> Tensor:
    """The maximum of each graph's nodes, feature by feature; see :func:`global_add_pool`."""
    return _pool(ops.segment_max, x, batch, size)
