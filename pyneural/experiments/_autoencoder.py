"""The autoencoders of standardised MNIST: data, training, and the pictures that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

import pyneural as pn
from pyneural import models, nn, optim, plots
from pyneural.experiments.frame import Images, Run

SCALE = (0.1307, 0.3081)  # mean and standard deviation that standardise MNIST
WATCHED = 1000  # test images on which hidden units are watched while a net is trained
OPEN = (
    "Chosen, because the source does not say: pixels standardised with mean 0.1307 and standard deviation 0.3081, "
    "squared error averaged over pixels, Adam with step 0.001, batches of 128, the 10,000 test images for validation."
)


@dataclass(frozen=True)
class Net:
    """What an autoencoder is made of: the encoder's sizes, the activation of hidden layers, that of the output; and
    the weight decay it is trained with."""

    sizes: tuple[int, ...]
    activation: str | None = None
    output: str = "sigmoid"
    decay: float = 0.0


NETS = {
    "bottleneck-2": Net((784, 2)),
    "relu-1024": Net((784, 1024, 2), "relu"),
    "linear-1024": Net((784, 1024, 2)),
    "sigmoid-1024": Net((784, 1024, 2), "sigmoid", decay=1e-5),
    "tanh-1024": Net((784, 1024, 2), "tanh", decay=1e-5),
    "three-hidden": Net((784, 256, 64, 16, 2), "relu"),
    "linear-depth-5": Net((784, 128, 64, 32, 16, 2)),
    "bottleneck-30-tanh": Net((784, 30), output="tanh"),
}


@dataclass
class Trained:
    """A trained autoencoder, its losses by epoch, and the images that it was trained on and tested with.

    `idle` holds, for each epoch, the share of exact zeros in the first hidden layer over the first test images.
    """

    model: models.Autoencoder
    history: pn.History
    images: Images
    idle: list[float] = field(default_factory=list)

    @property
    def losses(self) -> dict[str, float]:
        """Of the last epoch: {"training", "validation"}."""
        return {"training": self.history["loss"][-1], "validation": self.history["val_loss"][-1]}

    @property
    def seconds(self) -> float:
        """For an epoch, validation included: the median."""
        return float(np.median(self.history.seconds))

    def codes(self, images: np.ndarray) -> np.ndarray:
        """The codes (N, k) of byte images (N, 28, 28)."""
        return self.model.codes(standardised(images))

    def first_hidden(self, images: np.ndarray) -> np.ndarray:
        """What the first hidden layer makes of byte images, (N, units)."""
        return models.batchwise(self.model, self.model.encoder[:2], standardised(images))


_kept: dict[tuple[object, ...], Trained] = {}


def trained(e: Run, name: str, epochs: int = 20, batch: int = 128) -> Trained:
    """The autoencoder `name` of NETS, trained with Adam on the squared error per pixel of standardised MNIST.

    In the quick profile a fifth of the epochs is made. Each net starts from the run's seed, whatever was computed
    before, and is kept: several experiments ask for the same one.
    """
    net, images, epochs = NETS[name], e.mnist(), e.epochs(epochs)
    key = (name, epochs, batch, e.profile, e.seed, e.data, pn.current_isa())
    if key in _kept:
        return _kept[key]
    pn.manual_seed(e.seed)
    model = models.Autoencoder(net.sizes, net.activation, output_activation=net.output)
    trainer = pn.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=1e-3, weight_decay=net.decay))
    found = Trained(model, trainer.history, images)

    def count_zeros(trainer: pn.Trainer, epoch: int, logs: dict[str, float]) -> None:
        if len(net.sizes) > 2:
            found.idle.append(float(np.mean(found.first_hidden(images.x_test[:WATCHED]) == 0)))

    watch = e.watch(f"training {name}", epochs)
    x, x_test = (part.reshape(len(part), -1) for part in (images.x_train, images.x_test))
    found.history = trainer.fit(
        x,
        epochs=epochs,
        batch_size=batch,
        validation=x_test,
        scale=SCALE,
        callbacks=[watch, count_zeros],
        progress=False,
    )
    _kept[key] = found
    return found


def standardised(images: np.ndarray) -> np.ndarray:
    """Rows (N, 784) float32 of byte images."""
    return (images.reshape(len(images), -1) / np.float32(255) - np.float32(SCALE[0])) / np.float32(SCALE[1])


def bounds(images: np.ndarray, train: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Squared error per pixel of standardised byte images for outputs in [low, high]: of the nearest such image to
    each, and of one and the same for all, the mean of the training images cut to that range."""
    levels = (np.arange(256) / 255 - SCALE[0]) / SCALE[1]
    share = np.bincount(images.reshape(-1), minlength=256) / images.size
    floor = share @ (levels - np.clip(levels, low, high)) ** 2
    mean, own = ((part.mean(axis=0, dtype=np.float64) / 255 - SCALE[0]) / SCALE[1] for part in (train, images))
    constant = np.clip(mean, low, high)
    return float(floor), float(share @ levels**2 + np.mean(constant * (constant - 2 * own)))


