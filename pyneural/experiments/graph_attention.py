"""Attention among the nodes v of a graph with edges E and features x_v in R^d:

    Q_v = W^Q x_v,  K_v = W^K x_v,  V_v = W^V x_v,  S_v = sum over v' of alpha_vv' V_v',

where v attends to its neighbours alone.

1. What are the weights alpha, and what are they where there is no edge?
2. On which nodes does the output of a deeper layer depend?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import nn, plots
from pyneural.experiments._nodes import both_ways, draw_graph
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

NODES, D, K, HEADS = 12, 8, 8, 2


def graphs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """edge_index of each graph, every edge in both directions and no loops."""
    ring = [(v, (v + 1) % NODES) for v in range(NODES)]
    pairs = np.array([(u, v) for u in range(NODES) for v in range(u + 1, NODES)])
    chosen = pairs[rng.random(len(pairs)) < 0.15]
    return {"path": both_ways(ring[:-1]), "ring": both_ways(ring), "random": both_ways(chosen)}


def adjacency(edge_index: np.ndarray) -> np.ndarray:
    """A[v, u]: v attends to u."""
    a = np.zeros((NODES, NODES), bool)
    a[edge_index[1], edge_index[0]] = True
    return a


def distances(a: np.ndarray) -> np.ndarray:
    """Steps from u to v along the edges, infinite where there is no way."""
    reached, found = np.eye(len(a), dtype=bool), np.where(np.eye(len(a), dtype=bool), 0.0, np.inf)
    for steps in range(1, len(a)):
        reached = reached | (a.astype(int) @ reached.astype(int) > 0)
        found = np.where(reached & np.isinf(found), steps, found)
    return found


class Layer(nn.Module):
    """x_v + W^O (S_v of all heads side by side)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.TransformerConv(D, K, HEADS, bias=False, root_weight=False, dtype=np.float64)
        self.join = nn.Linear(HEADS * K, D, bias=False, dtype=np.float64)

    def forward(self, x: pn.Tensor, edges: nn.Edges) -> pn.Tensor:
        return x + self.join(self.attention(x, edges))


def by_formula(layer: nn.TransformerConv, x: np.ndarray, a: np.ndarray, divisor: float) -> dict[str, np.ndarray]:
    """Q, K, V (heads, nodes, k), alpha (heads, nodes, nodes) and S (nodes, heads k), as they are written above.

    alpha is exp(Q_v . K_v' / divisor) over its sum over the neighbours, and 0 off the edges.
    """
    maps = {"Q": layer.lin_query, "K": layer.lin_key, "V": layer.lin_value}
    q, k, v = (np.stack([x @ w.T for w in m.weight.detach().numpy().reshape(HEADS, K, D)]) for m in maps.values())
    e = np.where(a, np.exp(np.einsum("hvk,huk->hvu", q, k) / divisor), 0.0)
    sums = e.sum(2, keepdims=True)
    alpha = e / np.where(sums > 0, sums, 1)
    return {"Q": q, "K": k, "V": v, "alpha": alpha, "S": np.einsum("hvu,huk->vhk", alpha, v).reshape(len(x), -1)}


