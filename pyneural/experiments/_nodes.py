"""Graphs as pictures: nodes on a circle, edges as arrows whose width and shade is a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyneural import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def circle(count: int) -> np.ndarray:
    """Places for nodes on a circle, (count, 2): the first on top, then clockwise."""
    turn = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(turn), np.cos(turn)], 1)


def both_ways(pairs: Any) -> np.ndarray:
    """Undirected edges (pairs, 2) as edge_index (2, 2 * pairs): each pair there, and then each back."""
    pairs = np.asarray(pairs).reshape(-1, 2)
    return np.concatenate([pairs, pairs[:, ::-1]]).T


def draw_graph(
    axes: Axes, edge_index: np.ndarray, weights: np.ndarray, values: np.ndarray | None = None, *, title: str = ""
) -> Any:
    """Draws edges (2, E) with their weights in [0, 1], on nodes coloured by `values` and marked with their numbers.

    Edges bend, so that the way back stands beside the way there. Returns what a colour bar of the
    values needs, None without values.
    """
    from matplotlib.patches import FancyArrowPatch

    count = int(edge_index.max()) + 1 if values is None else len(values)
    places = circle(count)
    with plots.style():
        for (u, v), weight in zip(edge_index.T, np.asarray(weights, np.float64), strict=True):
            look: dict[str, Any] = {
                "color": plots.LINES[0],
                "alpha": 0.15 + 0.85 * float(weight),
                "lw": 0.4 + 3 * float(weight),
            }
            if u == v:
                out = places[v] * 1.2
                axes.add_patch(
                    FancyArrowPatch(places[v] + 0.05 * out[::-1] * [1, -1], places[v] - 0.05 * out[::-1] * [1, -1],
                                    connectionstyle="arc3,rad=2.5", arrowstyle="-", **look))  # fmt: skip
                continue
            axes.add_patch(FancyArrowPatch(places[u], places[v], connectionstyle="arc3,rad=0.12", shrinkA=8, shrinkB=8,
                                           arrowstyle="-|>", mutation_scale=7, **look))  # fmt: skip
        look = {"color": "white"} if values is None else {"c": values, "cmap": "coolwarm", "vmin": -1.5, "vmax": 1.5}
        shown: Any = axes.scatter(*places.T, edgecolors="#666666", linewidths=0.8, zorder=3, **{"s": 150, **look})
        for node, place in enumerate(places):
            axes.annotate(str(node), place, ha="center", va="center", fontsize=7, zorder=4)
        axes.set(title=title, xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal", xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    return None if values is None else shown