def judge_losses(
    e: Run, a: Trained, printed: dict[str, float], tolerance: float, low: float = 0.0, high: float = 1.0
) -> dict[str, tuple[float, float]]:
    """Check the losses against the printed ones and against what outputs in [low, high] allow; say how long it took.

    Returns {"training": (least error, error of the best constant output), "validation": ...}.
    """
    sets = {"training": a.images.x_train, "validation": a.images.x_test}
    found = {}
    rows = []
    for part, value in a.losses.items():
        found[part] = floor, constant = bounds(sets[part], a.images.x_train, low, high)
        e.check(f"{part} loss", value, printed[part], tolerance, profile="full")
        e.check(f"{part} loss above that of the best output in [{low:g}, {high:g}]", value, floor, kind="above")
        e.check(f"{part} loss below that of a constant output", value, constant, kind="below", profile="full")
        rows.append([part, floor, value, printed[part], constant])
    e.check("the loss falls", a.history["loss"][-1], a.history["loss"][0], kind="below")
    e.table(
        "losses",
        ["images", "least possible", "measured", "source", "best constant"],
        rows,
        f"Squared error per pixel of standardised images. Outputs lie in [{low:g}, {high:g}], pixels in [-0.42, 2.82].",
    )
    report_seconds(e, a)
    return found


def report_seconds(e: Run, a: Trained, name: str = "seconds per epoch") -> None:
    """Say how long an epoch took."""
    e.report(name, round(a.seconds, 3), note=f"{len(a.images.x_train):,} images, {e.threads} threads, with validation")


def first_of_each_digit(labels: np.ndarray) -> list[int]:
    """The index of the first image of each digit."""
    return [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]


def draw(e: Run, a: Trained) -> None:
    """Loss curves, the codes of test images by digit, and ten originals over their reconstructions."""
    curves = {"loss": a.history["loss"], "val_loss": a.history["val_loss"]}
    fig = plots.learning_curves(curves, ylabel="squared error per pixel")
    e.figure("loss", fig, "Squared error by epoch: training (solid) and test images (dashed).", curves)

    codes, labels = a.codes(a.images.x_test), a.images.y_test
    fig, axes = plots.new(1, 2, width=10, height=4.6)
    for ax, middle, title in zip(axes, (1.0, 0.8), ("codes of test images", "the middle 80 %"), strict=True):
        plots.code_scatter(codes[:3000], labels[:3000], title=title, middle=middle, axes=ax)
    caption = (
        "The two numbers to which each test image is compressed: all of them, and the middle 80 % along each axis."
    )
    e.figure("codes", fig, caption, {"codes": codes, "label": labels})
    draw_reconstructions(e, a)


def draw_reconstructions(e: Run, a: Trained, low: float = 0.0, high: float = 1.0) -> None:
    """The first test image of each digit over its reconstruction by outputs in [low, high]."""
    first = first_of_each_digit(a.images.y_test)
    originals = standardised(a.images.x_test[first])
    rebuilt = a.model.reconstruct(originals)
    shown = np.clip(originals, low, high)
    fig = plots.originals_over_reconstructions(shown, rebuilt, first, shape=(28, 28))
    caption = (
        f"The first test image of each digit (with its index), cut to [{low:g}, {high:g}] as outputs are, over what "
        f"{a.model.sizes[-1]} numbers give back."
    )
    e.figure("reconstructions", fig, caption, {"index": first, "original": originals, "rebuilt": rebuilt})


def nearest_neighbour_accuracy(a: Trained, references: int = 10_000) -> float:
    """The share of test images whose digit is that of the training image with the nearest code, of the first ones."""
    known = a.codes(a.images.x_train[:references]).astype(np.float64)
    asked = a.codes(a.images.x_test).astype(np.float64)
    labels = a.images.y_train[: len(known)]
    right = 0
    for first in range(0, len(asked), 500):
        part = asked[first : first + 500]
        distance = np.zeros((len(part), len(known)))
        for axis in range(asked.shape[1]):
            distance += (part[:, axis, None] - known[:, axis]) ** 2
        right += int(np.sum(labels[distance.argmin(axis=1)] == a.images.y_test[first : first + 500]))
    return right / len(asked)


def table_of_nets(e: Run, nets: Sequence[tuple[str, Trained]], epochs: int | None = None, caption: str = "") -> None:
    """A table "nets": losses at the end (or after `epochs`) and seconds per epoch of several trainings."""
    at = -1 if epochs is None else epochs - 1
    rows = [[title, a.history["loss"][at], a.history["val_loss"][at], round(a.seconds, 3)] for title, a in nets]
    e.table("nets", ["net", "training loss", "validation loss", "seconds per epoch"], rows, caption)
