"""Mini-batches over arrays in memory: one gather per batch, bytes converted only then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset, standardise, unit_scale

if TYPE_CHECKING:
    from pyneural import Generator

Scale = str | tuple[float, float] | Callable[[NDArray[Any]], NDArray[Any]] | None


def batches(
    x: Any,
    y: Any = None,
    batch_size: int = 64,
    shuffle: bool = True,
    generator: Generator | int | None = None,
    drop_last: bool = False,
    scale: Scale = "unit",
    tensors: bool = True,
) -> Batches:
    """Go through arrays in mini-batches; each ``for`` over the result is one epoch, in a new order if shuffled.

    Args:
        x: array (N, ...), or a :class:`Dataset`, which stands for its images and labels.
        y: array (N, ...) of targets, or None. Integer targets come out as int64, others as they are.
        batch_size: rows per batch; the last batch holds what is left.
        shuffle: draw a new order for each epoch; otherwise rows come as they lie.
        generator: where orders are drawn from: a ``pyneural.Generator``, or a seed for one of its own, or None for the
            default one that ``pyneural.manual_seed`` sets. The same seed gives the same orders on every machine.
        drop_last: leave out a last batch that is not full.
        scale: what is done to the rows of x when they are gathered (x itself stays as it is):
            "unit" divides bytes by 255 into float32 in [0, 1] and leaves other dtypes alone;
            (mean, std) gives (x - mean) / std, with bytes divided by 255 first;
            a function is applied to the gathered rows; None does nothing.
        tensors: give pyneural tensors; otherwise NumPy arrays.

    Returns:
        An iterable with a length; it yields (x, y) for each batch, or x alone if there is no y. Batches are new memory.

    Raises:
        ValueError: if x and y differ in length, there are no rows, or an argument is out of range.
    """
    return Batches(x, y, batch_size, shuffle, generator, drop_last, scale, tensors)


class Batches:
    """What :func:`batches` returns. ``len(b)`` is the number of batches per epoch."""

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        shuffle: bool,
        generator: Generator | int | None,
        drop_last: bool,
        scale: Scale,
        tensors: bool,
    ) -> None:
        x, y = _arrays("batches", x, y)
        if batch_size < 1:
            raise ValueError(f"batches: batch_size is {batch_size}, at least 1 is wanted")
        if drop_last and batch_size > len(x):
            raise ValueError(
                f"batches: drop_last leaves no batch, for batch_size is {batch_size} and x has {len(x)} rows; "
                "use a smaller batch_size"
            )
        self.x: NDArray[Any] = x
        self.y: NDArray[Any] | None = y
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.tensors = tensors
        self._generator = _generator(generator) if shuffle else None
        self._convert = _converter(scale, x.dtype)
        self._untouched = scale is None or (scale == "unit" and x.dtype != np.uint8)
        self._by_table = not self._untouched and not callable(scale)

    def __len__(self) -> int:
        full, rest = divmod(len(self.x), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    @property
    def rows(self) -> int:
        """How many rows an epoch goes through."""
        return len(self) * self.batch_size if self.drop_last else len(self.x)

    def gather(self, rows: Any) -> Any:
        """The batch of these rows, as iterating gives it."""
        return self._gather(rows)

    def tables(self, dtype: np.dtype[Any]) -> tuple[list[Any], list[Any]] | None:
        """What :meth:`pyneural.Compiled.epoch` wants for the same batches with floats in dtype: the arrays, and for
        each None or the 256 values that its bytes stand for. None if the conversion of x is a function, or is no
        table."""
        parts = [self.x] if self.y is None else [self.x, self.y]
        tables: list[Any] = []
        for part in parts:
            convert = self._convert if part is self.x and not tables else None
            if part.dtype == np.uint8 and convert is not None and self._by_table:
                tables.append(np.asarray(convert(np.arange(256, dtype=np.uint8)), dtype))
            elif convert is not None and not self._untouched:
                return None
            elif part.dtype.kind in "iu" or part.dtype == dtype:
                tables.append(None)
            else:
                return None
        return parts, tables

    def order(self) -> NDArray[np.int64]:
        """Draw the next epoch's order: int64 (N,). Iterating does this by itself."""
        if not self.shuffle:
            return np.arange(len(self.x))
        return permutation(len(self.x), self._generator)

    def __iter__(self) -> Iterator[Any]:
        return self.from_order(self.order() if self.shuffle else None)

    def from_order(self, order: NDArray[np.int64] | None, first: int = 0) -> Iterator[Any]:
        """The batches of an order that was drawn before (None: draw one), from batch number ``first`` on."""
        if order is None and self.shuffle:
            order = self.order()
        for number in range(first, len(self)):
            rows: Any = slice(number * self.batch_size, (number + 1) * self.batch_size)
            if order is not None:
                rows = order[rows]
            yield self._gather(rows)

    def _gather(self, rows: Any) -> Any:
        # A slice shares memory with x, which a consumer that works in place would spoil: hence the copies.
        copied = isinstance(rows, slice)
        chosen = self.x[rows]
        x = self._convert(chosen)
        if copied and np.may_share_memory(x, chosen):
            x = x.copy()
        x = _as_tensor(x) if self.tensors else x
        if self.y is None:
            return x
        y = self.y[rows]
        # Class numbers are int64 as everywhere in PyTorch's surface; they are kept small until here.
        y = y.astype(np.int64, copy=copied) if y.dtype.kind in "iu" else y.copy() if copied else y
        return x, _as_tensor(y) if self.tensors else y


