"""Reductions, where the op records cannot say it: equal bits, accuracy of long sums, signatures, awkward gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural.autodiff import gradcheck, gradgradcheck

INF, NAN = math.inf, math.nan
ISAS = pn.available_isas()


def values(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(dtype)


def gradient(f: Any, x: Any) -> list:
    """The gradient of the sum of f at x."""
    t = pn.tensor(np.array(x, np.float64)).requires_grad_()
    pn.sum(f(t)).backward()
    return t.grad.tolist()


def same(a: Any, b: Any) -> bool:
    return np.allclose(a, b, rtol=1e-12, atol=0, equal_nan=True)


# ---- one order for every sum ----

SHAPES = ((5,), (31,), (1000, 77), (64, 1024), (90_000,), (5, 20_000), (20_000, 3), (20, 50, 60), (300, 513))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_depend_on_the_shape_alone(shape: tuple, dtype: Any) -> None:
    """Not on threads, on the instruction set (the base set too: nothing is fused here) or on the memory layout."""
    x = values(*shape, dtype=dtype)
    room = np.zeros((*shape[:-1], 2 * shape[-1]), dtype)
    room[..., ::2] = x
    layouts = [x, np.asfortranarray(x), room[..., ::2]]
    products = pn.from_numpy(np.exp(x / 1000))
    first: list[bytes] = []
    for isa in ISAS:
        pn.set_isa(isa)
        for threads in (1, 2, 7):
            pn.set_num_threads(threads)
            for layout in layouts if threads == 2 else layouts[:1]:
                t = pn.from_numpy(layout)
                results = [f(t, dim) for dim in (None, *range(x.ndim)) for f in (pn.sum, pn.mean, pn.amax, pn.amin)]
                results += [pn.prod(products, dim) for dim in (None, *range(x.ndim))]
                results += [pn.cumsum(t, dim) for dim in range(x.ndim)]
                bits = [r.numpy().tobytes() for r in results]
                first = first or bits
                assert bits == first, f"{isa}, {threads} threads, strides {layout.strides}"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_bits_do_not_depend_on_threads_or_layout(shape: tuple) -> None:
    x = values(*shape)
    for isa in ISAS:
        pn.set_isa(isa)
        first: list[bytes] = []
        for threads in (1, 2, 7):
            pn.set_num_threads(threads)
            t = pn.from_numpy(np.asfortranarray(x) if threads == 2 else x)
            results = [f(t, dim) for dim in range(x.ndim) for f in (pn.softmax, pn.log_softmax, pn.logsumexp)]
            bits = [r.numpy().tobytes() for r in results]
            first = first or bits
            assert bits == first, f"{isa}, {threads} threads"


@pytest.mark.parametrize(("shape", "dim"), [((3_000_000,), None), ((1_000_000, 2), 0), ((2, 1_000_000), 1)])
def test_long_sums_stay_accurate(shape: tuple, dim: int | None) -> None:
    # In plain order the sum of 3e6 numbers near 0.5 is off by 1e-3; blocks keep it at a few roundings.
    x = np.random.Generator(np.random.PCG64(1)).random(shape).astype(np.float32)
    exact = x.astype(np.float64).sum(axis=dim)
    assert np.abs(pn.sum(pn.from_numpy(x), dim).numpy() / exact - 1).max() < 2e-6
    assert np.abs(pn.mean(pn.from_numpy(x), dim).numpy() / (exact * exact.size / x.size) - 1).max() < 2e-6
    running = pn.cumsum(pn.from_numpy(x), dim or 0).numpy()
    assert np.abs(running / x.astype(np.float64).cumsum(dim or 0) - 1).max() < 1e-7


# ---- signatures ----


def test_numpy_names_and_dims() -> None:
    x = values(3, 4, 5, dtype=np.float64)
    t = pn.from_numpy(x)
    assert same(pn.sum(t, axis=(0, -1), keepdims=True), x.sum((0, -1), keepdims=True))
    assert same(t.mean(axis=1), x.mean(1))
    assert same(t.std(dim=1), x.std(1, ddof=1))
    assert same(t.var(dim=(0, 2), correction=0), x.var((0, 2)))
    assert same(pn.softmax(t, axis=0).sum(axis=0), np.ones((4, 5)))
    assert t.sum(()).shape == (), "() means every dimension, as in PyTorch"
    assert t.sum([0, 1]).shape == (5,)
    with pytest.raises(TypeError, match="axis is another name of dim"):
        pn.sum(t, dim=0, axis=0)
    with pytest.raises(TypeError):
        pn.sum(t, 0.5)


def test_same_as_numpy_on_arrays_and_numbers() -> None:
    x = values(4, 6, dtype=np.float64)
    assert pn.sum(x).item() == pytest.approx(x.sum())
    assert pn.amax([1.0, 3.0]).item() == 3
    assert pn.sum(2.0).item() == 2
    assert np.array_equal(pn.cumsum(x, 0), np.cumsum(x, 0))
    assert pn.count_nonzero(pn.tensor([[1, 0], [2, 3]]), 0).tolist() == [2, 1]


def test_zero_dimensional_tensors_take_dim_0() -> None:
    t = pn.tensor(3.0)
    for f in (pn.sum, pn.prod, pn.mean, pn.amax, pn.logsumexp, pn.argmax, pn.cumsum, pn.softmax):
        assert f(t, 0).shape == f(t, -1).shape == ()
    assert t.max(0).values.item() == 3
    assert t.max(0).indices.item() == 0


def test_dtypes_of_results() -> None:
    for dtype in (np.bool_, np.uint8, np.int8, np.int32, np.int64):
        t = pn.from_numpy(np.array([1, 0, 1], dtype))
        assert (pn.sum(t).dtype, pn.prod(t).dtype, pn.cumsum(t, 0).dtype) == (np.int64,) * 3
        assert pn.amax(t).dtype == dtype
        assert pn.any(t).dtype == pn.all(t).dtype == np.bool_
        assert (pn.sum(t).item(), pn.prod(t).item(), pn.any(t).item(), pn.all(t).item()) == (2, 0, True, False)
        assert pn.mean(t, dtype=np.float32).item() == pytest.approx(2 / 3)
        assert pn.logsumexp(t).dtype == np.float32
        with pytest.raises(TypeError, match=f"mean: x is {np.dtype(dtype)} but must be float"):
            pn.mean(t)
    assert pn.sum(pn.from_numpy(np.full(300, 200, np.uint8))).item() == 60_000
    assert pn.sum(pn.from_numpy(values(7)), dtype=np.float64).dtype == np.float64


def test_unbiased_and_correction() -> None:
    t = pn.tensor([1.0, 2.0, 4.0])
    assert t.var().item() == pytest.approx(7 / 3)
    assert t.var(False).item() == t.var(unbiased=False).item() == t.var(correction=0).item() == pytest.approx(14 / 9)
    assert math.isnan(pn.tensor([1.0]).var().item())
    assert math.isinf(t.var(correction=5).item())
    with pytest.raises(TypeError, match="give one of them"):
        t.var(unbiased=True, correction=1)


def test_max_and_min_in_their_three_forms() -> None:
    x = np.array([[1.0, 5.0, 5.0], [7.0, 2.0, 0.0]])
    t = pn.from_numpy(x)
    assert t.max().item() == 7
    assert t.min().item() == 0
    best = t.max(1)
    assert best.values.tolist() == [5, 7]
    assert best.indices.tolist() == [1, 0], "the first of equal ones"
    values_, indices = t.min(0, keepdim=True)
    assert values_.tolist() == [[1, 2, 0]]
    assert indices.tolist() == [[0, 1, 1]]
    assert t.max(pn.full_like(t, 3.0)).tolist() == [[3, 5, 5], [7, 3, 3]]
    assert pn.min(t, other=pn.full_like(t, 3.0)).tolist() == [[1, 3, 3], [3, 2, 0]]
    with pytest.raises(TypeError, match=r"dim must be one integer.*amax"):
        t.max((0, 1))
    with pytest.raises(TypeError, match="not both"):
        pn.max(t, 0, other=t)


# ---- NaN, infinities and nothing ----


def test_nan_wins_and_is_found_first() -> None:
    for n in (3, 17, 70, 5000):
        for at in (0, n // 2, n - 1):
            x = values(n)
            x[at] = NAN
            for t in (pn.from_numpy(x), pn.from_numpy(np.stack([x, x], 1))):
                assert np.isnan(t.amax(0).numpy()).all()
                assert np.isnan(t.amin(0).numpy()).all()
                assert (t.argmax(0).numpy() == at).all()
                assert (t.argmin(0).numpy() == at).all()
                assert np.isnan(t.max(0).values.numpy()).all()


def test_infinite_logits() -> None:
    for column in (False, True):
        rows = np.array([[-INF, 0.0], [-INF, -INF], [INF, 0.0], [NAN, 0.0]])
        t, dim = (pn.from_numpy(rows.T.copy()), 0) if column else (pn.from_numpy(rows), 1)
        soft, log, lse = pn.softmax(t, dim).numpy(), pn.log_softmax(t, dim).numpy(), pn.logsumexp(t, dim).numpy()
        soft, log = (soft.T, log.T) if column else (soft, log)
        assert soft[0].tolist() == [0, 1]
        assert log[0].tolist() == [-INF, 0]
        assert np.isnan(soft[1:]).all()
        assert np.isnan(log[1:]).all()
        assert same(lse, [0, -INF, INF, NAN])
    huge = pn.tensor([1000.0, 1000.0, -1000.0])
    assert pn.softmax(huge, 0).tolist() == [0.5, 0.5, 0]
    assert pn.log_softmax(huge, 0)[2].item() == pytest.approx(-2000 - math.log(2))
    assert pn.logsumexp(huge).item() == pytest.approx(1000 + math.log(2))


def test_reductions_of_nothing() -> None:
    t = pn.zeros((0, 3))
    assert t.sum().item() == 0
    assert t.prod(0).tolist() == [1, 1, 1]
    assert np.isnan(t.mean(0).numpy()).all()
    assert pn.logsumexp(t, 0).tolist() == [-INF] * 3
    assert not t.any().item()
    assert t.all().item()
    assert t.amax(1).shape == (0,)
    assert t.argmax(1).shape == (0,)
    for f in (pn.amax, pn.amin, pn.argmax, pn.argmin, pn.max, pn.min):
        with pytest.raises(ValueError, match=r"dim 0 of shape \(0, 3\) is empty"):
            f(t, 0)
        with pytest.raises(ValueError, match=r"dim 0 of shape \(0, 3\) is empty"):
            f(t)


# ---- gradients at the awkward points ----


def test_ties_share_the_gradient_or_the_first_takes_it() -> None:
    x = [3.0, 1.0, 3.0, 3.0]
    third = 1 / 3
    assert same(gradient(lambda t: t.max(), x), [third, 0, third, third])
    assert same(gradient(lambda t: t.amax(0, keepdim=True), x), [third, 0, third, third])
    assert gradient(lambda t: t.max(0).values, x) == [1, 0, 0, 0]
    assert gradient(lambda t: t.amin(), [2.0, 2.0]) == [0.5, 0.5]
    assert gradient(lambda t: pn.norm(t, INF), [2.0, -2.0, 1.0]) == [0.5, -0.5, 0]


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_product_with_zeros(zeros: int) -> None:
    x = np.array([2.0, -3.0, 0.5, 1.5, -1.25])
    x[:zeros] = 0
    want = [np.prod(np.delete(x, i)) for i in range(x.size)]
    assert same(gradient(lambda t: t.prod(), x), want)
    gradcheck(lambda t: t.prod(), [x])
    gradgradcheck(lambda t: t.prod(), [x])
    y = values(3, 4, 2, dtype=np.float64)
    y[0, :zeros, 1] = 0
    gradcheck(lambda t: t.prod((1, 2)), [y])
    gradgradcheck(lambda t: t.prod((0, 2), keepdim=True), [y])


def test_gradient_at_zero_spread_and_zero_norm() -> None:
    assert gradient(lambda t: t.std(), [4.0, 4.0, 4.0]) == [0, 0, 0]
    for p in (0.5, 1, 1.5, 2, 3, -1, INF, -INF):
        assert gradient(lambda t, p=p: pn.norm(t, p), [0.0, 0.0]) == [0, 0], p
    for p in (0.5, 1, 1.5, 3):
        assert gradient(lambda t, p=p: pn.norm(t, p), [0.0, 1.0, 2.0])[0] == 0, p
    assert same(gradient(lambda t: pn.norm(t), [3.0, -4.0]), [0.6, -0.8])


def test_logsumexp_of_minus_infinity() -> None:
    assert gradient(lambda t: pn.logsumexp(t, 0), [-INF, 0.0]) == [0, 1]
    assert gradient(lambda t: pn.logsumexp(t, 0), [-INF, -INF]) == [0, 0]
    assert same(gradient(lambda t: pn.logsumexp(t, 1), [[0.0, 0.0], [-INF, -INF]]), [[0.5, 0.5], [0, 0]])
    assert same(gradient(lambda t: pn.log_softmax(t, 0)[1], [-INF, 0.0]), [0, 0])


def test_gradient_of_broadcast_operands_is_summed_back() -> None:
    a, b = pn.zeros((2, 1, 4)).requires_grad_(), pn.zeros((3, 1)).requires_grad_()
    pn.sum(a + b).backward()
    assert a.grad.shape == (2, 1, 4)
    assert np.array_equal(a.grad, np.full((2, 1, 4), 3))
    assert np.array_equal(b.grad, np.full((3, 1), 8))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_extrema_of_integers_of_every_length(dtype):
    rng = np.random.default_rng(0)
    for shape in [(n,) for n in (1, 7, 15, 16, 31, 32, 33, 63, 64, 65, 300)] + [
        (70, 5),
        (5, 70),
        (33, 129),
        (3, 40, 37),
    ]:
        x = rng.integers(-(2**62), 2**62, shape).astype(dtype)
        t = pn.from_numpy(x)
        for dims in (None, *range(x.ndim)):
            assert np.array_equal(t.amax(dims).numpy(), x.max(dims)), (shape, dims)
            assert np.array_equal(t.amin(dims).numpy(), x.min(dims)), (shape, dims)
