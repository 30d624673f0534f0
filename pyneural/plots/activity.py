"""How the units of a layer are used: their values, and how many of them are idle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import LINES, big_title, new, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def unit_activity(values: Any, *, threshold: float = 0.0, bins: int = 50, title: str = "") -> Figure:
    """Histograms of the outputs of a layer, or of codes: all values, and how often each unit is active.

    A unit is active for a row if its value is farther from 0 than ``threshold``, dead if it is for no row. Left the
    share of values in each bin, on a logarithmic axis; right the number of units by the share of rows for which they
    are active.

    Args:
        values: (rows, units), or a mapping from names to such arrays, one row of panels each.
        threshold: See above; 0 counts exact zeros as idle.
        bins: Of each histogram.
        title: Above all panels.

    Raises:
        ValueError: An array is empty or has other than two dimensions.
    """
    layers = values if isinstance(values, Mapping) else {"": values}
    arrays = {name: np.asarray(array) for name, array in layers.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.size == 0:
            label = f" {name!r}" if name else ""
            raise ValueError(f"unit_activity: values{label} must be (rows, units), not empty, got shape {array.shape}")
    fig, axes = new(len(arrays), 2, height=2.6 * len(arrays) + 0.3 * bool(title))
    panels = np.reshape(axes, (len(arrays), 2))
    with style():
        for (left, right), (name, array), colour in zip(panels, arrays.items(), LINES * len(arrays), strict=False):
            counts, edges = np.histogram(array, bins)
            left.bar(edges[:-1], counts / array.size, np.diff(edges), align="edge", color=colour)
            before = f"{name}: " if name else ""
            idle = np.abs(array) <= threshold
            what = "0" if threshold == 0 else f"within {threshold:g} of 0"
            left.set(yscale="log", xlabel="value", ylabel="share of values",
                     title=f"{before}{idle.mean():.1%} are {what}")  # fmt: skip
            share = 1 - idle.mean(axis=0)
            right.hist(share, bins, range=(0, 1), color=colour)
            right.set(xlabel="share of rows in which a unit is active", ylabel="units",
                      title=f"{before}{int((share == 0).sum())} of {len(share)} units are dead")  # fmt: skip
        big_title(fig, title)
    return fig
