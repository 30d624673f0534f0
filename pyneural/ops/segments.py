"""Rows that are grouped by a number each (segments), and sums over the edges of a graph.

The rows of a segment are taken in their order, whatever the number of threads. :class:`Segments` finds out once which
rows each segment owns; :class:`Edges` does so for the edges of a graph, by the nodes that they lead to and come from.
``edge_sum`` and ``edge_dot`` are each other's adjoints: no array of one row per edge and feature is ever made.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from .. import _engine
from .elementwise import maximum, to
from .gathering import index_tensor
from .record import op
from .reduction import max as _max
from .shape import concatenate, reshape, stack

__all__ = ["segment_max", "segment_mean", "segment_softmax", "segment_sum"]
METHODS: tuple[str, ...] = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


# ---- references and samples ----


def _groups_reference(index: np.ndarray, skip: np.ndarray | None, num: int) -> np.ndarray:
    rows = np.arange(len(index)) if skip is None else np.flatnonzero(~skip)
    starts = np.concatenate([[0], np.cumsum(np.bincount(index[rows], minlength=num)[:num])])
    order = rows[np.argsort(index[rows], kind="stable")]
    return np.concatenate([starts, order, np.full(len(index) - len(rows), -1)]).astype(np.int64)


def _segments_in(groups: np.ndarray, rows: int) -> list[np.ndarray]:
    """The row numbers of each segment."""
    starts, order = groups[: len(groups) - rows], groups[len(groups) - rows :]
    return [order[a:b] for a, b in itertools.pairwise(starts)]


def _by_segment(rows_of: Any) -> Any:
    """A reference that applies a function to the rows of each segment; 0 without rows."""

    def reference(x: np.ndarray, groups: np.ndarray) -> np.ndarray:
        owned = _segments_in(groups, len(x))
        y = np.zeros((len(owned), *x.shape[1:]), x.dtype)
        for v, rows in enumerate(owned):
            if len(rows):
                y[v] = rows_of(x[rows])
        return y

    return reference


def _take_reference(x: np.ndarray, groups: np.ndarray) -> np.ndarray:
    n = len(groups) - len(x) - 1
    y = np.zeros((n, *x.shape[1:]), x.dtype)
    for v, rows in enumerate(_segments_in(groups, n)):
        y[rows] = x[v]
    return y


def _softmax_reference(x: np.ndarray, groups: np.ndarray) -> np.ndarray:
    y = np.zeros_like(x)
    for rows in _segments_in(groups, len(x)):
        if len(rows):
            e = np.exp(x[rows] - x[rows].max(0))
            y[rows] = e / e.sum(0)
    return y


def _rows(make: Any, *shape: int, num: int, distinct: bool = False) -> tuple:
    index = make.integers(0, num, shape[:1]) if num else np.zeros(0, np.int64)
    skip = make.integers(0, 5, shape[:1]) == 0 if shape[0] % 2 else None
    return make.distinct(*shape) if distinct else make(*shape), _groups_reference(index, skip, num)


def _row_samples(make: Any, distinct: bool = False) -> list[tuple]:
    shapes = (((7, 3), 4), ((9,), 3), ((40, 2, 5), 6), ((30, 4), 50), ((0, 3), 2), ((0, 2), 0), ((5, 0), 2),
              ((65, 40), 1), ((6000, 4), 700), ((900, 33), 40))  # fmt: skip
    return [_rows(make, *shape, num=num, distinct=distinct) for shape, num in shapes]


def _row_errors(make: Any) -> list[tuple]:
    x, groups = _rows(make, 5, 2, num=3)
    return [((x, groups[:4]), ValueError, "groups must be what segment_groups makes of 5 numbers"),
            ((x.astype(np.int64), groups), TypeError, "must be float32 or float64"),
            ((x[0, 0], groups), ValueError, "no dimensions")]  # fmt: skip


def _take_samples(make: Any) -> list[tuple]:
    return [(make(len(groups) - len(x) - 1, *x.shape[1:]), groups) for x, groups in _row_samples(make)]


def _edge_sum_reference(weight: Any, x: Any, source: Any, target: Any, incoming: Any, outgoing: Any) -> np.ndarray:
    messages = weight[:, :, None].astype(np.longdouble) * x[source]
    return _by_segment(lambda rows: rows.sum(0))(messages, incoming).astype(x.dtype)


def _edge_dot_reference(a: Any, b: Any, target: Any, source: Any, incoming: Any, outgoing: Any) -> np.ndarray:
    y = (a[target].astype(np.longdouble) * b[source]).sum(2).astype(a.dtype)
    y[np.setdiff1d(np.arange(len(y)), np.concatenate([[-1], *_segments_in(incoming, len(y))]))] = 0
    return y


def _graph(make: Any, targets: int, sources: int, edges: int) -> tuple:
    source, target = make.integers(0, max(sources, 1), (edges,)), make.integers(0, max(targets, 1), (edges,))
    skip = make.integers(0, 5, (edges,)) == 0 if edges % 2 else None
    return source, target, _groups_reference(target, skip, targets), _groups_reference(source, skip, sources)


#: Targets, sources, edges, heads, depth: depths around the 16 columns that are kept in registers.
_GRAPHS = ((4, 5, 7, 2, 3), (3, 3, 0, 2, 4), (6, 6, 20, 1, 16), (5, 9, 30, 4, 16), (5, 9, 30, 3, 32), (1, 1, 3, 1, 1),
           (0, 2, 0, 1, 2), (4, 4, 9, 2, 0), (300, 200, 2000, 4, 16), (30, 20, 200, 2, 33))  # fmt: skip


def _edge_sum_samples(make: Any) -> list[tuple]:
    return [(make(edges, heads), make(sources, heads, depth), *_graph(make, targets, sources, edges))
            for targets, sources, edges, heads, depth in _GRAPHS]  # fmt: skip


def _edge_dot_samples(make: Any) -> list[tuple]:
    found = []
    for targets, sources, edges, heads, depth in (*_GRAPHS, (3, 3, 5, 2, 100)):
        source, target, incoming, outgoing = _graph(make, targets, sources, edges)
        found.append((make(targets, heads, depth), make(sources, heads, depth), target, source, incoming, outgoing))
    return found


def _edge_sum_errors(make: Any) -> list[tuple]:
    graph = _graph(make, 4, 5, 7)
    return [((make(7, 2), make(6, 2, 3), *graph), ValueError, r"x must be float64 of shape \(5, heads, depth\)"),
            ((make(7, 2), make(5, 3, 3), *graph), ValueError, "differ in the number of heads"),
            ((make(7), make(5, 2, 3), *graph), ValueError, r"weight must be \(edges, heads\)"),
            ((make(8, 2), make(5, 2, 3), *graph), ValueError, "of 8 rows must be an int64 vector")]  # fmt: skip


def _edge_dot_errors(make: Any) -> list[tuple]:
    source, target, incoming, outgoing = _graph(make, 4, 5, 7)
    graph = (target, source, incoming, outgoing)
    return [((make(4, 2, 3), make(5, 2, 4), *graph), ValueError, "differ in heads or depth"),
            ((make(5, 2, 3), make(5, 2, 3), *graph), ValueError, r"a must be float64 of shape \(4, heads, depth\)"),
            ((make(4, 2, 3), make(5, 2, 3), target, source[:6], incoming, outgoing), ValueError,
             "of 7 rows must be an int64 vector")]  # fmt: skip


# ---- primitives ----


def _max_gradient(g: Tensor, x: Tensor, y: Tensor, groups: Tensor) -> Tensor:
    """g in equal parts to all elements that are equal to the maximum."""
    ties = to(x == _take(y, groups), x.dtype)
    return ties * _take(g / maximum(_sum(ties, groups), 1.0), groups)


#: ``segment_groups(index, skip, num)``: the rows of each of num segments, as csrc/ops/segments.cpp describes it.
_groups: Any = op(
    "segment_groups",
    "index skip?",
    attributes="num",
    reference=_groups_reference,
    samples=lambda make: [(make.integers(0, 5, (9,)), None, 5), (make.integers(0, 5, (3,)), None, 8),
                          (np.zeros(0, np.int64), None, 0), (np.zeros(0, np.int64), None, 3),
                          (make.integers(0, 40, (3000,)), make.bools(3000), 40),
                          (make.integers(0, 2, (3,)), np.ones(3, bool), 2)],
    errors=lambda make: [((np.array([0, 3]), None, 3), IndexError, "index 3 is out of range for segments"),
                         ((np.array([0, -1]), None, 3), IndexError, r"index -1 is out of range .*valid: 0 to 2"),
                         ((np.array([[0]]), None, 3), ValueError, "must be an int64 vector"),
                         ((np.zeros(0, np.int64), None, -1), ValueError, "at least 0"),
                         ((np.array([0]), np.ones(2, bool), 3), ValueError, r"skip must be bool of shape \(1,\)")],
    differences=False,
)  # fmt: skip
_sum: Any = op("segment_sum", "x groups", reference=_by_segment(lambda rows: rows.astype(np.longdouble).sum(0)),
               gradient={"x": lambda g, groups: _take(g, groups)},
               formula={"x": r"g\text{ of the row's segment}"}, samples=_row_samples, errors=_row_errors,
               tolerance=32)  # fmt: skip
_take: Any = op("segment_take", "x groups", reference=_take_reference,
                gradient={"x": lambda g, groups: _sum(g, groups)},
                formula={"x": r"\sum g\text{ over the rows of the segment}"}, samples=_take_samples,
                errors=lambda make: [((make(4, 2), np.zeros(4, np.int64)), ValueError, "makes for 4 segments")]
                )  # fmt: skip
_maximum: Any = op("segment_max", "x groups", reference=_by_segment(lambda rows: rows.max(0)),
                   gradient={"x": _max_gradient},
                   formula={"x": r"g\text{ of the row's segment where }x\text{ is its maximum}"},
                   samples=lambda make: _row_samples(make, distinct=True), errors=_row_errors)  # fmt: skip
_softmax: Any = op("segment_softmax", "x groups", reference=_softmax_reference,
                   gradient={"x": lambda g, y, groups: y * (g - _take(_sum(g * y, groups), groups))},
                   formula={"x": r"y\,(g - \sum g\,y)\text{, summed over the segment}"}, samples=_row_samples,
                   errors=_row_errors, tolerance=16)  # fmt: skip
edge_sum: Any = op("edge_sum", "weight x source target incoming outgoing", reference=_edge_sum_reference,
                   gradient={"weight": lambda g, x, source, target, incoming, outgoing: edge_dot(
                                 g, x, target, source, incoming, outgoing),
                             "x": lambda g, weight, source, target, incoming, outgoing: edge_sum(
                                 weight, g, target, source, outgoing, incoming)},
                   formula={"weight": r"g \cdot x\text{ on each edge}",
                            "x": r"\sum \mathrm{weight}\,g\text{ over the edges that leave}"},
                   samples=_edge_sum_samples, errors=_edge_sum_errors, tolerance=32)  # fmt: skip
edge_dot: Any = op("edge_dot", "a b target source incoming outgoing", reference=_edge_dot_reference,
                   gradient={"a": lambda g, b, target, source, incoming, outgoing: edge_sum(
                                 g, b, source, target, incoming, outgoing),
                             "b": lambda g, a, target, source, incoming, outgoing: edge_sum(
                                 g, a, target, source, outgoing, incoming)},
                   formula={"a": r"\sum g\,b\text{ over the edges that arrive}",
                            "b": r"\sum g\,a\text{ over the edges that leave}"},
                   samples=_edge_dot_samples, errors=_edge_dot_errors, tolerance=64)  # fmt: skip


# ---- public ----


class Segments(NamedTuple):
    """Which rows belong to which segment, found out once: what the segment functions take instead of an index.

    Made by :meth:`of`. A tuple, so that a compiled step may take it as an argument.
    """

    groups: Tensor
    num_segments: int

    @classmethod
    def of(cls, index: Any, num_segments: int | None = None) -> Segments:
        """Of the segment number of each row, sorted or not; without num_segments there are max(index) + 1.

        Raises:
            IndexError: A number is negative or not below num_segments.
            TypeError: index holds no integers.
            ValueError: index is no vector, or num_segments is negative.
        """
        index = index_tensor("segments", index)
        if num_segments is None:
            num_segments = int(_max(index).item()) + 1 if index.numel() else 0
        return cls(_groups(index, None, num_segments), num_segments)

    def counts(self) -> Tensor:
        """The number of rows of each segment, int64."""
        return self.groups[1 : self.num_segments + 1] - self.groups[: self.num_segments]


def _segments(x: Any, index: Any, num_segments: int | None, name: str) -> tuple[Tensor, Segments]:
    x = as_tensor(x, name)
    if not isinstance(index, Segments):
        index = index_tensor(name, index)
        if x.ndim == 0 or index.shape != x.shape[:1]:
            raise ValueError(f"{name}: x of shape {x.shape} needs one segment number for each row, got shape "
                             f"{index.shape}")  # fmt: skip
        index = Segments.of(index, num_segments)
    elif num_segments not in (None, index.num_segments):
        raise ValueError(f"{name}: num_segments is {num_segments}, but the segments were made for {index.num_segments}")
    if x.ndim == 0 or index.groups.shape[0] - index.num_segments - 1 != x.shape[0]:
        raise ValueError(f"{name}: the segments were made of {index.groups.shape[0] - index.num_segments - 1} rows, but "
                         f"x has shape {x.shape}")  # fmt: skip
    return x, index


def segment_sum(x: Tensor, index: Any, num_segments: int | None = None) -> Tensor:
    """The sum of the rows of each segment: ``y[v] = sum of x[e] over the e with index[e] == v``; 0 without rows.

    Args:
        x: Float tensor (E, ...).
        index: E segment numbers, sorted or not, or :class:`Segments` made of them.
        num_segments: How many segments there are; None: max(index) + 1, which a compiled step cannot look up.

    Returns:
        (num_segments, ...), in x's dtype. Rows are added in their order, whatever the number of threads.

    Raises:
        IndexError: A segment number is out of range.
        TypeError: x is no float tensor, or index holds no integers.
        ValueError: There are not as many numbers as rows.
    """
    x, segments = _segments(x, index, num_segments, "segment_sum")
    return _sum(x, segments.groups)


def segment_mean(x: Tensor, index: Any, num_segments: int | None = None) -> Tensor:
    """The mean of the rows of each segment, 0 without rows; arguments as for :func:`segment_sum`."""
    x, segments = _segments(x, index, num_segments, "segment_mean")
    counts = reshape(maximum(segments.counts(), 1), (-1, *[1] * (x.ndim - 1)))
    return _sum(x, segments.groups) / to(counts, x.dtype)


def segment_max(x: Tensor, index: Any, num_segments: int | None = None) -> Tensor:
    """The maximum of the rows of each segment, element by element; arguments as for :func:`segment_sum`.

    Without rows it is 0, as in PyTorch Geometric. NaN counts as the largest. The gradient goes in equal parts to all
    elements that are equal to the maximum.
    """
    x, segments = _segments(x, index, num_segments, "segment_max")
    return _maximum(x, segments.groups)


def segment_softmax(x: Tensor, index: Any, num_segments: int | None = None) -> Tensor:
    """exp(x) divided by its sum over the rows of the segment, element by element; arguments as for :func:`segment_sum`.

    Returns:
        A tensor of x's shape. Computed as exp(x - max), so that nothing overflows; where all of a segment is -inf, NaN.
    """
    x, segments = _segments(x, index, num_segments, "segment_softmax")
    return _softmax(x, segments.groups)


class Edges(NamedTuple):
    """The edges of a graph, each from a source node to a target node, grouped once by both.

    Made by :meth:`of`. A tuple of tensors, so that a compiled step may take it as an argument.

    Attributes:
        source, target: Node numbers (E,), int64.
        incoming, outgoing: Which edges lead to each node, and which leave it.
    """

    source: Tensor
    target: Tensor
    incoming: Tensor
    outgoing: Tensor

    @classmethod
    def of(cls, edge_index: Any, num_nodes: int, self_loops: bool | None = None) -> Edges:
        """Of node numbers (2, E): sources above, targets below, as PyTorch Geometric has it. Repeated edges count.

        Args:
            edge_index: Integers in [0, num_nodes).
            num_nodes: How many nodes there are; those without edges count.
            self_loops: None: as they are given. False: edges from a node to itself are left out: they keep their places
                but carry nothing. True: as well, and then each node gets one, in the order of nodes after the others.

        Raises:
            IndexError: A node number is negative or not below num_nodes.
            TypeError: edge_index holds no integers.
            ValueError: edge_index is not (2, E).
        """
        edge_index = index_tensor("edge_index", edge_index)
        if edge_index.ndim != 2 or edge_index.shape[0] != 2:
            raise ValueError(f"edge_index must have shape (2, edges), sources above targets, got {edge_index.shape}")
        source, target = edge_index[0], edge_index[1]
        skip = None
        if self_loops is not None:
            skip = source == target
        if self_loops:
            nodes = as_tensor(np.arange(num_nodes))
            source, target = concatenate((source, nodes)), concatenate((target, nodes))
            skip = concatenate((skip, as_tensor(np.zeros(num_nodes, bool))))
        return cls(source, target, _groups(target, skip, num_nodes), _groups(source, skip, num_nodes))

    @property
    def num_nodes(self) -> int:
        return self.incoming.shape[0] - self.target.shape[0] - 1

    @property
    def edge_index(self) -> Tensor:
        """(2, E)."""
        return stack((self.source, self.target))

    def softmax(self, scores: Tensor) -> Tensor:
        """Of scores (E, ...): softmax over the edges that lead to the same node; 0 for edges that are left out."""
        return _softmax(scores, self.incoming)

    def from_sources(self, x: Tensor) -> Tensor:
        """The row of each edge's source: (N, ...) gives (E, ...); 0 for edges that are left out."""
        return _take(x, self.outgoing)

    def from_targets(self, x: Tensor) -> Tensor:
        """The row of each edge's target."""
        return _take(x, self.incoming)

    def to_targets(self, x: Tensor) -> Tensor:
        """The sum over the edges that lead to each node: (E, ...) gives (N, ...)."""
        return _sum(x, self.incoming)

    def weighted_sum(self, weight: Tensor, x: Tensor) -> Tensor:
        """y[v, h] = sum over the edges e from u to v of weight[e, h] x[u, h]: (E, H) and (N, H, D) give (N, H, D)."""
        return edge_sum(weight, x, self.source, self.target, self.incoming, self.outgoing)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """y[e, h] = a[v, h] . b[u, h] for the edge e from u to v: two times (N, H, D) give (E, H)."""
        return edge_dot(a, b, self.target, self.source, self.incoming, self.outgoing)
