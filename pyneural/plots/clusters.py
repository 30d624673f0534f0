"""Clusters: the cells of centres in the plane, and centres that are images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .images import image_grid
from .style import CLASSES, INK, into, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = 400  # samples along each axis


def voronoi_cells(
    centers: Any,
    points: Any = None,
    labels: Any = None,
    *,
    names: Sequence[Any] | None = None,
    limits: tuple[float, float, float, float] | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draws which part of the plane is nearest to which centre: shaded cells with their borders, and the centres.

    Args:
        centers: (k, 2).
        points: (N, 2) to draw over the cells, coloured by ``labels`` (N,) or by the cell that they lie in.
        names: What to write beside the centres; their numbers if None.
        limits: (left, right, bottom, top); what holds centres and points, and a margin, if None.
        axes: Draw into these.

    Raises:
        ValueError: centers or points are not rows of two numbers, or labels have another length than points.
    """
    c = np.asarray(centers, dtype=np.float64)
    if c.ndim != 2 or c.shape[1] != 2 or len(c) == 0:
        raise ValueError(f"voronoi_cells: centers must have shape (k, 2), got {c.shape}")
    p = np.zeros((0, 2)) if points is None else np.asarray(points, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 2:
        raise ValueError(f"voronoi_cells: points must have shape (N, 2), got {p.shape}")
    if labels is not None and len(np.asarray(labels)) != len(p):
        raise ValueError(f"voronoi_cells: there are {len(np.asarray(labels))} labels for {len(p)} points")
    if limits is None:
        both = np.concatenate([c, p])
        low, high = both.min(axis=0), both.max(axis=0)
        margin = 0.15 * np.where(high > low, high - low, 1.0)
        limits = (low[0] - margin[0], high[0] + margin[0], low[1] - margin[1], high[1] + margin[1])
    left, right, bottom, top = limits
    x, y = np.meshgrid(np.linspace(left, right, _SIDE), np.linspace(bottom, top, _SIDE))
    cells = _nearest(np.stack([x, y], axis=-1), c)
    fig, ax = into(axes, width=4.6, height=4.2)
    colours = [CLASSES[i % len(CLASSES)] for i in range(len(c))]
    from matplotlib.colors import ListedColormap

    with style():
        ax.imshow(
            cells, origin="lower", extent=limits, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(c) - 0.5,
            alpha=0.22, interpolation="nearest", aspect="auto", zorder=0,
        )  # fmt: skip
        for i in range(len(c)):
            if (cells == i).any() and not (cells == i).all():
                ax.contour(x, y, cells == i, levels=[0.5], colors=INK, linewidths=0.6, zorder=1)
        if len(p):
            owner = _nearest(p, c) if labels is None else np.asarray(labels)
            shown = [colours[int(i) % len(c)] for i in owner]
            ax.scatter(p[:, 0], p[:, 1], s=22, c=shown, edgecolors=INK, linewidths=0.5, zorder=3)
        ax.scatter(c[:, 0], c[:, 1], s=70, marker="X", c=colours, edgecolors=INK, linewidths=0.9, zorder=4)
        for i, at in enumerate(c):
            name = str(i if names is None else names[i])
            ax.annotate(name, at, xytext=(6, 5), textcoords="offset points", fontsize=8, zorder=5)
        ax.grid(False)
        ax.set_xlim(left, right)
        ax.set_ylim(bottom, top)
        if title:
            ax.set_title(title)
    return fig


def _nearest(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return ((x[..., None, :] - centers) ** 2).sum(axis=-1).argmin(axis=-1)


def center_images(
    centers: Any,
    counts: Sequence[Any] | None = None,
    *,
    columns: int = 10,
    shape: tuple[int, int] | None = (28, 28),
    title: str = "",
) -> Figure:
    """Draws centres (k, pixels) as grey images, with their number and, if given, how many rows each holds."""
    titles = [str(i) if counts is None else f"{i}: {int(counts[i]):,}" for i in range(len(centers))]
    return image_grid(np.asarray(centers), titles, columns=columns, shape=shape, title=title)
