"""For a model p(x, z) = p(x|z) p(z) with a hidden z and any distribution q(z), show that

    log p(x) >= -E_q log q(z) + E_q log[p(x|z) p(z)] = E_q log p(x|z) - KL(q || p(z)).

How large is the gap?
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.distributions import Categorical, importance_weighted_bound, kl_divergence
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

STATES, CHOICES = 5, 10_000
LIKELIHOOD = np.array([0.7, 0.2, 0.05, 0.4, 0.01])  # p(x|z) of the x that was seen, for each z
PRIOR = np.array([0.1, 0.3, 0.25, 0.15, 0.2])


def bounds(q: np.ndarray, likelihood: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bound at each q (N, k) in three forms: joint, split (likelihood and prior), evidence."""
    posterior = likelihood * prior / (likelihood @ prior)
    log_q = np.log(np.where(q > 0, q, 1))
    joint = np.sum(q * np.log(likelihood * prior), axis=1) - np.sum(q * log_q, axis=1)
    choice = Categorical(q)
    split = np.sum(q * np.log(likelihood), axis=1) - kl_divergence(choice, Categorical(prior)).numpy()
    evidence = np.log(likelihood @ prior) - kl_divergence(choice, Categorical(posterior)).numpy()
    return joint, split, evidence


@experiment(
    "elbo-bound",
    title="A lower bound on the evidence, and its gap",
    source="004_7b7278b8294b24c0.txt, 4.2",
    kind="proof",
    topic="Variational autoencoders",
)
def run(e: Run) -> None:
    evidence = float(np.log(LIKELIHOOD @ PRIOR))
    posterior = LIKELIHOOD * PRIOR / (LIKELIHOOD @ PRIOR)
    q = e.rng.dirichlet(np.full(STATES, 0.7), CHOICES)
    joint, split, gapped = bounds(q, LIKELIHOOD, PRIOR)
    e.check(f"bound at {CHOICES:,} choices of q: largest, below log p(x) = {evidence:.6f}", joint.max(), evidence,
            kind="below")  # fmt: skip
    e.check("-E_q log q + E_q log[p(x|z) p(z)] minus E_q log p(x|z) - KL(q || p(z))", joint, split, 1e-12)
    e.check("log p(x) - bound minus KL(q || p(z|x))", evidence - joint, evidence - gapped, 1e-12)
    tight = [float(form[0]) for form in bounds(posterior[None], LIKELIHOOD, PRIOR)]
    e.check("at the posterior all three forms are log p(x)", tight, evidence, 1e-12)
    check_slips(e, q, joint, split)
    e.table("the bound at some q", ["q", "bound", "KL(q || posterior)", "their sum"], [
        [name, float(form[0]), evidence - float(form[0]), evidence]
        for name, form in (
            ("prior", bounds(PRIOR[None], LIKELIHOOD, PRIOR)[0]),
            ("uniform", bounds(np.full((1, STATES), 1 / STATES), LIKELIHOOD, PRIOR)[0]),
            ("halfway to the posterior", bounds((0.5 * PRIOR + 0.5 * posterior)[None], LIKELIHOOD, PRIOR)[0]),
            ("posterior", bounds(posterior[None], LIKELIHOOD, PRIOR)[0]),
        )
    ], f"log p(x) = {evidence:.6f}.")  # fmt: skip
    check_weighted(e, evidence)
    draw(e)
    e.note(
        """
        The source prints >= between all lines. Only the first step, Jensen's inequality, loses something, and exactly
        KL(q || p(z|x)); what follows are equalities. In its last integral the logarithm of p(x|z) is missing.
        """
    )


