"""Compute the entropy -E log q of a Gaussian q = N(m, S) in d dimensions."""

from __future__ import annotations

import math

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.distributions import MultivariateNormal, Normal
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

SAMPLES = 400_000
COVARIANCES = {
    1: np.array([[2.0]]),
    2: np.array([[1.5, 0.6], [0.6, 1.5]]),  # of determinant 1.89
    3: np.array([[1.0, 0.3, 0.1], [0.3, 0.8, -0.2], [0.1, -0.2, 1.2]]),
}


def closed_form(covariance: np.ndarray) -> float:
    """(1/2) log det(2 pi e S)."""
    return 0.5 * float(np.linalg.slogdet(2 * math.pi * math.e * covariance)[1])


def printed_forms(covariance: np.ndarray) -> tuple[float, float]:
    """What the source prints: (1/2) log(2 pi det S) + 1/2, and in its last line the same without e."""
    without = 0.5 * math.log(2 * math.pi * np.linalg.det(covariance))
    return without + 0.5, without


@experiment(
    "gaussian-entropy",
    title="The entropy of a Gaussian",
    source="004_7b7278b8294b24c0.txt, 4.3",
    kind="proof",
    topic="Information and bounds",
)
def run(e: Run) -> None:
    rows = []
    for d, covariance in COVARIANCES.items():
        mean = np.arange(d, dtype=float)
        q = MultivariateNormal(mean, covariance)
        exact = closed_form(covariance)
        split = 0.5 * d * (1 + math.log(2 * math.pi)) + 0.5 * math.log(np.linalg.det(covariance))
        e.check(f"d = {d}: (1/2) log det(2 pi e S) = (d/2)(1 + log 2 pi) + (1/2) log det S", split, exact, 1e-13)
        e.check(f"d = {d}: entropy() of the library", q.entropy().item(), exact, 1e-13)
        surprise = -q.log_prob(q.sample((SAMPLES,))).numpy()
        error = float(surprise.std() / math.sqrt(SAMPLES))
        e.check(f"d = {d}: Monte Carlo minus closed form, in standard errors", abs(surprise.mean() - exact) / error, 3,
                kind="at most")  # fmt: skip
        half, last = printed_forms(covariance)
        if d == 1:
            e.check("d = 1: (1/2) log(2 pi S) + 1/2, as printed, is right", half, exact, 1e-13)
        else:
            slip(e, f"d = {d}: entropy, mean over {SAMPLES:,} draws", surprise.mean(), exact, half, 3 * error,
                 note="the form (1/2) log(2 pi det S) + 1/2")  # fmt: skip
        slip(e, f"d = {d}: entropy against the last line", surprise.mean(), exact, last, 3 * error,
             note="the form (1/2) log(2 pi det S), where e was lost")  # fmt: skip
        rows.append([d, exact, float(surprise.mean()), error, half, last])
        check_parts(e, d, covariance, q, surprise, error)
    e.check("d = 2: entropy", closed_form(COVARIANCES[2]), 3.1562, 5e-5)
    e.check("d = 2: the printed form", printed_forms(COVARIANCES[2])[0], 1.7372, 5e-5)
    columns = ["d", "closed form", "Monte Carlo", "standard error", "printed, + 1/2", "printed, last line"]
    e.table("entropy by dimension", columns, rows)
    check_maximal(e)
    draw(e)
    e.note(
        """
        The source normalises the density with (2 pi det S)^(-1/2), which is right for d = 1 only: each dimension brings
        its own 2 pi. The expectation of the quadratic term is d/2, printed as 1/2, and the last line loses e. For
        d = 1 the form with 1/2 is right, which hides the first two slips.
        """
    )


def check_parts(
    e: Run, d: int, covariance: np.ndarray, q: MultivariateNormal, surprise: np.ndarray, error: float
) -> None:
    """The normaliser and the expectation of the quadratic term, which the source takes for any d from d = 1."""
    peak = q.log_prob(q.mean).item()
    exact = -0.5 * float(np.linalg.slogdet(2 * math.pi * covariance)[1])
    printed = -0.5 * math.log(2 * math.pi * np.linalg.det(covariance))
    quadratic = float(surprise.mean()) + peak  # what is left of -log q without the normaliser
    if d == 1:
        e.check("d = 1: log density at the mean", peak, printed, 1e-13)
        e.check("d = 1: E of the quadratic term", quadratic, 0.5, 3 * error)
        return
    slip(e, f"d = {d}: log density at the mean", peak, exact, printed, 1e-13, note="the normaliser (2 pi det S)^(-1/2)")
    slip(e, f"d = {d}: E of the quadratic term", quadratic, d / 2, 0.5, 3 * error)


def check_maximal(e: Run) -> None:
    """Among densities of one variance the Gaussian has the largest entropy."""
    gaussian = Normal(np.array(0.0), 1.0).entropy().item()
    others = {
        "uniform": 0.5 * math.log(12),
        "Laplace": 1 + 0.5 * math.log(2),
        "logistic": 2 + 0.5 * math.log(3) - math.log(math.pi),
    }
    for name, entropy in others.items():
        e.check(f"{name} density of variance 1: entropy below the Gaussian's", entropy, gaussian, kind="below")
    e.table("entropy at variance 1", ["density", "entropy"], [["Gaussian", gaussian], *others.items()])
    mixed = pn.grad(lambda s: Normal(0.0, s).entropy())(pn.tensor(np.array(2.0))).item()
    e.check("dH/ds at s = 2 by autodiff is 1/s", mixed, 0.5, 1e-15)


def draw(e: Run) -> None:
    """The entropy at S = I and the two printed forms, by dimension."""
    d = range(1, 11)
    right = np.array([closed_form(np.eye(n)) for n in d])
    half, last = (np.array(v) for v in zip(*(printed_forms(np.eye(n)) for n in d), strict=True))
    curves = {"(d/2) log(2 pi e)": right, "printed, with 1/2": half, "printed, last line": last}
    fig = plots.lines(list(d), curves, title="Entropy of N(0, I)", xlabel="d", ylabel="nats")
    caption = "The entropy grows by 1.4189 with each dimension; the printed forms stay where they are at d = 1."
    e.figure("entropy", fig, caption, {"d": list(d), "entropy": right, "printed_half": half, "printed_last": last})
