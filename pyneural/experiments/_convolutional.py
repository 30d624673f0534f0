"""What the experiments with convolutional classifiers share: the training and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import callbacks, metrics, nn, optim, plots
from pyneural.experiments.frame import Images, Run


def fit(e: Run, model: Any, data: Images, epochs: int, batch: int, lr: float) -> tuple[pn.Trainer, pn.History]:
    """Adam whose step falls to 0 along a cosine over the epochs; the test images are watched as a validation."""
    optimizer = optim.Adam(model.parameters(), lr=lr)
    trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optimizer, ["accuracy"])
    schedule = callbacks.Schedule(optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs))
    history = trainer.fit(
        data.x_train[:, None], data.y_train, epochs, batch, validation=(data.x_test[:, None], data.y_test),
        callbacks=[schedule, e.watch("epochs", epochs)], progress=False,
    )  # fmt: skip
    return trainer, history


def show(
    e: Run, trainer: pn.Trainer, history: pn.History, data: Images, names: Sequence[str], layer: Any
) -> np.ndarray:
    """Curves, confusions, filters of `layer`, maps of a test image, mistakes; gives the class for each test image."""
    for measure, label in (("loss", "cross-entropy"), ("accuracy", "accuracy")):
        pair = {measure: history[measure], f"val_{measure}": history[f"val_{measure}"]}
        fig = plots.learning_curves(pair, ylabel=label)
        e.figure(f"curves-{measure}", fig, f"{label.capitalize()} by epoch, training (solid) and test images.", pair)
    scores = np.asarray(trainer.predict(data.x_test[:, None], 1000))
    guess = scores.argmax(axis=1)
    counts = metrics.confusion_matrix(data.y_test, guess, 10)
    e.figure("confusions", plots.confusion_table(counts, names), "Test images by class.", {"counts": counts})
    weight = layer.weight.detach().numpy()
    fig = plots.filter_images(weight, columns=8, title="filters of the first convolution")
    e.figure("filters", fig, "The filters of the first convolution: red positive, blue negative.", {"weight": weight})
    image = data.x_test[0] / np.float32(255)
    maps = {name.replace(".", "-").replace(" ", "-"): m for name, m in plots.activations(trainer.model, image).items()}
    fig = plots.feature_maps(trainer.model, image)
    e.figure("feature-maps", fig, "The first test image, and what each layer makes of it.", {"image": image} | maps)
    wrong = np.flatnonzero(guess != data.y_test)
    sure = np.exp(scores[wrong] - scores[wrong].max(axis=1, keepdims=True))
    sure = (sure / sure.sum(axis=1, keepdims=True)).max(axis=1)
    worst = wrong[np.argsort(-sure)[:20]]
    titles = [f"{names[data.y_test[i]]} as\n{names[guess[i]]}\nno. {i}" for i in worst]
    fig = plots.image_grid(data.x_test[worst], titles, columns=10)
    caption = "The mistakes of which the network is surest: class, taken for, place among the test images."
    e.figure("mistakes", fig, caption, {"image": data.x_test[worst], "index": worst, "guess": guess[worst]})
    return guess
