"""Central differences beside autodiff: the recorded calls run again, in float64, with one value moved a little."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _engine
from ..autodiff import no_grad
from ..tensor import from_numpy
from .graph import Check, Graph, Leaf, Node

#: A tensor with more elements is checked along one random direction.
MOST = 64
_STEP = 1e-5


def check(graph: Graph, seed: int = 0) -> None:
    """Fills in `check` of every node and leaf that the (only) walk has reached.

    Raises:
        ValueError: There are several walks, whose losses the calls cannot be told apart by; or a value is not known.
    """
    if len(graph.walks) != 1:
        raise ValueError(f"explain: differences= works for one walk back, this step makes {len(graph.walks)}; explain "
                         "the function that computes one loss")  # fmt: skip
    for leaf in graph.leaves:
        if leaf.before.array is None:
            raise ValueError(f"explain: differences= needs every value, but the tape has not kept {leaf.name}, an "
                             "input of a call; explain the function instead of its result")  # fmt: skip
    again = _Again(graph)
    rng = np.random.Generator(np.random.PCG64(seed))
    for node in graph.nodes:
        if node.visit is not None and node.visit.sums[0] is not None and node.t is not None:
            node.check = again.compare(node, node.t, rng)
    for leaf in graph.walks[0].leaves:
        if leaf.gradient is not None:
            leaf.check = again.compare(leaf, leaf.gradient, rng)


class _Again:
    def __init__(self, graph: Graph) -> None:
        from ..ops.record import RECORDS

        assert graph.loss is not None
        self.loss = graph.loss
        self.nodes = graph.nodes
        self.ops = {n.k: RECORDS[n.op].function for n in graph.nodes}
        start = [m.result.array for m in _starts(graph)]
        self.start = np.asarray(sum(np.asarray(s, np.float64) for s in start if s is not None))
        self.users: dict[int, list[Node]] = {}
        for node in graph.nodes:
            for source in node.sources:
                self.users.setdefault(id(source.vertex), []).append(node)
            for source in node.sources:
                if isinstance(source.vertex, Leaf) and source.vertex.origin is not None:
                    self.users.setdefault(id(source.vertex.origin.vertex), [])
        self.values: dict[int, list[Any]] = {}
        for leaf in graph.leaves:
            self.values[id(leaf)] = [_double(leaf.before.array)]
        self.base = dict(self.values)
        self._run(self.base, graph.nodes)

    def _run(self, values: dict[int, list[Any]], nodes: list[Node]) -> None:
        """Runs calls; what `values` holds of others stays."""
        with no_grad():
            for node in nodes:
                inputs: list[Any] = [None if s is None else values[id(s.vertex)][s.output] for s in node.inputs]
                op = self.ops[node.k]
                if node.op == "cast" and inputs[0].dtype.kind == "f" and node.outputs[0].dtype.startswith("float"):
                    out: Any = inputs[0]
                elif op.variadic:
                    out = op(inputs, *node.attributes.values())
                else:
                    out = op(*inputs, *node.attributes.values())
                values[id(node)] = list(out) if isinstance(out, tuple) else [out]

    def _behind(self, vertex: Node | Leaf) -> list[Node]:
        """The calls that depend on a vertex, in order; off the tape nothing does."""
        reached, todo = set(), [vertex]
        while todo:
            for node in self.users.get(id(todo.pop()), ()):
                if node.k not in reached:
                    reached.add(node.k)
                    todo.append(node)
        return [self.nodes[k - 1] for k in sorted(reached)]

    def compare(self, vertex: Node | Leaf, exact: np.ndarray, rng: np.random.Generator) -> Check:
        value = self.base[id(vertex)][0].numpy()
        behind = self._behind(vertex)

        def loss(moved: np.ndarray) -> float:
            values = dict(self.base)
            values[id(vertex)] = [from_numpy(moved), *self.base[id(vertex)][1:]]
            self._run(values, behind)
            result = values[id(self.loss.vertex)][self.loss.output]
            return float((np.asarray(result.numpy()) * self.start).sum())

        along = value.size > MOST
        exact = np.asarray(exact, np.float64)
        if along:
            d = rng.normal(size=value.shape)
            d /= np.sqrt((d * d).sum())
            step = _STEP * max(1.0, float(np.abs(value).max()))
            estimate: Any = np.asarray((loss(value + step * d) - loss(value - step * d)) / (2 * step))
            exact = np.asarray((exact * d).sum())
        else:
            estimate = np.empty(value.shape)
            for i in np.ndindex(value.shape):
                step = _STEP * max(1.0, abs(float(value[i])))
                up, low = value.copy(), value.copy()
                up[i] += step
                low[i] -= step
                estimate[i] = (loss(up) - loss(low)) / (up[i] - low[i])
        size = max(1.0, float(np.abs(exact).max())) if exact.size else 1.0
        error = float(np.abs(estimate - exact).max()) / size if exact.size else 0.0
        return Check(along, estimate, exact, error)


def _starts(graph: Graph) -> list[Any]:
    assert graph.loss is not None
    vertex = graph.loss.vertex
    return [m for m in vertex.messages if m.sender is None]


def _double(array: Any) -> Any:
    return _engine.tensor_from_array(np.array(array, np.float64 if array.dtype.kind == "f" else array.dtype), False)


__all__ = ["MOST", "check"]
