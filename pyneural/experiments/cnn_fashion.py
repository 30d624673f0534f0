"""A small convolutional network classifies images of clothes.

1. Train it on Fashion-MNIST: two stages of a 3 x 3 convolution (32 and 64 channels), batch normalisation, ReLU and
   pooling, 128 dense units, dropout 0.4; Adam (step 0.001, falling to 0 along a cosine), batches of 128, 10 epochs.
2. Draw its filters, what its layers make of an image, and its surest mistakes.
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import models
from pyneural.experiments import _convolutional as convolutional
from pyneural.experiments import _fashion as fashion
from pyneural.experiments.frame import Run, experiment

EPOCHS, BATCH, STEP = 10, 128, 1e-3


@experiment(
    "cnn-fashion",
    title="A small convolutional classifier of clothes",
    source="beyond the source documents",
    kind="train",
    topic="Convolutions",
    needs=("fashion-mnist",),
)
def run(e: Run) -> None:
    whole = e.fashion_mnist()
    data = whole if e.full else whole.first(4000, 1000)
    pn.manual_seed(e.seed)
    model = models.ConvClassifier((32, 64), dropout=0.4)
    trainer, history = convolutional.fit(e, model, data, e.pick(quick=1, full=EPOCHS), BATCH, STEP)
    guess = convolutional.show(e, trainer, history, data, fashion.NAMES, model.features[0])
    right = guess == data.y_test
    e.check("test accuracy", float(np.mean(right)), e.pick(quick=0.7, full=0.91), kind="at least")
    by_class = [float(np.mean(right[data.y_test == c])) for c in range(10)]
    e.table("by class", ["class", "share recognised"], list(zip(fashion.NAMES, by_class, strict=True)))
    e.check("the class that is recognised least", fashion.NAMES[int(np.argmin(by_class))], "shirt", kind="equal",
            note="it lies between T-shirt, pullover, dress and coat", profile="full")  # fmt: skip
    e.report("seconds per epoch", float(np.median(history.seconds)))
