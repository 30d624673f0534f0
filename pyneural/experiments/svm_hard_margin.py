"""A hard margin by hand: positive points (1, 0) and (0, 1), negative points (1, 1) and (2, 0), and w . x + b = 1 or -1
at the support vectors. Which w, b and margin? Is (0, 1) a support vector too?

The picture has more points, which are lost; here (0, 0) is added as a positive and (2, 2) as a negative one.
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.estimators import SVC
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import solve_dual

X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0], [2.0, 2.0]])
Y = np.array([1.0, 1.0, -1.0, -1.0, 1.0, -1.0])
W, B = np.array([-2.0, -2.0]), 3.0


def machine(x: np.ndarray, y: np.ndarray) -> SVC:
    return SVC(kernel="linear", C=np.inf).fit(x, y)


@experiment(
    "svm-hard-margin",
    title="A hard margin by hand",
    source="003_54ca632be7020186.txt, section A b and its picture",
    kind="hand",
    topic="Support vector machines",
)
def run(e: Run) -> None:
    # (1, 0), (1, 1) and (2, 0) lie on their margins: three equations for w1, w2 and b.
    equations = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    w1, w2, b = np.linalg.solve(equations, [1.0, -1.0, -1.0])
    e.check("w, b from the three equations", [w1, w2, b], [-2, -2, 3], 1e-12)
    left, right = equations[0, 0] - equations[2, 0], 1.0 - -1.0
    slip(e, "first equation less the third: what stands before w1", left, -1.0, -2.0, 1e-12)
    slip(e, "w1 from that difference", right / left, -2.0, right / -2.0, 1e-12)
    e.check("f(0, 1) = 1, so (0, 1) is a support vector too", X[1] @ W + B, 1.0, kind="equal")
    e.check("margin 1 / ||w||", 1 / np.hypot(w1, w2), 0.353553, 1e-6)

    for n, name in ((4, "four points"), (6, "with the two added")):
        x, y = X[:n], Y[:n]
        fitted, dense = machine(x, y), solve_dual(x @ x.T, y, x=x)
        assert dense.w is not None
        for solver, w, b, multipliers in (
            ("iterative", fitted.coef_[0], fitted.intercept_[0], spread(fitted, n)),
            ("dense", dense.w, dense.b, dense.multipliers),
        ):
            what = f"{name}, {solver} solver"
            e.check(f"{what}: w", w, W, 1e-5)
            e.check(f"{what}: b", b, B, 1e-5)
            constraints = y * (x @ w + b)
            e.check(f"{what}: y f at the four points", constraints[:4], 1.0, 1e-5)
            e.check(f"{what}: y f at every point, at least 1", constraints, 1 - 1e-5, kind="at least")
            e.check(f"{what}: sum of the multipliers is ||w||^2", multipliers.sum(), 8.0, 1e-5)
            e.check(f"{what}: sum l y x = w", (multipliers * y) @ x, W, 1e-5)
            e.check(f"{what}: sum l y", multipliers @ y, 0.0, 1e-8)
    iterative, dense = spread(machine(X[:4], Y[:4]), 4), solve_dual(X[:4] @ X[:4].T, Y[:4])
    e.check("the multipliers are not unique: how far the two solvers' ones are apart",
            np.abs(iterative - dense.multipliers).max(), 0.5, kind="above")  # fmt: skip
    e.table(
        "solution",
        ["point", "y", "f", "l, iterative", "l, dense"],
        [
            [str(tuple(map(int, x))), int(y), x @ W + B, i, d]
            for x, y, i, d in zip(X, Y, iterative, dense.multipliers, strict=False)
        ],
        "Four points on the margins and three unknowns: the multipliers form a line; each solver finds a point of it.",
    )
    rows = []
    for gone in range(4):
        kept = np.arange(4) != gone
        rest = machine(X[:4][kept], Y[:4][kept])
        w = rest.coef_[0]
        rows.append([str(tuple(map(int, X[gone]))), w.round(9).tolist(), rest.intercept_[0], 1 / np.linalg.norm(w)])
    e.check("margins with one point left out, not narrower", [row[3] for row in rows], 8**-0.5 - 1e-9,
            kind="at least")  # fmt: skip
    e.table("one support vector left out", ["without", "w", "b", "margin"], rows,
            "Where the margin stays, the other three hold it alone.")  # fmt: skip
    draw(e)


def spread(fitted: SVC, n: int) -> np.ndarray:
    """The multiplier of each of n points."""
    found = np.zeros(n)
    found[fitted.support_] = np.abs(fitted.dual_coef_[0])
    return found


def draw(e: Run) -> None:
    fitted = machine(X, Y)
    fig = plots.decision_regions(
        fitted,
        X,
        Y,
        support=range(4),
        limits=((-0.7, 2.7), (-0.7, 2.7)),
        title="x1 + x2 = 1, 1.5 and 2",
        names={-1.0: "negative", 1.0: "positive"},
    )
    e.figure(
        "margin",
        fig,
        "The boundary x1 + x2 = 1.5 and its margins x1 + x2 = 1 and 2, with two points on each.",
        {"points": X, "labels": Y, "w": fitted.coef_, "b": fitted.intercept_},
    )
