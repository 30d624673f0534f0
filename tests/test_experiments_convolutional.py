"""The experiments with convolutional models: each runs in the quick profile, and its checks pass."""

from __future__ import annotations

import pytest

from pyneural.experiments import find
from pyneural.experiments.frame import DataMissing, execute

TRAININGS = ("cnn-fashion", "conv-autoencoder", "conv-autoencoder-variants", "lenet-mnist")


@pytest.mark.parametrize(
    "id", ["conv-autoencoder-shapes", *[pytest.param(id, marks=pytest.mark.slow) for id in TRAININGS]]
)
def test_quick_profile_passes(id, tmp_path):
    try:
        result = execute(find(id), profile="quick", out=tmp_path, threads=1)
    except DataMissing as missing:
        pytest.skip(str(missing))
    assert not result.get("error")
    assert [c["name"] for c in result["checks"] if not c["passed"]] == []
    assert result["passed"]
    for figure in result["figures"]:
        assert (tmp_path / id / figure["file"]).stat().st_size > 0
        assert (tmp_path / id / figure["data"]).stat().st_size > 0
