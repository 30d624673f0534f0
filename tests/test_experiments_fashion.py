"""What the Fashion-MNIST experiments share, and the one of them that trains nothing."""

from __future__ import annotations

import numpy as np
import pytest
from experimenting import passing

import pyneural as pn
from pyneural import nn
from pyneural.experiments import _fashion as fashion
from pyneural.experiments.autoencode_regenerate import half_loss
from pyneural.experiments.frame import Images
from pyneural.experiments.latent_features_classifier import accuracy, classify

RNG = np.random.default_rng(0)
DATA = Images(
    RNG.integers(0, 256, (200, 28, 28)).astype(np.uint8), np.arange(200) % 10,
    RNG.integers(0, 256, (50, 28, 28)).astype(np.uint8), np.arange(50) % 10,
)  # fmt: skip


def never(*_):
    pass


def test_first_ten(tmp_path):
    result = passing("fashion-first-ten", tmp_path, threads=1)
    assert {f["file"] for f in result["figures"]} == {"first-ten.png", "class-means.png"}


def test_the_penalty_is_scikit_learns():
    trainer = fashion.classifier("SGD", "sigmoid", 1e-3, 64)
    weights, biases = trainer.optimizer.param_groups
    assert weights["weight_decay"] == 1e-4 / 64
    assert biases["weight_decay"] == 0
    assert weights["momentum"] == 0.9
    assert [p.ndim for p in weights["params"]] == [2] * 4
    assert [p.ndim for p in biases["params"]] == [1] * 4


def test_a_training_follows_its_seed_alone():
    pn.manual_seed(5)
    first, history = fashion.fit_classifier(DATA, "relu", 1e-3, 2, 3, never)
    pn.manual_seed(6)
    again, _ = fashion.fit_classifier(DATA, "relu", 1e-3, 2, 3, never)
    other, _ = fashion.fit_classifier(DATA, "relu", 1e-3, 2, 4, never)
    x = fashion.rows(DATA.x_test)
    np.testing.assert_array_equal(first.predict(x), again.predict(x))
    assert not np.array_equal(first.predict(x), other.predict(x))
    assert history.epochs == 2
    assert fashion.predicted(first, x).shape == (50,)


def test_the_regenerator_and_a_classifier_on_its_features():
    model, history = fashion.fit_regenerator(DATA, "relu", 1e-3, 2, 0, never)
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [128, 64, 32, 64, 128, 784]
    x, x_test = fashion.unit(DATA.x_train), fashion.unit(DATA.x_test)
    codes = model.codes(x), model.codes(x_test)
    assert codes[0].shape == (200, 32)
    assert codes[0].min() >= 0
    # The loss of the training is per pixel, half losses are per image.
    assert history["val_loss"][-1] * 392 == pytest.approx(half_loss(x_test, model.reconstruct(x_test)), rel=1e-5)
    found, counts = classify(codes, DATA, 1e-3, 3, 0, never)
    assert found.epochs == 3
    assert counts.sum() == 50
    assert accuracy(counts) == np.trace(counts) / 50
