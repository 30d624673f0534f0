"""With e ~ N(0, I), and encoder and decoder of fixed variances sz^2 and sx^2, the lower bound is

    log p(x) >= (Z/2) log sz^2 - (X/2) log sx^2 - E_e||x - mu_x(mu_z(x) + sz e)||^2 / (2 sx^2)
                - (||mu_z(x)||^2 + Z sz^2) / 2 + const.

Show that maximising its mean over x^1, ..., x^N is minimising

    J = (1/N) sum_n { E_e||x^n - mu_x(mu_z(x^n) + sz e)||^2 + sx^2 ||mu_z(x^n)||^2 }.

Is the likelihood p(x) then maximised as well?
"""

from __future__ import annotations

import math

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.autodiff import gradients
from pyneural.distributions import Independent, Normal, importance_weighted_bound, kl_divergence
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

X, Z, H, N, NOISE = 4, 2, 5, 6, 16  # sizes of the net, samples, draws of e for each
SZ, SX = 0.7, 0.4
SHAPES = {"W1": (H, X), "W2": (Z, H), "W3": (H, Z), "W4": (X, H)}
Tensors = dict[str, pn.Tensor]


def codes(p: Tensors, x: pn.Tensor) -> pn.Tensor:
    """mu_z(x): (N, Z)."""
    return pn.functional.linear(pn.tanh(pn.functional.linear(x, p["W1"])), p["W2"])


def decoded(p: Tensors, z: pn.Tensor) -> pn.Tensor:
    """mu_x(z): (..., X)."""
    return pn.functional.linear(pn.tanh(pn.functional.linear(z, p["W3"])), p["W4"])


def mean_bound(p: Tensors, x: pn.Tensor, noise: pn.Tensor) -> pn.Tensor:
    """The mean bound over x (N, X), the expectation over e replaced by the mean over noise (NOISE, N, Z)."""
    mu = codes(p, x)
    log_likelihood = Independent(Normal(decoded(p, mu + SZ * noise), SX), 1).log_prob(x)
    prior = Independent(Normal(np.zeros(Z), np.ones(Z)), 1)
    return (log_likelihood.mean(0) - kl_divergence(Independent(Normal(mu, SZ), 1), prior)).mean()


def objective(p: Tensors, x: pn.Tensor, noise: pn.Tensor, weight: float = SX**2) -> pn.Tensor:
    """J, with the same draws; `weight` is that of the code term."""
    mu = codes(p, x)
    error = pn.square(x - decoded(p, mu + SZ * noise)).sum(-1).mean(0)
    return (error + weight * pn.square(mu).sum(-1)).mean()


CONSTANT = 2 * SX**2 * (
    Z / 2 * math.log(SZ**2) - X / 2 * math.log(SX**2) - Z * SZ**2 / 2 + Z / 2 - X / 2 * math.log(2 * math.pi)
)  # fmt: skip


@experiment(
    "vae-objective",
    title="From the lower bound to a loss of squares",
    source="004_7b7278b8294b24c0.txt, 4.6 and 4.7",
    kind="proof",
    topic="Variational autoencoders",
)
def run(e: Run) -> None:
    x, noise = pn.tensor(e.rng.normal(size=(N, X))), pn.tensor(e.rng.normal(size=(NOISE, N, Z)))
    values, apart, slopes = [], [], []
    for _ in range(e.pick(quick=50, full=500)):
        p = {k: pn.tensor(e.rng.normal(size=shape), requires_grad=True) for k, shape in SHAPES.items()}
        j, bound = objective(p, x, noise), mean_bound(p, x, noise)
        values.append((j.item(), bound.item()))
        apart.append(j.item() - (-2 * SX**2 * bound.item() + CONSTANT))
        both = [np.concatenate([np.asarray(g).ravel() for g in gradients(v, list(p.values()))]) for v in (j, bound)]
        slopes.append(np.abs(both[0] + 2 * SX**2 * both[1]).max())
    e.check(f"J minus (-2 sx^2 mean bound + const), {len(values)} random nets", apart, 0, 1e-10)
    e.check("gradient of J plus 2 sx^2 times that of the bound", slopes, 0, 1e-10)
    j, bounds = np.array(values).T
    reverse = np.array_equal(np.argsort(j), np.argsort(-bounds))
    e.check("nets in the order of J are in the reverse order of the bound", reverse, kind="true")
    check_slips(e, values, p, x, noise, both)
    check_square(e)
    compare_with_likelihood(e)
    e.note(
        """
        The source keeps the factor -1/(2 sx^2) on one side of an equation only, once puts the square outside the
        expectation, and once prints sz for sx. It also says that maximising the bound maximises p(x): the bound is
        lower by KL(q || p(z|x)), which depends on the parameters too, so that its maximum lies elsewhere.
        """
    )


def check_slips(e: Run, values: list, p: Tensors, x: pn.Tensor, noise: pn.Tensor, both: list[np.ndarray]) -> None:
    """The factor that is lost on one side, and sz for sx."""
    j, bound = values[-1]
    largest = np.abs(both[1]).argmax()
    slip(e, "gradient of J over that of the bound", float(both[0][largest] / both[1][largest]), -2 * SX**2, 1.0, 1e-10,
         note="equation 171 keeps the factor on one side only")  # fmt: skip
    wrong = objective(p, x, noise, weight=SZ**2).item()
    slip(e, "J of the last net", j, -2 * SX**2 * bound + CONSTANT, wrong, 1e-10,
         note="equation 176: sz^2 in the place of sx^2 before the code term")  # fmt: skip


