"""Autoencoders of MNIST with one narrow hidden layer, no biases and a linear output: x' = W2 s(W1 x), trained by plain
SGD on half squared errors; and a classifier of digits, to judge reconstructions by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import functional as F
from pyneural import models, nn, optim
from pyneural.experiments._parallel import Stop, at_once
from pyneural.experiments.frame import Images, Run
from pyneural.learn import PrincipalComponents, pca

ACTIVATIONS: dict[str, Any] = {"ReLU": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "identity": None,
                               "negative": pn.neg}  # fmt: skip
SIZES = (25, 50, 100)
BATCH = 50
EPOCHS = 30
OPEN = (
    "Chosen, because the source does not say: pixels in [0, 1], plain SGD in batches of 50 on the half squared error "
    "per image, weights uniform in +-1/sqrt(inputs)."
)


def step_size(activation: str) -> float:
    """0.005, and 0.01 for tanh: what the captions of the source's figures 3 to 7 say."""
    return 0.01 if activation == "tanh" else 0.005


def half_loss(output: Any, target: Any) -> Any:
    """(1/2N) sum_n |x_n - x'_n|^2."""
    return F.mse_loss(output, target, reduction="sum") / (2 * target.shape[0])


@dataclass
class Narrow:
    """A trained net: its half losses by epoch, those of the final weights on all training and test images, and the
    weights W2 after each epoch if they were asked for."""

    model: models.Autoencoder
    history: pn.History
    train: float = np.nan
    test: float = np.nan
    weights: list[np.ndarray] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return float(np.median(self.history.seconds))


def new_net(e: Run, activation: str, units: int, small: bool = False) -> models.Autoencoder:
    """A net as it starts. Each size starts from the same weights, whatever the activation; "negative" from W1, -W2.

    `small` starts W2 as W1, in +-1/sqrt(784): with few units, +-1/sqrt(units) would be so much that the loss overflows.
    """
    pn.manual_seed(e.seed)
    model = models.Autoencoder((784, units), code_activation=ACTIVATIONS[activation], bias=False)
    scale = (units / 784) ** 0.5 if small else 1.0
    with pn.no_grad():
        for weight in model.decoder.parameters():
            weight.copy_(weight * (-scale if activation == "negative" else scale))
    return model


def train(e: Run, model: models.Autoencoder, rate: float, epochs: int, stop: Stop, *, batch: int = BATCH,
          optimizer: Callable[..., optim.Optimizer] = optim.SGD, keep: bool = False) -> Narrow:  # fmt: skip
    """Train on MNIST in [0, 1], in orders that the run's seed alone decides; `keep` the weights W2 of each epoch."""
    x, x_test = rows(e.mnist())
    trainer = pn.Trainer(model, half_loss, optimizer(model.parameters(), lr=rate))
    found = Narrow(model, trainer.history)

    def note(trainer: pn.Trainer, epoch: int, logs: Any) -> None:
        if keep:
            found.weights.append(np.array(decoder_weight(model)))

    generator = pn.Generator(e.seed)
    found.history = trainer.fit(x, epochs=epochs, batch_size=batch, validation=x_test, generator=generator,
                                callbacks=[stop, note], progress=False)  # fmt: skip
    found.train, found.test = (trainer.evaluate(part, batch_size=1000)["loss"] for part in (x, x_test))
    return found


