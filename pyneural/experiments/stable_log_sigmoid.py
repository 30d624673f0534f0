"""The logarithm of the sigmoid, log s(x) = -log(1 + e^-x) = x - log(1 + e^x), is part of every likelihood.

1. Which form can be computed for which x?
2. What is lost where neither overflows?
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.experiments import _digits as digits
from pyneural.experiments.frame import Run, experiment

SPECIAL = (-1000.0, -745.0, -40.0, -1.0, 0.0, 1.0, 36.0, 40.0, 700.0, 745.0, 1000.0)


def first(x: np.ndarray) -> np.ndarray:
    """-log(1 + e^-x), as it stands."""
    return -np.log(1 + np.exp(-x))


def second(x: np.ndarray) -> np.ndarray:
    """x - log(1 + e^x), as it stands."""
    return x - np.log(1 + np.exp(x))


def stable(x: np.ndarray) -> np.ndarray:
    """min(x, 0) - log1p(e^-|x|)."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def ours(x: np.ndarray) -> np.ndarray:
    """pyneural's."""
    return pn.logsigmoid(pn.tensor(x)).numpy()


@experiment(
    "stable-log-sigmoid",
    title="The logarithm of the sigmoid without overflow and without lost digits",
    source="004_7b7278b8294b24c0.txt, 1.5",
    kind="proof",
    topic="Losses and convexity",
)
def run(e: Run) -> None:
    for far, form, name, value in (
        (-1000, first, "first", -np.inf),
        (-1000, second, "second", -1000.0),
        (1000, first, "first", 0.0),
        (1000, second, "second", -np.inf),
        (-1000, stable, "stable", -1000.0),
        (-1000, ours, "pyneural's", -1000.0),
    ):
        e.check(f"{name} form at {far}", digits.with_warnings(form, np.array(float(far)))[0], value, kind="equal")
    at = np.array(40.0)
    e.check("true value at 40", float(digits.exact(digits.log_sigmoid, at)[0]), -4.248354e-18, 1e-6, "relative")
    e.check("first form at 40", first(at), 0.0, kind="equal")
    e.check("second form at 40", second(at), 0.0, kind="equal")
    e.check("pyneural's at 40", ours(at), -4.248354e-18, 1e-6, "relative")

    x = np.linspace(-1000, 1000, e.pick(quick=1001, full=8001))
    x = np.sort(np.concatenate([x, e.rng.uniform(-745, 745, 500), e.rng.normal(scale=20, size=500), SPECIAL]))
    truth = digits.exact(digits.log_sigmoid, x)
    for name, form in (("min(x,0) - log1p(e^-|x|)", stable), ("pyneural's", ours)):
        values, said = digits.with_warnings(form, x)
        e.check(f"{name}: largest error in units of the last place", digits.ulps(values, truth).max(), 4, kind="below")
        e.check(f"{name}: warnings", said, "none", kind="equal")
    x32 = x.astype(np.float32)
    worst = digits.ulps(ours(x32), digits.exact(digits.log_sigmoid, x32)).max()
    e.check("pyneural's in float32: largest error in units of the last place", worst, 4, kind="below")
    slopes = pn.grad(lambda v: pn.logsigmoid(v).sum())(pn.tensor(x)).numpy()
    e.check("gradient minus s(-x)", slopes, pn.sigmoid(pn.tensor(-x)).numpy(), 1e-16)
    check_relatives(e, x)
    show(e)
    e.note(
        """
        Both forms overflow on one side, and both lose what is smaller than the last digit of 1: 1 + e^-40 is 1. That
        log(1 - s(x)) is log s(-x), so that a likelihood needs no other function, and softplus(x) is -log s(-x).
        """
    )


def check_relatives(e: Run, x: np.ndarray) -> None:
    """Softplus and log(1 - s), by symmetry."""
    softplus = -ours(-x)
    truth = [-v for v in digits.exact(lambda v: digits.log_sigmoid(-v), x)]
    e.check("softplus(x) = -log s(-x): largest error in ulp", digits.ulps(softplus, truth).max(), 4, kind="below")
    with np.errstate(divide="ignore"):
        naive = np.log(1 - pn.sigmoid(pn.tensor(x)).numpy())
    truth = digits.exact(lambda v: digits.log_sigmoid(-v), x)
    e.check("log(1 - s(x)) = log s(-x): largest error in ulp", digits.ulps(ours(-x), truth).max(), 4, kind="below")
    e.check("log(1 - s(x)) as it stands is -inf from some x on; the smallest", x[np.isneginf(naive)].min(), (36, 38),
            kind="between")  # fmt: skip


def show(e: Run) -> None:
    """The table of special values, and the errors."""
    rows = []
    for at in SPECIAL:
        values = [float(digits.with_warnings(f, np.array(at))[0]) for f in (first, second, ours)]
        rows.append([at, *values, float(digits.exact(digits.log_sigmoid, np.array(at))[0])])
    columns = ["x", "-log(1+e^-x)", "x - log(1+e^x)", "pyneural", "50 digits, rounded"]
    e.table("special values", columns, rows)
    x = np.linspace(-60, 60, 601)
    wide = np.linspace(-1000, 1000, 1001)
    data: dict[str, np.ndarray] = {"x": x, "wide_x": wide}
    fig, axes = plots.new(1, 2, width=10, height=3.6)
    forms = {"-log(1+e^-x)": first, "x - log(1+e^x)": second, "pyneural": ours}
    for ax, points, title in ((axes[0], x, "where nothing overflows"), (axes[1], wide, "the whole range")):
        truth: list[Decimal] = digits.exact(digits.log_sigmoid, points)
        for (name, form), colour, key in zip(forms.items(), plots.LINES, ("first", "second", "ours"), strict=False):
            error = digits.relative(digits.with_warnings(form, points)[0], truth)
            data[f"{'wide_' if points is wide else ''}{key}"] = error
            shown = np.where(np.isnan(error), 1e4, np.maximum(error, 1e-17))
            with plots.style():
                ax.plot(points, shown, label=name, color=colour, lw=1)
        with plots.style():
            ax.axhline(1e4, color="#888888", lw=0.6, ls=":")
            ax.text(points[0], 1.6e4, "not finite", fontsize=7, color="#555555", va="bottom")
            ax.set(yscale="log", ylim=(3e-18, 1e6), xlabel="x", ylabel="relative error", title=title)
    with plots.style():
        axes[0].legend(loc="upper left", bbox_to_anchor=(0.0, 0.88))
    caption = (
        "Relative error in float64. Both forms lose all digits of the small values at x > 37, where their error is 1; "
        "beyond 709 in one direction each is infinite (drawn on the dotted line). From 745 on the value is below the "
        "smallest number there is."
    )
    e.figure("errors", fig, caption, data)
