"""An autoencoder that compresses an MNIST image to two numbers: encoder Linear(784, 2) without activation, decoder
Linear(2, 784) with a sigmoid. Train it for 20 epochs with the mean squared error.

1. What are the training and the validation loss?
2. Draw the codes of the images, coloured by digit, and some images above their reconstructions.
"""

from __future__ import annotations

import numpy as np

from pyneural import nn, plots
from pyneural.experiments import _autoencoder as ae
from pyneural.experiments.frame import Run, experiment

PRINTED = {"training": 0.7271, "validation": 0.7330}
FLOOR = {"training": 0.4629, "validation": 0.4694}  # of any output in [0, 1]
CONSTANT = {"training": 0.8021, "validation": 0.8058}  # of the best output that is the same for all images


@experiment(
    "ae-bottleneck-2",
    title="Autoencoder with a two-dimensional linear code",
    source="000_fb1690ef72ed0c7c.txt, 2.1 (part a), figures 1-2",
    kind="train",
    needs=("mnist",),
)
def run(e: Run) -> None:
    a = ae.fit(e, nn.Linear(784, 2), nn.Sequential(nn.Linear(2, 784), nn.Sigmoid()))
    loss = {"training": a.history["loss"][-1], "validation": a.history["val_loss"][-1]}
    images = {"training": a.images.x_train, "validation": a.images.x_test}
    mean = ae.standardised(a.images.x_train).mean(axis=0, dtype=np.float64)
    rows = []
    for part, value in loss.items():
        floor, constant = ae.bounds(images[part], mean)
        e.check(f"{part}: least error of outputs in [0, 1]", floor, FLOOR[part], 5e-5, profile="full")
        e.check(f"{part}: least error of a constant output in [0, 1]", constant, CONSTANT[part], 5e-5, profile="full")
        e.check(f"{part} loss", value, PRINTED[part], 0.02, profile="full")
        e.check(f"{part} loss above that of the best output in [0, 1]", value, floor, kind="above")
        e.check(f"{part} loss below that of a constant output", value, constant, kind="below", profile="full")
        rows.append([part, floor, value, PRINTED[part], constant])
    w1, b1, w2, b2 = (np.asarray(p.detach(), np.float64) for p in (*a.encoder.parameters(), *a.decoder.parameters()))
    x = ae.standardised(a.images.x_test[:100])
    by_formula = 1 / (1 + np.exp(-((x @ w1.T + b1) @ w2.T + b2)))
    e.check(
        "outputs against sigmoid(W2 (W1 x + b1) + b2) in NumPy",
        a.decode(a.codes(a.images.x_test[:100])),
        by_formula,
        1e-5,
    )
    e.check("the loss falls", a.history["loss"][-1], a.history["loss"][0], kind="below")
    after = a.trainer.evaluate(images["training"].reshape(-1, 784), scale=ae.SCALE)["loss"]
    e.report("training loss after the last step", after, note="the loss by epoch is the mean over its steps")
    e.table(
        "losses",
        ["images", "least possible", "measured", "source", "best constant"],
        rows,
        "Squared error per pixel of standardised images. A sigmoid cannot leave [0, 1], pixels lie in [-0.42, 2.82].",
    )
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


def lattice(e: Run, a: ae.Autoencoder, side: int = 12) -> None:
    """Images decoded from a grid of codes that spans the middle 90 % of the codes along each axis."""
    low, high = np.quantile(a.codes(a.images.x_test), (0.05, 0.95), axis=0)
    first, second = np.linspace(low[0], high[0], side), np.linspace(high[1], low[1], side)
    codes = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    decoded = a.decode(codes)
    sheet = decoded.reshape(side, side, 28, 28).swapaxes(1, 2).reshape(28 * side, 28 * side)
    fig, ax = plots.new(width=5, height=5)
    with plots.style():
        ax.imshow(sheet, cmap="gray_r", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
        ax.set(xlabel="first code", ylabel="second code", title="decoded from a grid of codes")
        ax.grid(False)
    caption = "What the decoder makes of each pair of numbers: blends of one image into another, few of them a digit."
    e.figure("lattice", fig, caption, {"codes": codes, "decoded": decoded})