def check_square(e: Run) -> None:
    """E d^2 and (E d)^2 for the linear decoder w z in one dimension."""
    w, mu, x = 1.3, 0.4, 0.9
    e_points, weights = np.polynomial.hermite_e.hermegauss(6)
    weights = weights / weights.sum()
    away = x - w * (mu + SZ * e_points)
    inside, outside = float(weights @ away**2), float(weights @ away) ** 2
    exact = (x - w * mu) ** 2 + w**2 * SZ**2
    slip(e, "E_e (x - w z)^2 = (x - w mu)^2 + w^2 sz^2", inside, exact, outside, 1e-12,
         note="equation 175: the square outside the expectation")  # fmt: skip
    e.check("what the square outside lacks: w^2 sz^2", inside - outside, w**2 * SZ**2, 1e-12)


# One dimension, decoder w z, encoder a x: everything in closed form.


def bound_1d(w: np.ndarray, a: np.ndarray | float, second: float) -> np.ndarray:
    """The mean bound for data of mean square `second`."""
    error = second * (1 - w * a) ** 2 + w**2 * SZ**2
    divergence = (a**2 * second + SZ**2 - 1 - math.log(SZ**2)) / 2
    return -error / (2 * SX**2) - math.log(2 * math.pi * SX**2) / 2 - divergence


def likelihood_1d(w: np.ndarray, second: float) -> np.ndarray:
    """The mean log p(x): x is N(0, w^2 + sx^2)."""
    variance = w**2 + SX**2
    return -second / (2 * variance) - np.log(2 * math.pi * variance) / 2


def best_encoder(w: np.ndarray) -> np.ndarray:
    """The a that maximises the bound: w / (w^2 + sx^2)."""
    return w / (w**2 + SX**2)


def compare_with_likelihood(e: Run) -> None:
    """The bound and log p over the decoder weight: both maxima, and two weights that they put in different order."""
    data = np.array([1.4, -0.8, 0.3, -1.1, 0.9, -0.2])
    second = float(np.mean(data**2))
    w = np.linspace(0.02, 2.2, 2181)
    bound, evidence = bound_1d(w, best_encoder(w), second), likelihood_1d(w, second)
    e.check("the bound stays below log p(x): largest difference", np.max(bound - evidence), 0, kind="at most")
    top_bound, top = float(w[bound.argmax()]), float(w[evidence.argmax()])
    e.check("w that maximises p(x): w^2 + sx^2 is the mean square of the data", top**2 + SX**2, second, 3e-3)
    e.check("w that maximises the bound, far from it: at a distance", abs(top_bound - top), 0.1, kind="above")
    one, two = (float(likelihood_1d(np.array(v), second)) for v in (top_bound, top))
    low, high = (float(bound_1d(np.array(v), best_encoder(np.array(v)), second)) for v in (top, top_bound))
    e.check("the bound prefers the first of the two weights by", high - low, 0, kind="above")
    e.check("p(x) prefers the second by", two - one, 0, kind="above")
    prior = Normal(np.array(0.0), 1.0)
    draws = e.pick(quick=20_000, full=200_000)
    rows = []
    for name, weight in (("maximum of the bound", top_bound), ("maximum of p(x)", top)):
        mean = pn.tensor(float(best_encoder(np.array(weight))) * data)

        def log_joint(z: pn.Tensor, weight: float = weight) -> pn.Tensor:
            return Normal(weight * z, SX).log_prob(data) + prior.log_prob(z)

        sampled = importance_weighted_bound(log_joint, Normal(mean, SZ), draws).mean().item()
        exact = float(likelihood_1d(np.array(weight), second))
        e.check(f"{name}: log p(x) by importance sampling, {draws:,} draws", sampled, exact, 0.02)
        at = np.array(weight)
        rows.append([name, weight, float(bound_1d(at, best_encoder(at), second)), exact, sampled])
    columns = ["decoder weight", "w", "bound", "log p(x)", "log p(x), importance sampling"]
    e.table("two weights in two orders", columns, rows, "Means over the data; the encoder is the best for each w.")
    fig = plots.lines(w, {"mean bound": bound, "mean log p(x)": evidence}, xlabel="decoder weight w", ylabel="nats",
                      title="One dimension")  # fmt: skip
    ax = fig.axes[0]
    with plots.style():
        for peak, value, colour, away in (
            (top_bound, bound.max(), plots.LINES[0], -20),
            (top, evidence.max(), plots.LINES[1], 10),
        ):
            ax.plot(peak, value, "*", ms=12, color=colour, mec="black")
            ax.annotate(
                f"w = {peak:.3f}", (peak, value), (0, away), textcoords="offset points", ha="center", fontsize=8
            )
        ax.set(ylim=(evidence.max() - 2.5, evidence.max() + 0.35))
    caption = "The maxima (stars) of the bound and of the likelihood lie at different weights: the gap depends on w."
    e.figure("likelihood", fig, caption, {"w": w, "bound": bound, "log_p": evidence, "data": data})
