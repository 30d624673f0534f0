"""A variational autoencoder of MNIST: Linear(784, 30), from which Linear(30, 30) gives the mean and another
Linear(30, 30) the log variance of a code of 30 numbers; decoder Linear(30, 784) with tanh. The loss is the squared
error plus w times the divergence KLD of the code's distribution from N(0, I), and w is 0.5, 1 and 5.

1. Training and validation loss after 20 epochs, for each w.
2. Draw the codes by digit, images decoded from random codes, and originals above reconstructions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, optim, plots
from pyneural.experiments._autoencoder import SCALE, bounds, standardised
from pyneural.experiments._parallel import Stop, at_once
from pyneural.experiments.frame import Images, Run, experiment
from pyneural.learn import pca

WEIGHTS = (0.5, 1.0, 5.0)
PRINTED = {0.5: (0.6420, 0.6060), 1.0: (0.6821, 0.6550), 5.0: (0.7122, 0.7154)}
CONSTANT = 0.7135  # least validation loss of an output that is the same for all images, in [-1, 1]
WARM_UP = 10  # epochs over which the weight of the divergence rises, in the run beyond the source


def train(
    images: Images, w: float, warm_up: int, epochs: int, seed: int, stop: Stop
) -> tuple[models.VariationalAutoencoder, pn.History]:
    """Adam from the start of a seed, batches of 128; the weight of the divergence rises over ``warm_up`` epochs."""
    with pn.random.using(pn.Generator(seed)):
        model = models.VariationalAutoencoder(
            (784, 30, 30), None, decoder_sizes=(30, 784), output_activation="tanh", kl_weight=w, reduction="mean"
        )
        trainer = pn.Trainer(model, model.loss, optim.Adam(model.parameters(), lr=1e-3), model.terms)
        x, x_test = (part.reshape(len(part), -1) for part in (images.x_train, images.x_test))
        more = [models.KLWarmup(model, warm_up)] if warm_up else []
        history = trainer.fit(
            x, epochs=epochs, batch_size=128, validation=x_test, scale=SCALE, callbacks=[stop, *more], progress=False
        )
    return model, history


@experiment(
    "vae-kld-weight",
    title="The weight of the divergence",
    source="000_fb1690ef72ed0c7c.txt, 2.4 (part d, second half), figures 10-12",
    kind="train",
    topic="Variational autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    images = e.mnist()
    x_test = standardised(images.x_test)
    rows: list[list[Any]] = []
    seconds: list[float] = []
    curves: dict[str, list[float]] = {}
    errors: list[float] = []
    divergences: list[float] = []
    sizes: list[float] = []
    totals: list[float] = []
    epochs = e.epochs(20)
    jobs = {f"{w:g}": partial(train, images, w, 0, epochs, e.seed) for w in WEIGHTS}
    jobs["5, warm-up"] = partial(train, images, 5.0, e.epochs(WARM_UP), epochs, e.seed)
    found = at_once(e, jobs, "four variational autoencoders")
    for w in WEIGHTS:
        model, history = found[f"{w:g}"]
        seconds += history.seconds
        training, total = history["loss"][-1], history["val_loss"][-1]
        error, kl = history["val_reconstruction"][-1], history["val_kl"][-1]
        mean, log_variance = model.distribution(x_test)
        each = np.asarray(models.gaussian_kl(mean, log_variance)).mean(axis=0, dtype=np.float64)
        size = float(np.mean(np.sum(mean.astype(np.float64) ** 2, axis=1)))
        active = int(np.sum(each > 0.01))
        name = f"w = {w:g}"
        e.check(f"{name}: training loss", training, PRINTED[w][0], 0.01, profile="full")
        e.check(f"{name}: validation loss", total, PRINTED[w][1], 0.01, profile="full")
        e.check(f"{name}: validation loss - (squared error + w KLD)", total - (error + w * kl), 0, 1e-6)
        e.check(f"{name}: KLD is the mean of its closed form over images and code", kl, float(each.mean()), 1e-5)
        if w < 5:
            e.check(f"{name}: validation (without noise) below training", total, training, kind="below", profile="full")
        monte_carlo(e, name, mean, log_variance)
        rows.append([w, training, PRINTED[w][0], total, PRINTED[w][1], error, kl, active, size])
        errors.append(error)
        divergences.append(kl)
        sizes.append(size)
        totals.append(total)
        curves |= {name: history["loss"], f"val_{name}": history["val_loss"]}
        draw(e, images, model, w)
    e.check("squared error rises with w", np.diff(errors), 0, kind="above", profile="full")
    e.check("KLD falls with w", np.diff(divergences), 0, kind="below")
    e.check("mean squared length of the codes' means falls with w", np.diff(sizes), 0, kind="below")
    e.check("w = 5: KLD", divergences[-1], 0.01, kind="below", profile="full")
    _, constant = bounds(images.x_test, images.x_train, -1, 1)
    e.check("least squared error of a constant output in [-1, 1]", constant, CONSTANT, 5e-5, profile="full")
    e.check("w = 5: validation loss is that of a constant output", totals[-1], CONSTANT, 0.01, profile="full")
    e.check("w = 5: validation loss not below the training loss", totals[-1], rows[-1][1], kind="at least",
            profile="full")  # fmt: skip

    model, history = found["5, warm-up"]
    mean, log_variance = model.distribution(x_test)
    each = np.asarray(models.gaussian_kl(mean, log_variance)).mean(axis=0, dtype=np.float64)
    last = {name: series[-1] for name, series in history.items()}
    rows.append(["5, warm-up", last["loss"], None, last["val_loss"], None, last["val_reconstruction"], last["val_kl"],
                 int(np.sum(each > 0.01)), float(np.mean(np.sum(mean**2, axis=1)))])  # fmt: skip
    e.report("w = 5 with warm-up: KLD", history["val_kl"][-1], note="without: see the table")
    e.table(
        "losses",
        [
            "w",
            "training",
            "training (source)",
            "validation",
            "validation (source)",
            "squared error",
            "KLD",
            "active dimensions",
            "mean |mu|^2",
        ],
        rows,
        "After the last epoch. Validation is the whole objective with the mean in place of a sample; squared error and "
        "KLD are its parts. A dimension is active if its KLD, mean over the images, is above 0.01.",
    )
    fig = plots.learning_curves(curves, ylabel="squared error + w KLD")
    e.figure("loss", fig, "Objective by epoch for each w: training (solid) and test images (dashed).", curves)
    e.report("seconds per epoch", float(np.median(seconds)), note="on one core, with another training beside it")
    e.note(
        """
        The source calls the validation number a reconstruction error. It is the whole objective: for w = 0.5 the
        squared error alone is near 0.54, and adding 0.5 KLD gives the printed value. KLD is the mean over batch and
        dimensions. Validation is below training for w = 0.5 and 1 because it decodes the mean, without noise. At w = 5
        the code has collapsed: all images give nearly N(0, I), and the output is the mean image. Chosen: Adam with step
        0.001, batch 128, pixels standardised with mean 0.1307 and standard deviation 0.3081.

        Beyond the source: the weight rises from 0 to 5 over the first half of the training. The code is then in use
        when the price comes, and is given up all the same.
        """
    )


def monte_carlo(e: Run, name: str, mean: np.ndarray, log_variance: np.ndarray, draws: int = 200) -> None:
    """The closed form of KLD beside the mean of log q - log p over samples of q, for the first 500 images."""
    mean, log_variance = mean[:500].astype(np.float64), log_variance[:500].astype(np.float64)
    closed = float(np.asarray(models.gaussian_kl(mean, log_variance)).mean())
    noise = e.rng.standard_normal((draws, *mean.shape))
    z = mean + np.exp(log_variance / 2) * noise
    samples = (0.5 * (z**2 - noise**2 - log_variance)).mean(axis=(1, 2))
    deviation = abs(float(samples.mean()) - closed) / float(samples.std(ddof=1) / np.sqrt(draws))
    e.check(f"{name}: closed KLD against {draws} samples, in standard errors", deviation, 3, kind="at most")


def draw(e: Run, images: Images, model: models.VariationalAutoencoder, w: float) -> None:
    """Codes by digit, images from N(0, I), originals over reconstructions."""
    tag = f"{w:g}".replace(".", "-")
    codes, labels = model.codes(standardised(images.x_test)), images.y_test
    axes = pca(codes, 2)
    points = axes.transform(codes)[:3000]
    fig = plots.code_scatter(points, labels[:3000], title=f"w = {w:g}: means of the codes, on two principal components")
    caption = f"w = {w:g}: the 30 numbers of each test image, on their first two principal components, by digit."
    e.figure(f"codes-{tag}", fig, caption, {"points": points, "label": labels[:3000]})
    samples = np.clip(model.sample(20, generator=pn.Generator(e.seed)), 0, 1)
    fig = plots.image_grid(samples, columns=10, shape=(28, 28), low=0, high=1, title=f"w = {w:g}: decoded from N(0, I)")
    e.figure(f"samples-{tag}", fig, f"w = {w:g}: images decoded from 20 random codes.", {"sample": samples})
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    originals = np.clip(standardised(images.x_test[first]), 0, 1)
    rebuilt = np.clip(model.reconstruct(standardised(images.x_test[first])), 0, 1)
    fig = plots.originals_over_reconstructions(originals, rebuilt, first, shape=(28, 28), title=f"w = {w:g}")
    caption = (
        f"w = {w:g}: the first test image of each digit, cut to [0, 1], over what the mean of its code gives back."
    )
    e.figure(f"reconstructions-{tag}", fig, caption, {"index": first, "original": originals, "rebuilt": rebuilt})
