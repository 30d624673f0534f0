"""Mini-batches: every row once per epoch, in an order that a seed fixes, converted only when gathered."""

from __future__ import annotations

import numpy as np
import pytest

import pyneural as pn
from pyneural import data

X = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (103, 4, 4), np.uint8)
Y = (np.arange(103) % 10).astype(np.uint8)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 10, 103, 200])
def test_rows_in_order(size: int, drop_last: bool) -> None:
    if drop_last and size > len(X):
        with pytest.raises(ValueError, match="drop_last leaves no batch, for batch_size is 200 and x has 103 rows"):
            data.batches(X, Y, size, shuffle=False, drop_last=drop_last)
        return
    epoch = data.batches(X, Y, size, shuffle=False, drop_last=drop_last, tensors=False)
    got = list(epoch)
    kept = len(X) // size * size if drop_last else len(X)
    assert len(got) == len(epoch) == -(-kept // size)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in got]), (X[:kept] / 255.0).astype(np.float32))
    np.testing.assert_array_equal(np.concatenate([y for _, y in got]), Y[:kept])
    assert all(x.dtype == np.float32 and y.dtype == np.int64 for x, y in got)


def test_shuffled_epochs_visit_each_row_once_and_differ() -> None:
    rows = np.arange(103)
    epochs = data.batches(X, rows, 10, generator=3, tensors=False)
    first, second = (np.concatenate([y for _, y in epochs]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(rows)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, rows)
    for x, y in epochs:
        np.testing.assert_array_equal(x, (X[y] / 255.0).astype(np.float32))


def test_orders_come_from_the_counter_based_stream() -> None:
    epochs = data.batches(X, batch_size=10, generator=3)
    generator = pn.Generator(3)
    for _ in range(3):
        np.testing.assert_array_equal(epochs.order(), np.asarray(pn.randperm(103, generator=generator)))
    # A generator that is handed over is advanced; the default one is what manual_seed sets.
    shared = pn.Generator(3)
    first, second = (data.batches(X, generator=shared).order() for _ in range(2))
    assert not np.array_equal(first, second)
    orders = []
    for _ in range(2):
        pn.manual_seed(7)
        orders.append(data.batches(X).order())
    np.testing.assert_array_equal(*orders)


def test_tensors_by_default() -> None:
    x, y = next(iter(data.batches(X, Y, 8, generator=0)))
    assert isinstance(x, pn.Tensor)
    assert isinstance(y, pn.Tensor)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((8, 4, 4), np.float32, (8,), np.int64)
    (alone,) = data.batches(X, batch_size=103, shuffle=False)
    assert isinstance(alone, pn.Tensor)


def test_a_dataset_brings_images_and_labels() -> None:
    digits = data.digits(n=30)
    x, y = next(iter(data.batches(digits, batch_size=30, shuffle=False, tensors=False)))
    np.testing.assert_array_equal(x, digits.unit())
    np.testing.assert_array_equal(y, digits.labels)
    with pytest.raises(ValueError, match="x is a Dataset, which brings its own labels"):
        data.batches(digits, digits.labels)


def one(x: np.ndarray, **options: object) -> np.ndarray:
    (batch,) = data.batches(x, batch_size=len(x), shuffle=False, tensors=False, **options)  # type: ignore[arg-type]
    return batch


def test_scales() -> None:
    unit = (X / 255.0).astype(np.float32)
    np.testing.assert_array_equal(one(X, scale=None), X)
    np.testing.assert_array_equal(one(X, scale=(0.5, 0.25)), (unit - np.float32(0.5)) / np.float32(0.25))
    np.testing.assert_array_equal(one(X, scale=lambda rows: rows[:, 0] * 2), X[:, 0] * 2)
    floats = unit.astype(np.float64)
    np.testing.assert_array_equal(one(floats), floats)  # "unit" is for bytes
    np.testing.assert_array_equal(one(floats, scale=(0.5, 0.25)), (floats - 0.5) / 0.25)
    assert one(floats).dtype == np.float64
    with pytest.raises(ValueError, match="scale is 'units'; use \"unit\""):
        one(X, scale="units")
    with pytest.raises(ValueError, match="std must be above 0"):
        one(X, scale=(0.1, 0.0))
    with pytest.raises(ValueError, match="is for bytes or floats, x is int64"):
        one(X.astype(np.int64), scale=(0.1, 0.3))


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_do_not_share_memory(shuffle: bool) -> None:
    x, y = np.zeros((6, 2), np.float32), np.zeros(6)
    for a, b in data.batches(x, y, 2, shuffle, generator=0, tensors=False):
        a += 1
        b += 1
    assert not x.any()
    assert not y.any()


def test_arguments() -> None:
    with pytest.raises(ValueError, match=r"x has 103 rows but y has shape \(102,\)"):
        data.batches(X, Y[:-1])
    with pytest.raises(ValueError, match="batch_size is 0"):
        data.batches(X, Y, 0)
    with pytest.raises(ValueError, match=r"x has shape \(0, 3\), at least one row"):
        data.batches(np.zeros((0, 3)))


def test_split() -> None:
    a, b, ya, yb = data.train_validation_split(X, Y, 0.2, generator=1)
    assert (len(a), len(b), len(ya), len(yb)) == (82, 21, 82, 21)
    rows = {x.tobytes(): y for x, y in zip(X, Y, strict=True)}
    assert {x.tobytes() for x in a} | {x.tobytes() for x in b} == set(rows)
    assert all(rows[x.tobytes()] == y for x, y in zip(b, yb, strict=True))
    again = data.train_validation_split(X, Y, 0.2, generator=1)
    np.testing.assert_array_equal(b, again[1])
    front, back = data.train_validation_split(X, validation=3, shuffle=False)
    np.testing.assert_array_equal(back, X[-3:])
    assert len(front) == 100
    train, validation = data.train_validation_split(data.digits(n=50), validation=10, generator=0)
    assert (len(train), len(validation), validation.name) == (40, 10, "digits")
    for share in (0.0, 1.0, 103, 0.001):
        with pytest.raises(ValueError, match=f"validation={share} sets .* of 103 rows apart"):
            data.train_validation_split(X, validation=share)
