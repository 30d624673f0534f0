"""Image data sets: what one is, and where the files of MNIST and Fashion-MNIST are looked for.

A folder is accepted by structure: the right files, whole, of the right shapes, with labels in range. (A copy whose
grey levels were rounded differently is still a usable data set.) What the downloader fetches is accepted by checksum
only.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .idx import IDXError, read_idx

Folder = str | os.PathLike[str]


class DatasetError(ValueError):
    """The files are there but are not the data set; the message names the file, what is wrong and what to do."""


class DatasetNotFoundError(FileNotFoundError):
    """The files are nowhere; the message lists where they were looked for and how to get or place them."""


@dataclass(frozen=True)
class PublishedFile:
    """One file of a published data set: its name, size and MD5 as downloaded."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class PublishedDataset:
    """What is known of a published data set in MNIST's form (four IDX files, ten classes).

    `files` are training images, training labels, test images, test labels. `label_md5` are those of the two
    *uncompressed* label files, by which a folder of the other data set is told apart, since both use the same file
    names.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    files: tuple[PublishedFile, PublishedFile, PublishedFile, PublishedFile]
    label_md5: tuple[str, str]
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    licence: str
    source: str


MNIST = PublishedDataset(
    name="mnist",
    title="MNIST: handwritten digits, 60,000 + 10,000 grey images of 28x28",
    folders=("mnist", "MNIST", "MNIST/raw"),
    files=(
        PublishedFile("train-images-idx3-ubyte.gz", 9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        PublishedFile("train-labels-idx1-ubyte.gz", 28881, "d53e105ee54ea40749a09fcbcd1e9432"),
        PublishedFile("t10k-images-idx3-ubyte.gz", 1648877, "9fb629c4189551a2d022fa330f9573f3"),
        PublishedFile("t10k-labels-idx1-ubyte.gz", 4542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    label_md5=("a25bea736e30d166cdddb491f175f624", "27ae3e4e09519cfbb04c329615203637"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    classes=tuple("0123456789"),
    licence="CC BY-SA 3.0",
    source="Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits",
)

FASHION_MNIST = PublishedDataset(
    name="fashion-mnist",
    title="Fashion-MNIST: articles of clothing, 60,000 + 10,000 grey images of 28x28",
    folders=("fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
    files=(
        PublishedFile("train-images-idx3-ubyte.gz", 26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        PublishedFile("train-labels-idx1-ubyte.gz", 29515, "25c81989df183df01b3e8a0aad5dffbe"),
        PublishedFile("t10k-images-idx3-ubyte.gz", 4422102, "bef4ecab320f06d8554ea6380940ec79"),
        PublishedFile("t10k-labels-idx1-ubyte.gz", 5148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    label_md5=("9018921c3c673c538a1fc5bad174d6f9", "15d484375f8d13e6eb1aabb0c3f46965"),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    licence="MIT",
    source="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv 1708.07747",
)

PUBLISHED: dict[str, PublishedDataset] = {known.name: known for known in (MNIST, FASHION_MNIST)}


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Labelled grey images, kept as the bytes that they came as.

    Attributes:
        images: uint8 (N, H, W), 0 is background.
        labels: uint8 (N,), indices into `classes`.
        classes: the classes' names.
        name: "digits", "mnist" or "fashion-mnist".
        source: where the images came from: a folder, or a sentence.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    name: str
    source: str
    _statistics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.labels.dtype != np.uint8:
            raise DatasetError(
                f"Dataset: images are {self.images.dtype} and labels {self.labels.dtype}, both must be uint8; "
                "for other arrays use pyneural.data.batches(x, y) directly"
            )
        if self.images.ndim != 3 or self.labels.shape != self.images.shape[:1]:
            raise DatasetError(
                f"Dataset: images have shape {self.images.shape} and labels {self.labels.shape}, "
                "(N, H, W) and (N,) are wanted"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        height, width = self.images.shape[1:]
        return f"<Dataset {self.name}: {len(self)} images {height}x{width}, {len(self.classes)} classes, {self.source}>"

    def __getitem__(self, index: Any) -> Dataset:
        """The images that a slice, an index array or a boolean mask selects, as another Dataset."""
        images, labels = self.images[index], self.labels[index]
        if labels.ndim != 1:
            raise IndexError(
                f"Dataset: index {index!r} does not select a list of images; use a slice, an index array or a mask, "
                "or dataset.images[i] for one image"
            )
        return replace(self, images=images, labels=labels, _statistics={})

    def unit(self, index: Any = slice(None), dtype: Any = np.float32) -> NDArray[Any]:
        """The selected images with grey levels in [0, 1]: :func:`unit_scale` of ``images[index]``."""
        return unit_scale(self.images[index], dtype)

    def standardised(self, index: Any = slice(None), dtype: Any = np.float32) -> NDArray[Any]:
        """The selected images, less this set's mean grey level, in units of its standard deviation.

        To treat test images like the training images use ``standardise(test.images, train.mean, train.std)``.
        """
        return standardise(self.images[index], self.mean, self.std, dtype)

    @property
    def mean(self) -> float:
        """Mean grey level over all pixels of all images, on the scale [0, 1]."""
        self._measure()
        return self._statistics["mean"]

    @property
    def std(self) -> float:
        """Standard deviation of the grey level over all pixels of all images, on the scale [0, 1]."""
        self._measure()
        return self._statistics["std"]

    def _measure(self) -> None:
        if not self._statistics:
            # From the histogram, in integers: exact, and without a float copy of the set.
            counts = [int(c) for c in np.bincount(self.images.reshape(-1), minlength=256)]
            n = sum(counts)
            total = sum(level * c for level, c in enumerate(counts))
            squares = sum(level * level * c for level, c in enumerate(counts))
            self._statistics["mean"] = total / n / 255
            self._statistics["std"] = (n * squares - total * total) ** 0.5 / n / 255


def unit_scale(images: NDArray[np.uint8], dtype: Any = np.float32) -> NDArray[Any]:
    """Grey levels 0 .. 255 to [0, 1]: each divided by 255 in the wanted floating dtype, correctly rounded."""
    return np.divide(images, 255, dtype=np.dtype(dtype))


def standardise(images: NDArray[np.uint8], mean: float, std: float, dtype: Any = np.float32) -> NDArray[Any]:
    """(images / 255 - mean) / std, step by step in the wanted floating dtype; mean and std are on the scale [0, 1]."""
    if not std > 0:
        raise ValueError(f"standardise: std is {std}, it must be above 0")
    scaled = unit_scale(images, dtype)
    scaled -= scaled.dtype.type(mean)
    scaled /= scaled.dtype.type(std)
    return scaled


def mnist(train: bool = True, data_dir: Folder | None = None, download: bool = False) -> Dataset:
    """MNIST: 60,000 (train) or 10,000 handwritten digits, 28x28, CC BY-SA 3.0.

    Args:
        train: the training images or the test images.
        data_dir: the folder to look in, and nowhere else. If not given: the folder that ``PYNEURAL_DATA`` names, then
            the cache folder (``PYNEURAL_CACHE``, or the user's cache). The files may be gzip-compressed or not, and
            lie in the folder itself or in its subfolder ``mnist`` (or ``MNIST/raw``, where torchvision puts them).
        download: if the files are not there, fetch them into `data_dir` or else the cache folder.

    Raises:
        DatasetNotFoundError: if the files are not found; the message says how to get or place them.
        DatasetError: if they are found but are not MNIST by structure.
        IDXError: if one of them is damaged.
        DownloadError: if they could not be fetched.
    """
    return _load_published(MNIST, train, data_dir, download)


def fashion_mnist(train: bool = True, data_dir: Folder | None = None, download: bool = False) -> Dataset:
    """Fashion-MNIST: 60,000 (train) or 10,000 pictures of clothing, 28x28, MIT licence.

    Arguments and errors as for :func:`mnist`; the subfolder is ``fashion-mnist`` (or ``FashionMNIST/raw``).
    """
    return _load_published(FASHION_MNIST, train, data_dir, download)


def load(name: str, train: bool = True, data_dir: Folder | None = None, download: bool = False) -> Dataset:
    """A data set by name: "digits" (embedded, needs no files), "mnist" or "fashion-mnist"."""
    key = name.lower().replace("_", "-")
    if key == "digits":
        from .digits import digits

        return digits(train)
    return _load_published(published(key), train, data_dir, download)


def published(name: str) -> PublishedDataset:
    """The record of a published data set by name."""
    known = PUBLISHED.get(name.lower().replace("_", "-"))
    if known is None:
        raise ValueError(f"data: there is no data set {name!r}; known are digits (embedded), {', '.join(PUBLISHED)}")
    return known


def cache_folder() -> Path:
    """Where downloads and computed tables are kept: ``PYNEURAL_CACHE``, or ``pyneural`` in the user's cache folder."""
    chosen = os.environ.get("PYNEURAL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "pyneural" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "pyneural"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rule: a relative path is to be ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "pyneural"


def find(name: str, data_dir: Folder | None = None) -> Path | None:
    """The folder that holds all four files of a published data set, or None; opens no file but small label files."""
    known = published(name)
    for root in _roots(data_dir):
        for folder in _candidates(known, root):
            if all(_find_file(folder, file.name) for file in known.files) and not _other_dataset(known, folder):
                return folder
    return None


def _load_published(known: PublishedDataset, train: bool, data_dir: Folder | None, download: bool) -> Dataset:
    images_name, labels_name = (file.name for file in (known.files[:2] if train else known.files[2:]))
    looked: list[str] = []
    for root in _roots(data_dir):
        for folder in _candidates(known, root):
            images_path, labels_path = _find_file(folder, images_name), _find_file(folder, labels_name)
            if images_path is None or labels_path is None:
                there = images_path or labels_path
                missing = labels_name if images_path else images_name
                looked.append(f"{folder}" + (f" (has {there.name} but no {missing})" if there else ""))
                continue
            other = _other_dataset(known, folder)
            if other:
                looked.append(f"{folder} (holds {other}, not {known.name})")
                continue
            return _read(known, train, images_path, labels_path)
    if download:
        from .downloads import download as fetch

        folder = fetch(known.name, data_dir)
        return _read(known, train, folder / images_name, folder / labels_name)
    raise DatasetNotFoundError(
        f"{known.name}: {images_name} and {labels_name} not found. Looked in:\n"
        + "".join(f"  {place}\n" for place in looked)
        + placing(known, data_dir)
    )


def placing(known: PublishedDataset, data_dir: Folder | None = None) -> str:
    """What to do to have the files, by hand or not; the end of each message about missing files."""
    folder = (Path(data_dir) if data_dir is not None else cache_folder()) / known.folders[0]
    files = "".join(f"  {file.name} ({file.size} bytes, md5 {file.md5})\n" for file in known.files)
    return (
        f"Run `pyneural data get {known.name}`, or pass download=True, or fetch by hand from one of\n"
        + "".join(f"  {mirror}\n" for mirror in known.mirrors)
        + f"these files (leave them compressed or not)\n{files}and place them in\n  {folder}\n"
        + f"or in a folder of your own, DIR/{known.folders[0]}, and set PYNEURAL_DATA=DIR."
    )


def _roots(data_dir: Folder | None) -> list[Path]:
    """The folders to look in, in order; one that the caller names is the only one."""
    if data_dir is not None:
        return [Path(data_dir).expanduser()]
    named = os.environ.get("PYNEURAL_DATA")
    return ([Path(named).expanduser()] if named else []) + [cache_folder()]


def _candidates(known: PublishedDataset, root: Path) -> list[Path]:
    present = [root / folder for folder in known.folders if (root / folder).is_dir()]
    return [*(present or [root / known.folders[0]]), root]


def _find_file(folder: Path, name: str) -> Path | None:
    """The file as published, or uncompressed, or uncompressed as some unpackers name it (train-images.idx3-ubyte)."""
    plain = name.removesuffix(".gz")
    for spelling in (name, plain, plain.replace("-idx", ".idx")):
        path = folder / spelling
        if path.is_file():
            return path
    return None


def _other_dataset(known: PublishedDataset, folder: Path) -> str | None:
    """The name of the data set that the folder really holds, if its labels are those of another one.

    MNIST and Fashion-MNIST use the same file names and shapes, so only content can tell them apart.
    """
    for position, split in ((1, 0), (3, 1)):
        path = _find_file(folder, known.files[position].name)
        if path is None:
            continue
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                digest = hashlib.md5(file.read(100_000), usedforsecurity=False).hexdigest()
        except (OSError, EOFError, zlib.error):
            continue  # damaged: reading it in earnest says so
        for other in PUBLISHED.values():
            if other is not known and digest == other.label_md5[split]:
                return other.name
    return None


def _read(known: PublishedDataset, train: bool, images_path: Path, labels_path: Path) -> Dataset:
    count = 60_000 if train else 10_000
    images = _read_checked(images_path, known, (count, 28, 28))
    labels = _read_checked(labels_path, known, (count,))
    if labels.max() >= len(known.classes):
        raise DatasetError(
            f"{known.name}: {labels_path} holds the label {labels.max()}, labels are 0 .. {len(known.classes) - 1}: "
            "the file is damaged or belongs to another data set; get it again"
        )
    return Dataset(images, labels, known.classes, known.name, str(images_path.parent))


def _read_checked(path: Path, known: PublishedDataset, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        array = read_idx(path, max_bytes=1 << 28)
    except IDXError as problem:
        raise IDXError(f"{known.name}: {problem}") from None
    if array.dtype != np.uint8 or array.shape != shape:
        raise DatasetError(
            f"{known.name}: {path} holds {array.dtype} {array.shape}, uint8 {shape} is wanted: "
            "it is another file or another data set; place the published file there"
        )
    checked: NDArray[np.uint8] = array
    return checked
