"""A neuron with a sigmoid, s_n = 1/(1 + exp(-w.x_n)), and labels c_n in {0, 1}. Its error is

    E(w) = -(1/N) sum_n [c_n log s_n + (1 - c_n) log(1 - s_n)].

1. Derive the gradient of E.
2. Show by its second derivative that E is convex.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import plots, surfaces
from pyneural.experiments._slips import slip
from pyneural.experiments._symbolic import symbolic
from pyneural.experiments.frame import Run, experiment

N, D = 100, 5
SCALES = (0.1, 1.0, 10.0)


def error(x: np.ndarray, c: np.ndarray) -> Any:
    """E as a function of w, from rows x (N, D) and labels c (N,)."""
    # log s = logsigmoid(v) and log(1 - s) = logsigmoid(-v) = logsigmoid(v) - v.
    rows, missing = pn.tensor(x), pn.tensor(1 - c)

    def e(w: Any) -> Any:
        v = rows @ w
        return (missing * v - pn.logsigmoid(v)).mean()

    return e


def sigmoid(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return pn.sigmoid(pn.tensor(x @ w)).numpy()


def gradient(x: np.ndarray, c: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(1/N) sum (s_n - c_n) x_n."""
    return (sigmoid(x, w) - c) @ x / len(x)


def hessian(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(1/N) sum s_n (1 - s_n) x_n x_n^T."""
    s = sigmoid(x, w)
    return (x.T * (s * (1 - s))) @ x / len(x)


def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal rows (N, D), labels drawn with the probabilities of a normal teacher, and the teacher."""
    x, teacher = rng.normal(size=(N, D)), rng.normal(size=D)
    return x, (rng.uniform(size=N) < sigmoid(x, teacher)).astype(np.float64), teacher


@experiment(
    "logistic-convexity",
    title="The likelihood of a sigmoid neuron is convex",
    source="004_7b7278b8294b24c0.txt, 1.1 and 1.2",
    kind="proof",
    topic="Losses and convexity",
)
def run(e: Run) -> None:
    x, c, teacher = data(e.rng)
    f, w = error(x, c), e.rng.normal(size=D)
    check_formulas(e, f, x, c, w)
    check_convexity(e, f, x)
    symbolic(e, lambda sympy: check_symbols(e, sympy))
    check_flat_directions(e, x, c)
    draw(e, f, x, teacher)
    e.note(
        """
        Each term is s(1 - s) > 0 times x x^T, which has no negative eigenvalue; so has their mean. Where the rows
        span less than all of space, the directions that they leave out are flat: E is convex, not strictly.
        """
    )


def check_formulas(e: Run, f: Any, x: np.ndarray, c: np.ndarray, w: np.ndarray) -> None:
    at = pn.tensor(w)
    s = sigmoid(x, w)
    terms = -(c * np.log(s) + (1 - c) * np.log(1 - s))
    slip(e, "E at a random w", f(at).item(), terms.mean(), terms.sum(), 1e-10, note="its first line lacks the 1/N")
    e.check("gradient by autodiff minus formula", pn.grad(f)(at).numpy() - gradient(x, c, w), 0, 1e-10)
    h = pn.hessian(f)(at).numpy()
    e.check("Hessian by autodiff minus formula", h - hessian(x, w), 0, 1e-10)
    value = hessian(x, w)[0, 1]
    printed = float(np.mean(s * (1 - s) * x[:, 0] ** 2))
    note = "x_n^2 in the source: one dimension"
    slip(e, "second derivative in w_1 and w_2", h[0, 1], value, printed, 1e-10, note=note)
    one = error(x[:, :1], c)
    s = sigmoid(x[:, :1], w[:1])
    e.check("one dimension: second derivative minus mean of x^2 s(1 - s)",
            pn.hessian(one)(at[:1]).item() - np.mean(x[:, 0] ** 2 * s * (1 - s)), 0, 1e-10)  # fmt: skip


def check_convexity(e: Run, f: Any, x: np.ndarray) -> None:
    """The Hessian's smallest eigenvalue at many points, and midpoints of many pairs."""
    second, rows = pn.compile(lambda w: pn.hessian(f)(w)), []
    for scale in SCALES:
        points = scale * e.rng.normal(size=(e.pick(quick=200, full=1000), D))
        low, high = [], []
        for w in e.progress(points, f"Hessians at scale {scale}"):
            values = np.linalg.eigvalsh(second(pn.tensor(w)).numpy())
            low.append(values[0])
            high.append(values[-1])
        e.check(f"smallest Hessian eigenvalue, {len(points)} w of scale {scale}", min(low), -1e-12, kind="at least")
        pairs = scale * e.rng.normal(size=(2, e.pick(quick=2000, full=10_000), D))
        gaps = surfaces.midpoint_gaps(f, *pairs)
        e.check(f"mean of ends minus midpoint, {len(gaps):,} pairs of scale {scale}: smallest", gaps.min(), -1e-12,
                kind="at least")  # fmt: skip
        rows.append([scale, min(low), float(np.median(low)), float(np.median(high)), max(high), gaps.min()])
    columns = ["scale of w", "smallest eigenvalue", "its median", "median of the largest", "largest", "smallest gap"]
    e.table("eigenvalues of the Hessian", columns, rows)


def check_symbols(e: Run, sympy: Any) -> None:
    w, x, c = sympy.symbols("w x c", real=True)
    s = 1 / (1 + sympy.exp(-w * x))
    loss = -(c * sympy.log(s) + (1 - c) * sympy.log(1 - s))
    e.check("symbolic: dE/dw = (s - c) x", sympy.simplify(sympy.diff(loss, w) - (s - c) * x) == 0, kind="true")
    left = sympy.simplify(sympy.diff(loss, w, 2) - x**2 * s * (1 - s))
    e.check("symbolic: second derivative = x^2 s(1 - s), for c = 0, c = 1 and in between", left == 0, kind="true")


def check_flat_directions(e: Run, x: np.ndarray, c: np.ndarray) -> None:
    """Rows that span three of the five dimensions."""
    rank = 3
    thin = x[:, :rank] @ e.rng.normal(size=(rank, D))
    f, w = error(thin, c), e.rng.normal(size=D)
    values, vectors = np.linalg.eigh(pn.hessian(f)(pn.tensor(w)).numpy())
    e.check(f"rank {rank} data: the {D - rank} smallest eigenvalues", values[: D - rank], 0, 1e-12)
    e.check(f"rank {rank} data: the next eigenvalue", values[D - rank], 1e-3, kind="above")
    along = surfaces.slice_1d(f, w, vectors[:, 0], np.linspace(-10, 10, 41))
    e.check("E along a flat direction: largest minus smallest", np.ptp(along), 0, 1e-12)


def draw(e: Run, f: Any, x: np.ndarray, teacher: np.ndarray) -> None:
    """E along a random line, and along the separating direction of data that can be separated."""
    t = np.linspace(-10, 10, 201)
    start, direction = e.rng.normal(size=(2, D))
    line = surfaces.slice_1d(f, start, direction, t)
    bend = surfaces.curvature_along(f, start, direction, t)
    e.check("second differences of E along the line: smallest", min(surfaces.second_differences(line)[0]), -1e-12,
            kind="at least")  # fmt: skip
    separable = error(x, (x @ teacher > 0).astype(np.float64))
    steps = np.geomspace(0.1, 1e4, 60)
    falling = surfaces.slice_1d(separable, np.zeros(D), teacher, steps)
    e.check("separable data: E falls all along the teacher", bool(np.all(np.diff(falling) < 0)), kind="true")
    e.check("separable data: E far out on the teacher's ray", falling[-1], 1e-3, kind="below",
            note="0 is approached, not reached: no minimiser")  # fmt: skip
    fig, axes = plots.new(1, 2, height=3.2)
    plots.slice_line(t, line, xlabel="t", ylabel="E(w + t d)", title="E along a random line", axes=axes[0])
    plots.lines(steps, {"E": falling}, xlabel="t", ylabel="E(t w*)", title="Separable data: no minimiser", log=True,
                axes=axes[1])  # fmt: skip
    axes[1].set_xscale("log")
    e.figure("line", fig, "Left: the error is convex along every line. Right: labels without noise; the longer the "
             "teacher's vector, the smaller the error.",
             {"t": t, "line": line, "curvature": bend, "steps": steps, "separable": falling})  # fmt: skip
