"""Slices of a loss: a surface, a contour plot, and the grid's rows as lines, with violated midpoints marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import INK, LINES, into, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARK = LINES[1]


def _grid(name: str, x: Any, y: Any, values: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = (np.asarray(a, np.float64) for a in (x, y, values))
    if z.shape != (*x.shape, *y.shape) or z.ndim != 2:
        raise ValueError(f"{name}: values {z.shape} must have shape (len(x), len(y)); x is {x.shape}, y {y.shape}")
    return x, y, z


def surface(
    x: Any,
    y: Any,
    values: Any,
    *,
    marks: Any = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    zlabel: str = "",
    axes: Axes | None = None,
) -> Figure:
    """The values (len(x), len(y)) of a grid as a surface over the plane.

    Args:
        x, y: The grid's coordinates; ``values[i, j]`` stands over (x[i], y[j]).
        marks: bool, of the shape of values: points to mark (``midpoint_violations(values).where``).
        axes: Three-dimensional axes to draw into, from ``new(projection="3d")``.

    Raises:
        ValueError: The shapes do not fit.
    """
    x, y, z = _grid("surface", x, y, values)
    fig, ax = into(axes, width=5.2, height=4.2, projection="3d")
    if not hasattr(ax, "plot_surface"):
        raise ValueError("surface: axes must be three-dimensional; make them with new(projection='3d')")
    across, along = np.meshgrid(x, y, indexing="ij")
    # At most 50 lines a side, picked here: from patches with unequal numbers of corners matplotlib 3.10 makes an array
    # that it fills in part and projects whole, so that what lay in memory there can overflow.
    i, j = (np.unique(np.linspace(0, n - 1, min(n, 50)).round().astype(int)) for n in z.shape)
    drawn = np.ix_(i, j)
    with style():
        shade = 0.9 if marks is None else 0.7
        ax.plot_surface(across[drawn], along[drawn], z[drawn], cmap="viridis", rstride=1, cstride=1, linewidth=0.2,
                        edgecolor="#ffffff40", alpha=shade)  # fmt: skip
        if marks is not None and np.any(marks):
            at = np.asarray(marks, bool)
            ax.scatter(across[at], along[at], z[at], s=5, color=MARK, depthshade=False)
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
        ax.set_zlabel(zlabel)
        ax.tick_params(labelsize=7, pad=0)
        ax.set_box_aspect(None, zoom=0.88)  # the label of the third axis stays inside
    return fig


def contour(
    x: Any,
    y: Any,
    values: Any,
    *,
    marks: Any = None,
    levels: int = 20,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    axes: Axes | None = None,
) -> Figure:
    """The values (len(x), len(y)) of a grid as filled contours with a scale; x runs to the right.

    Takes and raises what :func:`surface` does, and shades the cells around marked points; `levels` is the number of
    contours.
    """
    from matplotlib.colors import ListedColormap

    x, y, z = _grid("contour", x, y, values)
    fig, ax = into(axes, width=4.8, height=3.9)
    with style():
        filled = ax.contourf(x, y, z.T, levels=levels, cmap="viridis")
        ax.contour(x, y, z.T, levels=levels, colors=[INK], linewidths=0.3, alpha=0.5)
        if marks is not None and np.any(marks):
            where = np.where(np.asarray(marks, bool), 1.0, np.nan).T
            ax.pcolormesh(x, y, where, shading="nearest", cmap=ListedColormap([MARK]), alpha=0.45, linewidth=0)
        scale = fig.colorbar(filled, ax=ax)
        scale.ax.tick_params(labelsize=7)
        ax.grid(visible=False)
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title, xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    return fig


def slice_lines(
    x: Any,
    y: Any,
    values: Any,
    *,
    marks: Any = None,
    name: str = "",
    most: int = 12,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    axes: Axes | None = None,
) -> Figure:
    """The values (len(x), len(y)) of a grid as lines over x, one for each y, from dark (first y) to light (last y).

    Takes and raises what :func:`surface` does.

    Args:
        name: The second coordinate's name, for the legend.
        most: Lines at most; of more, evenly spaced ones are drawn.
    """
    from matplotlib import colormaps

    x, y, z = _grid("slice_lines", x, y, values)
    fig, ax = into(axes)
    shown = np.unique(np.linspace(0, len(y) - 1, min(most, len(y))).round().astype(int))
    with style():
        for k, j in enumerate(shown):
            colour = colormaps["viridis"](0.9 * k / max(len(shown) - 1, 1))
            ends = j in (shown[0], shown[-1])
            ax.plot(x, z[:, j], color=colour, linewidth=1.1, label=f"{name} = {y[j]:.3g}" if name and ends else None)
            if marks is not None:
                at = np.asarray(marks, bool)[:, j]
                ax.plot(x[at], z[at, j], ".", color=MARK, markersize=4)
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
        if name:
            ax.legend()
    return fig


def slice_line(
    x: Any,
    values: Any,
    *,
    marks: Any = None,
    label: str = "",
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    axes: Axes | None = None,
) -> Figure:
    """The values (len(x),) of a slice along one direction; `marks` (bool, the same shape) are drawn as points."""
    fig, ax = into(axes)
    x, z = np.asarray(x), np.asarray(values)
    with style():
        ax.plot(x, z, color=LINES[0], label=label or None)
        if marks is not None and np.any(marks):
            at = np.asarray(marks, bool)
            ax.plot(x[at], z[at], ".", color=MARK, markersize=4, label="above the mean of its neighbours")
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
        if label or (marks is not None and np.any(marks)):
            ax.legend()
    return fig
