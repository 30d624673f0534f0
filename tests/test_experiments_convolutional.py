"""The experiments with convolutional models: each runs in the quick profile, and its checks pass."""

from __future__ import annotations

import pytest
from experimenting import passing

TRAININGS = ("cnn-fashion", "conv-autoencoder", "conv-autoencoder-variants", "lenet-mnist")


@pytest.mark.parametrize(
    "id", ["conv-autoencoder-shapes", *[pytest.param(id, marks=pytest.mark.slow) for id in TRAININGS]]
)
def test_quick_profile_passes(id, tmp_path):
    passing(id, tmp_path, threads=1)
