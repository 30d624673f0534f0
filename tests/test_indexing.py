"""``x[index]`` and ``x[index] = value`` against NumPy on generated indices, and the ops that take index tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pyneural as pn
from pyneural.autodiff import gradcheck

RNG = np.random.default_rng(0)


@st.composite
def arrays_and_indices(draw: Any, basic_only: bool = False) -> tuple[np.ndarray, tuple]:
    """An array and an index that NumPy takes: numbers, slices, None, ..., integer arrays that broadcast, masks."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    array = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)
    common = draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=3))
    index: list[Any] = []
    d = 0
    while d < len(shape) and draw(st.integers(0, 4)):
        n = shape[d]
        kind = draw(st.sampled_from(["slice", "int", "none"] + ([] if basic_only else ["array", "list", "mask"])))
        if kind == "none":
            if sum(i is None for i in index) < 2:
                index.append(None)
            continue
        if kind == "slice":
            index.append(draw(st.slices(n)))
        elif kind == "int" and n:
            index.append(draw(st.integers(-n, n - 1)))
        elif kind in ("array", "list") and n:
            sizes = tuple([s if draw(st.booleans()) else 1 for s in common][draw(st.integers(0, len(common) - 1)) :])
            dtype = draw(st.sampled_from([np.int64, np.int32]))
            chosen = draw(hnp.arrays(dtype, sizes, elements=st.integers(-n, n - 1)))
            index.append(chosen if kind == "array" else chosen.tolist())
        elif kind == "mask" and not any(isinstance(i, (np.ndarray, list)) for i in index):
            width = draw(st.integers(1, len(shape) - d))
            mask = draw(hnp.arrays(bool, shape[d : d + width]))
            index.append(mask)
            d += width
            break
        else:
            index.append(slice(None))
        d += 1
    if d < len(shape) and draw(st.booleans()):
        index.append(...)
    return array, tuple(index)


def compare(array: np.ndarray, index: Any) -> None:
    try:
        want = array[index]
    except IndexError:
        with pytest.raises(IndexError):
            pn.from_numpy(array)[index]
        return
    got = pn.from_numpy(array)[index]
    assert got.shape == want.shape
    assert np.array_equal(got.numpy(), want)


@settings(max_examples=400, deadline=None)
@given(arrays_and_indices())
def test_getitem_is_numpys(case: tuple) -> None:
    array, index = case
    compare(array, index)
    masks = any(isinstance(i, np.ndarray) and i.dtype == bool for i in index)
    if array.size and not masks:  # NumPy lets wrong indices pass where nothing is read
        compare(array.transpose(), index)
    if len(index) == 1:
        compare(array, index[0])


@settings(max_examples=100, deadline=None)
@given(arrays_and_indices(basic_only=True))
def test_basic_indices_are_views(case: tuple) -> None:
    array, index = case
    got = pn.from_numpy(array)[index]
    if got.numel():
        assert np.shares_memory(got.numpy(), array)


@settings(max_examples=300, deadline=None)
@given(arrays_and_indices(), st.data())
def test_setitem_is_numpys(case: tuple, data: Any) -> None:
    array, index = case
    try:
        place = array[index].shape
    except IndexError:
        return
    shape = data.draw(hnp.broadcastable_shapes(place, max_dims=len(place), max_side=5)) if 0 not in place else ()
    if np.broadcast_shapes(shape, place) != place:
        shape = ()
    value = -1.0 - np.arange(int(np.prod(shape))).reshape(shape) if shape else data.draw(st.sampled_from([-1.0, 7]))
    want, got = array.copy(), array.copy()
    want[index] = value
    pn.from_numpy(got)[index] = value
    assert np.array_equal(got, want)


@settings(max_examples=60, deadline=None)
@given(arrays_and_indices())
def test_gradient_of_getitem(case: tuple) -> None:
    array, index = case
    try:
        array[index]
    except IndexError:
        return
    x = pn.from_numpy(array.copy()).requires_grad_()
    y = x[index]
    if not y.numel():
        return
    weights = RNG.standard_normal(y.shape)
    (y * pn.from_numpy(weights)).sum().backward()
    want = np.zeros_like(array)
    np.add.at(want, index, weights)
    assert np.allclose(x.grad.numpy(), want, rtol=1e-12, atol=1e-12)


