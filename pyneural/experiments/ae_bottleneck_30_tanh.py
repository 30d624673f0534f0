"""A linear autoencoder with a code of 30 numbers: encoder Linear(784, 30), decoder Linear(30, 784) with tanh; 20
epochs.

1. What are the training and the validation loss?
2. Show the codes in a plane, images decoded from random codes, and reconstructions.
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.experiments import _autoencoder as ae
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import linear_discriminants, pca

PRINTED = {"training": 0.4089, "validation": 0.4171}
FLOOR = {"training": 0.3160, "validation": 0.3228}  # of any output in [-1, 1]
CONSTANT = {"training": 0.7105, "validation": 0.7135}
DRAWN = 20


@experiment(
    "ae-bottleneck-30-tanh",
    title="Autoencoder with a linear code of 30 numbers",
    source="000_fb1690ef72ed0c7c.txt, 2.4 (part d, first half), figure 9",
    kind="train",
    topic="Autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    a = ae.trained(e, "bottleneck-30-tanh")
    for part, (floor, constant) in ae.judge_losses(e, a, PRINTED, 0.01, -1, 1).items():
        e.check(f"{part}: least error of outputs in [-1, 1]", floor, FLOOR[part], 5e-5, profile="full")
        e.check(f"{part}: least error of a constant output in [-1, 1]", constant, CONSTANT[part], 5e-5, profile="full")
    curves = {"loss": a.history["loss"], "val_loss": a.history["val_loss"]}
    fig = plots.learning_curves(curves, ylabel="squared error per pixel")
    e.figure("loss", fig, "Squared error by epoch: training (solid) and test images (dashed).", curves)

    train_codes, codes, labels = a.codes(a.images.x_train), a.codes(a.images.x_test), a.images.y_test
    plane = pca(train_codes, 2)
    e.report("share of the codes' variance that the plane shows", float(plane.ratios.sum()))
    points = {
        "first two principal components": plane.transform(codes),
        "two linear discriminants": (codes - train_codes.mean(axis=0))
        @ linear_discriminants(train_codes, a.images.y_train),
    }
    fig, axes = plots.new(1, 2, width=10, height=4.6)
    for ax, (title, seen) in zip(axes, points.items(), strict=True):
        plots.code_scatter(seen[:3000], labels[:3000], title=title, axes=ax)
    caption = (
        "The 30 numbers of each test image, in two planes: the one in which they vary most, and the one in which the "
        "classes lie farthest apart (chosen with the labels, which the net never saw)."
    )
    data = {"principal": points["first two principal components"], "discriminant": points["two linear discriminants"]}
    e.figure("codes", fig, caption, {**data, "label": labels})

    normal = e.rng.standard_normal((DRAWN, train_codes.shape[1]))
    fitted = fitted_gaussian(train_codes, normal)
    for name, drawn, caption in (
        ("random-codes", normal, "Decoded from codes drawn from N(0, I): noise, for codes lie elsewhere."),
        ("fitted-codes", fitted, "Decoded from codes drawn from a normal distribution with the mean and the covariance "
         "of the training codes: strokes, but hardly a digit."),
    ):  # fmt: skip
        images = a.model.decoded(drawn)
        e.figure(name, plots.image_grid(images), caption, {"codes": drawn, "decoded": images})
    spread = train_codes.std(axis=0)
    e.report("standard deviation of the 30 codes, least and largest", [float(spread.min()), float(spread.max())])
    ae.draw_reconstructions(e, a, -1, 1)
    e.note(
        f"""
        {ae.OPEN} The source shows gaps between the classes and does not say how it went from 30 dimensions to two. In
        the plane of the first two principal components the classes lie over each other; there are gaps in the plane of
        two linear discriminants.
        """
    )


def fitted_gaussian(codes: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Standard normal rows (M, k), moved and stretched to the mean and covariance of codes (N, k)."""
    found = pca(codes)
    return found.inverse_transform(normal * np.sqrt(found.variances))
