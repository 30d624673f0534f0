"""Lines over a common axis, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import LINES, into, new, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def lines(
    x: Any,
    curves: Mapping[str, Any],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    log: bool = False,
    axes: Axes | None = None,
) -> Figure:
    """Curves over a common x, each named in the legend; `log` for a logarithmic y axis. Draws into `axes` if given.

    Raises:
        TypeError: `curves` does not map names to values.
    """
    if not isinstance(curves, Mapping):
        raise TypeError(f"lines: curves must map names to values, got {type(curves).__name__}")
    fig, ax = into(axes)
    with style():
        for name, y in curves.items():
            ax.plot(np.asarray(x), np.asarray(y), label=name)
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
        if log:
            ax.set_yscale("log", nonpositive="mask")
        if len(curves) > 1:
            ax.legend()
    return fig


def learning_curves(
    history: Mapping[str, Any], *, title: str = "", ylabel: str = "loss", xlabel: str = "epoch", x: Any = None
) -> Figure:
    """Each series of `history` over the epochs (1, 2, ...; or over `x`), on a linear and on a logarithmic axis.

    `val_NAME` has the colour of NAME and is dashed. Infinite and NaN values leave gaps, as do values <= 0 on the
    logarithmic axis.
    """
    fig, (left, right) = new(1, 2, height=3.2)
    colours: dict[str, str] = {}
    with style():
        for name, series in history.items():
            y = np.asarray(series, dtype=np.float64)
            base = name.removeprefix("val_")
            colour = colours.setdefault(base, LINES[len(colours) % len(LINES)])
            at = np.arange(1, len(y) + 1) if x is None else np.asarray(x)
            for ax in (left, right):
                shown = np.where(np.isfinite(y) & ((y > 0) | (ax is left)), y, np.nan)
                mark = "o" if len(y) <= 40 else ""
                ax.plot(
                    at,
                    shown,
                    label=name if name == base else f"{base}, validation",
                    color=colour,
                    linestyle="--" if name != base else "-",
                    marker=mark,
                    markersize=2.5,
                )
        right.set_yscale("log", nonpositive="mask")
        for ax, scale in ((left, "linear"), (right, "logarithmic")):
            ax.set(xlabel=xlabel, ylabel=ylabel, title=f"{title}, {scale}" if title else scale)
            if x is None:
                ax.xaxis.get_major_locator().set_params(integer=True)
        left.legend()
    return fig