def test_tensors_as_indices() -> None:
    a = np.arange(20.0).reshape(4, 5)
    x = pn.from_numpy(a)
    rows = np.array([3, 0, -1])
    for index in (rows, rows.astype(np.int32), np.array(2), a > 7, np.array([], np.int64)):
        assert np.array_equal(x[pn.from_numpy(index)].numpy(), a[index])
    assert np.array_equal(x[pn.from_numpy(rows), pn.from_numpy(rows)].numpy(), a[rows, rows])
    assert np.array_equal(x[np.int64(2)].numpy(), a[2])
    assert np.array_equal(x[[]].numpy(), a[[]])
    x[x > 7] = 0.0
    assert a.max() == 7


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (4, "index 4 is out of range for dim 0 of size 4"),
        ((0, -6), "index -6 is out of range for dim 1 of size 5"),
        (([0, 9],), "index 9 is out of range for dim 0 of size 4"),
        (([0, 1], [0, 5]), "index 5 is out of range for indexed dimension 1 of size 5"),
        (([0, 1], [0, 1, 2]), "does not broadcast"),
        ((0, 0, 0), r"too many indices: 3 for x of shape \(4, 5\)"),
        ((0, ..., 0, 0), r"too many indices: 3 for x of shape \(4, 5\)"),
        ((..., ...), "only one ellipsis"),
        (np.ones(3, bool), r"mask of shape \(3,\) does not fit dims 0 to 0 of shape \(4, 5\)"),
        (1.5, "float is no index"),
        (np.array([0.5]), "float64 must hold integers or bools"),
        (True, "True and False are no indices"),
        (np.array(True), "a bool without dimensions is no index"),
        ("a", "str is no index"),
    ],
)
def test_bad_indices(index: Any, message: str) -> None:
    a = np.zeros((4, 5))
    x = pn.from_numpy(a)
    with pytest.raises(IndexError, match=message):
        x[index]
    with pytest.raises(IndexError, match=message):
        x[index] = 1.0
    assert not a.any(), "something was written before the index was refused"


def test_setitem_and_the_tape() -> None:
    x = pn.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="no_grad"):
        x[0] = 1.0
    with pytest.raises(RuntimeError, match="no_grad"):
        pn.zeros(3)[0] = x[0]
    with pn.no_grad():
        x[0] = 1.0
        x[[1, 2]] = pn.ones(2) * 5
    assert x.tolist() == [1.0, 5.0, 5.0]
    w = pn.ones(3, requires_grad=True)
    y = w * w
    with pn.no_grad():
        w[[0]] = 2.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
    with pytest.raises(ValueError, match=r"value of shape \(3,\) does not fit"):
        pn.zeros(2)[:] = pn.ones(3)
    with pytest.raises(ValueError, match=r"value of shape \(3,\) does not fit"):
        pn.zeros(2, 2)[[0]] = pn.ones(3)
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        pn.from_numpy(frozen)[0] = 1.0


def test_setitem_from_its_own_memory() -> None:
    want, got = np.arange(6.0), np.arange(6.0)
    want[1:] = want[:-1].copy()
    x = pn.from_numpy(got)
    x[1:] = x[:-1]
    assert np.array_equal(got, want)
    x[[0, 1, 2]] = x[[2, 1, 0]]
    x[[3, 4]] = x[0:2]
    assert got.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0, 4.0]


def test_gather_and_scatter_match_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x, src = RNG.standard_normal((4, 5, 6)), RNG.standard_normal((4, 7, 6))
    for dim, shape in [(0, (9, 5, 6)), (1, (3, 7, 4)), (2, (4, 5, 11)), (-1, (2, 3, 1))]:
        index = RNG.integers(0, x.shape[dim], shape)
        want = torch.gather(torch.from_numpy(x), dim, torch.from_numpy(index)).numpy()
        assert np.array_equal(pn.gather(pn.from_numpy(x), dim, pn.from_numpy(index)).numpy(), want)
    index = RNG.integers(0, 5, (3, 7, 4))
    want = torch.scatter_add(torch.from_numpy(x), 1, torch.from_numpy(index), torch.from_numpy(src)).numpy()
    assert np.allclose(pn.scatter_add(pn.from_numpy(x), 1, index, pn.from_numpy(src)).numpy(), want)
    gradcheck(lambda a, b: pn.scatter_add(a, 1, index, b), [x, src])
    with pytest.raises(IndexError, match="gather: index -1 is out of range for dim 0 of size 4"):
        pn.gather(pn.from_numpy(x), 0, np.full((1, 1, 1), -1))
    with pytest.raises(TypeError, match="must hold integers"):
        pn.gather(pn.from_numpy(x), 0, np.zeros((1, 1, 1)))


