"""A generator that has never seen a digit and a discriminator that has seen nothing else, trained against each other:

1. Do samples of dense and of convolutional networks look like digits, of all ten kinds?
2. How far are they from real ones, and are they closer than a normal distribution with the data's mean and covariance?
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, nn, optim, plots
from pyneural.data import unit_scale
from pyneural.experiments.frame import Run, experiment

NOISE, BATCH, CODE = 64, 64, 64
SHAPE = (1, 28, 28)
KINDS = ("dense", "convolutional")


def adversaries(kind: str) -> pn.AdversarialTrainer:
    """A trainer with new networks."""
    g: nn.Module
    d: nn.Module
    if kind == "dense":
        g = models.dense_generator(NOISE, SHAPE, (128, 256), norm=True)
        d = models.dense_discriminator(SHAPE, (256, 128), dropout=0.3)
    else:
        g, d = models.conv_generator(NOISE, SHAPE, (32, 16)), models.conv_discriminator(SHAPE, (16, 32))
    making, judging = (optim.Adam(network.parameters(), 2e-3, (0.5, 0.999)) for network in (g, d))
    return pn.AdversarialTrainer(g, d, making, judging, NOISE, average=0.99)


def pixels(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1]."""
    return unit_scale(images) if images.dtype == np.uint8 else images