def attend(layer: nn.TransformerConv, x: np.ndarray, edge_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S, and alpha as matrices (heads, nodes, nodes)."""
    with pn.no_grad():
        s, (edges, weights) = layer(pn.tensor(x), edge_index, return_attention_weights=True)
    alpha = np.zeros((HEADS, len(x), len(x)))
    alpha[:, edges.numpy()[1], edges.numpy()[0]] = weights.numpy().T
    return s.numpy(), alpha


@experiment(
    "graph-attention",
    title="Attention among neighbours, and how far it sees",
    source="002_e3b0b6e208b34aec.txt, mock exam 7a and 7b(2)",
    kind="proof",
    topic="Sequences and graphs",
)
def run(e: Run) -> None:
    x = e.rng.standard_normal((NODES, D))
    layer = nn.TransformerConv(D, K, HEADS, bias=False, root_weight=False, dtype=np.float64)
    with pn.no_grad():
        for p in layer.parameters():
            p.mul_(3.0)  # scores of a size at which a factor of sqrt(k) shows
    found = graphs(e.rng)
    weights = {name: check_equations(e, name, layer, x, edge_index) for name, edge_index in found.items()}
    check_whole(e, layer, x)
    check_loops(e, layer, x, found["ring"])
    check_isolated(e, layer, x, found["ring"])
    order = e.rng.permutation(NODES)
    moved, _ = attend(layer, x[order], np.argsort(order)[found["random"]])
    e.check("relabelled nodes: outputs minus the permuted outputs", moved, attend(layer, x, found["random"])[0][order],
            1e-12)  # fmt: skip
    supports = check_reach(e, found, x)
    draw(e, found, weights, supports)
    e.note(
        """
        The source divides the scores by sqrt(k) where it defines attention and drops the factor where it writes alpha
        out; the divisor belongs there. A layer sees its direct neighbours, L layers see as far as L steps: the output
        of the second layer depends on neighbours of neighbours, though each of its weights is zero off the edges.
        """
    )


def check_equations(e: Run, name: str, layer: Any, x: np.ndarray, edge_index: np.ndarray) -> np.ndarray:
    """Each equation against the module; returns alpha."""
    a = adjacency(edge_index)
    right = by_formula(layer, x, a, K**0.5)
    s, alpha = attend(layer, x, edge_index)
    if name == "path":
        for symbol, part in (("Q", layer.lin_query), ("K", layer.lin_key), ("V", layer.lin_value)):
            module = part(pn.tensor(x)).detach().numpy().reshape(NODES, HEADS, K).swapaxes(0, 1)
            e.check(f"{symbol}_v = W^{symbol} x_v, both heads: module minus formula", module, right[symbol], 1e-12)
        printed = by_formula(layer, x, a, 1.0)["alpha"]
        slip(e, "alpha_vv' = exp(Q_v . K_v' / sqrt k) / sum", alpha, right["alpha"], printed, 1e-12,
             note="without 1/sqrt k, as the expanded form has it")  # fmt: skip
    e.check(f"{name}: alpha minus exp(Q_v . K_v' / sqrt k) / sum over neighbours", alpha, right["alpha"], 1e-12)
    e.check(f"{name}: S_v = sum of alpha_vv' V_v', both heads side by side", s, right["S"], 1e-12)
    e.check(f"{name}: rows of alpha sum to 1", alpha.sum(2)[:, a.any(1)], 1.0, 1e-15 * NODES)
    e.check(f"{name}: alpha off the edges", alpha[:, ~a], 0.0, kind="equal")
    e.check(f"{name}: smallest alpha on an edge", alpha[:, a].min(), 0.0, kind="above")
    return alpha


def check_whole(e: Run, layer: Any, x: np.ndarray) -> None:
    """On a complete graph with loops this is ordinary attention."""
    everything = np.argwhere(np.ones((NODES, NODES))).T
    s, _ = attend(layer, x, everything)
    q, k, v = (f(pn.tensor(x)).detach().numpy().reshape(NODES, HEADS, K).swapaxes(0, 1)
               for f in (layer.lin_query, layer.lin_key, layer.lin_value))  # fmt: skip
    alpha = pn.softmax(pn.tensor(q @ k.swapaxes(1, 2) / K**0.5), 2).numpy()
    ordinary = (alpha @ v).swapaxes(0, 1).reshape(NODES, -1)
    e.check("complete graph with loops minus softmax(Q K^T / sqrt k) V", s, ordinary, 1e-10)


def check_loops(e: Run, layer: Any, x: np.ndarray, edge_index: np.ndarray) -> None:
    """Beyond: a node that may attend to itself."""
    _, alpha = attend(layer, x, edge_index)
    loops = nn.TransformerConv(D, K, HEADS, bias=False, root_weight=False, self_loops=True, dtype=np.float64)
    loops.load_state_dict(layer.state_dict())
    with_loops, widened = attend(loops, x, edge_index)
    right = by_formula(layer, x, adjacency(edge_index) | np.eye(NODES, dtype=bool), K**0.5)
    e.check("ring with loops: alpha minus the formula over neighbours and v", widened, right["alpha"], 1e-12)
    e.check("ring with loops: S minus the formula", with_loops, right["S"], 1e-12)
    own = np.diagonal(widened, axis1=1, axis2=2)
    e.report("ring with loops: mean weight of a node for itself, 1/3 if all were equal", own.mean())
    # What a neighbour loses to the loop is a common factor: the others' weights keep their ratios.
    others = widened * (1 - np.eye(NODES)) / (1 - own)[:, :, None]
    e.check("ring with loops: weights of the neighbours, rescaled, minus those without loops", others, alpha, 1e-12)


def check_isolated(e: Run, layer: Any, x: np.ndarray, edge_index: np.ndarray) -> None:
    alone = edge_index[:, (edge_index != 0).all(0)]
    node = pn.tensor(x, requires_grad=True)
    s = layer(node, alone)
    s.sum().backward()
    e.check("isolated node: its message", s.detach().numpy()[0], 0.0, kind="equal")
    finite = np.isfinite(s.detach().numpy()).all() and np.isfinite(np.asarray(node.grad)).all()
    e.check("isolated node: every output and gradient is a number", bool(finite), kind="true")


def check_reach(e: Run, found: dict[str, np.ndarray], x: np.ndarray) -> dict[str, list[np.ndarray]]:
    """The Jacobian of a stack of L layers: block (v, u) is zero, exactly, if and only if v is more than L steps from u.

    Returns the largest entry of each block, for each graph and L.
    """
    stack = [Layer() for _ in range(3)]
    sizes: dict[str, list[np.ndarray]] = {}
    for name, edge_index in found.items():
        edges, far = nn.Edges.of(edge_index, NODES), distances(adjacency(edge_index))
        sizes[name] = []
        for count in (1, 2, 3):

            def outputs(h: pn.Tensor, count: int = count, edges: nn.Edges = edges) -> pn.Tensor:
                for layer in stack[:count]:
                    h = layer(h, edges)
                return h

            blocks = np.abs(pn.jacobian(outputs)(pn.tensor(x)).detach().numpy()).max((1, 3))
            e.check(f"{name}, {count} layers: Jacobian beyond {count} steps", blocks[far > count], 0.0, kind="equal")
            e.check(f"{name}, {count} layers: smallest block within {count} steps", blocks[far <= count].min(), 0.0,
                    kind="above")  # fmt: skip
            sizes[name].append(blocks)
    return sizes


def draw(e: Run, found: dict[str, np.ndarray], weights: dict[str, np.ndarray], supports: dict[str, Any]) -> None:
    fig, axes = plots.new(1, 3, width=10.5, height=3.7)
    for ax, (name, edge_index) in zip(axes, found.items(), strict=True):
        shown = weights[name][0][edge_index[1], edge_index[0]]
        draw_graph(ax, edge_index, shown, np.zeros(NODES), title=f"{name}, head 1")
    caption = "An arrow from u to v is as strong as v's weight for u; the arrows into a node add up to 1."
    data = {f"alpha_{name}": a for name, a in weights.items()} | {f"edges_{name}": i for name, i in found.items()}
    e.figure("weights", fig, caption, data)
    fig, axes = plots.new(3, 3, width=8.6, height=8.6)
    with plots.style():
        fig.supxlabel("u", fontsize=9)
        fig.supylabel("v", fontsize=9)
        for row, (name, blocks) in zip(axes, supports.items(), strict=True):
            for count, (ax, block) in enumerate(zip(row, blocks, strict=True), 1):
                powers = np.log10(np.where(block > 0, block, np.nan))
                ax.imshow(powers, cmap="Blues", vmin=-6, vmax=1)
                ax.set(title=f"{name}, L = {count}", xticks=range(0, NODES, 2), yticks=range(0, NODES, 2))
                ax.grid(False)
    caption = (
        "The largest entry of each block of the Jacobian of output v by input u, in powers of ten; white is exactly 0."
    )
    e.figure("reach", fig, caption, {f"{name}_{k + 1}": b for name, bs in supports.items() for k, b in enumerate(bs)})
    e.table("reach", ["graph", "L = 1", "L = 2", "L = 3"],
            [[name, *(int((b > 0).sum()) for b in bs)] for name, bs in supports.items()],
            caption=f"Pairs (v, u), of {NODES**2}, in which the output at v depends on the input at u.")  # fmt: skip
