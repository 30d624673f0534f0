"""Show that the Kullback-Leibler divergence KL(q || p) = E_q log(q/p) is never negative, using log x <= x - 1."""

from __future__ import annotations

import math

import numpy as np

from pyneural import plots
from pyneural.distributions import Categorical, Normal, kl_divergence
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

PAIRS, CLASSES = 10_000, 5


def expectation(density: np.ndarray, values: np.ndarray, x: np.ndarray) -> float:
    """The integral of density * values over the evenly spaced x, whose ends lie where the density vanishes."""
    return float(np.sum(density * values) * (x[1] - x[0]))


@experiment(
    "kl-bound",
    title="The divergence of two distributions is never negative",
    source="004_7b7278b8294b24c0.txt, 4.1",
    kind="proof",
    topic="Information and bounds",
)
def run(e: Run) -> None:
    ratio = np.concatenate([np.geomspace(1e-12, 1e3, 20_001), [1.0]])
    slack = ratio - 1 - np.log(ratio)
    e.check("x - 1 - log x on a grid of (0, 1000]: smallest", slack.min(), 0, kind="at least")
    e.check("x - 1 - log x at 1", slack[-1], 0, kind="equal")
    e.check("x - 1 - log x away from 1: smallest", slack[np.abs(ratio - 1) > 1e-6].min(), 0, kind="above")

    p, q = (e.rng.dirichlet(np.full(CLASSES, 0.5), PAIRS) for _ in range(2))
    divergence = kl_divergence(Categorical(q), Categorical(p)).numpy()
    e.check(f"smallest KL of {PAIRS:,} pairs, all with q != p", divergence.min(), 0, kind="above")
    direct = np.sum(q * np.log(q / p), axis=1)
    e.check("KL minus the sum of q log(q/p)", divergence, direct, 1e-12)
    e.check("KL(q || q), all pairs: largest", np.abs(kl_divergence(Categorical(q), Categorical(q)).numpy()).max(), 0,
            kind="equal")  # fmt: skip
    near = q * (1 + 1e-4 * e.rng.normal(size=q.shape))
    tiny = kl_divergence(Categorical(q), Categorical(near)).numpy()
    e.check("q and p that differ by one part in 10,000: smallest KL", tiny.min(), 0, kind="above")
    bound = -np.sum(q * (p / q - 1), axis=1)
    e.check("E_q of -(p/q - 1), the lower bound", bound, 0, 1e-12)
    e.check("KL minus its lower bound: smallest", (divergence - bound).min(), 0, kind="above")
    check_gaussians(e)
    draw(e)
    e.note(
        """
        The source does not invert the ratio after taking the minus out of the logarithm, puts the -1 of x - 1 inside
        the logarithm, and concludes KL = 0 where KL >= 0 follows. KL = 0 only for q = p.
        """
    )


def check_gaussians(e: Run) -> None:
    """One pair of Gaussians, by closed form and by quadrature; the printed forms fail on it."""
    q, p = Normal(np.array(0.0), 1.0), Normal(np.array(1.0), 2.0)
    x = np.linspace(-15, 15, 6001)
    log_q, log_p = (d.log_prob(x).numpy() for d in (q, p))
    density = np.exp(log_q)
    closed = kl_divergence(q, p).item()
    e.check("KL(N(0,1) || N(1,4)) = log 2 + 2/8 - 1/2", closed, math.log(2) + 2 / 8 - 1 / 2, 1e-14)
    e.check("the same, as a number", closed, 0.443147, 1e-6)
    measured = expectation(density, log_q - log_p, x)
    slip(e, "KL by quadrature", measured, closed, 0.0, 1e-8, note="the source concludes KL = 0")
    wrong = -expectation(density, log_q - log_p, x)
    slip(e, "KL = -E_q log(p/q)", expectation(density, -(log_p - log_q), x), closed, wrong, 1e-8,
         note="printed with the ratio q/p after the minus")  # fmt: skip
    with np.errstate(invalid="ignore"):
        inside = -expectation(density, np.log(np.exp(log_p - log_q) - 1), x)
    slip(e, "-E_q (p/q - 1)", -expectation(density, np.exp(log_p - log_q) - 1, x), 0, inside, 1e-8,
         note="printed with the -1 inside the logarithm, where p < q has none")  # fmt: skip
    back = kl_divergence(p, q).item()
    e.check("KL(N(1,4) || N(0,1)) = 2 - log 2", back, 5 / 2 - 1 / 2 - math.log(2), 1e-14)
    e.check("KL is not symmetric: one way less the other", back - closed, 0.8, kind="above")
    e.table("one pair of Gaussians", ["divergence", "closed form", "quadrature"], [
        ["KL(N(0,1) || N(1,4))", closed, measured],
        ["KL(N(1,4) || N(0,1))", back, expectation(np.exp(log_p), log_p - log_q, x)],
    ])  # fmt: skip


def draw(e: Run) -> None:
    """log x below x - 1, and KL over a family of Gaussians, both ways."""
    x = np.linspace(0.02, 3, 300)
    scales, means = np.geomspace(0.2, 5, 121), (0.0, 1.0, 2.0)
    fig, axes = plots.new(1, 3, width=11, height=3.4)
    plots.lines(x, {"x - 1": x - 1, "log x": np.log(x)}, title="log x <= x - 1", xlabel="x", axes=axes[0])
    data: dict[str, np.ndarray] = {"x": x, "log_x": np.log(x), "scale": scales}
    standard = Normal(np.array(0.0), 1.0)
    forward, backward = {}, {}
    for m in means:
        other = Normal(np.full(scales.shape, m), scales)
        forward[f"m = {m:g}"] = kl_divergence(standard, other).numpy()
        backward[f"m = {m:g}"] = kl_divergence(other, standard).numpy()
        data |= {f"forward_{m:g}": forward[f"m = {m:g}"], f"backward_{m:g}": backward[f"m = {m:g}"]}
    e.check("family of Gaussians: smallest KL, at m = 0, s = 1", min(v.min() for v in forward.values()), 0, 1e-15)
    for ax, curves, title in (
        (axes[1], forward, "KL(N(0,1) || N(m,s\N{SUPERSCRIPT TWO}))"),
        (axes[2], backward, "KL(N(m,s\N{SUPERSCRIPT TWO}) || N(0,1))"),
    ):
        plots.lines(scales, curves, title=title, xlabel="s", axes=ax)
        ax.set(xscale="log", ylim=(-0.3, 8), xticks=[0.2, 0.5, 1, 2, 5], xticklabels=["0.2", "0.5", "1", "2", "5"])
        ax.minorticks_off()
    caption = (
        "Left: the line touches the logarithm at 1 and lies above it elsewhere. Middle and right: the divergence from "
        "and to N(0,1) is 0 for N(0,1) alone and differs between the two directions."
    )
    e.figure("divergence", fig, caption, data)