def check_slips(e: Run, q: np.ndarray, joint: np.ndarray, split: np.ndarray) -> None:
    """The printed forms: without the logarithm, and with inequalities where nothing is lost."""
    prior = -kl_divergence(Categorical(q[:1]), Categorical(PRIOR)).item()
    printed = float(q[0] @ LIKELIHOOD) + prior
    slip(e, "E_q log p(x|z) - KL(q || p(z)) at one q", split[0], joint[0], printed, 1e-12,
         note="printed without the logarithm: E_q p(x|z)")  # fmt: skip
    exceeded = float(np.log(LIKELIHOOD @ PRIOR))
    without = q @ LIKELIHOOD - kl_divergence(Categorical(q), Categorical(PRIOR)).numpy()
    e.check("without the logarithm it is no bound: largest, above log p(x)", without.max(), exceeded, kind="above")
    e.check("share of q where the second line loses more than 1e-12 against the first, as >= would allow",
            np.mean(joint - split > 1e-12), 0, kind="equal")  # fmt: skip


def check_weighted(e: Run, evidence: float) -> None:
    """Beyond: the bound from several draws rises with their number."""
    repeats = e.pick(quick=4_000, full=40_000)
    q = Categorical(np.tile(np.full(STATES, 1 / STATES), (repeats, 1)))
    log_joint = pn.tensor(np.log(LIKELIHOOD * PRIOR))
    means, errors = [], []
    for draws in (1, 5, 50):
        values = importance_weighted_bound(lambda z: log_joint[z], q, draws).numpy()
        means.append(float(values.mean()))
        errors.append(float(values.std() / repeats**0.5))
    single = float(bounds(np.full((1, STATES), 1 / STATES), LIKELIHOOD, PRIOR)[0][0])
    e.check("importance-weighted, one draw: minus the bound, in standard errors", abs(means[0] - single) / errors[0], 4,
            kind="at most")  # fmt: skip
    e.check("importance-weighted, K = 1, 5, 50: each step up, in standard errors",
            np.diff(means) / np.array(errors[:2]), 5, kind="above")  # fmt: skip
    e.check("importance-weighted, K = 50: at most log p(x) and three standard errors", means[-1],
            evidence + 3 * errors[-1], kind="at most")  # fmt: skip
    e.table("importance-weighted bound", ["draws K", "mean", "standard error", "below log p(x) by"], [
        [k, m, s, evidence - m] for k, m, s in zip((1, 5, 50), means, errors, strict=True)
    ], f"q uniform, {repeats:,} repeats.")  # fmt: skip


def draw(e: Run) -> None:
    """The bound over all q on three states: a triangle, its highest point the posterior."""
    likelihood, prior = LIKELIHOOD[:3], PRIOR[:3] / PRIOR[:3].sum()
    posterior, evidence = likelihood * prior / (likelihood @ prior), float(np.log(likelihood @ prior))
    n = 80
    q = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
    value = bounds(q, likelihood, prior)[0]
    corners = np.array([[0, 0], [1, 0], [0.5, 3**0.5 / 2]])
    at, best = q @ corners, posterior @ corners
    fig, ax = plots.new(width=6.4, height=4.6)
    with plots.style():
        levels = ax.tricontourf(*at.T, value, levels=np.linspace(value.min(), evidence, 13), cmap="viridis")
        fig.colorbar(levels, ax=ax, format="%.1f", label="bound")
        for marker, point, name in (("*", best, "posterior: the bound is log p(x)"), ("o", prior @ corners, "prior")):
            ax.plot(*point, marker, color="white", mec="black", ms=14 if marker == "*" else 7, label=name)
        for corner, name, va in zip(corners, ("z = 1", "z = 2", "z = 3"), ("top", "top", "bottom"), strict=True):
            ax.annotate(name, corner, (0, -6 if va == "top" else 6), textcoords="offset points", ha="center", va=va)
        ax.legend(loc="upper left", bbox_to_anchor=(-0.05, 1.0))
        ax.set(aspect="equal", xlim=(-0.08, 1.08), ylim=(-0.12, 0.98), title=f"log p(x) = {evidence:.4f}")
        ax.axis("off")
    e.check("three states: highest point of the bound on the triangle, at a distance from the posterior",
            np.abs(q[value.argmax()] - posterior).max(), 1 / n, kind="at most")  # fmt: skip
    caption = "The bound for every q over three values of z. It reaches log p(x) at the posterior and nowhere else."
    e.figure("simplex", fig, caption, {"q": q, "bound": value, "posterior": posterior, "prior": prior})
