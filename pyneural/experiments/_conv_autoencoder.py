"""What the experiments with the convolutional autoencoder share: its training and its measures."""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, nn, optim
from pyneural.experiments.frame import Images, Run

BATCH, STEP, EPOCHS = 64, 0.1, 10
DIGITS = 20
MEAN_IMAGE = 52.8965 / 794  # test loss of z = 0 and the mean training image


def train(
    e: Run, data: Images, epochs: int, *, adam: float | None = None, text: str = "epochs", **options: Any
) -> tuple[models.ConvAutoencoder, pn.History]:
    """The net with other settings (`options`), by plain SGD or with Adam's step; the test images are watched."""
    pn.manual_seed(e.seed)
    model = models.ConvAutoencoder(**options)
    parameters = model.parameters()
    optimizer = optim.SGD(parameters, lr=STEP) if adam is None else optim.Adam(parameters, lr=adam)
    trainer = pn.Trainer(model, model.loss, optimizer)
    history = trainer.fit(
        data.x_train[:, None], epochs=epochs, batch_size=BATCH, validation=data.x_test[:, None],
        callbacks=[e.watch(text, epochs)], progress=False,
    )  # fmt: skip
    return model, history


def unit(pictures: np.ndarray) -> np.ndarray:
    """(N, 1, 28, 28) float32 in [0, 1]."""
    return pictures[:, None] / np.float32(255)


def terms(model: models.ConvAutoencoder, x: np.ndarray, noise: np.ndarray | None) -> tuple[float, float]:
    """|z|^2 and |f - x|^2 per image in evaluation mode, with these numbers as the noise, or without."""
    codes = model.codes(x)
    seen = codes if noise is None else codes + noise
    images = model.decoded(seen.astype(np.float32))
    return float((codes**2).sum(axis=1).mean()), float(((images - x) ** 2).sum(axis=(1, 2, 3)).mean())


def judge(e: Run, data: Images) -> pn.Trainer:
    """A classifier that says how sure it is of a digit."""
    pn.manual_seed(e.seed)
    model = models.LeNet5()
    trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3))
    epochs = e.pick(quick=2, full=4)
    trainer.fit(
        data.x_train[:, None], data.y_train, epochs, BATCH, callbacks=[e.watch("judge", epochs)], progress=False
    )
    return trainer


def confidence(judge: pn.Trainer, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image the digit that it is taken for and the probability of that."""
    scores = np.asarray(judge.predict(images.astype(np.float32), 1000))
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    return chances.argmax(axis=1), chances.max(axis=1)
