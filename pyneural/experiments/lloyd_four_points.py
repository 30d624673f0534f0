"""k-means by Lloyd's iteration, by hand: the points x1 = (-0.01, 1), x2 = (1, 1), x3 = (0.01, -1), x4 = (-1, -1), two
clusters, started from x2 and x3. Which cells and centres come out, and after how many steps?
"""

from __future__ import annotations

from itertools import combinations

from pyneural import plots
from pyneural.experiments._kmeans import NAMES, POINTS, split
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import kmeans


@experiment(
    "lloyd-four-points",
    title="k-means on four points, by hand",
    source="002_e3b0b6e208b34aec.txt, mock exam 1a",
    kind="hand",
    topic="Clustering",
)
def run(e: Run) -> None:
    start = POINTS[[1, 2]]
    found = kmeans(POINTS, 2, init=start)
    once = kmeans(POINTS, 2, init=start, max_iter=1, tol=0)
    e.check("centres", found.centers, [[0.495, 1.0], [-0.495, -1.0]], 1e-12)
    e.report("centres as printed", found.centers[0, 0], printed=0.99, note="the source loses the factor 1/2 and a sign")
    e.check("cells {x1, x2} and {x3, x4}", found.labels, [0, 0, 1, 1], kind="equal")
    e.check("within-cluster sum of squares", found.inertia, 1.0201, 1e-12)
    e.check("centres after one update are the final ones", once.centers, found.centers, 1e-12)
    e.check("passes: one that moves, one that changes nothing", len(found.iterations), 2, kind="equal")
    e.check("rows that moved in each pass", [i.moved for i in found.iterations], [4, 0], kind="equal")
    squares = ((POINTS[:, None] - start) ** 2).sum(axis=2)
    e.check("squared distances of x1 to the start", squares[0], [1.0201, 4.0004], 1e-12)
    e.check("squared distances of x4 to the start", squares[3], [8.0, 1.0201], 1e-12)
    for name, centers, line in (("start", start, (0.99, 2.0, 0.49995)), ("end", found.centers, (0.495, 1.0, 0.0))):
        # Equally far from both: (c1 - c2) . x = (|c1|^2 - |c2|^2) / 2.
        normal = centers[0] - centers[1]
        offset = ((centers[0] ** 2).sum() - (centers[1] ** 2).sum()) / 2
        scale = line[1] / normal[1]
        e.check(f"boundary at the {name}", [*(normal * scale), offset * scale], line, 1e-12)
    e.table(
        "steps",
        ["pass", "centre 1", "centre 2", "cells", "sum of squares"],
        [
            ["start", start[0].tolist(), start[1].tolist(), split(found.labels), found.iterations[0].inertia],
            ["after 1", found.centers[0].tolist(), found.centers[1].tolist(), split(found.labels), found.inertia],
        ],
        caption="The second pass changes no cell, so the iteration has converged after one update.",
    )
    rows, ends = [], []
    for pair in combinations(range(4), 2):
        end = kmeans(POINTS, 2, init=POINTS[list(pair)])
        rows.append([f"{NAMES[pair[0]]}, {NAMES[pair[1]]}", split(end.labels), end.inertia, len(end.iterations)])
        ends.append(end.inertia)
    e.table("every pair as start", ["start", "cells", "sum of squares", "passes"], rows)
    e.check("every pair of points as start ends here", ends, 1.0201, 1e-12)
    fig, axes = plots.new(1, 2, width=9.0, height=3.9)
    limits = (-1.6, 1.6, -1.6, 1.6)
    for ax, centers, title in ((axes[0], start, "at the start"), (axes[1], found.centers, "after one update")):
        plots.voronoi_cells(centers, POINTS, limits=limits, names=["", ""], title=title, axes=ax)
        for name, at in zip(NAMES, POINTS, strict=True):
            ax.annotate(name, at, xytext=(-16, -12), textcoords="offset points", fontsize=8)
    e.figure(
        "cells",
        fig,
        "Points (dots), centres (crosses) and their cells: the first update turns the border, and no point crosses it.",
        {"points": POINTS, "start": start, "centers": found.centers, "labels": found.labels},
    )
    e.note(
        """
        The source prints the centres (0.99, 2) and (-0.99, 2): the sums of the points of each cell, without the factor
        1/2, and with a sign lost.
        """
    )
