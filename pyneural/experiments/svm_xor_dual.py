"""The exclusive or: four points (-1, -1), (-1, 1), (1, -1), (1, 1) with labels -1, 1, 1, -1, and the kernel

    k(x, y) = (1 + x . y)^2 = phi(x) . phi(y),  phi(x) = (1, r x1, r x2, x1^2, r x1 x2, x2^2),  r = sqrt 2.

Maximise sum l_i - 1/2 sum l_i l_j y_i y_j k_ij. What are the multipliers l, the weights w, the threshold b?
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.estimators import SVC
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import Kernel, solve_dual

X = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
Y = np.array([-1.0, 1.0, 1.0, -1.0])
SQUARE = Kernel("poly", degree=2, gamma=1.0, coef0=1.0)


def phi(x: np.ndarray) -> np.ndarray:
    """The six features of rows (N, 2)."""
    r, (a, b) = np.sqrt(2.0), x.T
    return np.stack([np.ones(len(x)), r * a, r * b, a * a, r * a * b, b * b], axis=1)


@experiment(
    "svm-xor-dual",
    title="Exclusive or by the dual problem",
    source="000_fb1690ef72ed0c7c.txt, 3a and 3b",
    kind="hand",
    topic="Support vector machines",
)
def run(e: Run) -> None:
    gram = SQUARE.values(X, X)
    signed = gram * np.outer(Y, Y)
    e.check("k_ii and k_ij", gram, 8 * np.eye(4) + 1, 1e-10)
    e.check("k(x, y) = phi(x) . phi(y)", phi(X) @ phi(X).T, gram, 1e-10)
    rows = [[9, -1, -1, 1], [-1, 9, 1, -1], [-1, 1, 9, -1], [1, -1, -1, 9]]
    e.check("signed matrix y_i y_j k_ij", signed, rows, 1e-10)
    e.check("its eigenvalues: the whole problem is strictly concave", np.linalg.eigvalsh(signed), [8, 8, 8, 12], 1e-10)

    by_hand = np.linalg.solve(signed, np.ones(4))
    slip(e, "equations, each with a 1 on its right side", int((signed @ by_hand > 0.5).sum()), 4, 3, 0.0)
    e.check("multipliers, from the four equations", by_hand, 1 / 8, 1e-10)
    e.check("sum of l_i y_i", by_hand @ Y, 0.0, 1e-10)
    w = (by_hand * Y) @ phi(X)
    right = np.array([0, 0, 0, 0, -np.sqrt(2) / 2, 0])
    vectors = phi(X)
    slip(e, "entry 5 of phi(1, 1)", vectors[3, 4], np.sqrt(2), -np.sqrt(2), 1e-10)
    lost = (by_hand * [1, 1, 1, -1]) @ vectors
    slip(e, "w, where the first vector has its minus", w, right, lost, 1e-10)
    changed = vectors.copy()
    changed[3, 4] = -np.sqrt(2)
    slip(e, "w, where entry 5 of the fourth vector is sqrt 2", w, right, (by_hand * Y) @ changed, 1e-10)
    values = phi(X) @ w
    b = -(values[Y < 0].max() + values[Y > 0].min()) / 2
    e.check("b = -(max(-1, -1) + min(1, 1)) / 2", b, 0.0, 1e-10)
    value = by_hand.sum() - by_hand @ signed @ by_hand / 2
    e.check("dual value, and half of ||w||^2", [value, w @ w / 2], 0.25, 1e-10)
    e.check("margin 1 / ||w||", 1 / np.linalg.norm(w), np.sqrt(2), 1e-10)

    dense = solve_dual(gram, Y)
    e.check("dense solver: multipliers", dense.multipliers, 1 / 8, 1e-10)
    e.check("dense solver: b, dual value, margin", [dense.b, dense.objective, dense.margin], [0, 0.25, 2**0.5], 1e-10)
    e.check("dense solver: largest violation of an optimality condition", max(dense.residuals.values()), 1e-10,
            kind="below")  # fmt: skip
    smo = SVC(kernel="poly", degree=2, gamma=1.0, coef0=1.0, C=np.inf).fit(X, Y)
    multipliers = np.zeros(4)
    multipliers[smo.support_] = np.abs(smo.dual_coef_[0])
    e.check("iterative solver: multipliers", multipliers, 1 / 8, 1e-6)
    e.check("iterative solver: b", smo.intercept_, 0.0, 1e-6)
    e.check("all four multipliers are positive", multipliers, 0.0, kind="above")
    e.check("each point lies on its margin: y f = 1", Y * smo.decision_function(X), 1.0, 1e-6)
    e.table(
        "solution",
        ["point", "l", "y", "f"],
        [[str(tuple(map(int, x))), m, y, f] for x, m, y, f in zip(X, by_hand, Y, values + b, strict=True)],
        "Multipliers, labels and values. Every point is a support vector.",
    )
    cubic = solve_dual(Kernel("poly", degree=3, gamma=1.0, coef0=1.0).values(X, X), Y)
    e.check("degree 3: multipliers 1/24", cubic.multipliers, 1 / 24, 1e-10)
    e.check("degree 3: margin sqrt 6 in its own, larger space", cubic.margin, np.sqrt(6), 1e-10)

    fig, (left, right_panel) = plots.new(1, 2, width=8.4, height=3.8)
    names = [f"({int(a)}, {int(b)})" for a, b in X]
    plots.heat_map(gram, names, names, title="Kernel values k", low=-9, high=9, cmap="RdBu_r", axes=left)
    plots.heat_map(signed, names, names, title="With signs, y y k", low=-9, high=9, cmap="RdBu_r", axes=right_panel)
    e.figure(
        "gram",
        fig,
        "The kernel tells every point from every other equally well: 9 on the diagonal, 1 elsewhere.",
        {"gram": gram, "signed": signed, "multipliers": by_hand, "phi": vectors},
    )
    e.note(
        """
        The source argues that the dual is concave in one multiplier at a time. That is not enough; the eigenvalues 8,
        8, 8 and 12 of the signed matrix say that it is strictly concave in all four together, so the solution is the
        only one. Its slips: three ones on the right side of four equations, a lost minus before the first vector of w,
        and -sqrt 2 for sqrt 2 in the fourth. Its results are right.
        """
    )
