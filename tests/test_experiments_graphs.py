"""Experiments on graphs: each runs in the quick profile, and its checks pass; drawing graphs."""

from __future__ import annotations

import numpy as np
import pytest
from experimenting import passing

from pyneural import plots
from pyneural.experiments._nodes import draw_graph
from pyneural.experiments.graph_transformer_classifier import NODES, best_rule, make_graph, share_right


@pytest.mark.parametrize("id", ["graph-attention", "graph-transformer-classifier"])
def test_quick_profile_passes(id, tmp_path):
    passing(id, tmp_path, threads=1)


def test_graphs_are_as_they_are_described():
    rng = np.random.default_rng(1)
    graphs = [make_graph(rng, k % 2 == 0) for k in range(400)]
    for g in graphs[:20]:
        a = np.zeros((NODES, NODES), int)
        a[g.edge_index[1], g.edge_index[0]] += 1
        assert g.edge_index.shape == (2, 32)
        assert (a == a.T).all()
        assert not a.diagonal().any()
        assert all(a[v, (v + 1) % NODES] for v in range(NODES))
    sums = [np.mean([g.x.sum() for g in graphs if g.y == y]) for y in (0, 1)]
    assert abs(sums[0] - sums[1]) < 0.5  # as many nodes are hit in both classes
    assert 0.9 < share_right(best_rule(graphs), graphs) < 1


def test_loops_and_edges_are_drawn():
    fig, ax = plots.new()
    shown = draw_graph(ax, np.array([[0, 1, 2], [1, 1, 0]]), np.array([0.2, 1.0, 0.5]), np.zeros(3))
    fig.canvas.draw()
    assert len(ax.patches) == 3
    assert shown is not None
