"""Graphs and batches of graphs of different sizes: the graphs side by side as one graph without edges between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ops.segments import Edges, Segments
from ..random import Generator, randperm
from ..tensor import Tensor, as_tensor


class Graph(NamedTuple):
    """One graph.

    Attributes:
        x: Features of the nodes (N, ...).
        edge_index: Node numbers (2, E), sources above targets.
        y: What is to be learned of the graph, or None.
    """

    x: Any
    edge_index: Any
    y: Any = None


class GraphBatch(NamedTuple):
    """Several graphs as one. A tuple, so that a compiled step may take it as an argument.

    Attributes:
        x: Features of all nodes (N, ...).
        edge_index: Node numbers in x (2, E).
        batch: The graph number of each node (N,).
        num_graphs: How many graphs there are, padding included.
        y: The graphs' targets (graphs, ...), or None.
    """

    x: Tensor
    edge_index: Tensor
    batch: Tensor
    num_graphs: int
    y: Tensor | None = None

    @classmethod
    def of(cls, graphs: Sequence[Graph], nodes: int | None = None, edges: int | None = None) -> GraphBatch:
        """The graphs side by side.

        A recorded step is replayed for arguments of one shape; with ``nodes`` and ``edges`` a batch is padded to that
        many. The padding is one more graph, the last, whose nodes are zeros and have their edges among themselves.
        Nothing flows between it and the others, so that results for ``[:len(y)]`` are those without it.

        Raises:
            IndexError: An edge leads to a node that its graph does not have.
            ValueError: There are no graphs, their features do not fit, only some have targets, or there are more nodes
                or edges than wanted.
        """
        if not graphs:
            raise ValueError("GraphBatch: there are no graphs to put together")
        xs = [np.asarray(g.x) for g in graphs]
        lists = [np.asarray(g.edge_index) for g in graphs]
        if any(x.ndim == 0 or x.shape[1:] != xs[0].shape[1:] for x in xs):
            raise ValueError(
                f"GraphBatch: the nodes' features must have one shape, got {sorted({x.shape[1:] for x in xs})}"
            )
        for k, (x, e) in enumerate(zip(xs, lists, strict=True)):
            if e.ndim != 2 or e.shape[0] != 2:
                raise ValueError(f"GraphBatch: edge_index of graph {k} must have shape (2, edges), got {e.shape}")
            if e.size and not 0 <= e.min() <= e.max() < len(x):
                raise IndexError(f"GraphBatch: edge_index of graph {k} must hold numbers from 0 to {len(x) - 1}, got "
                                 f"{e.min()} to {e.max()}")  # fmt: skip
        sizes = [len(x) for x in xs]
        lists = [e.astype(np.int64) + shift for e, shift in zip(lists, np.cumsum([0, *sizes]), strict=False)]
        y = None
        if any(g.y is not None for g in graphs):
            if any(g.y is None for g in graphs):
                raise ValueError("GraphBatch: some graphs have a target y and some have none")
            y = as_tensor(np.stack([np.asarray(g.y) for g in graphs]))
        total, count = sum(sizes), sum(e.shape[1] for e in lists)
        if nodes is not None or edges is not None:
            spare, loops = (total + 1 if nodes is None else nodes) - total, (count if edges is None else edges) - count
            if spare < 1 or loops < 0:
                raise ValueError(f"GraphBatch: {total} nodes and {count} edges do not fit into {nodes} nodes (one is "
                                 f"needed for the padding) and {edges} edges")  # fmt: skip
            sizes.append(spare)
            xs.append(np.zeros((spare, *xs[0].shape[1:]), xs[0].dtype))
            lists.append(np.full((2, loops), total, np.int64))
        batch = np.repeat(np.arange(len(sizes)), sizes)
        return cls(as_tensor(np.concatenate(xs)), as_tensor(np.concatenate(lists, 1)), as_tensor(batch), len(sizes), y)

    def edges(self, self_loops: bool | None = None) -> Edges:
        """The edges, grouped for the layers; see :meth:`pyneural.nn.Edges.of`."""
        return Edges.of(self.edge_index, self.x.shape[0], self_loops)

    def segments(self) -> Segments:
        """The nodes of each graph, grouped for pooling."""
        return Segments.of(self.batch, self.num_graphs)


class GraphBatches:
    """Graphs in batches, in a new order each time it is looped over. Made by :func:`graph_batches`."""

    def __init__(
        self, graphs: Sequence[Graph], batch_size: int, shuffle: bool, generator: Generator | None, pad: bool
    ) -> None:
        self.graphs, self.batch_size, self.shuffle, self.generator = list(graphs), batch_size, shuffle, generator
        self.room: tuple[int, int] | None = None
        if pad:
            sizes = sorted((len(np.asarray(g.x)) for g in self.graphs), reverse=True)
            edges = sorted((np.asarray(g.edge_index).shape[1] for g in self.graphs), reverse=True)
            self.room = sum(sizes[:batch_size]) + 1, sum(edges[:batch_size])

    def __len__(self) -> int:
        return -(-len(self.graphs) // self.batch_size)

    def __iter__(self) -> Iterator[GraphBatch]:
        n = len(self.graphs)
        order = randperm(n, generator=self.generator).numpy() if self.shuffle else np.arange(n)
        for first in range(0, n, self.batch_size):
            chosen = [self.graphs[k] for k in order[first : first + self.batch_size]]
            yield GraphBatch.of(chosen, *(self.room or (None, None)))


def graph_batches(
    graphs: Sequence[Graph],
    batch_size: int = 32,
    shuffle: bool = True,
    generator: Generator | None = None,
    pad: bool = False,
) -> GraphBatches:
    """Batches of graphs, to loop over once per epoch; the last one holds what is left.

    Args:
        graphs: Of any sizes.
        batch_size: Graphs per batch.
        shuffle: A new order in each epoch.
        generator: Where orders are drawn from; the global one by default.
        pad: Pad all batches to the size of the largest that can come, so that a compiled step is replayed for each full
            batch; see :meth:`GraphBatch.of`.

    Raises ValueError if ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"graph_batches: batch_size must be at least 1, got {batch_size}")
    return GraphBatches(graphs, batch_size, shuffle, generator, pad)
