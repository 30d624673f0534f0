"""X on [0, 1] has the density 2 - 2x, Z is uniform on [0, 1], and a generator G and a discriminator D share the loss

    E[-log D(X) - log(1 - D(G(Z)))].

1. For G(z) = z, what is the best D?
2. Which G makes G(Z) distributed as X, and what is the loss then?
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, nn, optim, plots
from pyneural.experiments._slips import slip
from pyneural.experiments._symbolic import symbolic
from pyneural.experiments.frame import Run, experiment

DRAWS = 100_000
STEPS, BATCH = 4000, 256  # of a training
# Gauss-Legendre points on [0, 1]: none at 1, where D is 0 and its logarithm infinite (times a density of 0).
_LEGENDRE = np.polynomial.legendre.leggauss(200)
POINTS, WEIGHTS = (_LEGENDRE[0] + 1) / 2, _LEGENDRE[1] / 2


def density(x: np.ndarray) -> np.ndarray:
    """Of X."""
    return 2 - 2 * x


def distribution(x: np.ndarray) -> np.ndarray:
    """F(x) = P(X <= x) = 2x - x^2."""
    return 2 * x - x**2


def generator(z: np.ndarray) -> np.ndarray:
    """The increasing G with G(Z) distributed as X: the inverse of F."""
    return 1 - np.sqrt(1 - z)


def best_discriminator(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    """The posterior probability of a real sample, from both densities."""
    return real / (real + made)


def loss(d: np.ndarray, made: np.ndarray | float) -> float:
    """The loss of D given by its values at POINTS, for a generator with density `made` there."""
    return float(-WEIGHTS @ (density(POINTS) * np.log(d) + made * np.log(1 - d)))


def kolmogorov_smirnov(samples: np.ndarray) -> float:
    """The largest distance between the samples' distribution function and F."""
    f = distribution(np.sort(samples))
    n = len(f)
    return float(max(np.max(np.arange(1, n + 1) / n - f), np.max(f - np.arange(n) / n)))


@experiment(
    "gan-1d-optimal",
    title="The best generator and discriminator in one dimension",
    source="002_e3b0b6e208b34aec.txt, mock exam 5",
    kind="proof",
    topic="Adversarial networks",
)
def run(e: Run) -> None:
    real = density(POINTS)
    d = best_discriminator(real, np.ones_like(real))
    e.check("(a) best D minus (2 - 2x)/(3 - 2x)", d, (2 - 2 * POINTS) / (3 - 2 * POINTS), 1e-15)
    value = loss(d, 1.0)
    e.check("(a) loss = (9/4) ln 3 - ln 2 - 1/2", value, 9 / 4 * math.log(3) - math.log(2) - 0.5, 1e-6)
    e.check("(a) the same as a number", value, 1.2787305, 1e-6)
    e.check("(a) Jensen-Shannon divergence = ln 2 - loss/2", math.log(2) - value / 2, 0.0537819, 1e-6)
    e.check("(a) the same from its definition", jensen_shannon(real), 0.0537819, 1e-6)
    half = best_discriminator(real, real)
    e.check("(b) best D is 1/2 everywhere", half, 0.5, 0)
    e.check("(b) loss = 2 ln 2 = 1.3862944", loss(half, real), 1.3862944, 1e-6)
    for name, at, made in (("a", d, np.ones_like(real)), ("b", half, real)):
        changed = [np.clip(at + e.rng.normal(scale=s, size=at.shape), 1e-6, 1 - 1e-6)
                   for s in np.geomspace(1e-3, 0.3, 200)]  # fmt: skip
        risen = [loss(c, made) - loss(at, made) for c in changed]
        e.check(f"({name}) 200 changes of D: smallest rise of the loss", min(risen), 0, kind="above")
    check_generator(e)
    draw(e, d)
    learn(e)
    e.table("loss", ["generator", "discriminator", "loss", "Jensen-Shannon divergence"], [
        ["G(z) = z", "(2 - 2x)/(3 - 2x)", value, jensen_shannon(real)],
        ["G(z) = 1 - sqrt(1 - z)", "1/2", loss(half, real), 0.0],
        ["G(z) = z", "1/2", loss(half, 1.0), None],
    ])  # fmt: skip
    e.note(
        """
        The source prints the antiderivative of 2 - 2t in brackets as 2t - x^2, with which F(x) would be 2x. G is not
        unique: 1 - sqrt(z) has the same distribution. The loss is largest where the generator is best: D minimises it,
        and what the generator gains is that D can do no better than 1/2.
        """
    )


def jensen_shannon(real: np.ndarray) -> float:
    """Of the density of X and the uniform one: the mean divergence of both from their mean."""
    middle = (real + 1) / 2
    return float(0.5 * WEIGHTS @ (real * np.log(real / middle)) + 0.5 * WEIGHTS @ np.log(1 / middle))


