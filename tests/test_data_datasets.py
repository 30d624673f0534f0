"""Data sets: where files are looked for, what is accepted, and what the messages say."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pyneural import data
from pyneural.data.datasets import FASHION_MNIST, MNIST, PUBLISHED

REAL = os.environ.get("PYNEURAL_DATA")  # read before the fixture below hides it
IMAGES = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (10_000, 28, 28), np.uint8)
LABELS = (np.arange(10_000) % 10).astype(np.uint8)
IMAGES_NAME, LABELS_NAME = (file.name for file in MNIST.files[2:])


def place(folder: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, plain: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((IMAGES_NAME, images), (LABELS_NAME, labels)):
        data.write_idx(folder / (name.removesuffix(".gz") if plain else name), array)
    return folder


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the data or the cache of whoever runs it."""
    monkeypatch.delenv("PYNEURAL_DATA", raising=False)
    monkeypatch.setenv("PYNEURAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYNEURAL_OFFLINE", "1")


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("plain", [True, False])
def test_layouts(tmp_path: Path, folder: str, plain: bool) -> None:
    where = place(tmp_path / folder, plain=plain)
    test = data.mnist(train=False, data_dir=tmp_path)
    np.testing.assert_array_equal(test.images, IMAGES)
    np.testing.assert_array_equal(test.labels, LABELS)
    assert (test.name, test.source, test.classes) == ("mnist", str(where), tuple("0123456789"))
    assert test.images.dtype == test.labels.dtype == np.uint8


def test_unpackers_that_spell_the_names_with_a_dot(tmp_path: Path) -> None:
    place(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(data.mnist(train=False, data_dir=tmp_path)) == 10_000


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path / "cache" / "mnist")
    assert data.mnist(False).source == str(tmp_path / "cache" / "mnist")
    place(tmp_path / "named" / "mnist")
    monkeypatch.setenv("PYNEURAL_DATA", str(tmp_path / "named"))
    assert data.mnist(False).source == str(tmp_path / "named" / "mnist")
    place(tmp_path / "given")
    assert data.mnist(False, tmp_path / "given").source == str(tmp_path / "given")
    # A folder that the variable names but that lacks the set does not hide the cache; one given as an argument does.
    monkeypatch.setenv("PYNEURAL_DATA", str(tmp_path / "empty"))
    assert data.mnist(False).source == str(tmp_path / "cache" / "mnist")
    with pytest.raises(data.DatasetNotFoundError):
        data.mnist(False, tmp_path / "empty")


def test_missing_files_say_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNEURAL_DATA", str(tmp_path / "named"))
    with pytest.raises(data.DatasetNotFoundError) as caught:
        data.load("fashion_mnist")
    message = str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)
    for part in (
        "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz not found",
        str(tmp_path / "named" / "fashion-mnist"),
        str(tmp_path / "cache" / "fashion-mnist"),
        "pyneural data get fashion-mnist",
        "download=True",
        FASHION_MNIST.mirrors[0],
        FASHION_MNIST.files[0].md5,
        "set PYNEURAL_DATA=DIR",
    ):
        assert part in message
    place(tmp_path / "named" / "mnist")
    (tmp_path / "named" / "mnist" / LABELS_NAME.removesuffix(".gz")).unlink()
    with pytest.raises(data.DatasetNotFoundError, match=f"has t10k-images-idx3-ubyte but no {LABELS_NAME}"):
        data.mnist(False)


def test_offline_download_says_so(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match=r"module 'pyneural\.data' has no attribute 'cifar'"):
        data.cifar  # noqa: B018
    with pytest.raises(data.DownloadError, match="PYNEURAL_OFFLINE forbids"):
        data.mnist(download=True)
    with pytest.raises(ValueError, match="no data set 'cifar'"):
        data.load("cifar")


def test_wrong_structure_is_refused(tmp_path: Path) -> None:
    place(tmp_path / "a", images=IMAGES[:99])
    with pytest.raises(data.DatasetError, match=r"a/t10k-images.* holds uint8 \(99, 28, 28\), uint8 \(10000, 28, 28\)"):
        data.mnist(False, tmp_path / "a")
    place(tmp_path / "b", labels=np.where(LABELS == 3, 10, LABELS).astype(np.uint8))
    with pytest.raises(data.DatasetError, match=r"b/t10k-labels.* holds the label 10, labels are 0 \.\. 9"):
        data.mnist(False, tmp_path / "b")
    place(tmp_path / "c", labels=LABELS.astype(np.int32))
    with pytest.raises(data.DatasetError, match=r"c/t10k-labels.* holds int32"):
        data.mnist(False, tmp_path / "c")
    place(tmp_path / "d", plain=False)
    (tmp_path / "d" / IMAGES_NAME).write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\7")[:-3])
    with pytest.raises(data.IDXError, match=r"mnist: read_idx: .*d/t10k-images-idx3-ubyte.gz: .*cut short"):
        data.mnist(False, tmp_path / "d")


