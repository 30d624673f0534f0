"""The experiments done by hand: backpropagation and gradients, and the differences that judge them."""

from __future__ import annotations

import numpy as np
import pytest
from experimenting import passing

from pyneural.experiments._differences import central_differences, gap

PRINTED = {
    "backprop-by-hand-sigmoid": {"z2": 0.5117, "yhat": 0.9397, "new W1": 0.3713},
    "backprop-by-hand-relu": {"step 2: new b1": 0.65, "step 3: loss": 5.4},
    "ae-gradients": {"shape of dL/dW1": "(5, 3)"},
    "imitate-backprop": {"phi' / (phi (1 - phi))": 3},
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("id", PRINTED)
def test_every_check_passes(id, seed, tmp_path):
    result = passing(id, tmp_path, seed=seed)
    assert result["tables"]
    for figure in result["figures"]:
        with np.load(tmp_path / id / figure["data"]) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files)
    assert "graph.png" in [figure["file"] for figure in result["figures"]]
    printed = {c["name"]: c.get("printed") for c in result["checks"]}
    assert PRINTED[id].items() <= printed.items()


def test_central_differences_of_a_known_gradient():
    w = np.random.default_rng(0).normal(size=(2, 3))
    slopes = central_differences(lambda v: float(np.sin(v).sum() + v[0, 1] * v[1, 2]), w)
    exact = np.cos(w)
    exact[0, 1] += w[1, 2]
    exact[1, 2] += w[0, 1]
    assert gap(slopes, exact) < 1e-9


def test_gap_refuses_shapes_that_would_broadcast():
    assert gap(np.array([1.0, 2.0]), np.array([1.0, 2.5])) == 0.5
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3,\)"):
        gap(np.zeros((2, 3)), np.zeros(3))