def rows(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """The training and test images as rows of bytes; a Trainer makes [0, 1] of them batch by batch."""
    return images.x_train.reshape(-1, 784), images.x_test.reshape(-1, 784)


def decoder_weight(model: models.Autoencoder) -> np.ndarray:
    """W2, (784, units)."""
    return np.asarray(model.decoder[0].weight.detach())


def encoder_weight(model: models.Autoencoder) -> np.ndarray:
    """W1, (units, 784)."""
    return np.asarray(model.encoder[0].weight.detach())


_kept: dict[tuple[object, ...], Any] = {}


def _once(e: Run, name: str, make: Callable[[], Any]) -> Any:
    """What `make` gives, kept for the experiments that ask for it in the same process."""
    key = _key(e, name)
    if key not in _kept:
        _kept[key] = make()
    return _kept[key]


def _key(e: Run, name: str) -> tuple[object, ...]:
    return (name, e.profile, e.seed, e.data, pn.current_isa())


def grid(e: Run) -> dict[tuple[str, int], Narrow]:
    """The 15 nets of `ae-activation-grid`, by activation and size."""
    return _once(e, "grid", lambda: _train_grid(e, ACTIVATIONS, SIZES, e.epochs(EPOCHS)))


def by_size(
    e: Run, activations: Iterable[str], sizes: Iterable[int], epochs: int, small: bool = False
) -> dict[tuple[str, int], Narrow]:
    """Nets of other sizes, trained for other epochs."""
    activations, sizes = tuple(activations), tuple(sizes)
    name = f"{activations} {sizes} {epochs} {small}"
    return _once(e, name, lambda: _train_grid(e, activations, sizes, epochs, small))


def _train_grid(
    e: Run, activations: Iterable[str], sizes: Iterable[int], epochs: int, small: bool = False
) -> dict[tuple[str, int], Narrow]:
    names = [(activation, units) for units in sorted(sizes, reverse=True) for activation in activations]

    def job(activation: str, units: int) -> Callable[[Stop], Narrow]:
        model = new_net(e, activation, units, small)
        keep = activation == "identity"
        return lambda stop: train(e, model, step_size(activation), epochs, stop, keep=keep)

    jobs = {f"{activation} {units}": job(activation, units) for activation, units in names}  # the longest first
    found = at_once(e, jobs, f"training {len(jobs)} autoencoders")
    return {(activation, units): found[f"{activation} {units}"] for activation in activations for units in sizes}


def identity_25(e: Run) -> Narrow:
    """The net of the grid with 25 identity units; trained alone if the grid is not there."""
    key = _key(e, "grid")
    if key in _kept:
        return _kept[key]["identity", 25]
    return by_size(e, ["identity"], [25], e.epochs(EPOCHS))["identity", 25]


def directions(e: Run) -> tuple[PrincipalComponents, PrincipalComponents]:
    """All principal components, not centred, of the training and of the test images in [0, 1]."""

    def compute() -> list[PrincipalComponents]:
        e.status("eigenvectors of the images' second moments")
        found = [pca(part, center=False) for part in rows(e.mnist())]
        return [replace(f, variances=f.variances / 255**2, total_variance=f.total_variance / 255**2) for f in found]

    train, test = _once(e, "directions", compute)
    return train, test


def floors(e: Run) -> tuple[np.ndarray, np.ndarray]:
    """Least half loss that reconstructions in any k-dimensional space through the origin can have, of the training and
    of the test images: element k of (785,) each."""
    left = [f.total_variance - np.concatenate([[0.0], np.cumsum(f.variances)]) for f in directions(e)]
    return np.maximum(left[0], 0) / 2, np.maximum(left[1], 0) / 2


def reconstructed(net: Narrow, images: np.ndarray) -> np.ndarray:
    """Reconstructions (N, 784) of byte images."""
    return net.model.reconstruct(images.reshape(len(images), -1) / np.float32(255))


def half_losses(images: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """The half squared error of each reconstruction, (N,)."""
    originals = images.reshape(len(images), -1) / 255
    return 0.5 * ((originals - rebuilt) ** 2).sum(axis=1)


def reads(e: Run, images: np.ndarray) -> np.ndarray:
    """The digits that a classifier (784-128-10, trained on the originals for five epochs) reads in rows in [0, 1]."""

    def learn() -> pn.Trainer:
        pn.manual_seed(e.seed)
        model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3))
        data = e.mnist()
        trainer.fit(rows(data)[0], data.y_train, epochs=5, batch_size=64, progress=False)
        return trainer

    trainer: pn.Trainer = _once(e, "classifier", learn)
    return np.asarray(trainer.predict(np.asarray(images, np.float32))).argmax(axis=1)