def test_the_other_data_set_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both sets use the same file names; here the labels in the folder are declared to be Fashion-MNIST's.
    digest = hashlib.md5(data.encode_idx(LABELS)).hexdigest()
    monkeypatch.setitem(
        PUBLISHED, "fashion-mnist", FASHION_MNIST.__class__(**{**vars(FASHION_MNIST), "label_md5": ("", digest)})
    )
    place(tmp_path)
    with pytest.raises(data.DatasetNotFoundError, match=r"holds fashion-mnist, not mnist"):
        data.mnist(False, tmp_path)


def test_find_wants_all_four_files(tmp_path: Path) -> None:
    place(tmp_path / "mnist")
    assert data.find("mnist", tmp_path) is None
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / "mnist" / name).touch()
    assert data.find("mnist", tmp_path) == tmp_path / "mnist"
    assert data.find("fashion-mnist", tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the rule of the XDG folders is Linux's")
def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("PYNEURAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert data.cache_folder() == Path("/var/cache/pyneural")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert data.cache_folder() == Path.home() / ".cache" / "pyneural"


def test_the_record() -> None:
    x = data.Dataset(IMAGES, LABELS, tuple("0123456789"), "mnist", "here")
    assert len(x) == 10_000
    assert repr(x) == "<Dataset mnist: 10000 images 28x28, 10 classes, here>"
    assert x.mean == pytest.approx(IMAGES.mean() / 255, rel=1e-12)
    assert x.std == pytest.approx(IMAGES.std() / 255, rel=1e-12)
    part = x[LABELS == 3]
    assert len(part) == 1000
    assert set(part.labels) == {3}
    assert part.mean != x.mean
    with pytest.raises(IndexError, match="index 5 does not select a list"):
        x[5]
    with pytest.raises(data.DatasetError, match=r"images have shape \(10000, 28, 28\) and labels \(7,\)"):
        data.Dataset(IMAGES, LABELS[:7], (), "x", "")
    with pytest.raises(data.DatasetError, match="images are float64"):
        data.Dataset(IMAGES / 255, LABELS, (), "x", "")


def test_conversion_is_rounded_once_per_step() -> None:
    x = data.Dataset(IMAGES, LABELS, tuple("0123456789"), "mnist", "here")
    unit = x.unit([3, 1])
    assert unit.dtype == np.float32
    np.testing.assert_array_equal(unit, (IMAGES[[3, 1]] / 255.0).astype(np.float32))
    np.testing.assert_array_equal(x.unit(slice(2), np.float64), IMAGES[:2] / 255.0)
    all_standard = x.standardised(dtype=np.float64)
    assert abs(all_standard.mean()) < 1e-12
    assert all_standard.std() == pytest.approx(1)
    expected = (unit - np.float32(0.25)) / np.float32(0.5)
    np.testing.assert_array_equal(data.standardise(IMAGES[[3, 1]], 0.25, 0.5), expected)
    with pytest.raises(ValueError, match="std is 0"):
        data.standardise(IMAGES, 0.1, 0)


@pytest.mark.skipif(not REAL, reason="PYNEURAL_DATA is not set: no real data sets to read")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_ones(name: str) -> None:
    if data.find(name, REAL) is None:
        pytest.skip(f"{name} is not in PYNEURAL_DATA={REAL}")
    for train, count in ((True, 60_000), (False, 10_000)):
        x = data.load(name, train, REAL)
        assert x.images.shape == (count, 28, 28)
        assert sorted(set(x.labels)) == list(range(10))
    # A folder that holds the files themselves is known for what it is.
    place_of_one = data.find(name, REAL)
    other = "mnist" if name == "fashion-mnist" else "fashion-mnist"
    assert data.find(other, place_of_one) is None
    with pytest.raises(data.DatasetNotFoundError, match=f"holds {name}, not {other}"):
        data.load(other, data_dir=place_of_one)
