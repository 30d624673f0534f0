"""The experiment gan-mnist: its quick profile, and what it measures with."""

from __future__ import annotations

import numpy as np
import pytest
from experimenting import passing

from pyneural.experiments.gan_mnist import adversaries, frechet, normal_images


@pytest.mark.slow
def test_quick_profile_passes(tmp_path):
    passing("gan-mnist", tmp_path)


def test_distances():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50_000, 3))
    assert abs(frechet(a, a)) < 1e-8
    assert frechet(a, a + np.array([3, 0, 4])) == pytest.approx(25, rel=1e-6)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    # Between covariances A and B = R A R^T the distance is that of their square roots in the Bures metric.
    scaled = a * [1.0, 2.0, 3.0]
    ca, cb = np.cov(scaled.T), turn @ np.cov(scaled.T) @ turn.T
    eigenvalues = np.linalg.eigvals(ca @ cb).real
    expected = np.trace(ca) + np.trace(cb) - 2 * np.sqrt(eigenvalues).sum()
    assert frechet(scaled - scaled.mean(0), (scaled - scaled.mean(0)) @ turn.T) == pytest.approx(expected, rel=1e-6)


def test_normal_images_have_the_moments_of_the_data():
    rng = np.random.default_rng(0)
    x = np.zeros((500, 28, 28), np.uint8)
    x[:, 3:6, 4:6] = rng.integers(100, 160, (500, 3, 2))
    made = normal_images(x, 4000, rng)
    assert made.shape == (4000, 28, 28)
    np.testing.assert_allclose(made.mean(0), x.mean(0) / 255, atol=0.01)
    np.testing.assert_allclose(made.std(0), x.std(0) / 255, atol=0.01)


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_both_kinds_take_a_step(kind):
    trainer = adversaries(kind)
    history = trainer.fit(np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28), np.uint8), 1, 64)
    assert history.steps == 1
    assert trainer.sample(2).shape == (2, 1, 28, 28)
