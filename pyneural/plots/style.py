"""The one style of every picture: colours, fonts, and new figures.

The colours can be told apart with the common forms of colour blindness (lines: Okabe and Ito 2008; ten classes:
Petroff, arXiv 2107.02270).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASSES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
INK, FAINT = "#222222", "#e4e4e4"

_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "figure.dpi": 120,
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.07,
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """pyneural's style for everything that is drawn inside the block."""
    import matplotlib
    from matplotlib.rcsetup import cycler

    settings: Any = {**_STYLE, "axes.prop_cycle": cycler(color=LINES)}
    with matplotlib.rc_context(settings):
        yield


def new(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float | None = None,
    height: float | None = None,
    projection: str | None = None,
) -> tuple[Figure, Any]:
    """A figure of rows x columns axes in pyneural's style: (figure, axes), one Axes or an array. Sizes in inches.

    `projection="3d"` makes axes for surfaces.
    """
    from matplotlib.figure import Figure

    with style():
        fig = Figure(figsize=(width or 4.6 * columns, height or 3.4 * rows), layout="constrained")
        return fig, fig.subplots(rows, columns, subplot_kw={"projection": projection} if projection else None)


def into(axes: Axes | None, **options: Any) -> tuple[Any, Any]:
    """The given axes and their figure, or those of a new figure."""
    return (axes.figure, axes) if axes is not None else new(**options)


def big_title(fig: Any, text: str) -> None:
    if text:
        fig.suptitle(text, x=0.01, ha="left", fontsize=10, weight="bold")


def small_title(ax: Any, text: Any) -> None:
    ax.set_title(str(text), fontsize=7, weight="normal", loc="center", pad=2)
