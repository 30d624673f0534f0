"""Graph attention on a large sparse graph, forward and backward, beside the same in PyTorch with index_add."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

HEADS, DEPTH = 4, 16
FEATURES = HEADS * DEPTH


@cache
def graph(nodes: int, edges: int) -> tuple[np.ndarray, ...]:
    """Features, edges in no order, weights (three maps, two vectors per head), and the gradient of the output."""
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((nodes, FEATURES)).astype(np.float32) for _ in range(2))
    maps = rng.uniform(-1, 1, (3, FEATURES, FEATURES)).astype(np.float32) / FEATURES**0.5
    vectors = rng.uniform(-0.5, 0.5, (2, 1, HEADS, DEPTH)).astype(np.float32)
    return x, rng.integers(0, nodes, (2, edges)), maps, vectors, g


def ours(nodes: int, edges: int, additive: bool, replayed: bool) -> Any:
    """The layer; the edges are grouped once."""
    import pyneural as pn
    from pyneural import nn

    x, edge_index, maps, vectors, g = graph(nodes, edges)
    if additive:
        layer: Any = nn.GATConv(FEATURES, DEPTH, HEADS, add_self_loops=False, bias=False)
        parameters, values = [layer.lin.weight, layer.att_src, layer.att_dst], [maps[0], *vectors]
    else:
        layer = nn.TransformerConv(FEATURES, DEPTH, HEADS, bias=False, root_weight=False)
        parameters, values = [f.weight for f in (layer.lin_query, layer.lin_key, layer.lin_value)], list(maps)
    with pn.no_grad():
        for p, w in zip(parameters, values, strict=True):
            p.copy_(pn.from_numpy(w))
    features, grouped, slope = pn.from_numpy(x), nn.Edges.of(edge_index, nodes), pn.from_numpy(g)
    features.requires_grad_()

    def step() -> Any:
        y = layer(features, grouped)
        return (y.detach(), *pn.autodiff.gradients((y,), (features, *parameters), (slope,)))

    return pn.compile(step) if replayed else step


def torch_layer(nodes: int, edges: int, additive: bool) -> Any:
    """The same formulas: rows by index_select, sums by index_add, each node's largest score by scatter_reduce."""
    import torch

    x, edge_index, maps, vectors, g = (torch.from_numpy(a) for a in graph(nodes, edges))
    source, target = edge_index
    x = x.requires_grad_()
    weights = [w.clone().requires_grad_() for w in (maps[:1] if additive else maps)]
    vectors = [v.clone().requires_grad_() for v in vectors] if additive else []

    def weighted(scores: Any, values: Any) -> Any:
        places = target[:, None].expand(-1, HEADS)
        top = torch.full((nodes, HEADS), -torch.inf).scatter_reduce(0, places, scores.detach(), "amax")
        e = torch.exp(scores - top.index_select(0, target))
        sums = torch.zeros(nodes, HEADS).index_add(0, target, e)
        alpha = e / sums.index_select(0, target)
        messages = alpha[:, :, None] * values.index_select(0, source)
        return torch.zeros(nodes, HEADS, DEPTH).index_add(0, target, messages).reshape(nodes, FEATURES)

    def step() -> Any:
        h = [torch.nn.functional.linear(x, w).view(nodes, HEADS, DEPTH) for w in weights]
        if additive:
            about, toward = ((h[0] * v).sum(-1) for v in vectors)
            scores = toward.index_select(0, target) + about.index_select(0, source)
            y = weighted(torch.nn.functional.leaky_relu(scores, 0.2), h[0])
        else:
            q, k, v = h
            scores = (q.index_select(0, target) * k.index_select(0, source)).sum(-1) / DEPTH**0.5
            y = weighted(scores, v)
        return (y.detach(), *torch.autograd.grad(y, [x, *weights, *vectors], g))

    return step


@case("graphs")
def graphs(quick: bool) -> Iterator[Job]:
    """4 heads of 16; the graph's edges are in no order and are grouped outside the timed part."""
    nodes, edges = (1000, 10_000) if quick else (10_000, 100_000)
    for additive, name in ((True, "additive (GATConv)"), (False, "dot-product (TransformerConv)")):
        yield Job(
            f"{name}, {nodes:,} nodes, {edges:,} edges, 4 heads of 16, forward and backward",
            {
                "pyneural replayed": Way(lambda a=additive: ours(nodes, edges, a, True)),
                "pyneural eager": Way(lambda a=additive: ours(nodes, edges, a, False)),
                "torch": Way(lambda a=additive: torch_layer(nodes, edges, a)),
            },
            tolerance=1e-4,
            goals={"torch": 3.0},
        )
