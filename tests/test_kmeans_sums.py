"""Sums of k-means that are carried from pass to pass have the bits of new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural._kernels import KMeansRows


@pytest.mark.parametrize("isa", pn.available_isas())
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1.0, np.uint8), (1 / 255, np.float32), (1.0, np.float64), (2.0**-140, np.float32)],
    ids=["bytes", "pixels", "integers", "denormal"],
)
def test_sums_that_are_updated_have_the_bits_of_new_ones(isa: str, scale: float, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (700, 37)) * scale).astype(dtype)
    check_second_step(x, isa)


@pytest.mark.parametrize("isa", pn.available_isas())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_row_that_leaves_a_cluster_takes_no_digits_along(isa: str, dtype: Any) -> None:
    """These sums round, so that no step may start from those of another."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(700, 37)) * 10.0 ** rng.integers(-12, 12, (700, 1))).astype(dtype)
    check_second_step(x, isa)


def check_second_step(x: np.ndarray, isa: str) -> None:
    pn.set_isa(isa)
    k = 6
    first, second = x[:k].astype(np.float64), x[k : 2 * k].astype(np.float64)
    found = []
    for steps in ([second], [first, second], [first, second, first, second]):
        rows, labels = KMeansRows(x), np.full(len(x), -1, np.int32)
        for c in steps:
            sums, held = np.empty((k, x.shape[1])), np.empty(k)
            moved, _ = rows.step(c, labels, sums, held)
            rows.assign(x[:3].astype(np.float64), np.empty(len(x), np.int32))  # leaves the sums alone
        found.append((labels.tobytes(), sums.tobytes(), held.tobytes()))
        assert len(steps) == 1 or 0 < moved < len(x)
    assert found[0] == found[1] == found[2]
