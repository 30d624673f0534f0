"""The anchors that bound the experiments: exact for the files of MNIST, and right for any set by their definitions."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyneural import data
from pyneural.data import statistics

REAL = os.environ.get("PYNEURAL_DATA")
needs = {
    name: pytest.mark.skipif(
        not REAL or data.find(name, REAL) is None,
        reason=f"{name} not found: set PYNEURAL_DATA to a folder that holds it",
    )
    for name in ("mnist", "fashion-mnist")
}


@pytest.fixture(scope="module")
def mnist() -> dict[str, Any]:
    return data.mnist_anchors(data.mnist(True, REAL), data.mnist(False, REAL), cache=False)


TRAIN = {
    "mean": 0.130660,
    "std": 0.308108,
    "zero_share": 0.8088,
    "norm2": 87.8100,
    "variance": 52.7250,
    "half_loss_mean_image": 26.3625,
    "half_loss_half": 90.6861,
    "cross_entropy_mean_image": 206.03,
    "cross_entropy_half": 543.43,
    "cross_entropy_copy": 45.757,
    "label_entropy": 2.30116,
    "standard_constant": 0.7085,
    "standard_clip01": 0.4629,
    "standard_constant01": 0.8021,
    "standard_clip11": 0.3160,
    "standard_constant11": 0.7105,
}
TEST = {
    "norm2": 89.3432,
    "variance": 52.8965,
    "half_loss_mean_image": 26.4483,
    "standard_constant": 0.7108,
    "standard_clip01": 0.4694,
    "standard_constant01": 0.8058,
    "standard_clip11": 0.3228,
    "standard_constant11": 0.7135,
}
DECIMALS = {
    "cross_entropy_mean_image": 2,
    "cross_entropy_half": 2,
    "cross_entropy_copy": 3,
    "label_entropy": 5,
    "mean": 6,
    "std": 6,
}
PROJECTION = {
    "k": [2, 5, 10, 15, 20, 25, 50, 100],
    "train": [22.6644, 17.7880, 13.5400, 11.1173, 9.4054, 8.1329, 4.6271, 2.2515],
    "test": [22.6371, 17.6251, 13.4070, 10.9534, 9.2357, 7.9505, 4.5071, 2.2021],
    "test_own": [22.5920, 17.5724, 13.3428, 10.8832, 9.1733, 7.8874, 4.4540, 2.1585],
}


@needs["mnist"]
@pytest.mark.parametrize(("split", "expected"), [("train", TRAIN), ("test", TEST)])
def test_mnist_images(mnist: dict[str, Any], split: str, expected: dict[str, float]) -> None:
    measured = {name: round(mnist[split][name], DECIMALS.get(name, 4)) for name in expected}
    assert measured == expected


@needs["mnist"]
def test_mnist_labels(mnist: dict[str, Any]) -> None:
    assert [round(share, 4) for share in mnist["train"]["label_shares"][:2]] == [0.0987, 0.1124]
    assert [round(share, 4) for share in mnist["test"]["label_shares"][:2]] == [0.0980, 0.1135]
    assert mnist["train"]["cross_entropy_half"] == pytest.approx(784 * np.log(2))


@needs["mnist"]
@pytest.mark.parametrize("row", PROJECTION)
def test_mnist_projections(mnist: dict[str, Any], row: str) -> None:
    assert [round(value, 4) for value in mnist["projection"][row]] == PROJECTION[row]


@needs["fashion-mnist"]
def test_fashion() -> None:
    # The grey levels of a copy may be off by one, so these are compared as far as that allows.
    train, test = (data.fashion_mnist(split, REAL) for split in (True, False))
    mean_image = train.images.reshape(len(train), -1).mean(axis=0) / 255
    a, b = statistics.image_anchors(train, mean_image), statistics.image_anchors(test, mean_image)
    assert a["mean"] == pytest.approx(0.2859, abs=1e-3)
    assert a["std"] == pytest.approx(0.3527, abs=1e-3)
    assert a["variance"] == pytest.approx(68.09, abs=0.1)
    assert b["variance"] == pytest.approx(67.80, abs=0.1)
    assert a["label_entropy"] == pytest.approx(np.log(10), abs=1e-12)


def thinned(x: data.Dataset) -> data.Dataset:
    """Every other row and column: 14 x 14 pixels, of which the eigenvectors are quickly found."""
    return replace(x, images=x.images[:, ::2, ::2], _statistics={})


@pytest.fixture(scope="module")
def small() -> tuple[data.Dataset, data.Dataset]:
    return tuple(thinned(data.digits(split, n)) for split, n in ((True, 300), (False, 200)))


def test_definitions(small: tuple[data.Dataset, data.Dataset]) -> None:
    """Each anchor by its definition, image by image, on a set small enough for that."""
    train, test = small
    anchors = data.mnist_anchors(train, test, cache=False)
    mean_image = train.unit(dtype=np.float64).reshape(len(train), -1).mean(axis=0)
    standard_image = (mean_image - 0.1307) / 0.3081
    for dataset in small:
        x = dataset.unit(dtype=np.float64).reshape(len(dataset), -1)
        s = (x - 0.1307) / 0.3081
        q = mean_image

        def entropy(p: np.ndarray, q: np.ndarray) -> float:
            with np.errstate(divide="ignore"):
                logs = np.maximum(np.log(q), -100.0), np.maximum(np.log(1 - q), -100.0)
            return -(p * logs[0] + (1 - p) * logs[1]).sum() / len(p)

        shares = np.bincount(dataset.labels) / len(dataset)
        expected = {
            "mean": x.mean(),
            "std": x.std(),
            "zero_share": (x == 0).mean(),
            "norm2": (x**2).sum(axis=1).mean(),
            "variance": ((x - q) ** 2).sum(axis=1).mean(),
            "half_loss_mean_image": ((x - q) ** 2).sum(axis=1).mean() / 2,
            "half_loss_half": ((x - 0.5) ** 2).sum(axis=1).mean() / 2,
            "cross_entropy_mean_image": entropy(x, q),
            "cross_entropy_half": entropy(x, np.full(196, 0.5)),
            "cross_entropy_copy": entropy(x, x),
            "label_entropy": -(shares * np.log(shares)).sum(),
            "standard_constant": ((s - standard_image) ** 2).mean(),
            "standard_clip01": ((s - s.clip(0, 1)) ** 2).mean(),
            "standard_constant01": ((s - standard_image.clip(0, 1)) ** 2).mean(),
            "standard_clip11": ((s - s.clip(-1, 1)) ** 2).mean(),
            "standard_constant11": ((s - standard_image.clip(-1, 1)) ** 2).mean(),
        }
        measured = anchors["train" if dataset is train else "test"]
        for name, value in expected.items():
            assert measured[name] == pytest.approx(value, rel=1e-9), name


def test_projection_by_definition(small: tuple[data.Dataset, data.Dataset]) -> None:
    train, test = small
    x, t = (d.unit(dtype=np.float64).reshape(len(d), -1) for d in small)
    floors = statistics.projection_floors(train, test, sizes=(1, 7, 196))
    for row, points, basis in (("train", x, x), ("test", t, x), ("test_own", t, t)):
        v = np.linalg.svd(basis, full_matrices=True)[2]
        left = [((points - points @ v[:k].T @ v[:k]) ** 2).sum(axis=1).mean() / 2 for k in (1, 7, 196)]
        assert floors[row] == pytest.approx(left, rel=1e-8, abs=1e-8)


def test_cache(small: tuple[data.Dataset, data.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNEURAL_CACHE", str(tmp_path))
    first = data.mnist_anchors(*small)
    monkeypatch.setattr(statistics, "image_anchors", None)  # a second computation would fail
    assert data.mnist_anchors(*small) == first
    (kept,) = (tmp_path / "anchors").iterdir()
    monkeypatch.undo()
    monkeypatch.setenv("PYNEURAL_CACHE", str(tmp_path))
    kept.write_text("{ cut sho")
    assert data.mnist_anchors(*small) == first  # a damaged cache is computed anew
    data.mnist_anchors(small[0][::-1], small[1])  # other content, another entry
    assert len(list((tmp_path / "anchors").iterdir())) == 2
    # A cache that cannot be written costs time, not the result.
    (tmp_path / "file").touch()
    monkeypatch.setenv("PYNEURAL_CACHE", str(tmp_path / "file"))
    assert data.mnist_anchors(*small) == first
