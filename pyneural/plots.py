"""Pictures in one style: learning curves, image grids, code scatters, confusion tables, weights.

Every helper returns a matplotlib `Figure` that belongs to no window system and to no global state: save it with
`fig.savefig(path)`, or let a notebook show it. matplotlib is imported when the first picture is made. The colours can
be told apart with the common forms of colour blindness (lines: Okabe and Ito 2008; ten classes: Petroff, arXiv
2107.02270).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

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
    rows: int = 1, columns: int = 1, *, width: float | None = None, height: float | None = None
) -> tuple[Figure, Any]:
    """A figure of rows x columns axes in pyneural's style: (figure, axes), one Axes or an array. Sizes in inches."""
    from matplotlib.figure import Figure

    with style():
        fig = Figure(figsize=(width or 4.6 * columns, height or 3.4 * rows), layout="constrained")
        return fig, fig.subplots(rows, columns)


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
    """Curves over a common x, each named in the legend; `log` for a logarithmic y axis. Draws into `axes` if given."""
    fig, ax = _into(axes)
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
                    _small_title(ax, f"no. {column if indices is None else indices[column]}")
                if column == 0:
                    ax.set_ylabel(names[row], fontsize=8)
        _big_title(fig, title)
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


def code_scatter(
    codes: Any, labels: Any, *, names: Sequence[str] | None = None, title: str = "", axes: Axes | None = None
) -> Figure:
    """Two-dimensional codes (N, 2) coloured by class, the name of each class written at its median."""
    points, classes = np.asarray(codes), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or classes.shape != points.shape[:1]:
        raise ValueError(f"code_scatter: codes {points.shape} and labels {classes.shape}, expected (N, 2) and (N,)")
    fig, ax = _into(axes, width=5.4, height=4.6)
    with style():
        # One call in shuffled order: class after class would bury the first ones under the last.
        order = np.random.default_rng(0).permutation(len(points))
        present = np.unique(classes)
        place = {int(c): i for i, c in enumerate(present)}
        colours = np.array([CLASSES[place[int(c)] % len(CLASSES)] for c in classes])
        size = float(np.clip(12_000 / max(len(points), 1), 4, 18))
        ax.scatter(points[order, 0], points[order, 1], c=colours[order], s=size, alpha=0.75, linewidths=0)
        for c in present:
            middle = np.median(points[classes == c], axis=0)
            text = str(names[int(c)] if names is not None else c)
            frame = {
                "boxstyle": "round,pad=0.2",
                "facecolor": "white",
                "edgecolor": CLASSES[place[int(c)] % len(CLASSES)],
            }
            ax.text(*middle, text, weight="bold", fontsize=8, ha="center", va="center", bbox=frame)
        ax.set(xlabel="code 1", ylabel="code 2", title=title)
    return fig


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
    fig, ax = _into(axes, width=max(3.2, 0.55 * columns + 1.2), height=max(2.6, 0.42 * rows + 0.9))
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


# Parts


def _into(axes: Axes | None, *, width: float | None = None, height: float | None = None) -> tuple[Any, Any]:
    return (axes.figure, axes) if axes is not None else new(width=width, height=height)


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
            _small_title(ax, name)
        for ax in flat[len(pictures) :]:
            ax.set_visible(False)
        if bar:
            fig.colorbar(mappable, ax=list(flat), shrink=0.8, aspect=30, pad=0.01).outline.set_visible(False)
        _big_title(fig, title)
    return fig


def _image(ax: Any, picture: np.ndarray, **look: Any) -> Any:
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="#cccccc", linewidth=0.5)
    return ax.imshow(picture, interpolation="nearest", **look)


def _small_title(ax: Any, text: Any) -> None:
    ax.set_title(str(text), fontsize=7, weight="normal", loc="center", pad=2)


def _big_title(fig: Any, text: str) -> None:
    if text:
        fig.suptitle(text, x=0.01, ha="left", fontsize=10, weight="bold")
