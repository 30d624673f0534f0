"""Are the hidden layers of the autoencoders sparse? The source claims that ReLU gives sparse codes and sigmoid dense
ones. Count the exact zeros in the 1024 units of the encoder's hidden layer, on the test images, for both trained nets.
"""

from __future__ import annotations

import copy

import numpy as np

from pyneural import models, plots
from pyneural.experiments import _autoencoder as ae
from pyneural.experiments.frame import Run, experiment


@experiment(
    "ae-hidden-sparsity",
    title="ReLU layers are sparse, sigmoid layers saturated",
    source="000_fb1690ef72ed0c7c.txt, 2.3, figures 3 and 7",
    kind="train",
    topic="Autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    nets = {"ReLU": ae.trained(e, "relu-1024"), "sigmoid": ae.trained(e, "sigmoid-1024")}
    images = nets["ReLU"].images.x_test
    values = {name: net.first_hidden(images) for name, net in nets.items()}
    idle = {name: h == 0 for name, h in values.items()}
    dead = {name: zero.all(axis=0) for name, zero in idle.items()}
    e.check("ReLU: share of exact zeros", idle["ReLU"].mean(), 0.8, kind="above", profile="full")
    alive = idle["ReLU"][:, ~dead["ReLU"]].mean()
    e.check("ReLU: share of exact zeros in units that are not dead", alive, 0.8, kind="above", profile="full")
    e.report("ReLU: dead units, 0 for every test image", int(dead["ReLU"].sum()))
    e.check("sigmoid: share of exact zeros in float32", idle["sigmoid"].mean(), 0.001, kind="below")
    exact = in_float64(nets["sigmoid"], images)
    e.check("sigmoid: exact zeros in float64", int(np.sum(exact == 0)), 0, kind="equal")
    e.report("sigmoid: smallest value in float64", float(exact.min()))
    low, high = float(np.mean(exact < 0.01)), float(np.mean(exact > 0.99))
    e.report("sigmoid: share of values below 0.01", low)
    e.report("sigmoid: share of values above 0.99", high)
    rows = [
        ["ReLU", idle["ReLU"].mean(), alive, int(dead["ReLU"].sum()), None, None],
        ["sigmoid, float32", idle["sigmoid"].mean(), idle["sigmoid"].mean(), int(dead["sigmoid"].sum()), low, high],
        ["sigmoid, float64", np.mean(exact == 0), np.mean(exact == 0), 0, low, high],
    ]
    e.table(
        "zeros",
        ["hidden layer", "share of zeros", "without dead units", "dead units", "below 0.01", "above 0.99"],
        rows,
        f"Outputs of the 1024 hidden units of the encoder for {len(images):,} test images.",
    )
    data = {f"{name}_{what}": h for name, v in values.items() for what, h in summary(v).items()}
    fig = plots.unit_activity(values)
    caption = "Left the outputs of the hidden units; right, how many of the images make each unit other than 0."
    e.figure("hidden", fig, caption, data)
    shares = {name: net.idle for name, net in nets.items()}
    steps = np.arange(1, nets["ReLU"].history.epochs + 1)
    fig = plots.lines(steps, shares, xlabel="epoch", ylabel="share of exact zeros", title="zeros in the hidden layer")
    fig.axes[0].set_xticks(steps[:: -(-len(steps) // 10)])
    e.figure(
        "zeros-by-epoch", fig, f"Share of exact zeros on {ae.WATCHED:,} test images, by epoch of training.", shares
    )
    for name, net in nets.items():
        ae.report_seconds(e, net, f"{name}: seconds per epoch")
    e.note(
        """
        Half true. ReLU sets most units to 0, and half of them for every image. The sigmoid layer is dense in the sense
        that no value is 0 but for underflow (in float32 the sigmoid of numbers below about -104 is 0); yet a third of
        its values lie below 0.01, where a unit says little more than a zero would.
        """
    )


def in_float64(net: ae.Trained, images: np.ndarray) -> np.ndarray:
    """The first hidden layer (N, units) of the same net, computed in float64."""
    model = copy.deepcopy(net.model).double()
    return models.batchwise(model, model.encoder[:2], ae.standardised(images).astype(np.float64))


def summary(values: np.ndarray) -> dict[str, np.ndarray]:
    """What a histogram shows: counts and edges of all values, and the share of rows in which each unit is not 0."""
    counts, edges = np.histogram(values, 50)
    return {"counts": counts, "edges": edges, "active": np.mean(values != 0, axis=0)}
