"""Show that an expectation over N(mu, S) is one over N(0, I),

    E f(x) with x ~ N(mu, S)  =  E f(mu + S^(1/2) e) with e ~ N(0, I).

What is it good for?
"""

from __future__ import annotations

import itertools

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.autodiff import gradients
from pyneural.distributions import Normal
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

MU = np.array([0.7, -1.2])
S = np.array([[1.5, 0.6], [0.6, 0.8]])
A = np.array([[1.0, 0.3], [0.3, -0.4]])
MEAN, SCALE = 0.8, 0.5  # of the z whose square is differentiated


def roots() -> dict[str, np.ndarray]:
    """Matrices R with R R^T = S."""
    eigenvalues, vectors = np.linalg.eigh(S)
    return {"symmetric": vectors * np.sqrt(eigenvalues) @ vectors.T, "Cholesky": np.linalg.cholesky(S)}


def nodes(count: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (count^d, d) and weights of Gauss-Hermite quadrature for N(0, I): exact for polynomials of low degree."""
    x, w = np.polynomial.hermite_e.hermegauss(count)
    points = np.array(list(itertools.product(x, repeat=d)))
    weights = np.array([np.prod(c) for c in itertools.product(w / w.sum(), repeat=d)])
    return points, weights


def square_form(x: np.ndarray) -> np.ndarray:
    """x^T A x for each row."""
    return np.einsum("ni,ij,nj->n", x, A, x)


@experiment(
    "reparameterisation",
    title="Moving the parameters out of the distribution",
    source="004_7b7278b8294b24c0.txt, 4.5",
    kind="proof",
    topic="Automatic differentiation",
)
def run(e: Run) -> None:
    exact = float(np.trace(A @ S) + MU @ A @ MU)
    points, weights = nodes(8, 2)
    determinant = float(np.linalg.det(S))
    for name, root in roots().items():
        e.check(f"{name} root: R R^T = S", root @ root.T, S, 1e-14)
        value = float(weights @ square_form(MU + points @ root.T))
        e.check(f"{name} root: E of x^T A x = tr(A S) + mu^T A mu", value, exact, 1e-10)
        for what, printed in (
            ("|S|^(1/2) left over", value * determinant**0.5),
            ("|S|^(-1/2) left over", value * determinant**-0.5),
        ):
            slip(e, f"{name} root: the same, {what}", value, exact, printed, 1e-10, note="determinants cancel")
    e.check("direct quadrature over the density of N(mu, S)", direct(), exact, 1e-8)
    check_gradients(e)
    variances(e)
    draw(e)
    e.note(
        """
        With x = mu + S^(1/2) e the density brings |S|^(-1/2) and the change of variables |S|^(1/2): the determinants
        cancel. The last line of the source still carries them. It is good for gradients: the distribution no longer
        depends on the parameters, so that differentiation and expectation can be exchanged.
        """
    )


def direct() -> float:
    """The integral of x^T A x N(x; mu, S) on a grid, without any change of variables."""
    side = np.linspace(-12, 12, 601)
    x = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    away = x - MU
    density = np.exp(-0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(S), away))
    density /= 2 * np.pi * np.sqrt(np.linalg.det(S))
    return float(np.sum(square_form(x) * density) * (side[1] - side[0]) ** 2)


def check_gradients(e: Run) -> None:
    """E z^2 = mu^2 + sigma^2, differentiated through the samples."""
    noise, weights = nodes(8, 1)

    def expectation(mu: pn.Tensor, sigma: pn.Tensor) -> pn.Tensor:
        return (pn.square(mu + sigma * noise[:, 0]) * weights).sum()

    at = pn.tensor(MEAN, dtype=np.float64), pn.tensor(SCALE, dtype=np.float64)
    value, slopes = pn.value_and_grad(expectation, (0, 1))(*at)
    e.check("E z^2 by quadrature", value.item(), MEAN**2 + SCALE**2, 1e-12)
    e.check("its gradient in mu and sigma: 2 mu, 2 sigma", [s.item() for s in slopes], (2 * MEAN, 2 * SCALE), 1e-12)
    mu, sigma = (pn.tensor(v.item(), dtype=np.float64, requires_grad=True) for v in at)
    draws = 200_000
    slopes = gradients(pn.square(Normal(mu, sigma).rsample((draws,))).mean(), [mu, sigma], materialize_grads=True)
    # From one draw the two are 2 z and 2 z e, with standard deviations 2 sigma and 2 (mu^2 + 2 sigma^2)^(1/2).
    for name, slope, expected, spread in (
        ("mu", slopes[0], 2 * MEAN, 2 * SCALE),
        ("sigma", slopes[1], 2 * SCALE, 2 * np.sqrt(MEAN**2 + 2 * SCALE**2)),
    ):
        away = np.abs(np.asarray(slope) - expected) / (spread / draws**0.5)
        e.check(f"gradient through {draws:,} draws, {name}: off by standard errors", away, 4, kind="at most")


def variances(e: Run) -> None:
    """The gradient of E z^2 in mu from one draw: through the sample, by the score, and from antithetic pairs."""
    n = e.pick(quick=200_000, full=2_000_000)
    noise = e.rng.normal(size=n)
    z = MEAN + SCALE * noise
    estimates = {
        "pathwise, 2 z": (2 * z, 4 * SCALE**2),
        "score function, z\N{SUPERSCRIPT TWO} (z - mu)/sigma\N{SUPERSCRIPT TWO}": (
            z**2 * noise / SCALE,
            MEAN**4 / SCALE**2 + 14 * MEAN**2 + 15 * SCALE**2,
        ),
        "antithetic pathwise, z and 2 mu - z": (z + (2 * MEAN - z), 0.0),
    }
    rows, measured = [], []
    for name, (values, exact) in estimates.items():
        error = np.sqrt(np.var((values - values.mean()) ** 2) / n)
        measured.append(float(values.var()))
        e.check(f"{name}: mean", values.mean(), 2 * MEAN, 4 * float(np.sqrt(exact / n)) + 1e-12)
        e.check(f"{name}: variance", measured[-1], exact, 4 * float(error) + 1e-12)
        rows.append([name, float(values.mean()), measured[-1], exact])
    e.check("variance of the pathwise gradient below that of the score", measured[0], measured[1], kind="below")
    e.table("gradient of E z^2 in mu from one draw", ["estimate", "mean", "variance", "variance, exact"], rows,
            f"mu = {MEAN}, sigma = {SCALE}, {n:,} draws; the gradient is {2 * MEAN}.")  # fmt: skip


def draw(e: Run) -> None:
    """Samples of the circle and where each root takes them."""
    noise = e.rng.normal(size=(400, 2))
    angle = np.linspace(0, 2 * np.pi, 201)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    colour = np.arctan2(noise[:, 1], noise[:, 0])
    fig, axes = plots.new(1, 3, width=11, height=3.8)
    data = {"noise": noise, "circle": circle}
    pictures = {"e ~ N(0, I)": (noise, circle)}
    for name, root in roots().items():
        pictures[f"mu + R e, R {name}"] = (MU + noise @ root.T, MU + circle @ root.T)
        data |= {f"samples_{name}": MU + noise @ root.T, f"ellipse_{name}": MU + circle @ root.T}
    for ax, (title, (points, curve)) in zip(axes, pictures.items(), strict=True):
        with plots.style():
            ax.scatter(*points.T, c=colour, cmap="twilight", s=7)
            for radius in (1, 2):
                ax.plot(*(curve.mean(0) + radius * (curve - curve[:-1].mean(0))).T, color="black", lw=0.9)
            ax.set(title=title, aspect="equal", xlim=(-4.2, 4.6), ylim=(-4.4, 3.6))
    caption = (
        "Each point keeps its colour, the direction of its noise. Both roots lead to the same ellipses (one and two "
        "standard deviations) but turn the points differently; every expectation is the same."
    )
    e.figure("ellipses", fig, caption, data)
