"""LeNet-5 classifies handwritten digits.

1. Train it on MNIST with Adam (step 0.001, falling to 0 along a cosine) in batches of 64 for 12 epochs.
2. Draw its filters, what its layers make of a digit, and its surest mistakes.
3. How much of the accuracy is left if the pixels of all images are shuffled alike, so that neighbours mean nothing?
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import models
from pyneural.experiments import _convolutional as convolutional
from pyneural.experiments.frame import Images, Run, experiment

EPOCHS, BATCH, STEP = 12, 64, 1e-3
PARAMETERS = {"C1": 6 * 26, "C3": 16 * 151, "C5": 120 * 401, "F6": 84 * 121, "output": 10 * 85}


@experiment(
    "lenet-mnist",
    title="LeNet-5 on handwritten digits",
    source="beyond the source documents: LeCun, Bottou, Bengio, Haffner 1998",
    kind="train",
    topic="Convolutions",
    needs=("mnist",),
)
def run(e: Run) -> None:
    data = e.mnist()
    epochs = e.pick(quick=4, full=EPOCHS)
    pn.manual_seed(e.seed)
    model = models.LeNet5()
    counts = [sum(p.numel() for p in layer.parameters()) for layer in model.modules() if hasattr(layer, "weight")]
    e.check("parameters by layer", counts, list(PARAMETERS.values()), kind="equal",
            note="C5, F6 as in the paper, whose C3 sees only some channels and whose output is fixed")  # fmt: skip
    trainer, history = convolutional.fit(e, model, data, epochs, BATCH, STEP)
    guess = convolutional.show(e, trainer, history, data, [str(d) for d in range(10)], model.features[0])
    accuracy = float(np.mean(guess == data.y_test))
    e.check("test accuracy", accuracy, e.pick(quick=0.93, full=0.99), kind="at least")
    e.report("test images that are recognised wrongly", int(np.sum(guess != data.y_test)))
    e.report("seconds per epoch", float(np.median(history.seconds)))

    order = e.rng.permutation(784)
    mixed = [x.reshape(-1, 784)[:, order].reshape(-1, 28, 28) for x in (data.x_train, data.x_test)]
    pn.manual_seed(e.seed)
    other, _ = convolutional.fit(
        e, models.LeNet5(), Images(mixed[0], data.y_train, mixed[1], data.y_test), epochs, BATCH, STEP
    )
    without = other.evaluate(mixed[1][:, None], data.y_test)["accuracy"]
    e.check("test accuracy with the pixels shuffled alike in all images", without, accuracy, kind="below")
    e.table("accuracy", ["images", "test accuracy"], [["as they are", accuracy], ["pixels shuffled", without]])
