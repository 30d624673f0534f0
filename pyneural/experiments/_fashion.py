"""The Fashion-MNIST subset, the classifier and the regenerating networks that several experiments share."""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, nn, optim
from pyneural.experiments._parallel import Stop
from pyneural.experiments.frame import Images, Run

NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
SIZES = (784, 128, 64, 32, 10)  # the classifier
REGENERATOR = (784, 128, 64, 32)  # and back
BATCH = 128
L2 = 1e-4


def images(e: Run) -> Images:
    """The first 8,000 training and 2,000 test images; 2,000 and 500 in the quick profile."""
    return e.fashion_mnist().first(*e.pick(quick=(2000, 500), full=(8000, 2000)))


def rows(pictures: np.ndarray) -> np.ndarray:
    """Images as rows (N, 784) of bytes; trainings convert them to [0, 1] batch by batch."""
    return pictures.reshape(len(pictures), -1)


def classifier(solver: str, activation: str, lr: float, batch: int = BATCH) -> pn.Trainer:
    """784-128-64-32-10 as scikit-learn's MLPClassifier starts and penalises it, not trained yet.

    scikit-learn divides its penalty by the batch and leaves biases out.
    """
    model = models.MLP(SIZES, activation, init="sklearn")
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": L2 / batch},
        {"params": [p for p in model.parameters() if p.ndim == 1]},
    ]
    made = optim.Adam(groups, lr=lr) if solver == "Adam" else optim.SGD(groups, lr=lr, momentum=0.9)
    return pn.Trainer(model, nn.CrossEntropyLoss(), made)


def fit_classifier(
    data: Images, activation: str, lr: float, epochs: int, seed: int, stop: Stop
) -> tuple[pn.Trainer, pn.History]:
    """Train a classifier with Adam from the start of a seed; the test images are the validation."""
    with pn.random.using(pn.Generator(seed)):
        trainer = classifier("Adam", activation, lr)
        x, test = rows(data.x_train), (rows(data.x_test), data.y_test)
        history = trainer.fit(x, data.y_train, epochs, BATCH, validation=test, callbacks=[stop], progress=False)
    return trainer, history


def regenerator(activation: str, lr: float) -> pn.Trainer:
    """784-128-64-32-64-128-784 with the activation after every layer but the last, not trained yet."""
    model = models.Autoencoder(REGENERATOR, activation, code_activation=activation)
    models.initialise(model, "sklearn", activation)
    return pn.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=lr))


def fit_regenerator(
    data: Images, activation: str, lr: float, epochs: int, seed: int, stop: Stop
) -> tuple[models.Autoencoder, pn.History]:
    """Train one from the start of a seed; the test images are the validation."""
    with pn.random.using(pn.Generator(seed)):
        trainer = regenerator(activation, lr)
        x, x_test = rows(data.x_train), rows(data.x_test)
        history = trainer.fit(
            x, epochs=epochs, batch_size=BATCH, validation=x_test, callbacks=[stop], progress=False
        )  # fmt: skip
    assert isinstance(trainer.model, models.Autoencoder)
    return trainer.model, history


def unit(pictures: np.ndarray) -> np.ndarray:
    """Rows (N, 784) float32 in [0, 1]."""
    return rows(pictures).astype(np.float32) / np.float32(255)


def predicted(trainer: pn.Trainer, x: Any) -> np.ndarray:
    """Class numbers (N,) for rows of bytes or of features."""
    return np.asarray(trainer.predict(x, 1000)).argmax(axis=1)
