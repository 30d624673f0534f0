"""k-means on the points of the first part has another fixed point: cells between which Lloyd's iteration moves nothing,
though the sum of squares is not the least. Which one, and which starts lead to it?
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.experiments._kmeans import POINTS, split
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import kmeans


@experiment(
    "lloyd-second-fixed-point",
    title="A second fixed point of k-means on four points",
    source="002_e3b0b6e208b34aec.txt, mock exam 1b",
    kind="hand",
    topic="Clustering",
)
def run(e: Run) -> None:
    rows, fixed = [], {}
    for code in range(1, 8):
        labels = np.array([0, *(code >> i & 1 for i in range(3))])  # x1 is in the first cell: 7 splits into two
        centers = np.array([POINTS[labels == c].mean(axis=0) for c in (0, 1)])
        squares = float(((POINTS - centers[labels]) ** 2).sum())
        stays = bool((kmeans(POINTS, 2, init=centers, max_iter=1, tol=0).labels == labels).all())
        rows.append([split(labels), squares, "yes" if stays else "no", centers[0].tolist(), centers[1].tolist()])
        if stays:
            fixed[split(labels)] = (labels, centers, squares)
    rows.sort(key=lambda r: r[1])
    e.table("splits", ["cells", "sum of squares", "fixed point", "centre 1", "centre 2"], rows)
    names = ["{x1, x2} {x3, x4}", "{x1, x4} {x2, x3}"]
    e.check("fixed points among the 7 splits", sorted(fixed), names, kind="equal")
    (first, centers_1, best), (second, centers_2, other) = fixed[names[0]], fixed[names[1]]
    e.check("centres of the second", centers_2, [[-0.505, 0.0], [0.505, 0.0]], 1e-12)
    e.check("sum of squares of the second", other, 4.9801, 1e-12)
    e.check("ratio to the best", other / best, 4.882, 5e-4)
    again = kmeans(POINTS, 2, init=centers_2)
    e.check("Lloyd stops there at once: passes", len(again.iterations), 1, kind="equal")
    e.check("and the centres stay", again.centers, centers_2, 1e-12)
    side = e.pick(quick=25, full=61)
    grid = np.linspace(-1.5, 1.5, side)
    basin = np.zeros((side, side))
    # Two centres have four coordinates; here the second is the first, mirrored in the origin.
    for i, y in enumerate(e.progress(grid, "starts")):
        for j, x in enumerate(grid):
            end = kmeans(POINTS, 2, init=[[x, y], [-x, -y]])
            basin[i, j] = (
                1.0 if abs(end.inertia - other) < 1e-9 else (0.0 if abs(end.inertia - best) < 1e-9 else np.nan)
            )
    e.check("every start of the grid ends in one of the two", np.isfinite(basin).mean(), 1.0, kind="equal")
    e.report("share of the grid that ends in the second", basin.mean())
    fig, axes = plots.new(1, 3, width=12.6, height=3.9)
    limits = (-1.6, 1.6, -1.6, 1.6)
    for ax, centers, squares in ((axes[0], centers_1, best), (axes[1], centers_2, other)):
        title = f"sum of squares {squares:.4f}"
        plots.voronoi_cells(centers, POINTS, limits=limits, names=["", ""], title=title, axes=ax)
    from matplotlib.colors import ListedColormap

    colours = ListedColormap([plots.CLASSES[0], plots.CLASSES[1]])
    axes[2].imshow(basin, origin="lower", extent=(-1.5, 1.5, -1.5, 1.5), cmap=colours, vmin=0, vmax=1, alpha=0.6)
    axes[2].set(xlabel="x", ylabel="y")
    axes[2].grid(False)
    with plots.style():
        axes[2].set_title("where a start (x, y), (-x, -y) ends")
    axes[2].text(0.02, 1.35, "best", ha="center", va="top", fontsize=9)
    axes[2].text(1.2, 0.0, "second", ha="center", va="center", fontsize=9)
    e.figure(
        "fixed-points", fig,
        "Both solutions with their cells, and which of them a pair of mirrored start centres leads to.",
        {"points": POINTS, "first": centers_1, "second": centers_2, "labels_1": first, "labels_2": second,
         "basin": basin},
    )  # fmt: skip
    e.note("The centres are missing in the source's text, which also prints x_n for x4.")
