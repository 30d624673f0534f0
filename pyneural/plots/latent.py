"""What a decoder makes of a lattice of codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .images import _as_images
from .style import into, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def latent_lattice(
    images: Any,
    low: Any = None,
    high: Any = None,
    *,
    shape: tuple[int, int] | None = None,
    title: str = "",
    names: Sequence[str] = ("code 1", "code 2"),
    limits: tuple[float, float] | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Images decoded from a square lattice of codes, joined into one sheet; works for any decoder::

        codes = pn.models.lattice(-2, 2, side=15)
        plots.latent_lattice(model.decoded(codes), -2, 2)

    Args:
        images: (side * side, H, W), or rows of pixels with `shape`, in the order of :func:`pyneural.models.lattice`.
        low, high: Codes at the middle of the outermost images, a number or one for each axis; None: no numbers.
        shape: Rows and columns of an image, square by default.
        title: Above the sheet.
        names: Of the two axes.
        limits: Values that are drawn white and black; by default the smallest and the largest.
        axes: Where to draw.

    Raises:
        ValueError: The number of images is no square.
    """
    pictures = _as_images(images, shape)
    side = math.isqrt(len(pictures))
    if side * side != len(pictures) or side < 2:
        raise ValueError(f"latent_lattice: {len(pictures)} images do not fill a square of at least 2 x 2")
    _, rows, columns = pictures.shape
    sheet = pictures.reshape(side, side, rows, columns).swapaxes(1, 2).reshape(side * rows, side * columns)
    bottom, top = (None, None) if limits is None else limits
    fig, ax = into(axes, width=5.0, height=5.0 * rows / columns + 0.3 * bool(title))
    with style():
        extent = None
        if low is not None and high is not None:
            (left, under), (right, over) = (np.broadcast_to(np.asarray(v, np.float64), (2,)) for v in (low, high))
            dx, dy = (right - left) / (side - 1) / 2, (over - under) / (side - 1) / 2
            extent = (left - dx, right + dx, under - dy, over + dy)
        else:
            ax.set(xticks=[], yticks=[])
        ax.imshow(sheet, cmap="gray_r", vmin=bottom, vmax=top, extent=extent, aspect="auto", interpolation="nearest")
        ax.grid(False)
        ax.set(xlabel=names[0], ylabel=names[1], title=title)
    return fig