def check_generator(e: Run) -> None:
    """F(G(z)) = z, the other root, the other generator, and samples."""
    z = np.linspace(0, 1, 10_001)
    e.check("(b) F(G(z)) minus z", distribution(generator(z)), z, 1e-15)
    e.check("the other root 1 + sqrt(1 - z) at z < 1: smallest", (1 + np.sqrt(1 - z[:-1])).min(), 1, kind="above")
    x, t = 0.5, np.linspace(0, 0.5, 2001)
    area = float(np.sum((density(t)[1:] + density(t)[:-1]) / 2) * (t[1] - t[0]))
    printed = (2 * x - x**2) - (0 - x**2)  # the bracket 2t - x^2 from t = 0 to x
    slip(e, "F(0.5), the area under the density", area, 2 * x - x**2, printed, 1e-12, note="the bracket as 2t - x^2")

    def exact(sympy: Any) -> None:
        s, u = sympy.symbols("z t", positive=True)
        f = sympy.integrate(2 - 2 * u, (u, 0, s))
        for g in (1 - sympy.sqrt(1 - s), 1 + sympy.sqrt(1 - s)):
            e.check(f"symbolic: F({g}) = z", sympy.simplify(f.subs(s, g) - s) == 0, kind="true")
        e.check("symbolic: F(1 - sqrt(z)) = 1 - z", sympy.simplify(f.subs(s, 1 - sympy.sqrt(s)) - 1 + s) == 0,
                kind="true")  # fmt: skip
        # With t = 1 - x, so that all logarithms are of positive numbers: -log(1 - D) = log(1 + 2t).
        log_d = sympy.log(2) + sympy.log(u) - sympy.log(1 + 2 * u)
        total = sympy.integrate(sympy.expand(-2 * u * log_d + sympy.log(1 + 2 * u)), (u, 0, 1))
        goal = sympy.Rational(9, 4) * sympy.log(3) - sympy.log(2) - sympy.Rational(1, 2)
        # The integral may come out in another form, with the same value: 30 digits are compared.
        e.check("symbolic: loss at (a) minus (9/4) ln 3 - ln 2 - 1/2", float(abs(sympy.N(total - goal, 30))), 0, 1e-20)

    symbolic(e, exact)
    noise = pn.rand(DRAWS, dtype=np.float64).numpy()
    for name, samples in (("1 - sqrt(1 - z)", generator(noise)), ("1 - sqrt(z)", 1 - np.sqrt(noise))):
        e.check(f"G(z) = {name}, {DRAWS:,} samples: Kolmogorov-Smirnov distance", kolmogorov_smirnov(samples), 0.006,
                kind="below")  # fmt: skip
        error = (1 / 18 / DRAWS) ** 0.5
        e.check(f"G(z) = {name}: mean", samples.mean(), 1 / 3, 4 * error)
        # The fourth central moment of X is 1/135: the standard error of the variance is ((1/135 - 1/324)/n)^(1/2).
        e.check(f"G(z) = {name}: variance", samples.var(), 1 / 18, 4 * ((1 / 135 - 1 / 324) / DRAWS) ** 0.5)
    e.check("G(z) = z: Kolmogorov-Smirnov distance, largest 1/4 at x = 1/2", kolmogorov_smirnov(noise), 0.25, 0.01)


def network(*sizes: int) -> nn.Module:
    """Layers with tanh between them; the sigmoid after the last is taken outside, or within the loss."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def best_response(e: Run, made: Callable[[int], pn.Tensor], text: str) -> nn.Module:
    """A discriminator learned against a generator that stays as it is."""
    d, criterion = network(1, 16, 16, 1), nn.BCEWithLogitsLoss()
    optimizer = optim.Adam(d.parameters(), lr=5e-3)
    ones, zeros = pn.ones(BATCH, 1), pn.zeros(BATCH, 1)

    @pn.compile
    def step() -> None:
        with pn.no_grad():
            lies = made(BATCH)
        value = criterion(d(1 - pn.sqrt(pn.rand(BATCH, 1))), ones) + criterion(d(lies), zeros)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    for _ in e.progress(range(STEPS), text):
        step()
    return d


def values(network: nn.Module, x: np.ndarray) -> np.ndarray:
    """The network's output at each of the points x."""
    return models.batchwise(network, network, x[:, None])[:, 0].astype(np.float64)


def scores(d: nn.Module, x: np.ndarray) -> np.ndarray:
    """D(x), from its logit."""
    return 1 / (1 + np.exp(-values(d, x)))


