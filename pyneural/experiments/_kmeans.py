"""What the experiments on k-means share: four points, images of each digit to start from, the network's training."""

from __future__ import annotations

import numpy as np

from pyneural import models, nn, optim, training
from pyneural.experiments.frame import Run
from pyneural.learn.lloyd import nearest

POINTS = np.array([[-0.01, 1.0], [1.0, 1.0], [0.01, -1.0], [-1.0, -1.0]])  # x1 to x4
NAMES = ("x1", "x2", "x3", "x4")
EXEMPLARS = (1, 3, 5, 7, 2, 0, 13, 15, 17, 4)  # the first training image of each digit
ETA, BATCH, SHARPNESS = 4.5, 64, 20.0


def summed_loss(x: np.ndarray, centers: np.ndarray) -> float:
    """The mean squared distance of rows to their nearest centre; NaN for centres that are not finite."""
    if not np.isfinite(centers).all():
        return float("nan")
    return float(nearest(x, centers)[1].mean())


def exact_rule(
    e: Run, x: np.ndarray, start: np.ndarray, step: float, epochs: int, what: str, last: list[np.ndarray] | None = None
) -> np.ndarray:
    """C_i <- (1 - step) C_i + step m_i for each batch, m_i the mean of the batch's rows in cell i: the centres. The
    centres after each of the last 30 batches are added to ``last``."""
    centers = start.astype(np.float64)
    rng = np.random.default_rng(e.seed)
    for epoch in e.progress(range(epochs), what):
        order = rng.permutation(len(x))
        for first in range(0, len(x), BATCH):
            batch = x[order[first : first + BATCH]].astype(np.float64)
            cell = (batch @ centers.T - 0.5 * (centers**2).sum(axis=1)).argmax(axis=1)
            hot = np.eye(len(centers))[cell]
            counts = hot.sum(axis=0)
            won = counts > 0
            centers[won] += step * ((hot.T @ batch)[won] / counts[won, None] - centers[won])
            if last is not None and epoch == epochs - 1 and first + 30 * BATCH >= len(x):
                last.append(centers.copy())
    return centers


def train_network(
    e: Run, x: np.ndarray, start: np.ndarray, epochs: int, what: str, *, constant_shares: bool = False
) -> tuple[models.KMeansNetwork, training.History]:
    """The network trained with SGD, step 4.5, batches of 64, on the mean squared error, also over the pixels."""
    model = models.KMeansNetwork(start, SHARPNESS, constant_shares=constant_shares)
    trainer = training.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=ETA))
    history = trainer.fit(
        x, epochs=epochs, batch_size=BATCH, callbacks=[e.watch(what, epochs)], progress=False, seed=e.seed, scale=None
    )
    return model, history


def split(labels: np.ndarray) -> str:
    """The cells of the four points as text: {x1, x2} {x3, x4}."""
    cells = [", ".join(NAMES[i] for i in range(len(NAMES)) if labels[i] == c) for c in dict.fromkeys(labels.tolist())]
    return " ".join(f"{{{c}}}" for c in cells)