class Judge:
    """A classifier of real digits, whose hidden units are the codes in which images are compared."""

    def __init__(self, e: Run, x: np.ndarray, labels: np.ndarray) -> None:
        self.codes = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, CODE), nn.ReLU())
        self.model = nn.Sequential(self.codes, nn.Linear(CODE, 10))
        epochs = e.pick(quick=4, full=8)
        trainer = pn.Trainer(self.model, nn.CrossEntropyLoss(), optim.Adam(self.model.parameters()))
        trainer.fit(x, labels, epochs, BATCH, callbacks=[e.watch("classifier of real digits", epochs)], progress=False)

    def code(self, images: np.ndarray) -> np.ndarray:
        return models.batchwise(self.model, self.codes, pixels(images)).astype(np.float64)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return models.batchwise(self.model, lambda x: pn.softmax(self.model(x), 1), pixels(images))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)): between normal distributions with the codes' moments.

    Heusel et al., "GANs trained by a two time-scale update rule" (2017), take the codes of a large network instead.
    """
    ca, cb = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(ca)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cb @ root), 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * cross)


def normal_images(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Images from the normal distribution with the mean and covariance of x, cut off at 0 and 1."""
    flat = unit_scale(x).reshape(len(x), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    noise = rng.standard_normal((count, len(values))) * np.sqrt(np.maximum(values, 0))
    return np.clip(flat.mean(0) + noise @ vectors.T, 0, 1).astype(np.float32).reshape(-1, 28, 28)


@experiment(
    "gan-mnist",
    title="Digits from a generator that has seen none",
    source="002_e3b0b6e208b34aec.txt, mock exam 5 (beyond it)",
    kind="train",
    topic="Adversarial networks",
    needs=("mnist",),
)
def run(e: Run) -> None:
    data = e.mnist()
    check_distance(e)
    judge = Judge(e, data.x_train, data.y_train)
    count = len(data.x_test)
    right = float((judge.probabilities(data.x_test).argmax(1) == data.y_test).mean())
    e.check("the classifier on real test images: accuracy", right, e.pick(quick=0.9, full=0.97), kind="above")
    made: dict[str, np.ndarray] = {
        "real, of the training set": unit_scale(data.x_train[:count]),
        "normal distribution": normal_images(data.x_train, count, e.rng),
    }
    histories = {}
    for kind in KINDS:
        trainer = adversaries(kind)
        epochs = e.pick(quick={"dense": 12, "convolutional": 3}, full={"dense": 30, "convolutional": 12})[kind]
        watch = e.watch(f"{kind}: generator against discriminator", epochs)
        histories[kind] = trainer.fit(data.x_train[:, None], epochs, BATCH, progress=False, callbacks=[watch])
        made[kind] = trainer.sample(count)[:, 0]
        interpolate(e, kind, trainer)
    judged = compare(e, judge, data.x_test, made)
    draw(e, data.x_test, made, histories, judged)


def check_distance(e: Run) -> None:
    """The distance of normal samples whose moments are known."""
    a = e.rng.standard_normal((200_000, 2))
    b = a[::-1] * [2.0, 3.0] + [1.0, -2.0]
    e.check("distance of N((1, -2), diag(4, 9)) from N(0, I): 5 + 1 + 4", frechet(a, b), 10.0, 0.1)


def compare(e: Run, judge: Judge, real: np.ndarray, made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Distances of the codes, and which digits the classifier sees; returns their shares."""
    codes = judge.code(real)
    rows, distances, shares, sure = [], {}, {}, {}
    for name, images in made.items():
        p = judge.probabilities(images)
        share = np.bincount(p.argmax(1), minlength=10) / len(p)
        entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum())
        distances[name], shares[name] = frechet(codes, judge.code(images)), share
        sure[name] = float((p.max(1) > 0.9).mean())
        rows.append([name, distances[name], entropy, share.min(), sure[name]])
        if name in KINDS:
            e.check(f"{name}: entropy of the classes, at most ln 10 = 2.303", entropy, e.pick(quick=1.6, full=2.15),
                    kind="above")  # fmt: skip
            e.check(f"{name}: smallest share of a digit", share.min(), 0.03, kind="above", profile="full")
    normal = distances["normal distribution"]
    for kind in KINDS:
        e.check(f"{kind}: distance over that of the normal distribution", distances[kind] / normal,
                e.pick(quick=1.0, full=0.3), kind="below")  # fmt: skip
        e.check(f"{kind}: share of images of which the classifier is sure, minus that of the normal distribution's",
                sure[kind] - sure["normal distribution"], 0.1, kind="above", profile="full")  # fmt: skip
    columns = ["images", "distance from test images", "entropy of the classes", "smallest share", "surer than 0.9"]
    e.table("quality", columns, rows, caption="By a classifier of real digits: Frechet distance of its hidden units.")
    return shares


def interpolate(e: Run, kind: str, trainer: pn.AdversarialTrainer) -> None:
    """Beyond: images along straight lines from one noise to another."""
    ends = e.rng.standard_normal((5, 2, NOISE))
    steps = np.linspace(0, 1, 10)[None, :, None]
    noise = (ends[:, :1] * (1 - steps) + ends[:, 1:] * steps).reshape(-1, NOISE)
    assert trainer.averaged is not None
    images = models.batchwise(trainer.averaged, trainer.averaged, noise)[:, 0]
    fig = plots.image_grid(images, [""] * len(images), title=f"{kind}: from one noise to another", low=0, high=1)
    caption = "Each row leads from one draw of the noise to another in equal steps; the images change without a jump."
    e.figure(f"lines-{kind}", fig, caption, {"images": images, "noise": noise})


def draw(e: Run, real: np.ndarray, made: dict[str, np.ndarray], histories: dict[str, Any], shares: Any) -> None:
    grids: dict[str, np.ndarray] = {"real test images": unit_scale(real), **made}
    del grids["real, of the training set"]
    name_of: Callable[[str], str] = lambda name: name.replace(" ", "-")  # noqa: E731
    for name, images in grids.items():
        fig = plots.image_grid(images[:60], columns=15, title=name, low=0, high=1)
        e.figure(name_of(name), fig, f"The first 60: {name}.", {"images": images[:60]})
    fig, axes = plots.new(1, 3, width=12, height=3.4)
    for ax, (kind, history) in zip(axes, histories.items(), strict=False):
        curves = {"loss of D": history["discriminator_loss"], "loss of G": history["generator_loss"],
                  "mean D(x)": history["real_score"], "mean D(G(z))": history["made_score"]}  # fmt: skip
        plots.lines(np.arange(1, history.epochs + 1), curves, title=kind, xlabel="epoch", axes=ax)
    plots.lines(np.arange(10), shares, title="Shares of the digits", xlabel="digit", axes=axes[2])
    axes[2].set(ylim=(0, 0.35), xticks=range(10))
    data = {f"{kind}_{key}": np.array(h[key]) for kind, h in histories.items() for key in h}
    data |= {f"shares_{name_of(name)}".replace(",", ""): share for name, share in shares.items()}
    caption = "Losses and scores of both players, and how often the classifier sees each digit."
    e.figure("training", fig, caption, data)
