"""How many hidden units does an autoencoder of MNIST need for readable digits? Identity activation, no biases, constant
step 0.005, 20 epochs; the source says that below 15 units the digits cannot be read. Sizes 2, 5, 10, 15 and 25.

1. Draw reconstructions by size.
2. Draw the loss against the size, beside the least that any net of the size can reach.
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.experiments import _narrow as narrow
from pyneural.experiments._autoencoder import first_of_each_digit
from pyneural.experiments.frame import Run, experiment

SIZES = (2, 5, 10, 15, 25)
FLOORS = (22.5920, 17.5724, 13.3428, 10.8832, 7.8874)  # of the test images, with directions of their own
SHORT = 4  # epochs of the other activations


@experiment(
    "ae-small-bottleneck",
    title="Reconstructions by few hidden units",
    source="001_b6a7a572bac0f98c.txt, 1c, figure 13",
    kind="figure",
    topic="Autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    nets = narrow.by_size(e, ["identity"], SIZES, e.epochs(20), small=True)
    data = e.mnist()
    floor = narrow.floors(e)[1][list(SIZES)]
    e.check("floors of the test loss", floor, FLOORS, 1e-4, profile="full")
    losses = np.array([nets["identity", units].test for units in SIZES])
    e.check("test loss not below the floor", losses, floor - 1e-5, kind="at least")
    e.check("test loss over the floor", losses / floor, 1.1, kind="at most", profile="full")
    e.check("test loss falls with size", np.diff(losses), 0, kind="below")
    rows, read = [], []
    shown = first_of_each_digit(data.y_test)
    rebuilt = []
    for units in SIZES:
        net = nets["identity", units]
        whole = narrow.reconstructed(net, data.x_test)
        rebuilt.append(whole[shown])
        read.append(float(np.mean(narrow.reads(e, whole) == data.y_test)))
        rows.append([units, net.train, net.test, narrow.floors(e)[1][units], read[-1], round(net.seconds, 3)])
    e.check("share of digits that a classifier reads right, gain with size", np.diff(read), 0, kind="above")
    e.table(
        "losses",
        ["units", "half loss, training", "half loss, test", "least possible, test", "digits read right",
         "seconds per epoch"],
        rows,
        f"Identity units. {e.threads} nets at a time, on one thread each; the classifier was trained on originals.",
    )  # fmt: skip
    original = data.x_test[shown].reshape(-1, 784) / 255
    fig = plots.originals_over_reconstructions(
        original,
        [np.clip(r, 0, 1) for r in rebuilt],
        shown,
        shape=(28, 28),
        names=("original", *(f"{units} units" for units in SIZES)),
    )
    caption = "The first test image of each digit (with its index) over its reconstructions from 2, 5, ..., 25 numbers."
    arrays = {f"units_{units}": r for units, r in zip(SIZES, rebuilt, strict=True)}
    e.figure("reconstructions", fig, caption, {"index": shown, "original": original} | arrays)
    draw(e, losses, floor)
    e.note(
        f"""
        {narrow.OPEN} But W2 starts in +-1/sqrt(784) here, as W1 does: in +-1/sqrt(units) the loss of the net with 15
        units overflows within ten steps of 0.005. The source lists no sizes. The floor is what projecting the
        test images on their own best directions leaves. "Readable" is measured by a classifier that never saw a
        reconstruction.
        """
    )


def draw(e: Run, losses: np.ndarray, floor: np.ndarray) -> None:
    """Loss against size: identity with the floor, and the five activations after a few epochs."""
    epochs = e.epochs(SHORT)
    short = narrow.by_size(e, narrow.ACTIVATIONS, SIZES, epochs, small=True)
    curves = {name: np.array([short[name, units].test for units in SIZES]) for name in narrow.ACTIVATIONS}
    fig, (left, right) = plots.new(1, 2, height=3.4)
    whole = {"identity": losses, "least possible": floor}
    plots.lines(SIZES, whole, title=f"after {e.epochs(20)} epochs", xlabel="hidden units",
                ylabel="half loss, test images", axes=left)  # fmt: skip
    shown = {"identity, negative": curves["identity"], **{n: curves[n] for n in ("ReLU", "sigmoid", "tanh")}}
    plots.lines(SIZES, shown, title=f"after {epochs} epochs", xlabel="hidden units", axes=right)
    right.set_ylim(bottom=0)
    left.set_ylim(bottom=0)
    caption = (
        "Test loss against size. Left identity, on the least possible; right the five activations, trained briefly."
    )
    data = {"units": SIZES, "loss": losses, "floor": floor} | {f"short_{name}": y for name, y in curves.items()}
    e.figure("loss", fig, caption, data)
    e.table("short", ["activation", *(f"{units} units" for units in SIZES)],
            [[name, *y.tolist()] for name, y in curves.items()], f"Test half loss after {epochs} epochs.")  # fmt: skip
