"""The sigmoid s(x) = 1/(1 + e^-x) can also be written as e^x/(1 + e^x).

1. Which of the two forms can be computed for which x?
2. Why does a program need both?
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.experiments import _digits as digits
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

SPECIAL = (-1000.0, -745.0, -709.0, -90.0, -40.0, -1.0, 0.0, 1.0, 40.0, 90.0, 710.0, 1000.0)


def first(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), as it stands."""
    return 1 / (1 + np.exp(-x))


def second(x: np.ndarray) -> np.ndarray:
    """e^x / (1 + e^x), as it stands."""
    return np.exp(x) / (1 + np.exp(x))


def ours(x: np.ndarray) -> np.ndarray:
    """pyneural's."""
    return pn.sigmoid(pn.tensor(x)).numpy()


def largest_argument(dtype: type) -> float:
    """The largest x of this float type for which e^x is finite."""
    low, high = dtype(1), dtype(1000)
    with np.errstate(over="ignore"):
        while np.nextafter(low, high) < high:
            middle = dtype((low + high) / 2)
            low, high = (middle, high) if np.isfinite(np.exp(middle)) else (low, middle)
    return float(low)


@experiment(
    "stable-sigmoid",
    title="A sigmoid that neither overflows nor loses small values",
    source="004_7b7278b8294b24c0.txt, 1.4",
    kind="proof",
    topic="Losses and convexity",
)
def run(e: Run) -> None:
    e.check("largest x with a finite e^x, float32", largest_argument(np.float32), 88.7228, 1e-4)
    e.check("largest x with a finite e^x, float64", largest_argument(np.float64), 709.7827, 1e-4)
    overflow, said = digits.with_warnings(np.exp, np.float64(1000))
    slip(e, "e^1000 in float64", float(overflow), np.inf, 0.0, 0, "equal", "the source: an integer wraps round to 0")
    e.check("NumPy's warning at e^1000", said, "overflow", kind="equal")

    left, said = digits.with_warnings(first, np.float64(-1000))
    e.check("first form at -1000: 1/(1 + inf)", float(left), 0.0, kind="equal")
    e.check("first form at -1000 warns of", said, "overflow", kind="equal")
    right, said = digits.with_warnings(second, np.float64(1000))
    e.check("second form at 1000: inf/inf is NaN", np.isnan(right), kind="true")
    e.check("second form at 1000 warns of", said, "invalid value, overflow", kind="equal")
    at = np.float64(-745)
    e.check("first form at -745", digits.with_warnings(first, at)[0], 0.0, kind="equal")
    e.check("second form at -745", second(at), 4.9e-324, kind="equal")
    at32 = np.float32(-90)
    e.check("float32, first form at -90", digits.with_warnings(first, at32)[0], 0.0, kind="equal")
    e.check("float32, second form at -90", second(at32), 8.2e-40, 0.01, "relative")
    check_ours(e)
    check_gradients(e)
    show(e)
    e.note(
        """
        The source explains the overflow with a 32-bit integer that wraps round to 0. Floating-point numbers do not
        wrap: e^1000 is infinite, 1/(1 + inf) is 0, which is even right, and inf/inf is NaN, which is the real failure.
        What the first form does lose are the small values between e^-745 and e^-709, where e^-x is already infinite.
        """
    )


def grid(e: Run) -> np.ndarray:
    """[-1000, 1000]: evenly, at random, and denser about 0."""
    even = np.linspace(-1000, 1000, e.pick(quick=1001, full=8001))
    return np.sort(np.concatenate([even, e.rng.uniform(-1000, 1000, 500), e.rng.normal(scale=20, size=500), SPECIAL]))


