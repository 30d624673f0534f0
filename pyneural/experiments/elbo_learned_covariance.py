"""A variational autoencoder with the prior N(0, I), the encoder z = g(x) + N(0, I), and the decoder x = f(z) + N(0, S),
where S is learned as well.

1. What is the loss -E log[p(z) p(x|z) / q(z|x)]?
2. Why can it not be had by feeding [z, x - f(z)] to a squared-error loss, and what can be fed instead?
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import pyneural as pn
from pyneural import optim, plots
from pyneural.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

STD = np.array([1.0, 0.5, 0.1])  # of the decoder's noise
DECODER = np.array([[1.2], [-0.7], [0.4]])
D = len(STD)
MASKS = {"full": np.ones((D, D)), "lower triangular": np.tril(np.ones((D, D))), "diagonal": np.eye(D)}


def log_det(m: pn.Tensor) -> pn.Tensor:
    """log|det m| of a 3x3 matrix: the triple product of its rows."""
    a, b, c = m[0], m[1], m[2]
    turned = b[[1, 2, 0]] * c[[2, 0, 1]] - b[[2, 0, 1]] * c[[1, 2, 0]]
    return pn.log(pn.abs((a * turned).sum()))


def half_square(m: pn.Tensor, r: pn.Tensor) -> pn.Tensor:
    """(1/2) mean ||M r||^2 over the rows of r (N, 3)."""
    return pn.square(r @ m.T).sum(-1).mean() * 0.5


def descend(e: Run, loss: Callable[[], pn.Tensor], leaves: list[pn.Tensor], steps: int, text: str, lr: float) -> list:
    """Adam with a step size that falls to 0; the losses."""
    optimizer = optim.Adam(leaves, lr=lr)

    def step() -> pn.Tensor:
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value

    replay, losses = pn.compile(step), []
    for i in e.progress(range(steps), text):
        optimizer.param_groups[0]["lr"] = lr * (1 - i / steps)
        losses.append(replay().item())
    return losses


@experiment(
    "elbo-learned-covariance",
    title="A decoder that learns its noise",
    source="002_e3b0b6e208b34aec.txt, mock exam 4a and 4b",
    kind="proof",
    topic="Variational autoencoders",
)
def run(e: Run) -> None:
    check_loss(e)
    residuals = e.rng.normal(size=(e.pick(quick=500, full=2000), D)) * STD
    residuals += 0.3 * residuals[:, :1] * np.array([0, 1, 0])  # correlated, so that a diagonal M is not enough
    learn_matrix(e, residuals)
    learn_decoder(e)
    e.note(
        """
        The source drops the normaliser of the decoder as a constant, although S is learned: without -log|det M| the
        best M is 0. It also writes f(g(z)) for f(z); g takes an x, not a z. With S^-1 = M^T M the pair to feed is
        [z, M (x - f(z))] with a learned M, and -log|det M| is added.

        A decoder with a full S needs no z: among all models with one covariance of x, the bound is tight only for the
        decoder 0, as the encoder's variance is fixed at 1. The training finds this: its decoder shrinks. With a
        diagonal S the decoder stays, as only it can explain the correlations.
        """
    )


def check_loss(e: Run) -> None:
    """The loss by Monte Carlo, against its formula and the forms that fail."""
    n = e.pick(quick=200_000, full=1_000_000)
    g, x = np.array([0.8]), np.array([0.9, 0.4, 0.25])
    q, prior = Independent(Normal(g, 1.0), 1), Independent(Normal(np.zeros(1), 1.0), 1)
    z = q.sample((n,))
    surplus = (q.log_prob(z) - prior.log_prob(z)).numpy()
    half = float(g @ g) / 2
    e.check("KL(q || p(z)) by closed form is ||g||^2/2", kl_divergence(q, prior).item(), half, 1e-15)
    away = abs(surplus.mean() - half) / (surplus.std() / math.sqrt(n))
    e.check(f"KL by {n:,} draws minus ||g||^2/2, in standard errors", away, 3, kind="at most")
    covariance = np.diag(STD**2)
    decoded = z @ DECODER.T
    values = (-MultivariateNormal(decoded, covariance).log_prob(x)).numpy() + surplus
    error = 3 * float(values.std()) / math.sqrt(n)
    r = x - DECODER @ g
    squares = float(np.sum(r**2 / STD**2) + np.sum(DECODER[:, 0] ** 2 / STD**2))  # of r + f(noise), weighted
    constant, normaliser = D / 2 * math.log(2 * math.pi), float(np.log(STD).sum())
    right = half + squares / 2 + normaliser + constant
    slip(e, "loss by Monte Carlo", values.mean(), right, right - normaliser, error,
         note="printed without (1/2) log det S")  # fmt: skip
    plain = float(np.sum(r**2) + np.sum(DECODER**2))
    slip(e, "the same, against the squared error of [z, x - f(z)]", values.mean(), right, right + (plain - squares) / 2,
         error)  # fmt: skip
    m = np.diag(1 / STD)
    weighed = np.sum(((x - decoded.numpy()) @ m.T) ** 2, axis=1).mean()
    e.check("E ||M (x - f(z))||^2 minus E (x - f(z))^T S^-1 (x - f(z)), S^-1 = M^T M", weighed, squares, 3 * error)


def learn_matrix(e: Run, residuals: np.ndarray) -> None:
    """The best M for given residuals, in closed form and by training, with and without the log-determinant."""
    covariance = residuals.T @ residuals / len(residuals)
    floor = D / 2 + 0.5 * float(np.linalg.slogdet(covariance)[1])
    r, best = pn.tensor(residuals), pn.tensor(np.linalg.inv(np.linalg.cholesky(covariance)))
    e.check("log|det M| of a 3x3 matrix", log_det(best).item(), -0.5 * float(np.linalg.slogdet(covariance)[1]), 1e-12)
    value = (half_square(best, r) - log_det(best)).item()
    e.check("(1/2) mean ||M r||^2 - log|det M| at M^T M = S^-1 is d/2 + (1/2) log det S", value, floor, 1e-10)
    rise = []
    for _ in range(100):
        other = pn.tensor(best.numpy() + 0.1 * e.rng.normal(size=(D, D)))
        rise.append((half_square(other, r) - log_det(other)).item() - floor)
    e.check("100 other M: smallest rise of the loss", min(rise), 0, kind="above")
    floors = dict.fromkeys(MASKS, floor) | {"diagonal": D / 2 + 0.5 * float(np.log(np.diag(covariance)).sum())}
    curves, rows = {}, []
    steps = e.pick(quick=1000, full=4000)
    for name, mask in MASKS.items():
        m, shape = pn.tensor(np.eye(D), requires_grad=True), pn.tensor(mask)

        def loss(m: pn.Tensor = m, shape: pn.Tensor = shape) -> pn.Tensor:
            return half_square(m * shape, r) - log_det(m * shape)

        losses = descend(e, loss, [m], steps, f"M {name}", 0.2)
        e.check(f"M {name}: trained loss minus its lowest", losses[-1], floors[name], 1e-4)
        curves[f"with log det, M {name}"] = np.array(losses)
        rows.append([f"M {name}", floors[name], losses[-1], float(np.linalg.norm((m * shape).numpy()))])
    identity = half_square(pn.tensor(np.eye(D)), r).item()
    small = half_square(pn.tensor(0.01 * np.eye(D)), r).item()
    e.check("without log det: loss at M = 0.01 I over that at M = I", small / identity, 1e-4, 1e-12)
    e.report("without log det: loss at M = I and at 0.01 I", [identity, small],
             note="0.643 and 0.0000643 in a reference run on other residuals")  # fmt: skip
    m = pn.tensor(np.eye(D), requires_grad=True)
    losses = descend(e, lambda: half_square(m, r), [m], steps, "M without log det", 0.05)
    e.check("without log det, trained: loss", losses[-1], 0, 1e-6)
    e.check("without log det, trained: ||M||", float(np.linalg.norm(m.numpy())), 0, 1e-2)
    rows.append(["M full, without log det", 0.0, losses[-1], float(np.linalg.norm(m.numpy()))])
    e.table("trained M", ["M", "lowest loss", "trained loss", "||M||"], rows)
    shown = np.arange(1, steps + 1)
    fig, axes = plots.new(1, 2, width=10, height=3.4)
    above = {k.removeprefix("with log det, "): v - floors[k.split("M ")[1]] for k, v in curves.items()}
    plots.lines(shown, {k: np.maximum(v, 1e-16) for k, v in above.items()}, title="With log det: above the lowest",
                xlabel="step", ylabel="loss - lowest", log=True, axes=axes[0])  # fmt: skip
    plots.lines(shown, {"loss": losses}, title="Without: to 0", xlabel="step", ylabel="loss", log=True, axes=axes[1])
    data = {k.split("M ")[1].replace(" ", "_"): v for k, v in curves.items()} | {"without": losses, "floor": floor}
    caption = "With the log-determinant each kind of M reaches its lowest loss; without it the loss and M vanish."
    e.figure("training", fig, caption, data)


def learn_decoder(e: Run) -> None:
    """Encoder, decoder and M learned together on data of a linear model, M lower triangular and diagonal."""
    n, steps = 2000, e.pick(quick=1500, full=6000)
    x = e.rng.normal(size=(n, 1)) @ DECODER.T + e.rng.normal(size=(n, D)) * STD
    x -= x.mean(0)
    data = pn.tensor(x)
    learned, rows = {}, []
    for name in ("lower triangular", "diagonal"):
        shape = pn.tensor(MASKS[name])
        m = pn.tensor(np.eye(D), requires_grad=True)
        g, f = (pn.tensor(0.3 * e.rng.normal(size=s), requires_grad=True) for s in ((1, D), (D, 1)))

        def residual(g: pn.Tensor = g, f: pn.Tensor = f) -> tuple[pn.Tensor, pn.Tensor]:
            code = data @ g.T
            z = Normal(code, 1.0).rsample()
            return code, data - z @ f.T

        def loss(m: pn.Tensor = m, shape: pn.Tensor = shape, residual: Callable = residual) -> pn.Tensor:
            code, r = residual()
            return pn.square(code).sum(-1).mean() * 0.5 + half_square(m * shape, r) - log_det(m * shape)

        descend(e, loss, [m, g, f], steps, f"autoencoder, M {name}", 0.02)
        with pn.no_grad():
            r = np.concatenate([residual()[1].numpy() for _ in range(50)])
        weights = (m * shape).numpy()
        found = np.linalg.inv(weights.T @ weights)
        actual = r.T @ r / len(r)
        if name == "diagonal":
            ratio = np.diag(found) / np.diag(actual)
            e.check("M diagonal: learned variances over those of the residuals", ratio, 1, 0.05)
        else:
            whitened = weights @ actual @ weights.T
            what = "M lower triangular: M R M^T minus I, R the covariance of the residuals"
            e.check(what, whitened, np.eye(D), 0.05)
        learned[name] = (found, actual)
        stds = [*np.sqrt(np.diag(found)), *np.sqrt(np.diag(actual))]
        rows.append([f"M {name}", *stds, float(np.linalg.norm(f.numpy()))])
    columns = [f"{kind} std {i + 1}" for kind in ("learned", "residual") for i in range(D)]
    caption = f"The data have noise of std {STD.tolist()} and a decoder of norm {np.linalg.norm(DECODER):.3f}."
    e.table("learned noise", ["", *columns, "||decoder||"], rows, caption)
    ellipses(e, learned)


def ellipses(e: Run, learned: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """One standard deviation of the noise, true and learned, in two planes."""
    fig, axes = plots.new(2, 2, width=9, height=6.4)
    angle = np.linspace(0, 2 * np.pi, 201)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    data: dict[str, np.ndarray] = {"true": np.diag(STD**2)}
    for row, (name, (found, actual)) in zip(axes, learned.items(), strict=True):
        data |= {f"learned_{name.split()[0]}": found, f"residual_{name.split()[0]}": actual}
        for ax, plane in zip(row, ((0, 1), (1, 2)), strict=True):
            with plots.style():
                for label, matrix, style in (
                    ("noise of the data", data["true"], ":"),
                    ("residuals", actual, "-"),
                    ("learned S", found, "--"),
                ):
                    curve = np.linalg.cholesky(matrix[np.ix_(plane, plane)]) @ circle
                    width = 3.5 if label == "residuals" else 1.5
                    colour = {"residuals": "#b9d7ea"}.get(label, plots.LINES[1 if label == "learned S" else 6])
                    ax.plot(*curve, style, lw=width, color=colour, label=label)
                ax.set(title=f"M {name}", xlabel=f"x{plane[0] + 1}", ylabel=f"x{plane[1] + 1}")
                if ax is axes[0, 0]:
                    ax.set(ylim=(-1.1, 2.0))
                    ax.legend(loc="upper right")
    caption = (
        "One standard deviation. Learned S lies on the covariance of the residuals. A full S takes over what the "
        "decoder could explain; a diagonal one comes nearer to the noise of the data, to which that of the codes adds."
    )
    e.figure("ellipses", fig, caption, data)
