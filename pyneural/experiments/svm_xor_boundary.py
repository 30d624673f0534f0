"""The machine that solves the exclusive or with the kernel (1 + x . y)^2: what is its value f(x) in the plane, where is
its boundary, and where are its margins?
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.estimators import SVC
from pyneural.experiments.frame import Run, experiment
from pyneural.experiments.svm_xor_dual import X, Y


@experiment(
    "svm-xor-boundary",
    title="The boundary of the exclusive or",
    source="000_fb1690ef72ed0c7c.txt, 3c and its picture",
    kind="figure",
    topic="Support vector machines",
)
def run(e: Run) -> None:
    machine = SVC(kernel="poly", degree=2, gamma=1.0, coef0=1.0, C=np.inf).fit(X, Y)
    line = np.linspace(-3, 3, 121)
    x1, x2 = np.meshgrid(line, line)
    grid = np.stack([x1.ravel(), x2.ravel()], axis=1)
    f = machine.decision_function(grid).reshape(x1.shape)
    e.check("f on a grid of 121 x 121 points is -x1 x2", f, -x1 * x2, 1e-10)
    e.check("f at the four points is the label", machine.decision_function(X), Y, 1e-10)
    t = np.linspace(0.1, 3, 50)
    axes = np.concatenate([np.stack([t, 0 * t], 1), np.stack([0 * t, t], 1), -np.stack([t, 0 * t], 1)])
    e.check("f on both axes, the boundary", machine.decision_function(axes), 0.0, 1e-10)
    for sign, name in ((-1, "f = 1 on x2 = -1 / x1"), (1, "f = -1 on x2 = 1 / x1")):
        for side in (1, -1):
            branch = np.stack([side * t, sign * side / t], axis=1)
            e.check(
                f"{name}, {'right' if side > 0 else 'left'} branch", machine.decision_function(branch), -sign, 1e-10
            )
    e.check("all four points are support vectors", np.sort(machine.support_), [0, 1, 2, 3], kind="equal")
    e.table(
        "values",
        ["point", "y", "f"],
        [[str(tuple(map(int, x))), y, v] for x, y, v in zip(X, Y, machine.decision_function(X), strict=True)],
        "f at the four points.",
    )
    fig = plots.decision_regions(
        machine,
        X,
        Y,
        limits=((-3, 3), (-3, 3)),
        title="f(x) = \N{MINUS SIGN}x1 x2",
        names={-1.0: "y = \N{MINUS SIGN}1", 1.0: "y = 1"},
    )
    e.figure(
        "regions",
        fig,
        "Both axes are the boundary; the margins f = 1 and f = -1 are four branches of two hyperbolas, and each point "
        "lies on one.",
        {"x1": x1, "x2": x2, "f": f, "points": X, "labels": Y},
    )
    fig = plots.surface(line[::4], line[::4], f[::4, ::4], title="f(x): a saddle", xlabel="x1", ylabel="x2", zlabel="f")
    e.figure(
        "surface",
        fig,
        "A saddle: two of its quadrants are above 0 and two below.",
        {"x1": line[::4], "x2": line[::4], "f": f[::4, ::4]},
    )