def check_ours(e: Run) -> None:
    """pyneural's sigmoid against fifty digits, in both precisions."""
    x = grid(e)
    values, said = digits.with_warnings(ours, x)
    e.check("pyneural on [-1000, 1000]: warnings", said, "none", kind="equal")
    worst = digits.ulps(values, digits.exact(digits.sigmoid, x))
    e.check("float64: largest error in units of the last place", worst.max(), 4, kind="below")
    x32 = x.astype(np.float32)
    worst = digits.ulps(ours(x32), digits.exact(digits.sigmoid, x32))
    e.check("float32: largest error in units of the last place", worst.max(), 4, kind="below")
    e.check("s(x) + s(-x)", values + ours(-x), 1, 2.3e-16)
    e.check("s(-745), float64", ours(np.array(-745.0)), 4.9e-324, kind="equal")
    e.check("s(-90), float32", ours(np.array(-90, np.float32)), 8.194013e-40, 1e-5, "relative")


def check_gradients(e: Run) -> None:
    """Gradients: those of pyneural's op, and those through the two forms written out."""
    x = pn.tensor(grid(e))
    slopes = pn.grad(lambda v: pn.sigmoid(v).sum())(x).numpy()
    e.check("gradients of pyneural's are finite", np.isfinite(slopes), kind="true")
    s = ours(x.numpy())
    e.check("gradients are s(1 - s)", slopes, s * (1 - s), 1e-16)
    forms = {"first": lambda v: 1 / (1 + pn.exp(-v)), "second": lambda v: pn.exp(v) / (1 + pn.exp(v))}
    for name, form, bad in (("first", forms["first"], -1000.0), ("second", forms["second"], 1000.0)):
        slope = pn.grad(form)(pn.tensor(bad, dtype=np.float64)).item()
        e.check(f"gradient through the {name} form at {bad:.0f} is NaN", np.isnan(slope), kind="true")


def show(e: Run) -> None:
    """The table of special values, and the error of each form."""
    rows = []
    for at in SPECIAL:
        long = [float(digits.with_warnings(f, np.float64(at))[0]) for f in (first, second, ours)]
        short = [float(digits.with_warnings(f, np.float32(at))[0]) for f in (first, second)]
        rows.append([at, *long, *short, *bfloat16_forms(at)])
    columns = ["x", "1/(1+e^-x)", "e^x/(1+e^x)", "pyneural"]
    columns += [f"{kind}, {form} form" for kind in ("float32", "bfloat16") for form in ("first", "second")]
    e.table("special values", columns, rows, "float64 where nothing else is said.")
    # bfloat16 has the exponents of float32, so that it overflows at the same place, and 8 bits of precision.
    e.check("bfloat16: second form at 90 is NaN", np.isnan(bfloat16_forms(90.0)[1]), kind="true")
    e.check("bfloat16: first form at 1 minus s(1)", bfloat16_forms(1.0)[0] - 0.7310586, 0, 2.0**-8)

    x = np.linspace(-800, 800, 1601)
    truth = digits.exact(digits.sigmoid, x)
    forms = {"1/(1+e^-x)": first, "e^x/(1+e^x)": second, "pyneural": ours}
    errors = {name: digits.relative(digits.with_warnings(f, x)[0], truth) for name, f in forms.items()}
    fig, axes = plots.new(1, 3, width=11, height=3.2)
    for ax, (name, error) in zip(axes, errors.items(), strict=True):
        with plots.style():
            ax.plot(x, np.maximum(error, 1e-17), lw=0.8)
            lost = np.isnan(error)
            ax.plot(x[lost], np.full(lost.sum(), 1.0), color=plots.LINES[1], lw=3, label="NaN")
            ax.set(yscale="log", ylim=(3e-18, 10), xlabel="x", title=name, ylabel="relative error")
            if lost.any():
                ax.legend(loc="center right")
    caption = (
        "Relative error in float64. The first form gives 0 for everything below -709.78, an error of 1; the second is "
        "NaN above 709.78; pyneural's stays at rounding down to -708, where numbers with fewer digits begin."
    )
    e.figure("errors", fig, caption, {"x": x} | dict(zip(("first", "second", "ours"), errors.values(), strict=True)))


def bfloat16_forms(x: float) -> list[float]:
    """The two forms with every step rounded to bfloat16."""
    r = digits.bfloat16
    with np.errstate(all="ignore"):
        up, down = r(np.exp(r(x))), r(np.exp(-r(x)))
        return [float(r(1 / r(1 + down))), float(r(up / r(1 + up)))]
