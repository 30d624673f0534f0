"""The embedded digits: the same bits everywhere, quick, balanced, and neither too easy nor too hard."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest

from pyneural import data


@pytest.fixture(scope="module")
def train() -> data.Dataset:
    return data.digits()


@pytest.fixture(scope="module")
def test() -> data.Dataset:
    return data.digits(train=False)


def digest(x: data.Dataset) -> str:
    return hashlib.sha256(x.images.tobytes() + x.labels.tobytes()).hexdigest()[:16]


def test_shape_and_record(train: data.Dataset, test: data.Dataset) -> None:
    assert (train.images.shape, test.images.shape) == ((10_000, 28, 28), (2_000, 28, 28))
    assert train.images.dtype == train.labels.dtype == np.uint8
    assert (train.name, len(train.classes)) == ("digits", 10)
    np.testing.assert_array_equal(np.bincount(train.labels), [1000] * 10)
    assert not (np.diff(train.labels.reshape(-1, 10), axis=1) == 1).all(axis=1).all()  # balanced, but not in order


def test_the_bits_are_fixed(train: data.Dataset, test: data.Dataset) -> None:
    # Not to be changed lightly: every number in the documentation that speaks of the embedded digits depends on them.
    assert digest(train) == "a1cac31248b882de"
    assert digest(test) == "70f42b8c5e04d786"


def test_a_small_set_begins_a_large_one(train: data.Dataset) -> None:
    for n in (1, 9, 10, 137):
        few = data.digits(n=n)
        np.testing.assert_array_equal(few.images, train.images[:n])
        np.testing.assert_array_equal(few.labels, train.labels[:n])


def test_seeds_and_splits_differ(train: data.Dataset, test: data.Dataset) -> None:
    other = data.digits(n=100, seed=1)
    assert digest(other) != digest(train[:100])
    assert digest(data.digits(n=100, seed=1)) == digest(other)
    # No test image is a training image.
    assert not {x.tobytes() for x in train.images} & {x.tobytes() for x in test.images}


def test_arguments() -> None:
    with pytest.raises(ValueError, match="n is 0"):
        data.digits(n=0)
    with pytest.raises(ValueError, match="seed is -1"):
        data.digits(seed=-1)


def test_grey_levels(train: data.Dataset) -> None:
    assert 0.11 < train.mean < 0.15
    assert (train.images.reshape(len(train), -1).max(axis=1) > 120).all()  # each image has ink
    assert 0.5 < (train.images == 0).mean() < 0.8
    edge = np.concatenate([train.images[:, [0, -1]].reshape(-1), train.images[:, :, [0, -1]].reshape(-1)])
    assert (edge > 120).mean() < 0.003  # hardly any ink is cut off by the frame


def test_ready_in_time() -> None:
    program = (
        "import time; start = time.process_time(); from pyneural import data; data.digits(True); data.digits(False);"
        "print(time.process_time() - start)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 3.0  # seconds of one core, import included


def test_hard_for_a_line_and_not_for_a_small_network(train: data.Dataset, test: data.Dataset) -> None:
    # Plain NumPy, so that this speaks of the data alone: softmax regression, and 784-64-10 with ReLU, momentum 0.9.
    linear = accuracy(train, test, hidden=0, epochs=4, rate=0.02)
    network = accuracy(train, test, hidden=64, epochs=6, rate=0.05)
    assert 0.85 < linear < 0.92
    assert network > 0.955
    assert network - linear > 0.05


def accuracy(train: data.Dataset, test: data.Dataset, hidden: int, epochs: int, rate: float) -> float:
    random = np.random.Generator(np.random.PCG64(0))
    sizes = [784, hidden, 10] if hidden else [784, 10]
    weights = [random.normal(0, (2 / a) ** 0.5, (a, b)).astype(np.float32) for a, b in itertools.pairwise(sizes)]
    biases = [np.zeros(b, np.float32) for b in sizes[1:]]
    speeds = [np.zeros_like(p) for p in weights + biases]
    x, y = train.unit().reshape(-1, 784), np.eye(10, dtype=np.float32)[train.labels]
    for epoch in range(epochs):
        step = rate * (1 - epoch / epochs)
        for rows in random.permutation(len(x)).reshape(-1, 50):
            inputs = [x[rows]]
            for w, b in zip(weights[:-1], biases[:-1], strict=True):
                inputs.append(np.maximum(inputs[-1] @ w + b, 0))
            logits = inputs[-1] @ weights[-1] + biases[-1]
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            g = (p / p.sum(axis=1, keepdims=True) - y[rows]) / len(rows)
            gradients = []
            for i in range(len(weights) - 1, -1, -1):
                gradients.append((i, inputs[i].T @ g, g.sum(axis=0)))
                g = (g @ weights[i].T) * (inputs[i] > 0)
            for i, gw, gb in gradients:
                for parameter, speed, gradient in (
                    (weights[i], speeds[i], gw),
                    (biases[i], speeds[len(weights) + i], gb),
                ):
                    speed *= 0.9
                    speed += gradient
                    parameter -= np.float32(step) * speed
    h = test.unit().reshape(-1, 784)
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h = np.maximum(h @ w + b, 0)
    return float(((h @ weights[-1] + biases[-1]).argmax(axis=1) == test.labels).mean())