def learn(e: Run) -> None:
    """Beyond: a discriminator learned against G(z) = z, and both learned against each other."""
    x, z = np.linspace(0.01, 0.99, 99), np.linspace(0, 1, 101)
    exact = best_discriminator(density(x), np.ones_like(x))
    alone = best_response(e, lambda n: pn.rand(n, 1), "a discriminator against G(z) = z")
    learned = scores(alone, x)
    e.check("learned D minus (2 - 2x)/(3 - 2x): mean distance", np.abs(learned - exact).mean(), 0.04, kind="below")
    e.check("loss of the learned D, at (a) 1.2787305", loss(scores(alone, POINTS), 1.0), 1.2787305, 0.005)
    # Noise of width 4 about 0, not 1: a network of tanh then bends where its input is, from the first step on.
    g, d = nn.Sequential(network(1, 16, 16, 1), nn.Sigmoid()), network(1, 16, 16, 1)
    trainer = pn.AdversarialTrainer(g, d, optim.Adam(g.parameters(), 2e-3, (0.5, 0.9)),
                                    optim.Adam(d.parameters(), 4e-3, (0.5, 0.9)), lambda n: 4 * pn.rand(n, 1) - 2,
                                    average=0.99)  # fmt: skip
    real, epochs = 1 - np.sqrt(pn.rand(100 * BATCH, 1).numpy()), 4 * STEPS // 100
    history = trainer.fit(real, epochs, BATCH, progress=False,
                          callbacks=[e.watch("generator against discriminator", epochs)])  # fmt: skip
    final = trainer.averaged
    assert final is not None
    curve = values(final, 4 * z - 2)
    samples = trainer.sample(DRAWS)[:, 0].astype(np.float64)
    e.check(
        "learned G: Kolmogorov-Smirnov distance, 0.25 for G(z) = z", kolmogorov_smirnov(samples), 0.06, kind="below"
    )
    e.check("learned G: mean", samples.mean(), 1 / 3, 0.03)
    e.check("learned G: standard deviation", samples.std(), 18**-0.5, 0.03)
    increasing, decreasing = (float(np.abs(curve - c).mean()) for c in (generator(z), 1 - np.sqrt(z)))
    e.report("learned G: mean distance from 1 - sqrt(1 - z), and from 1 - sqrt(z)", [increasing, decreasing])
    e.check("learned G: mean distance from the nearer of the two", min(increasing, decreasing), 0.05, kind="below")
    e.check("losses of both at the end: D's minus 2 ln 2", history["discriminator_loss"][-1], 2 * math.log(2), 0.05)
    judge = best_response(e, lambda n: final(4 * pn.rand(n, 1) - 2), "a new discriminator against it")
    against = scores(judge, x)
    both = WEIGHTS @ (density(POINTS) * -np.log(scores(judge, POINTS))) - np.log(1 - scores(judge, samples)).mean()
    e.check("Jensen-Shannon divergence by a new D learned against the learned G, 0.0538 for G(z) = z",
            math.log(2) - float(both) / 2, 0.02, kind="below")  # fmt: skip
    fig, axes = plots.new(1, 3, width=13, height=3.4)
    curves = {"learned": learned, "(2 - 2x)/(3 - 2x)": exact}
    plots.lines(x, curves, title="D against G(z) = z", xlabel="x", axes=axes[0])
    curves = {"learned": curve, "1 - sqrt(1 - z)": generator(z), "1 - sqrt(z)": 1 - np.sqrt(z)}
    plots.lines(z, curves, title="G, learned against D", xlabel="z", axes=axes[1])
    curves = {"learned": against, "1/2": np.full_like(x, 0.5), "played against G": scores(d, x)}
    plots.lines(x, curves, title="D against the learned G", xlabel="x", axes=axes[2])
    axes[2].set(ylim=(0, 1))
    caption = (
        "Small networks come near all closed forms; which of the two generators is found depends on the start. The "
        "steep end of G, where few samples lie, is what a discriminator that is learned anew (right) still sees."
    )
    data = {"x": x, "D": learned, "z": z, "G": curve, "samples": samples[:5000], "D_against_G": against}
    e.figure("learned", fig, caption, data)


def draw(e: Run, d: np.ndarray) -> None:
    """Densities, D, G and F."""
    x = np.linspace(0, 1, 201)
    fig, axes = plots.new(1, 4, width=13, height=3.2)
    plots.lines(x, {"X": density(x), "G(Z) = Z": np.ones_like(x)}, title="Densities", xlabel="x", axes=axes[0])
    best = best_discriminator(density(x), np.ones_like(x))
    plots.lines(x, {"(2 - 2x)/(3 - 2x)": best, "1/2": np.full(x.shape, 0.5)}, title="Best D", xlabel="x", axes=axes[1])
    plots.lines(x, {"1 - sqrt(1 - z)": generator(x), "1 - sqrt(z)": 1 - np.sqrt(x), "z": x}, title="Generators",
                xlabel="z", axes=axes[2])  # fmt: skip
    plots.lines(x, {"F(x) = 2x - x\N{SUPERSCRIPT TWO}": distribution(x), "2x, as printed": 2 * x},
                title="Distribution of X", xlabel="x", axes=axes[3])  # fmt: skip
    axes[3].set(ylim=(-0.05, 1.25))
    caption = (
        "From the left: both densities; the best discriminator against G(z) = z and against a perfect generator; two "
        "generators whose output is distributed as X, and G(z) = z; F, and what follows from the misprinted bracket."
    )
    data = {"x": x, "density": density(x), "D": best, "G": generator(x), "F": distribution(x), "points": POINTS}
    e.figure("curves", fig, caption, data | {"D_at_points": d})
