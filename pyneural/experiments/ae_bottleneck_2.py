"""An autoencoder that compresses an MNIST image to two numbers: encoder Linear(784, 2) without activation, decoder
Linear(2, 784) with a sigmoid. Train it for 20 epochs with the mean squared error.

1. What are the training and the validation loss?
2. Draw the codes of the images, coloured by digit, and some images above their reconstructions.
"""

from __future__ import annotations

import numpy as np

from pyneural import models, plots
from pyneural.experiments import _autoencoder as ae
from pyneural.experiments.frame import Run, experiment

PRINTED = {"training": 0.7271, "validation": 0.7330}
FLOOR = {"training": 0.4629, "validation": 0.4694}  # of any output in [0, 1]
CONSTANT = {"training": 0.8021, "validation": 0.8058}  # of the best output that is the same for all images
SIDE = 12  # images along each axis of the lattice


@experiment(
    "ae-bottleneck-2",
    title="Autoencoder with a two-dimensional linear code",
    source="000_fb1690ef72ed0c7c.txt, 2.1 (part a), figures 1-2",
    kind="train",
    topic="Autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    a = ae.trained(e, "bottleneck-2")
    for part, (floor, constant) in ae.judge_losses(e, a, PRINTED, 0.02).items():
        e.check(f"{part}: least error of outputs in [0, 1]", floor, FLOOR[part], 5e-5, profile="full")
        e.check(f"{part}: least error of a constant output in [0, 1]", constant, CONSTANT[part], 5e-5, profile="full")
    w1, b1, w2, b2 = (np.asarray(p.detach(), np.float64) for p in a.model.parameters())
    x = ae.standardised(a.images.x_test[:100])
    by_formula = 1 / (1 + np.exp(-((x @ w1.T + b1) @ w2.T + b2)))
    e.check("outputs against sigmoid(W2 (W1 x + b1) + b2) in NumPy", a.model.reconstruct(x), by_formula, 1e-5)
    smaller = ae.trained(e, "bottleneck-2", batch=64)
    ae.table_of_nets(
        e,
        [("batches of 128", a), ("batches of 64", smaller)],
        caption="The source prints 0.7271 and 0.7330: between the two, closer to the smaller batch.",
    )
    after = np.mean((a.model.reconstruct(z := ae.standardised(a.images.x_train)) - z) ** 2, dtype=np.float64)
    e.report("training loss after the last step", after, note="the loss by epoch is the mean over its steps")
    ae.draw(e, a)
    lattice(e, a)
    e.note(
        """
        The source states neither the scale of the images nor the optimiser. The losses tell the scale: with pixels in
        [0, 1] they would be below 0.1, in [-1, 1] not below 0.83; standardised with mean 0.1307 and standard deviation
        0.3081 the sigmoid's range allows 0.463 to 0.802. The validation images are the 10,000 test images: the gap
        between the printed losses is that between the least possible ones. Chosen: Adam with step 0.001, batch 128.
        """
    )


def lattice(e: Run, a: ae.Trained) -> None:
    """Images decoded from a grid of codes that spans the middle 90 % of the codes along each axis."""
    low, high = np.quantile(a.codes(a.images.x_test), (0.05, 0.95), axis=0)
    codes = models.lattice(low, high, side=SIDE)
    decoded = a.model.decoded(codes)
    fig = plots.latent_lattice(decoded, low, high, title="decoded from a grid of codes")
    caption = "What the decoder makes of each pair of numbers: blends of one image into another, few of them a digit."
    e.figure("lattice", fig, caption, {"codes": codes, "decoded": decoded})
