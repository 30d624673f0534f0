"""Segments, graph attention beside dense masks and PyTorch, pooling, batches of graphs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn
from pyneural.autodiff import gradcheck
from pyneural.data import Graph, GraphBatch, graph_batches

RNG = np.random.default_rng


def random_graph(nodes: int, edges: int, seed: int = 0) -> np.ndarray:
    """Different edges in no order, some of them loops; the last node has none."""
    pairs = RNG(seed).permutation((nodes - 1) ** 2)[:edges]
    return np.stack([pairs // (nodes - 1), pairs % (nodes - 1)])


def mask_of(edge_index: np.ndarray, nodes: int) -> np.ndarray:
    """mask[v, u]: v attends to u."""
    mask = np.zeros((nodes, nodes), bool)
    mask[edge_index[1], edge_index[0]] = True
    return mask


def dense_softmax(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    e = np.where(mask, np.exp(scores), 0.0)
    sums = e.sum(-1, keepdims=True)
    return e / np.where(sums == 0, 1, sums)


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


def dense_transformer(layer: nn.TransformerConv, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    w = arrays(layer)

    def maps(name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    q, k, v = (maps(f"lin_{n}").reshape(len(x), layer.heads, -1).swapaxes(0, 1) for n in ("query", "key", "value"))
    y = dense_softmax(q @ k.swapaxes(1, 2) / layer.out_channels**0.5, mask) @ v
    y = y.swapaxes(0, 1).reshape(len(x), -1) if layer.concat else y.mean(0)
    return y + maps("lin_skip") if layer.lin_skip is not None else y


def dense_gat(layer: nn.GATConv, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    w = arrays(layer)
    h = (x @ w["lin.weight"].T).reshape(len(x), layer.heads, -1)
    toward, about = ((h * w[name]).sum(-1).T for name in ("att_dst", "att_src"))
    scores = toward[:, :, None] + about[:, None, :]
    scores = np.where(scores > 0, scores, layer.negative_slope * scores)
    y = np.einsum("hvu,uhd->vhd", dense_softmax(scores, mask), h)
    y = y.reshape(len(x), -1) if layer.concat else y.mean(1)
    return y + w.get("bias", 0)


LAYERS: list[tuple[Any, dict[str, Any]]] = [
    (nn.TransformerConv, {}),
    (nn.TransformerConv, {"heads": 3, "self_loops": True}),
    (nn.TransformerConv, {"heads": 2, "concat": False, "self_loops": False, "bias": False}),
    (nn.TransformerConv, {"heads": 2, "root_weight": False}),
    (nn.GATConv, {}),
    (nn.GATConv, {"heads": 3, "add_self_loops": False, "negative_slope": 0.5}),
    (nn.GATConv, {"heads": 2, "concat": False, "bias": False}),
]


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_edges_and_dense_masks_give_the_same(kind: Any, options: dict[str, Any]) -> None:
    layer = kind(5, 4, dtype=np.float64, **options)
    for nodes, edges in ((7, 20), (4, 0), (12, 60)):
        x, edge_index = RNG(1).standard_normal((nodes, 5)), random_graph(nodes, edges)
        mask = mask_of(edge_index, nodes)
        loops = options.get("self_loops") if kind is nn.TransformerConv else options.get("add_self_loops", True) or None
        if loops is not None:
            mask[np.diag_indices(nodes)] = loops
        dense = (dense_transformer if kind is nn.TransformerConv else dense_gat)(layer, x, mask)
        np.testing.assert_allclose(layer(pn.tensor(x), edge_index).numpy(), dense, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_gradients_of_layers(kind: Any, options: dict[str, Any]) -> None:
    layer = kind(3, 2, dtype=np.float64, **options)
    edge_index = random_graph(6, 15)
    names = list(dict(layer.named_parameters()))
    values = [p.detach().clone() for p in layer.parameters()]

    def f(x: Any, *weights: Any) -> Any:
        return nn.functional_call(layer, dict(zip(names, weights, strict=True)), (x, edge_index))

    gradcheck(f, [pn.tensor(RNG(2).standard_normal((6, 3))), *values])


def test_complete_graph_with_loops_is_ordinary_attention() -> None:
    layer = nn.TransformerConv(6, 3, heads=2, bias=False, root_weight=False, dtype=np.float64)
    x = RNG(0).standard_normal((5, 6))
    everything = np.array(list(itertools.product(range(5), repeat=2))).T
    q, k, v = ((x @ f.weight.detach().numpy().T).reshape(5, 2, 3) for f in
               (layer.lin_query, layer.lin_key, layer.lin_value))  # fmt: skip
    scores = np.einsum("vhd,uhd->hvu", q, k) / 3**0.5
    alpha = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = np.einsum("hvu,uhd->vhd", alpha, v).reshape(5, 6)
    np.testing.assert_allclose(layer(pn.tensor(x), everything).numpy(), expected, rtol=1e-12)


def test_weights_sum_to_one_and_are_returned() -> None:
    layer = nn.GATConv(4, 3, heads=2)
    edge_index = random_graph(8, 30)
    y, (all_edges, alpha) = layer(pn.randn(8, 4), edge_index, return_attention_weights=True)
    assert y.shape == (8, 6)
    assert all_edges.shape == (2, 38)
    assert alpha.shape == (38, 2)
    loops = edge_index[0] == edge_index[1]
    assert loops.any()
    assert not alpha.numpy()[:30][loops].any()  # given loops are replaced with one for each node
    np.testing.assert_allclose(pn.segment_sum(alpha, all_edges[1], 8).numpy(), 1, rtol=1e-6)


def test_isolated_nodes_get_nothing() -> None:
    x = pn.randn(4, 3, requires_grad=True)
    edge_index = np.array([[0, 1], [1, 0]])
    plain = nn.TransformerConv(3, 2, heads=2, root_weight=False)
    y = plain(x, edge_index)
    assert not y.numpy()[2:].any()
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    assert not x.grad.numpy()[2:].any()
    gat = nn.GATConv(3, 2, add_self_loops=False)
    with pn.no_grad():
        gat.bias.fill_(3.0)
    np.testing.assert_array_equal(gat(x, edge_index).numpy()[2:], 3.0)
    pooled = nn.global_mean_pool(x, np.array([0, 0, 2, 2]), 4).numpy()
    assert not pooled[[1, 3]].any()
    assert not nn.global_max_pool(x, np.array([0, 0, 2, 2]), 4).numpy()[[1, 3]].any()


@pytest.mark.parametrize("kind", [nn.TransformerConv, nn.GATConv])
def test_graphs_without_nodes_and_without_edges(kind: Any) -> None:
    layer = kind(3, 2)
    for nodes in (0, 1, 3):
        x = pn.randn(nodes, 3, requires_grad=True)
        y = layer(x, np.zeros((2, 0), np.int64))
        assert y.shape == (nodes, 2)
        y.sum().backward()
        assert np.isfinite(x.grad.numpy()).all()


def test_transformer_layer_is_its_parts() -> None:
    layer = nn.GraphTransformerLayer(6, 2, 10, dropout=0.0, dtype=np.float64)
    x, edge_index = pn.randn(7, 6, dtype=np.float64), random_graph(7, 18)
    h = layer.norm1(x + layer.out_proj(layer.self_attn(x, edge_index)))
    expected = layer.norm2(h + layer.linear2(pn.relu(layer.linear1(h))))
    np.testing.assert_array_equal(layer(x, edge_index).numpy(), expected.numpy())
    first = nn.GraphTransformerLayer(6, 2, 10, dropout=0.0, activation="gelu", norm_first=True, out_proj=False,
                                     dtype=np.float64)  # fmt: skip
    h = x + first.self_attn(first.norm1(x), edge_index)
    expected = h + first.linear2(nn.functional.gelu(first.linear1(first.norm2(h))))
    np.testing.assert_array_equal(first(x, edge_index).numpy(), expected.numpy())
    assert "out_proj.weight" not in dict(first.named_parameters())
    noisy = nn.GraphTransformerLayer(6, 2, 10, dropout=0.5, dtype=np.float64)
    assert not np.array_equal(noisy(x, edge_index).numpy(), noisy(x, edge_index).numpy())
    noisy.eval()
    np.testing.assert_array_equal(noisy(x, edge_index).numpy(), noisy(x, edge_index).numpy())
    with pytest.raises(ValueError, match="d_model 6 must be a multiple of nhead 4"):
        nn.GraphTransformerLayer(6, 4)
    with pytest.raises(ValueError, match="activation must be"):
        nn.GraphTransformerLayer(6, 2, activation="tanh")


def test_relabelling_permutes_the_output() -> None:
    layer = nn.GraphTransformerLayer(4, 2, 8, dropout=0.0, dtype=np.float64)
    x, edge_index, order = RNG(0).standard_normal((9, 4)), random_graph(9, 30), RNG(1).permutation(9)
    place = np.argsort(order)
    y = layer(pn.tensor(x), edge_index).numpy()
    moved = layer(pn.tensor(x[order]), place[edge_index]).numpy()
    np.testing.assert_allclose(moved, y[order], rtol=1e-12, atol=1e-13)


# ---- beside PyTorch ----


def torch_attention(torch: Any, scores: Any, values: Any, source: Any, target: Any, nodes: int) -> Any:
    e = torch.exp(scores)
    sums = torch.zeros(nodes, *e.shape[1:], dtype=e.dtype).index_add(0, target, e)
    messages = (e / sums[target])[:, :, None] * values[source]
    return torch.zeros(nodes, *values.shape[1:], dtype=e.dtype).index_add(0, target, messages)


@pytest.mark.parametrize("kind", [nn.TransformerConv, nn.GATConv])
@pytest.mark.parametrize(("nodes", "edges", "heads", "depth"), [(9, 40, 3, 5), (50, 600, 4, 16), (20, 100, 1, 33)])
def test_values_and_gradients_are_those_of_torch(kind: Any, nodes: int, edges: int, heads: int, depth: int) -> None:
    torch = pytest.importorskip("torch")
    options = {"add_self_loops": False} if kind is nn.GATConv else {}
    layer = kind(7, depth, heads=heads, dtype=np.float64, **options)
    x, edge_index = pn.randn(nodes, 7, dtype=np.float64, requires_grad=True), random_graph(nodes, edges)
    y = layer(x, edge_index)
    (y * y).sum().backward()
    w = {n: torch.tensor(a, requires_grad=True) for n, a in arrays(layer).items()}
    tx = torch.tensor(x.detach().numpy(), requires_grad=True)
    source, target = torch.tensor(edge_index)

    def maps(name: str) -> Any:
        return torch.nn.functional.linear(tx, w[f"{name}.weight"], w.get(f"{name}.bias"))

    if kind is nn.GATConv:
        h = maps("lin").view(nodes, heads, depth)
        toward, about = ((h * w[n]).sum(-1) for n in ("att_dst", "att_src"))
        scores = torch.nn.functional.leaky_relu(toward[target] + about[source], 0.2)
        ty = torch_attention(torch, scores, h, source, target, nodes).reshape(nodes, -1) + w["bias"]
    else:
        q, k, v = (maps(f"lin_{n}").view(nodes, heads, depth) for n in ("query", "key", "value"))
        scores = (q[target] * k[source]).sum(-1) / depth**0.5
        ty = torch_attention(torch, scores, v, source, target, nodes).reshape(nodes, -1) + maps("lin_skip")
    (ty * ty).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), rtol=1e-8, atol=1e-10)
    for name, p in layer.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), w[name].grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(("ours", "theirs", "fills"), [("segment_sum", "sum", 0), ("segment_max", "amax", 0),
                                                       ("segment_mean", "mean", 0)])  # fmt: skip
def test_segments_beside_scatter_reduce(ours: str, theirs: str, fills: float) -> None:
    torch = pytest.importorskip("torch")
    x, index = RNG(0).standard_normal((60, 5)), RNG(1).integers(0, 9, 60)
    index[index == 4] = 5  # segment 4 stays empty
    a, b = pn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    places = torch.tensor(index)[:, None].expand(-1, 5)
    y = getattr(pn, ours)(a, index, 9)
    expected = torch.full((9, 5), float(fills), dtype=b.dtype).scatter_reduce(0, places, b, theirs, include_self=False)
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12)


# ---- segments ----


def test_segment_functions_take_numbers_or_segments() -> None:
    x = pn.tensor(np.array([[1.0, 2.0], [3.0, -1.0], [5.0, 0.0]]))
    for index in ([2, 0, 2], np.array([2, 0, 2], np.uint8), nn.Segments.of([2, 0, 2])):
        np.testing.assert_array_equal(pn.segment_sum(x, index).numpy(), [[3, -1], [0, 0], [6, 2]])
        np.testing.assert_array_equal(pn.segment_mean(x, index).numpy(), [[3, -1], [0, 0], [3, 1]])
        np.testing.assert_array_equal(pn.segment_max(x, index).numpy(), [[3, -1], [0, 0], [5, 2]])
        np.testing.assert_allclose(
            pn.segment_sum(pn.segment_softmax(x, index), index).numpy(), [[1, 1], [0, 0], [1, 1]]
        )
    assert pn.segment_sum(x, [0, 0, 0], 4).shape == (4, 2)
    assert pn.segment_sum(pn.zeros(0, 3), [], None).shape == (0, 3)
    np.testing.assert_array_equal(nn.Segments.of([2, 0, 2], 4).counts().numpy(), [1, 0, 2, 0])
    assert pn.segment_softmax(pn.tensor([1000.0, 1001.0, -1000.0]), [0, 0, 1]).numpy()[2] == 1.0


def test_ties_share_the_gradient_of_the_maximum() -> None:
    x = pn.tensor([2.0, 2.0, 1.0, 7.0], requires_grad=True)
    pn.segment_max(x, [0, 0, 0, 1]).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.5, 0.5, 0.0, 1.0])


def test_bad_segments_and_edges_are_refused() -> None:
    x = pn.ones(3, 2)
    for index, count, exception, message in (
        ([0, 1, 3], 3, IndexError, "index 3 is out of range"),
        ([0, -1, 1], 3, IndexError, "index -1 is out of range"),
        ([0, 1], 3, ValueError, r"segment_sum: x of shape \(3, 2\) needs one segment number for each row"),
        ([0.5, 0, 0], 3, TypeError, "must hold integers"),
        (nn.Segments.of([0, 1, 1], 2), 3, ValueError, "num_segments is 3, but the segments were made for 2"),
        (nn.Segments.of([0, 1], 2), None, ValueError, r"made of 2 rows, but x has shape \(3, 2\)"),
    ):
        with pytest.raises(exception, match=message):
            pn.segment_sum(x, index, count)
    layer = nn.TransformerConv(2, 2)
    for edge_index, exception, message in (
        ([[0, 3], [1, 2]], IndexError, "index 3 is out of range"),
        ([[0, 1], [1, 3]], IndexError, "index 3 is out of range"),
        ([[0, -1], [1, 2]], IndexError, "index -1 is out of range"),
        ([0, 1], ValueError, r"edge_index must have shape \(2, edges\).*got \(2,\)"),
        ([[0, 1, 2]], ValueError, "edge_index must have shape"),
        (nn.Edges.of([[0], [1]], 4), ValueError, "x has 3 rows, but the edges were grouped for 4 nodes"),
    ):
        with pytest.raises(exception, match=message):
            layer(x, edge_index)
    with pytest.raises(ValueError, match=r"x must have shape \(nodes, 2\), got \(3, 5\)"):
        layer(pn.ones(3, 5), [[0], [1]])
    with pytest.raises(ValueError, match="heads must be an integer of at least 1"):
        nn.GATConv(2, 2, heads=0)
    with pytest.raises(ValueError, match="dropout must be a probability"):
        nn.GATConv(2, 2, dropout=1.5)


def test_numbers_that_change_after_the_check_are_never_followed() -> None:
    """Memory that another program writes must not make a kernel read or write elsewhere."""
    x = pn.ones(5, 2, 16)
    edges = nn.Edges.of(np.array([[0, 1, 2, 3], [1, 2, 3, 4]]), 5)
    wild = np.array([10**12, -(10**12), 3, 2**62])
    broken = edges._replace(source=pn.tensor(wild), incoming=pn.tensor(np.array([0, 0, 10**9, -5, 3, 4, *wild])))
    broken.weighted_sum(pn.ones(4, 2), x)
    broken.dot(x, x)
    broken.softmax(pn.ones(4, 2))
    broken.from_targets(x)
    broken.to_targets(pn.ones(4, 2))


# ---- bits ----


def trained(threads: int, compiled: bool) -> list[bytes]:
    """Weights after some steps on a graph that is large enough for several tasks, and whose edges change."""
    pn.set_num_threads(threads)
    pn.manual_seed(3)
    first = nn.GATConv(8, 16, heads=4, dropout=0.25)
    second = nn.GraphTransformerLayer(64, 4, 32)
    optimizer = pn.optim.Adam([*first.parameters(), *second.parameters()], lr=1e-2)

    def step(x: Any, edge_index: Any, batch: Any) -> Any:
        h = second(first(x, edge_index), edge_index)
        pools = [pool(h, batch, 4) for pool in (nn.global_add_pool, nn.global_mean_pool, nn.global_max_pool)]
        loss = sum((p * p).mean() for p in pools)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    call = pn.compile(step) if compiled else step
    bits = []
    for k in range(6):
        rng = RNG(k)
        x, edge_index = rng.standard_normal((700, 8)).astype(np.float32), rng.integers(0, 700, (2, 6000))
        bits.append(call(pn.tensor(x), pn.tensor(edge_index), pn.tensor(rng.integers(0, 4, 700))).numpy().tobytes())
    if compiled:
        assert sum(p.replays for p in call.programs) == 3
    return bits + [p.detach().numpy().tobytes() for p in (*first.parameters(), *second.parameters())]


def test_same_bits_for_any_threads_replayed_or_not() -> None:
    expected = trained(1, compiled=False)
    for threads, compiled in ((2, False), (7, False), (1, True), (7, True)):
        assert trained(threads, compiled) == expected, f"{threads} threads, compiled {compiled}"


def test_a_replay_refuses_bad_edges() -> None:
    layer = nn.TransformerConv(2, 2)
    call = pn.compile(lambda x, edges: layer(x, edges).sum())
    x = pn.ones(3, 2)
    for _ in range(3):
        call(x, pn.tensor([[0, 1], [1, 2]]))
    with pytest.raises(IndexError, match="index 3 is out of range"):
        call(x, pn.tensor([[0, 3], [1, 2]]))


# ---- batches ----


def graphs_of(sizes: list[int]) -> list[Graph]:
    return [Graph(RNG(n).standard_normal((n, 3)), random_graph(n, n), np.float64(n)) for n in sizes]


def test_a_batch_is_its_graphs_one_by_one() -> None:
    graphs = graphs_of([3, 7, 5])
    layer = nn.GraphTransformerLayer(3, 1, 4, dropout=0.0, dtype=np.float64)
    for room in ((None, None), (16, 15), (30, 40)):
        batch = GraphBatch.of(graphs, *room)
        y = nn.global_mean_pool(layer(batch.x, batch.edges()), batch.segments()).numpy()
        alone = [layer(pn.tensor(g.x), g.edge_index).numpy().mean(0) for g in graphs]
        np.testing.assert_allclose(y[: len(batch.y)], alone, rtol=1e-12, atol=1e-14)
        assert batch.num_graphs == (3 if room[0] is None else 4)
        np.testing.assert_array_equal(batch.y.numpy(), [3, 7, 5])


def test_padded_batches_are_replayed() -> None:
    graphs = graphs_of([3, 7, 5, 4, 9, 6, 8])
    layer = nn.TransformerConv(3, 4, dtype=np.float64)

    @pn.compile
    def step(batch: GraphBatch) -> Any:
        return nn.global_add_pool(layer(batch.x, batch.edges(self_loops=True)), batch.segments())[: len(batch.y)]

    batches = graph_batches(graphs, 2, pad=True)
    assert len(batches) == 4
    for _ in range(3):
        seen = []
        for batch in batches:
            seen += batch.y.numpy().tolist()
            with pn.no_grad():
                step(batch)
        assert sorted(seen) == [3, 4, 5, 6, 7, 8, 9]
    full = next(p for p in step.programs if p.replays > 1)
    assert full.replays >= 5
    first = [b.y.numpy().tolist() for b in graph_batches(graphs, 3, shuffle=False)]
    assert first == [[3, 7, 5], [4, 9, 6], [8]]


def test_bad_batches_are_refused() -> None:
    good = Graph(np.ones((2, 1)), [[0], [1]])
    for graphs, exception, message in (
        ([], ValueError, "no graphs"),
        ([good, Graph(np.ones((2, 3)), [[0], [1]])], ValueError, "features must have one shape"),
        ([good, Graph(np.ones((2, 1)), [[0], [2]])], IndexError, "edge_index of graph 1 must hold numbers from 0 to 1"),
        ([good, Graph(np.ones((2, 1)), [0, 1])], ValueError, "edge_index of graph 1 must have shape"),
        ([good, good._replace(y=1.0)], ValueError, "some graphs have a target"),
    ):
        with pytest.raises(exception, match=message):
            GraphBatch.of(graphs)
    with pytest.raises(ValueError, match="2 nodes and 1 edges do not fit into 2 nodes"):
        GraphBatch.of([good], nodes=2)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        graph_batches([good], 0)
