"""The plane as a predictor divides it: decision regions, margins, support vectors; and a regularisation path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import CLASSES, INK, into, new, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def decision_regions(
    predictor: Any,
    x: Any = None,
    y: Any = None,
    *,
    support: Any = None,
    margins: bool = True,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    points: int = 301,
    title: str = "",
    names: Mapping[Any, str] | None = None,
    legend: bool = True,
    axes: Axes | None = None,
) -> Figure:
    """The regions in which a predictor of two features answers the same, and the points it was fitted to.

    With two classes and a ``decision_function`` (or a function of rows (N, 2) that returns values (N,)), shading
    follows the sign of the value; the boundary (value 0) is solid, and the margins (values -1 and 1) are dashed.

    Args:
        predictor: Anything with ``predict``, or a function of rows.
        x, y: Points (N, 2) and their labels (N,), or None.
        support: Rows of x to ring; None for the predictor's ``support_`` if it has one.
        limits: ((left, right), (bottom, top)); None for the range of x with a border.
        points: Grid points along each axis.
        names: What the legend calls each label.

    Raises:
        ValueError: x is not (N, 2), y does not fit it, or there is neither x nor limits.
    """
    rows = None if x is None else np.asarray(x, dtype=np.float64)
    labels = None if y is None else np.asarray(y)
    if rows is not None and (rows.ndim != 2 or rows.shape[1] != 2):
        raise ValueError(f"decision_regions: x has shape {rows.shape}, expected (N, 2)")
    if labels is not None and (rows is None or labels.shape != rows.shape[:1]):
        raise ValueError(f"decision_regions: y has shape {labels.shape}, expected one label for each row of x")
    if limits is None:
        if rows is None or len(rows) == 0:
            raise ValueError("decision_regions: give x or limits; without points the part of the plane is unknown")
        low, high = rows.min(axis=0), rows.max(axis=0)
        border = np.where(high > low, 0.15 * (high - low), 1.0)
        limits = tuple(zip(low - border, high + border, strict=True))  # type: ignore[assignment]
    assert limits is not None
    across, up = (np.linspace(*limit, points) for limit in limits)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    classes, values = _answers(predictor, grid, labels)
    fig, ax = into(axes, width=4.8, height=4.4)
    with style():
        if values is not None:
            field = values.reshape(points, points)
            if field.min() < 0 < field.max():
                ax.contourf(across, up, field, levels=[-np.inf, 0, np.inf], colors=list(CLASSES[:2]), alpha=0.18)
                ax.contour(across, up, field, levels=[0.0], colors=INK, linewidths=1.4)
            if margins:
                inside = [m for m in (-1.0, 1.0) if field.min() < m < field.max()]
                if inside:
                    ax.contour(across, up, field, levels=inside, colors=INK, linewidths=0.9, linestyles="--")
        else:
            codes = np.searchsorted(classes, predictor.predict(grid)).reshape(points, points)
            edges = np.arange(len(classes) + 1) - 0.5
            colours = [CLASSES[c % len(CLASSES)] for c in range(len(classes))]
            ax.contourf(across, up, codes, levels=edges, colors=colours, alpha=0.18)
            for c in range(len(classes)):
                if 0 < (codes == c).mean() < 1:
                    ax.contour(across, up, codes == c, levels=[0.5], colors=INK, linewidths=0.9)
        if rows is not None:
            _points(ax, rows, labels, classes, names)
            ringed: Any = getattr(predictor, "support_", None) if support is None else support
            if ringed is not None and len(ringed):
                label = f"{len(ringed)} support vectors" if len(ringed) > 1 else "1 support vector"
                ax.scatter(
                    *rows[ringed].T, s=90, facecolors="none", edgecolors=INK, linewidths=1.1, zorder=4, label=label
                )
        ax.set(xlim=limits[0], ylim=limits[1], xlabel="x1", ylabel="x2", title=title)
        ax.grid(False)
        if legend and rows is not None and (labels is not None or ringed is not None):
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return fig


def _answers(predictor: Any, grid: np.ndarray, labels: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The classes that may occur, and for two of them the values on the grid if the predictor has any."""
    if not hasattr(predictor, "predict"):
        classes = np.array([-1, 1]) if labels is None else np.unique(labels)
        return classes, np.asarray(predictor(grid), dtype=np.float64).reshape(-1)
    known = getattr(predictor, "classes_", None)
    classes = np.unique(predictor.predict(grid)) if known is None else np.asarray(known)
    if len(classes) == 2 and hasattr(predictor, "decision_function"):
        return classes, np.asarray(predictor.decision_function(grid), dtype=np.float64).reshape(-1)
    return classes, None


def _points(ax: Any, rows: np.ndarray, labels: Any, classes: np.ndarray, names: Mapping[Any, str] | None) -> None:
    if labels is None:
        ax.scatter(*rows.T, s=18, color=INK, zorder=3)
        return
    for c, label in enumerate(classes):
        here = rows[labels == label]
        name = names[label] if names is not None else f"class {label}"
        mark = MARKS[c % len(MARKS)]
        ax.scatter(
            *here.T, s=22, color=CLASSES[c % len(CLASSES)], marker=mark, edgecolors="white", linewidths=0.4,
            zorder=3, label=name,
        )  # fmt: skip


def regularisation_path(
    fit: Callable[[float], Mapping[str, float]], strengths: Any, *, title: str = "", xlabel: str = "C"
) -> tuple[Figure, dict[str, np.ndarray]]:
    """What becomes of a model when its regularisation changes: one panel for each quantity, over a logarithmic axis.

    Args:
        fit: Fits with one strength and returns the quantities by name.
        strengths: Positive numbers in the order in which they are fitted.

    Returns:
        The figure, and the arrays that it shows, the strengths under ``xlabel``.
    """
    at = np.asarray(list(strengths), dtype=np.float64)
    if at.ndim != 1 or len(at) < 2 or not (at > 0).all():
        raise ValueError(f"regularisation_path: strengths must be at least two positive numbers, got {at}")
    found = [dict(fit(float(s))) for s in at]
    series = {name: np.array([f[name] for f in found], dtype=np.float64) for name in found[0]}
    fig, panels = new(1, len(series), width=3.4 * len(series), height=3.2)
    with style():
        for ax, (name, values) in zip(np.atleast_1d(panels), series.items(), strict=True):
            ax.plot(at, values, marker="o", markersize=3)
            ax.set(xscale="log", xlabel=xlabel, title=name)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10, weight="bold")
    return fig, {xlabel: at, **series}