def train_validation_split(
    x: Any,
    y: Any = None,
    validation: float | int = 0.1,
    shuffle: bool = True,
    generator: Generator | int | None = None,
) -> tuple[Any, ...]:
    """Set rows apart for validation.

    Args:
        x: array (N, ...), or a :class:`Dataset`.
        y: array (N, ...), or None.
        validation: how many rows to set apart, as a share (a float between 0 and 1) or as a number (an int).
        shuffle: draw them at random; otherwise they are the last ones.
        generator: as for :func:`batches`.

    Returns:
        (train, validation) for a Dataset or for x alone; (x_train, x_validation, y_train, y_validation) for x and y.

    Raises:
        ValueError: if x and y differ in length, or one of the parts would be empty.
    """
    first, second = _arrays("train_validation_split", x, y)
    n = len(first)
    count = round(n * validation) if isinstance(validation, float) else int(validation)
    if not 0 < count < n:
        raise ValueError(
            f"train_validation_split: validation={validation} sets {count} of {n} rows apart; "
            "both parts need at least one row"
        )
    order = permutation(n, _generator(generator)) if shuffle else np.arange(n)
    train, apart = order[: n - count], order[n - count :]
    if isinstance(x, Dataset):
        return x[train], x[apart]
    if second is None:
        return first[train], first[apart]
    return first[train], first[apart], second[train], second[apart]


def permutation(n: int, generator: Generator | None) -> NDArray[np.int64]:
    """A random order of n rows from the counter-based stream of the generator (None: the default one), int64 (n,)."""
    import pyneural  # here, so that reading data does not load the engine

    return np.asarray(pyneural.randperm(n, generator=generator))


def _generator(generator: Generator | int | None) -> Generator | None:
    if isinstance(generator, int | np.integer):
        import pyneural

        return pyneural.Generator(int(generator))
    return generator


def _arrays(caller: str, x: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if isinstance(x, Dataset):
        if y is not None:
            raise ValueError(
                f"{caller}: x is a Dataset, which brings its own labels; leave y out, or pass dataset.images as x"
            )
        return x.images, x.labels
    x = np.asarray(x)
    if x.ndim < 1 or not len(x):
        raise ValueError(f"{caller}: x has shape {x.shape}, at least one row is wanted")
    if y is None:
        return x, None
    y = np.asarray(y)
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"{caller}: x has {len(x)} rows but y has shape {y.shape}; both need one row per example")
    return x, y


def _converter(scale: Scale, dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    is_bytes = dtype == np.uint8
    if scale is None or (isinstance(scale, str) and scale == "unit" and not is_bytes):
        return lambda rows: rows
    if callable(scale):
        return scale
    if isinstance(scale, str):
        if scale != "unit":
            raise ValueError(f'batches: scale is {scale!r}; use "unit", (mean, std), a function or None')
        return unit_scale
    mean, std = (float(v) for v in scale)
    if not std > 0:
        raise ValueError(f"batches: scale is (mean, std) = ({mean}, {std}), std must be above 0")
    if is_bytes:
        return lambda rows: standardise(rows, mean, std)
    if dtype.kind != "f":
        raise ValueError(f"batches: scale=(mean, std) is for bytes or floats, x is {dtype}; convert it first")
    return lambda rows: (rows - dtype.type(mean)) / dtype.type(std)


def _as_tensor(array: NDArray[Any]) -> Any:
    import pyneural

    return pyneural.from_numpy(array)
