"""A sigmoid neuron with D inputs and N labelled points. Take v0, v1, v2 = 10 times normal vectors and lambda = i/100
for i = 1, ..., 100.

1. Plot the likelihood error and the squared error along v0 + lambda v1.
2. Plot both on the grid v0 + lambda v1 + mu v2.

What do the pictures say about convexity?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import plots, surfaces
from pyneural.experiments.frame import Run, experiment
from pyneural.experiments.logistic_convexity import error as likelihood
from pyneural.experiments.logistic_convexity import sigmoid

D, N = 10, 100
STEPS = np.arange(1, 101) / 100


def square(x: np.ndarray, c: np.ndarray) -> Any:
    """(1/N) sum (c_n - s_n)^2 as a function of w."""
    rows, labels = pn.tensor(x), pn.tensor(c)
    return lambda w: pn.square(labels - pn.sigmoid(rows @ w)).mean()


def naive(x: np.ndarray, c: np.ndarray) -> Any:
    """The likelihood error as it stands, with log s and log(1 - s) of a rounded s."""
    rows, labels = pn.tensor(x), pn.tensor(c)

    def e(w: Any) -> Any:
        s = 1 / (1 + pn.exp(-(rows @ w)))
        return -(labels * pn.log(s) + (1 - labels) * pn.log(1 - s)).mean()

    return e


def given(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (N, D), labels (N,) drawn from a normal teacher, and v0, v1, v2."""
    x, teacher = rng.normal(size=(N, D)), rng.normal(size=D)
    return x, (rng.uniform(size=N) < sigmoid(x, teacher)).astype(np.float64), 10 * rng.normal(size=(3, D))


@experiment(
    "loss-slices",
    title="Slices of the likelihood and of the squared error",
    source="004_7b7278b8294b24c0.txt, 1.6 and 1.7, figures 1-2, appendix",
    kind="figure",
    topic="Losses and convexity",
)
def run(e: Run) -> None:
    x, c, v = given(e.rng)
    losses = {"likelihood": likelihood(x, c), "square": square(x, c)}
    lines = {name: surfaces.slice_1d(f, v[0], v[1], STEPS) for name, f in losses.items()}
    planes = {name: surfaces.slice_2d(f, v[0], v[1], v[2], STEPS) for name, f in losses.items()}
    rows = []
    for name in losses:
        along = {"line": surfaces.second_differences(lines[name])[0]}
        four = surfaces.second_differences(planes[name])
        along |= dict(zip(("grid, lambda", "grid, mu", "grid, diagonal", "grid, other diagonal"), four, strict=True))
        for where, d in along.items():
            if name == "likelihood":
                e.check(f"likelihood, {where}: smallest second difference", d.min(), -1e-12, kind="at least")
            else:
                e.check(f"square, {where}: smallest second difference", d.min(), -1e-6, kind="below")
            rows.append([name, where, d.min(), int((d < -1e-12).sum()), d.size])
    e.table("second differences", ["loss", "direction", "smallest", "below -1e-12", "of"], rows)
    check_starts(e)
    rough = surfaces.slice_1d(naive(x, c), v[0], v[1], STEPS)
    e.check("likelihood from a rounded s: points of the line that are not finite", int((~np.isfinite(rough)).sum()), 0,
            kind="above", note="log 0: the stable log-sigmoid is needed")  # fmt: skip
    e.check("likelihood by the log-sigmoid: all finite", bool(np.isfinite(lines["likelihood"]).all()), kind="true")
    draw(e, lines, planes)
    search(e, losses)
    e.note("A slice that is not convex disproves convexity; one that is convex proves nothing, and a thousand do not.")


def check_starts(e: Run) -> None:
    """The square loss along a line, for five sets of data and directions."""
    counts = []
    for seed in range(5):
        x, c, v = given(np.random.default_rng(seed))
        line = surfaces.slice_1d(square(x, c), v[0], v[1], STEPS)
        counts.append(int((surfaces.second_differences(line)[0] < -1e-12).sum()))
    e.check("square, five starts: each line has a negative second difference", min(counts), 0, kind="above")
    e.report("square, five starts: negative of 98", counts, note="a reference run with another generator had 45 to 56")


def search(e: Run, losses: dict[str, Any]) -> None:
    """Beyond: pairs of points at random, for the worst midpoint."""
    pairs = 10 * e.rng.normal(size=(2, e.pick(quick=2000, full=20_000), D))
    gaps = {name: surfaces.midpoint_gaps(f, *pairs) for name, f in losses.items()}
    e.check("likelihood: smallest mean of ends minus midpoint, over random pairs", gaps["likelihood"].min(), -1e-12,
            kind="at least")  # fmt: skip
    e.check("square: the same", gaps["square"].min(), -0.05, kind="below")
    e.report("square: share of random pairs whose midpoint lies above the mean", float((gaps["square"] < 0).mean()))


def draw(e: Run, lines: dict[str, np.ndarray], planes: dict[str, np.ndarray]) -> None:
    fig, axes = plots.new(1, 2, height=3.2)
    for ax, (name, line) in zip(axes, lines.items(), strict=True):
        where = surfaces.midpoint_violations(line).where
        plots.slice_line(STEPS, line, marks=where, xlabel="λ", ylabel="E", title=name, axes=ax)
    e.figure("lines", fig, "Along one line: the likelihood is convex, the square loss goes in steps. Orange: midpoints "
             "above the mean of their neighbours.", {"lambda": STEPS, **lines})  # fmt: skip
    fig, axes = plots.new(1, 2, height=4.2, width=10, projection="3d")
    flat, flat_axes = plots.new(1, 2, width=10, height=3.9)
    for ax, below, (name, plane) in zip(axes, flat_axes, planes.items(), strict=True):
        where = surfaces.midpoint_violations(plane).where
        plots.surface(STEPS, STEPS, plane, xlabel="λ", ylabel="μ", zlabel="E", title=name, axes=ax)
        plots.contour(STEPS, STEPS, plane, marks=where, xlabel="λ", ylabel="μ", title=name, axes=below)
    data = {"lambda": STEPS, **planes}
    e.figure("surfaces", fig, "On the grid: a part of a bowl on the left, waves and steps on the right.", data)
    caption = "The same from above. Orange: midpoints above the mean of two neighbours in some direction."
    e.figure("contours", flat, caption, data)
