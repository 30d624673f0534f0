"""Tables of numbers as pictures: heat maps and confusion tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import INK, into, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def confusion_table(counts: Any, names: Sequence[Any] | None = None, *, title: str = "") -> Figure:
    """Counts (true class, predicted class) as a table shaded by the share of the true class. Empty cells stay blank."""
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"confusion_table: counts must be square (true, predicted), got shape {table.shape}")
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    cells = [["" if count == 0 else f"{count:,}" for count in row] for row in table.tolist()]
    fig = heat_map(share, names, names, cells=cells, title=title, low=0, high=1, xlabel="predicted", ylabel="true")
    return fig


def heat_map(
    values: Any,
    row_names: Sequence[Any] | None = None,
    column_names: Sequence[Any] | None = None,
    *,
    cells: Sequence[Sequence[str]] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    low: float | None = None,
    high: float | None = None,
    cmap: str = "Blues",
    axes: Axes | None = None,
) -> Figure:
    """A matrix as shaded cells with their values written in them (`cells` for other text; NaN cells are grey)."""
    grid = np.asarray(values, dtype=np.float64)
    rows, columns = grid.shape
    fig, ax = into(axes, width=max(3.2, 0.55 * columns + 1.2), height=max(2.6, 0.42 * rows + 0.9))
    with style():
        import matplotlib

        shading = matplotlib.colormaps[cmap].with_extremes(bad="#dddddd")
        picture = ax.imshow(np.ma.masked_invalid(grid), cmap=shading, vmin=low, vmax=high, aspect="auto")
        ax.set_xticks(range(columns), [str(c) for c in (range(columns) if column_names is None else column_names)])
        ax.set_yticks(range(rows), [str(r) for r in (range(rows) if row_names is None else row_names)])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        for i in range(rows):
            for j in range(columns):
                red, green, blue, _ = picture.cmap(picture.norm(grid[i, j]))
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
                text = cells[i][j] if cells is not None else f"{grid[i, j]:.3g}"
                ax.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
        ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return fig