def test_sums_at_repeated_places_keep_index_order() -> None:
    """Float32 additions in another order would give other bits."""
    index, src = RNG.integers(0, 3, (5000, 40)), (RNG.standard_normal((5000, 40)) * 1e3).astype(np.float32)
    want = np.zeros((3, 40), np.float32)
    for i in range(5000):
        want[index[i], np.arange(40)] += src[i]
    rows, row_want = index[:, 0], np.zeros((3, 40), np.float32)
    for i in range(5000):
        row_want[rows[i]] += src[i]
    for threads in (1, 2, 7):
        pn.set_num_threads(threads)
        assert pn.scatter_add(pn.zeros(3, 40), 0, index, src).numpy().tobytes() == want.tobytes()
        assert pn.index_add(pn.zeros(3, 40), 0, rows, pn.from_numpy(src)).numpy().tobytes() == row_want.tobytes()


def test_sort_family() -> None:
    torch = pytest.importorskip("torch")
    a = RNG.integers(0, 5, (3, 40)).astype(np.float32)
    a[0, 3] = np.nan
    x, t = pn.from_numpy(a), torch.from_numpy(a)
    for descending in (False, True):
        v, i = pn.sort(x, 1, descending)
        tv, ti = torch.sort(t, dim=1, descending=descending, stable=True)
        assert np.array_equal(v.numpy(), tv.numpy(), equal_nan=True)
        assert np.array_equal(i.numpy(), ti.numpy())
    v, i = pn.topk(x[1:], 4)
    assert np.array_equal(v.numpy(), torch.topk(t[1:], 4)[0].numpy())
    assert np.array_equal(np.take_along_axis(a[1:], i.numpy(), 1), v.numpy())
    with pytest.raises(ValueError, match="topk: k is 41"):
        pn.topk(x, 41)
    w = RNG.permutation(12).astype(np.float64)
    gradcheck(lambda p: pn.sort(p, 0, True)[0], [w])
    gradcheck(lambda p: pn.topk(p, 3, largest=False)[0], [w])


def test_masks_counts_and_one_hot() -> None:
    a = RNG.standard_normal((3, 4))
    x = pn.from_numpy(a)
    assert np.array_equal(pn.nonzero(x > 0).numpy(), np.argwhere(a > 0))
    assert np.array_equal(pn.masked_select(x, x > 0).numpy(), a[a > 0])
    assert np.array_equal(pn.masked_fill(x, x > 0, -1.0).numpy(), np.where(a > 0, -1, a))
    with pytest.raises(TypeError, match="masked_fill: mask is float64 but must be bool"):
        pn.masked_fill(x, x, 0.0)
    labels = np.array([2, 0, 2, 1])
    assert np.array_equal(pn.bincount(labels, minlength=5).numpy(), [1, 1, 2, 0, 0])
    assert np.array_equal(pn.bincount(labels, weights=np.array([0.5, 1, 2, 3])).numpy(), [1, 3, 2.5])
    with pytest.raises(ValueError, match="bincount"):
        pn.bincount(np.array([-1]))
    hot = pn.one_hot(labels)
    assert hot.dtype == np.int64
    assert np.array_equal(hot.numpy(), np.eye(3, dtype=np.int64)[labels])
    with pytest.raises(IndexError, match="one_hot: index 2 is out of range"):
        pn.one_hot(labels, 2)
    assert np.array_equal(pn.take_along_dim(x, np.argsort(a, 1), 1).numpy(), np.sort(a, 1))
    assert np.array_equal(pn.take_along_dim(x, np.array([[0], [1]]).T, 1).numpy(), a[:, :2])
    assert np.array_equal(pn.index_select(x, 1, np.array([3, 3])).numpy(), a[:, [3, 3]])


def test_sorted_and_nonzero_results_have_pytorchs_forms():
    x = pn.tensor([[3.0, 0.0, 2.0]])
    assert x.sort().values.tolist() == [[0.0, 2.0, 3.0]]
    assert x.sort().indices.tolist() == [[1, 2, 0]]
    assert x.topk(1).values.tolist() == [[3.0]]
    assert x.topk(1).indices.tolist() == [[0]]
    assert [i.tolist() for i in x.nonzero(as_tuple=True)] == [[0, 0], [0, 2]]
    assert x[x.nonzero(as_tuple=True)].tolist() == [3.0, 2.0]
