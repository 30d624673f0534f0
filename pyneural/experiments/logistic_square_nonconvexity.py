"""A neuron with a sigmoid, s_n = 1/(1 + exp(-w x_n)), and labels c_n in {0, 1}. Show that its squared error

    E(w) = (1/N) sum_n (c_n - s_n)^2

is not convex, by the sign of its second derivative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import plots, surfaces
from pyneural.experiments._slips import slip
from pyneural.experiments._symbolic import symbolic
from pyneural.experiments.frame import Run, experiment

N = 100
NEGATIVE = {0: (2 / 3, 1.0), 1: (0.0, 1 / 3)}  # where q < 0
PRINTED = (1 / 3, 1.0)  # the source's interval for c = 1


def q(s: Any, c: Any) -> Any:
    """The factor of the second derivative whose sign changes."""
    return 2 * s + 2 * c * s - 3 * s**2 - c


def error(x: np.ndarray, c: np.ndarray) -> Any:
    """E as a function of w (1,)."""
    inputs, labels = pn.tensor(x), pn.tensor(c)
    return lambda w: pn.square(labels - pn.sigmoid(inputs * w)).mean()


def second_derivative(x: np.ndarray, c: np.ndarray, w: float) -> float:
    """(2/N) sum x^2 s(1 - s) q(s, c)."""
    s = pn.sigmoid(pn.tensor(x * w)).numpy()
    return float(2 * np.mean(x**2 * s * (1 - s) * q(s, c)))


@experiment(
    "logistic-square-nonconvexity",
    title="The squared error of a sigmoid neuron is not convex",
    source="004_7b7278b8294b24c0.txt, 1.3",
    kind="proof",
    topic="Losses and convexity",
)
def run(e: Run) -> None:
    x, c = e.rng.normal(size=N), (e.rng.uniform(size=N) < 0.5).astype(np.float64)
    f = error(x, c)
    points = e.rng.normal(scale=3, size=50)
    taken = [pn.hessian(f)(pn.tensor([w])).item() for w in points]
    e.check("second derivative at 50 w: autodiff minus formula", np.array(taken) -
            [second_derivative(x, c, w) for w in points], 0, 1e-10)  # fmt: skip
    check_sign(e)
    check_depth(e)
    check_counterexample(e)
    symbolic(e, lambda sympy: check_symbols(e, sympy))
    draw(e)
    draw_average(e)
    e.note(
        """
        The second derivative is negative where the neuron is badly wrong: s > 2/3 for c = 0, and s < 1/3 for c = 1.
        The source has the first, and for the second prints 1/3 < s < 1. One of its own points tells: at s = 1/2 and
        c = 1 q is 1/4.
        """
    )


def check_sign(e: Run) -> None:
    """The set where q < 0, on a grid and by points."""
    s = np.arange(1, 3000) / 3000
    for c, (low, high) in NEGATIVE.items():
        found = s[q(s, c) < 0]
        ends = np.array([found.min(), found.max()])
        name = f"c = {c}: smallest and largest s with q < 0, on a grid of 1/3000"
        if c == 0:
            e.check(name, ends, np.array([low, high]), 1e-3, printed="2/3 < s")
        else:
            slip(e, name, ends, np.array([low, high]), np.array(PRINTED), 1e-3)
    slip(e, "c = 1, s = 0.5: sign of q", float(np.sign(q(0.5, 1))), 1.0, -1.0, 0, "equal")
    e.check("c = 1: q at s = 0.5", q(0.5, 1), 0.25, 1e-15)
    e.check("c = 1: q at s = 0.2", q(0.2, 1), -0.32, 1e-15)
    # The same from autodiff alone: x = 1, w = log(s / (1 - s)).
    for value, sign in ((0.5, 1.0), (0.2, -1.0)):
        w = pn.tensor([float(np.log(value / (1 - value)))], dtype=np.float64)
        h = pn.hessian(error(np.ones(1), np.ones(1)))(w).item()
        e.check(f"c = 1, s = {value}: sign of the second derivative by autodiff", float(np.sign(h)), sign, kind="equal")


def check_depth(e: Run) -> None:
    """The most negative value of s(1 - s) q."""
    s = np.linspace(0, 1, 2_000_001)
    rows = []
    for c, at in ((0, 0.864357), (1, 0.135643)):
        values = s * (1 - s) * q(s, c)
        k = int(values.argmin())
        e.check(f"c = {c}: smallest s(1 - s) q", values[k], -0.0601022, 1e-7)
        e.check(f"c = {c}: at s", s[k], at, 1e-6)
        rows.append([c, "s(2 - 3s)" if c == 0 else "(3s - 1)(1 - s)", "s > 2/3" if c == 0 else "s < 1/3",
                     "s > 2/3" if c == 0 else "1/3 < s < 1", values[k], s[k]])  # fmt: skip
    e.table(
        "where the second derivative is negative", ["c", "q", "q < 0", "source", "smallest s(1 - s) q", "at s"], rows
    )


def check_counterexample(e: Run) -> None:
    """c = 1, x = 1: the midpoint of -6 and -2 lies above their mean."""
    f = error(np.ones(1), np.ones(1))
    left, middle, right = surfaces.slice_1d(f, np.zeros(1), np.ones(1), [-6.0, -4.0, -2.0])
    e.check("E(-6), E(-2), E(-4)", [left, right, middle], np.array([0.995061, 0.775803, 0.964351]), 1e-6)
    e.check("mean of E(-6) and E(-2)", (left + right) / 2, 0.885432, 1e-6)
    e.check("E(-4) minus the mean", middle - (left + right) / 2, 0, kind="above")


def check_symbols(e: Run, sympy: Any) -> None:
    w, x, s = sympy.symbols("w x s", real=True)
    sigma = 1 / (1 + sympy.exp(-w * x))
    for c, roots in ((0, {sympy.Integer(0), sympy.Rational(2, 3)}), (1, {sympy.Rational(1, 3), sympy.Integer(1)})):
        e.check(f"symbolic: roots of q for c = {c}", set(sympy.solve(q(s, c), s)) == roots, kind="true")
        h = sympy.diff((c - sigma) ** 2, w, 2)
        right = 2 * x**2 * sigma * (1 - sigma) * q(sigma, c)
        e.check(f"symbolic: second derivative for c = {c}", sympy.simplify(h - right) == 0, kind="true")


def draw(e: Run) -> None:
    s = np.linspace(0, 1, 401)
    fig, axes = plots.new(1, 2, height=3.2)
    for c, ax in enumerate(axes):
        values = q(s, c)
        plots.slice_line(s, values, xlabel="s", ylabel="q", title=f"c = {c}", axes=ax)
        with plots.style():
            ax.axhline(0, color=plots.INK, linewidth=0.8)
            ax.fill_between(
                s, values, 0, where=values < 0, color=plots.LINES[1], alpha=0.35, linewidth=0, label="q < 0"
            )
            if c == 1:
                text = "the source's interval"
                ax.axvspan(*PRINTED, ymax=0.06, color=plots.LINES[3], alpha=0.6, linewidth=0, label=text)
            ax.legend()
    caption = (
        "The factor q of the second derivative. Shaded: where the squared error is not convex. For c = 1 the source "
        "names the wrong side of 1/3 (bar below)."
    )
    e.figure("factor", fig, caption, {"s": s, "q0": q(s, 0), "q1": q(s, 1)})


def draw_average(e: Run) -> None:
    """The mean over data: where it stays convex."""
    x = e.rng.normal(size=N)
    c = (e.rng.uniform(size=N) < pn.sigmoid(pn.tensor(2 * x)).numpy()).astype(np.float64)
    f, w = error(x, c), np.linspace(-12, 12, 481)
    values = surfaces.slice_1d(f, np.zeros(1), np.ones(1), w)
    bend = surfaces.curvature_along(f, np.zeros(1), np.ones(1), w)
    e.check("curvature of the averaged loss: autodiff minus formula", bend - [second_derivative(x, c, v) for v in w], 0,
            1e-10)  # fmt: skip
    convex = w[bend >= 0]
    best = float(w[values.argmin()])
    around = w[(bend < 0) & (w < best)], w[(bend < 0) & (w > best)]
    e.check("the averaged loss is convex at its minimum, and not everywhere",
            bool(bend[values.argmin()] > 0 and len(convex) < len(w)), kind="true")  # fmt: skip
    e.report("averaged loss: minimum at w, convex around it from and to",
             [best, *(side[k] if len(side) else np.nan for side, k in zip(around, (-1, 0), strict=True))])  # fmt: skip
    fig, axes = plots.new(1, 2, height=3.2)
    plots.slice_line(w, values, marks=bend < 0, xlabel="w", ylabel="E", title="Averaged loss", axes=axes[0])
    axes[0].get_legend().get_texts()[0].set_text("second derivative < 0")
    plots.slice_line(w, bend, marks=bend < 0, xlabel="w", ylabel="d²E/dw²", title="Its second derivative", axes=axes[1])
    axes[1].get_legend().get_texts()[0].set_text("below 0")
    e.figure("average", fig, f"The mean over {N} points is convex around its minimum only.",
             {"w": w, "loss": values, "second": bend})  # fmt: skip
