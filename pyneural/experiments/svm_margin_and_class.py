"""The machine w = (-2, 0), b = 5, and the points (1, 2), (2, 3), (3, 3), (4, 1): what is its margin, what are its
values at the points, which are support vectors, and in which class is (1, 3)?
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.estimators import SVC
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import solve_dual

W, B = np.array([-2.0, 0.0]), 5.0
X = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 3.0], [4.0, 1.0]])
Y = np.array([1.0, 1.0, -1.0, -1.0])
ASKED = np.array([1.0, 3.0])


@experiment(
    "svm-margin-and-class",
    title="Margin and class of a given machine",
    source="003_54ca632be7020186.txt, section A c",
    kind="hand",
    topic="Support vector machines",
)
def run(e: Run) -> None:
    values = X @ W + B
    e.check("margin 1 / ||w||", 1 / np.linalg.norm(W), 0.5, kind="equal", printed=0.5)
    e.check("f at the points", values, [3.0, 1.0, -1.0, -3.0], kind="equal")
    e.check("support vectors, where |f| = 1: (2, 3) and (3, 3)", X[np.abs(values) == 1], X[1:3], kind="equal")
    e.check("f(1, 3), above 0: class +", ASKED @ W + B, 3.0, kind="equal", printed=3)

    dense = solve_dual(X @ X.T, Y, x=X)
    e.check("dense solver, labels +, +, -, -: multipliers", dense.multipliers, [0, 2, 2, 0], 1e-10)
    e.check("dense solver: w", dense.w, W, 1e-10)
    e.check("dense solver: b", dense.b, B, 1e-10)
    e.check("dense solver: margin", dense.margin, 0.5, 1e-10)
    machine = SVC(kernel="linear", C=np.inf).fit(X, Y)
    e.check("iterative solver: w", machine.coef_[0], W, 1e-10)
    e.check("iterative solver: b", machine.intercept_[0], B, 1e-10)
    e.check("iterative solver: support vectors", np.sort(machine.support_), [1, 2], kind="equal")
    e.check("iterative solver: class of (1, 3)", machine.predict(ASKED[None])[0], 1.0, kind="equal")

    distances = np.abs(values) / np.linalg.norm(W)
    e.check("distances of the points from the line x1 = 2.5", distances, np.abs(X[:, 0] - 2.5), 1e-12)
    e.table(
        "points",
        ["point", "y", "f", "distance from the line", "multiplier"],
        [
            [str(tuple(map(int, x))), int(y), v, d, m]
            for x, y, v, d, m in zip(X, Y, values, distances, dense.multipliers, strict=True)
        ],
        "The two nearest points are the support vectors; their distance is the margin.",
    )
    fig = plots.decision_regions(
        machine,
        X,
        Y,
        limits=((0, 5), (0, 4.5)),
        title="x1 = 2.5 with its strip",
        names={-1.0: "negative", 1.0: "positive"},
        legend=False,
    )
    ax = fig.axes[0]
    with plots.style():
        ax.scatter(ASKED[:1], ASKED[1:], marker="*", s=110, color=plots.INK, zorder=3, label="(1, 3)")
        ax.annotate("f = 3", tuple(ASKED), xytext=(7, 5), textcoords="offset points", fontsize=8)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    e.figure(
        "strip",
        fig,
        "The boundary x1 = 2.5, the strip between x1 = 2 and 3, and the point that is asked for.",
        {"points": X, "labels": Y, "f": values, "asked": ASKED},
    )
