"""Grids of pictures: samples, originals over reconstructions, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import big_title, new, small_title, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def image_grid(
    images: Any,
    titles: Sequence[Any] | None = None,
    *,
    columns: int = 10,
    shape: tuple[int, int] | None = None,
    low: float | None = None,
    high: float | None = None,
    title: str = "",
) -> Figure:
    """Images (N, H, W), or (N, H*W) with `shape`, in rows of `columns`; above each its title, by default its index.

    Dark is large. All images share the grey scale from `low` to `high` (default: the smallest and largest value).
    """
    pictures = _as_images(images, shape)
    names = range(len(pictures)) if titles is None else titles
    if len(names) != len(pictures):
        raise ValueError(f"image_grid: {len(names)} titles for {len(pictures)} images")
    return _grid(pictures, names, columns, title, cmap="gray_r", vmin=low, vmax=high)


def originals_over_reconstructions(
    originals: Any,
    reconstructions: Any,
    indices: Sequence[int] | None = None,
    *,
    shape: tuple[int, int] | None = None,
    title: str = "",
    names: Sequence[str] = ("original", "rebuilt"),
) -> Figure:
    """One row of originals, titled with their indices ("no. 6"), above the row of their reconstructions.

    `reconstructions` may also be a list of several such sets, one row each, with `names` for all rows.
    """
    sets = list(reconstructions) if isinstance(reconstructions, list | tuple) else [reconstructions]
    rows = [_as_images(originals, shape), *(_as_images(r, shape) for r in sets)]
    if any(r.shape != rows[0].shape for r in rows):
        raise ValueError(
            f"originals_over_reconstructions: the sets have shapes {[r.shape for r in rows]}, they must be equal"
        )
    if len(names) != len(rows):
        raise ValueError(f"originals_over_reconstructions: {len(names)} names for {len(rows)} rows")
    n = len(rows[0])
    fig, axes = new(len(rows), n, width=max(4.0, 0.78 * n + 0.7), height=0.82 * len(rows) + 0.35 + 0.25 * bool(title))
    low, high = float(rows[0].min()), float(rows[0].max())
    with style():
        for row, pictures in enumerate(rows):
            for column, picture in enumerate(pictures):
                ax = np.reshape(axes, (len(rows), n))[row, column]
                _image(ax, picture, cmap="gray_r", vmin=low, vmax=high)
                if row == 0:
                    small_title(ax, f"no. {column if indices is None else indices[column]}")
                if column == 0:
                    ax.set_ylabel(names[row], fontsize=8)
        big_title(fig, title)
    return fig


def weight_images(
    weights: Any,
    titles: Sequence[Any] | None = None,
    *,
    columns: int = 10,
    shape: tuple[int, int] = (28, 28),
    title: str = "",
) -> Figure:
    """The rows of a weight matrix (units, pixels) as images: red positive, blue negative, one scale for all."""
    pictures = _as_images(weights, shape)
    finite = np.abs(pictures[np.isfinite(pictures)])
    limit = float(np.quantile(finite, 0.995)) if finite.size else 1.0
    names = range(len(pictures)) if titles is None else titles
    return _grid(pictures, names, columns, title, cmap="RdBu_r", vmin=-(limit or 1.0), vmax=limit or 1.0, bar=True)


def _as_images(images: Any, shape: tuple[int, int] | None) -> np.ndarray:
    pictures = np.asarray(images)
    if shape is None and pictures.ndim == 2:
        side = math.isqrt(pictures.shape[1])
        if side * side != pictures.shape[1]:
            raise ValueError(f"images of {pictures.shape[1]} pixels are not square: give shape=(rows, columns)")
        shape = (side, side)
    if shape is not None:
        pictures = pictures.reshape(len(pictures), *shape)
    if pictures.ndim == 4 and pictures.shape[1] == 1:
        pictures = pictures[:, 0]
    if pictures.ndim != 3 or len(pictures) == 0:
        raise ValueError(f"images must be (N, rows, columns) with N > 0, got shape {pictures.shape}")
    return pictures


def _grid(pictures: np.ndarray, names: Any, columns: int, title: str, *, bar: bool = False, **look: Any) -> Figure:
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    if look["vmin"] is None:
        look["vmin"] = float(np.nanmin(pictures))
    if look["vmax"] is None:
        look["vmax"] = float(np.nanmax(pictures))
    height = 0.98 * rows + 0.25 * bool(title)
    fig, axes = new(rows, columns, width=max(2.5, 0.82 * columns + 0.6 * bar), height=max(height, 1.1))
    flat = np.ravel(axes)
    with style():
        for ax, picture, name in zip(flat, pictures, names, strict=False):
            mappable = _image(ax, picture, **look)
            small_title(ax, name)
        for ax in flat[len(pictures) :]:
            ax.set_visible(False)
        if bar:
            fig.colorbar(mappable, ax=list(flat), shrink=0.8, aspect=30, pad=0.01).outline.set_visible(False)
        big_title(fig, title)
    return fig


def _image(ax: Any, picture: np.ndarray, **look: Any) -> Any:
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="#cccccc", linewidth=0.5)
    return ax.imshow(picture, interpolation="nearest", **look)
