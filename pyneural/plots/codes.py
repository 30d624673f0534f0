"""Points in a plane of codes, coloured by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import CLASSES, into, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def code_scatter(
    codes: Any,
    labels: Any,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    middle: float = 1.0,
    axes: Axes | None = None,
) -> Figure:
    """Two-dimensional codes (N, 2) coloured by class, the name of each class written at its median.

    With ``middle`` below 1 the axes end where that share of the codes does, along each of them: a few codes that lie
    far out then do not press all others into one spot.
    """
    points, classes = np.asarray(codes), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or classes.shape != points.shape[:1]:
        raise ValueError(f"code_scatter: codes {points.shape} and labels {classes.shape}, expected (N, 2) and (N,)")
    if not 0 < middle <= 1:
        raise ValueError(f"code_scatter: middle is {middle}, expected a share above 0 and up to 1")
    fig, ax = into(axes, width=5.4, height=4.6)
    with style():
        # One call in shuffled order: class after class would bury the first ones under the last.
        order = np.random.default_rng(0).permutation(len(points))
        present = np.unique(classes)
        place = {int(c): i for i, c in enumerate(present)}
        colours = np.array([CLASSES[place[int(c)] % len(CLASSES)] for c in classes])
        size = float(np.clip(12_000 / max(len(points), 1), 4, 18))
        ax.scatter(points[order, 0], points[order, 1], c=colours[order], s=size, alpha=0.75, linewidths=0)
        for c in present:
            place_of_name = np.median(points[classes == c], axis=0)
            text = str(names[int(c)] if names is not None else c)
            frame = {
                "boxstyle": "round,pad=0.2",
                "facecolor": "white",
                "edgecolor": CLASSES[place[int(c)] % len(CLASSES)],
            }
            ax.text(*place_of_name, text, clip_on=True, weight="bold", fontsize=8, ha="center", va="center", bbox=frame)
        if middle < 1 and len(points):
            (left, bottom), (right, top) = np.quantile(points, ((1 - middle) / 2, (1 + middle) / 2), axis=0)
            ax.set(xlim=(left, right), ylim=(bottom, top))
        ax.set(xlabel="code 1", ylabel="code 2", title=title)
    return fig
