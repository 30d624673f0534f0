"""The matrix product on NumPy arrays: every element is one chain of fused multiply-adds over k, in order.

The expected bits are computed here with NumPy and fractions alone, so they hold for every instruction set that has a
fused multiply-add, for every tile, layout and number of threads. The base set rounds product and sum, and has a chain
of its own.
"""

from fractions import Fraction

import numpy as np
import pytest

import pyneural as pn
from pyneural import _kernels

# Around the tiles of every instruction set (4 x 2 to 8 x 48), around a block of k, and above the size that is threaded.
SHAPES = [
    (1, 1, 1), (1, 3, 2), (2, 1, 3), (1, 1, 300), (1, 100, 50), (100, 1, 50), (3, 7, 9), (4, 8, 16), (5, 17, 257),
    (6, 16, 33), (7, 47, 15), (8, 48, 16), (9, 49, 17), (16, 96, 64), (33, 31, 530), (64, 10, 128), (17, 65, 1100),
    (130, 67, 300), (600, 20, 70), (20, 600, 70), (1300, 70, 9), (70, 1300, 9),
]  # fmt: skip
ISAS = _kernels.available_isas()
LAYOUTS = ["rows", "columns", "reversed", "steps", "wide rows", "wide columns"]
LAYOUT_PAIRS = [("rows", "rows"), ("rows", "columns"), ("columns", "rows"), ("steps", "reversed")]


def laid_out(x, layout):
    """The values of x in memory of another order; "wide" sets rows 4096 bytes apart, where they share cache sets."""
    rows, columns = x.shape
    if layout == "rows":
        return np.ascontiguousarray(x)
    if layout == "columns":
        return np.asfortranarray(x)
    if layout == "reversed":
        return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    if layout == "steps":
        memory = np.full((2 * rows, 3 * columns), np.nan, x.dtype)[::2, ::3]
    elif layout == "wide rows":
        memory = np.full((rows, -(-columns // 1024) * 1024), np.nan, x.dtype)[:, :columns]
    else:
        memory = np.full((columns, -(-rows // 1024) * 1024), np.nan, x.dtype)[:, :rows].T
    memory[...] = x
    return memory


def fused(x, y, z):
    """x * y + z in float32 with one rounding.

    In float64 the product is exact, and a sum that was rounded to odd there rounds on to float32 as the true sum would.
    """
    product, z = x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64)
    total = product + z
    back = total - product
    error = (product - (total - back)) + (z - back)
    bits = total.view(np.int64)
    step = np.where((error > 0) == (total > 0), 1, -1)
    return np.where((error != 0) & (bits & 1 == 0), bits + step, bits).view(np.float64).astype(np.float32)


def chain(a, b, bias, c, isa):
    """The product in the documented order and rounding."""
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype) if c is None else c.copy()
    for p in range(a.shape[1]):
        x, y = a[:, p, None], b[None, p]
        total = x * y + total if isa == "base" else fused(x, y, total)
    return total if bias is None else total + bias


def operands(shape, dtype, with_start, seed=0):
    m, n, k = shape
    rng = np.random.default_rng([seed, m, n, k])

    def draw(*size):
        return (rng.standard_normal(size) * 2.0 ** rng.integers(-6, 7, size)).astype(dtype)

    return draw(m, k), draw(k, n), draw(n) if with_start else None, draw(m, n) if with_start else None


def same_bits(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.mark.parametrize("with_start", [False, True], ids=["product", "bias and start"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("isa", ISAS)
def test_float32_is_one_chain_whatever_the_layout(isa, shape, with_start):
    a, b, bias, c = operands(shape, np.float32, with_start)
    expected = chain(a, b, bias, c, isa)
    _kernels.set_isa(isa)
    for a_layout in LAYOUTS:
        for b_layout in LAYOUTS:
            got = _kernels.gemm(laid_out(a, a_layout), laid_out(b, b_layout), bias, c)
            assert same_bits(got, expected), (a_layout, b_layout, np.argwhere(got != expected)[:3])


@pytest.mark.parametrize("isa", ISAS)
def test_float64_is_one_chain(isa):
    a, b, bias, c = operands((9, 26, 13), np.float64, True)
    expected = c.copy()
    for i, j in np.ndindex(*expected.shape):
        for p in range(a.shape[1]):
            if isa == "base":
                expected[i, j] = a[i, p] * b[p, j] + expected[i, j]
            else:
                expected[i, j] = float(Fraction(a[i, p]) * Fraction(b[p, j]) + Fraction(expected[i, j]))
    expected += bias
    _kernels.set_isa(isa)
    for b_layout in LAYOUTS:
        assert same_bits(_kernels.gemm(a, laid_out(b, b_layout), bias, c), expected), b_layout


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [*SHAPES, (64, 128, 784), (128, 784, 64), (513, 130, 1030)], ids=str)
def test_bits_depend_on_neither_threads_nor_layout_nor_fused_instruction_set(shape, dtype):
    a, b, bias, c = operands(shape, dtype, True)
    # Each of the k + 1 roundings (2 k + 1 in the base set) errs by at most half a unit of a partial sum. The reference
    # for float64 needs long double, which is slow: large shapes get one that errs itself, within the same bound.
    wide = np.longdouble if a.size * b.shape[1] < 10**6 else np.float64
    reference = a.astype(wide) @ b.astype(wide) + c + bias
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64) + np.abs(c) + np.abs(bias)
    bound = (a.shape[1] + 2) * np.finfo(dtype).eps * magnitude
    first = {}
    for isa in ISAS:
        _kernels.set_isa(isa)
        for threads in (1, 2, 7):
            _kernels.set_num_threads(threads)
            for a_layout, b_layout in LAYOUT_PAIRS:
                got = _kernels.gemm(laid_out(a, a_layout), laid_out(b, b_layout), bias, c)
                expected = first.setdefault(isa == "base", got)
                assert same_bits(got, expected), (isa, threads, a_layout, b_layout)
        assert (np.abs(got - reference) <= bound).all(), isa


def row_chains(a, b, bias, isa):
    """One row times a matrix in the documented order: sixteen chains, joined 8, 4, 2 and 1 apart."""
    sums = np.zeros((16, b.shape[1]), a.dtype)
    for p in range(a.shape[1]):
        x, y, lane = a[:, p], b[p], p % 16
        sums[lane] = x * y + sums[lane] if isa == "base" else fused(x, y, sums[lane])
    while len(sums) > 1:
        half = len(sums) // 2
        sums = sums[:half] + sums[half:]
    return sums if bias is None else sums + bias


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 15), (5, 16), (1, 300), (10, 128), (64, 784), (130, 65), (33, 1025)])
@pytest.mark.parametrize("isa", ISAS)
def test_one_row_is_sixteen_chains_whatever_the_layout(isa, n, k):
    a, b, bias, _ = operands((1, n, k), np.float32, True)
    expected = row_chains(a, b, bias, isa)
    _kernels.set_isa(isa)
    for threads in (1, 2, 7):
        _kernels.set_num_threads(threads)
        for a_layout in LAYOUTS:
            for b_layout in LAYOUTS:
                got = _kernels.gemm(laid_out(a, a_layout), laid_out(b, b_layout), bias, row_order=True)
                assert same_bits(got, expected), (threads, a_layout, b_layout)


def test_one_row_in_float64_has_the_same_bits_everywhere():
    a, b, bias, _ = operands((1, 1100, 333), np.float64, True)
    expected = a.astype(np.longdouble) @ b.astype(np.longdouble) + bias
    found = set()
    for isa in ISAS:
        _kernels.set_isa(isa)
        for threads in (1, 2):
            _kernels.set_num_threads(threads)
            for layout in LAYOUTS:
                got = _kernels.gemm(a, laid_out(b, layout), bias, row_order=True)
                found.add((isa == "base", got.tobytes()))
                assert np.abs(got - expected).max() <= 1e-13 * (np.abs(a) @ np.abs(b)).max()
    assert len(found) == len({base for base, _ in found})


def test_a_row_is_summed_in_the_order_of_its_whole_product():
    """A tall product gives each row the same bits wherever it stands; a product of one row has an order of its own."""
    a, b, _, _ = operands((3, 40, 100), np.float32, False)
    tall, row = pn.matmul(a, b).numpy(), pn.matmul(a[:1], b).numpy()
    assert same_bits(tall, _kernels.gemm(a, b))
    assert same_bits(row, _kernels.gemm(a[:1], b, row_order=True))
    apart = np.ones((3, 2, 100), np.float32)
    apart[:, 0] = a  # the rows of a do not follow each other evenly with those of another shape
    assert same_bits(pn.matmul(pn.from_numpy(apart)[:, :1], b).numpy()[:, 0], tall)
    assert same_bits(pn.linear(a[:1], np.ascontiguousarray(b.T)).numpy(), row)
    with pytest.raises(ValueError, match=r"gemm: c must have the shape of the result, \("):
        _kernels.gemm(a, b, c=a[:, :1])
    with pytest.raises(ValueError, match="row_order is for one row"):
        _kernels.gemm(a, b, row_order=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("isa", ISAS)
def test_empty_products(isa, dtype):
    _kernels.set_isa(isa)
    bias, c = np.arange(4, dtype=dtype), np.arange(12, dtype=dtype).reshape(3, 4)
    a, b = np.empty((3, 0), dtype), np.empty((0, 4), dtype)
    assert same_bits(_kernels.gemm(a, b), np.zeros((3, 4), dtype))
    assert same_bits(_kernels.gemm(a, b, bias=bias), np.broadcast_to(bias, (3, 4)).copy())
    assert same_bits(_kernels.gemm(a, b, c=c), c)
    assert same_bits(_kernels.gemm(a, b, bias=bias, c=c), c + bias)
    assert _kernels.gemm(np.ones((0, 5), dtype), np.ones((5, 4), dtype)).shape == (0, 4)
    assert _kernels.gemm(np.ones((3, 5), dtype), np.ones((5, 0), dtype)).shape == (3, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("isa", ISAS)
def test_repeated_rows_and_columns(isa, dtype):
    """Strides of 0, as broadcasting makes them."""
    _kernels.set_isa(isa)
    a = np.broadcast_to(np.asarray(2, dtype), (9, 20))
    column = np.arange(20, dtype=dtype)[:, None]
    assert (_kernels.gemm(a, np.broadcast_to(column, (20, 70))) == 380).all()
    assert (_kernels.gemm(np.broadcast_to(column.T, (70, 20)), np.broadcast_to(column, (20, 3))) == 2470).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(2, 3, 2), (64, 100, 300)], ids=str)
@pytest.mark.parametrize("isa", ISAS)
def test_nan_and_infinity_reach_exactly_their_row(isa, shape, layout, dtype):
    """0 * NaN and 0 * inf are NaN: nothing is skipped, and nothing leaks from the padding of a copy."""
    _kernels.set_isa(isa)
    m, n, k = shape
    for value in (np.nan, np.inf):
        a, b = np.ones((m, k), dtype), laid_out(np.zeros((k, n), dtype), layout)
        a[m - 1, k - 1] = value
        got = _kernels.gemm(a, b)
        assert np.isnan(got[m - 1]).all()
        assert (got[: m - 1] == 0).all()
        assert np.array_equal(_kernels.gemm(a, b + 1)[m - 1], np.full(n, value, dtype), equal_nan=True)


def test_operands_that_do_not_fit_are_refused():
    one = np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match="inner sizes"):
        _kernels.gemm(one, one)
    with pytest.raises(TypeError, match="float32"):
        _kernels.gemm(one, np.ones((4, 2)))
    with pytest.raises(ValueError, match="bias"):
        _kernels.gemm(one, one.T, bias=np.ones(4, np.float32))
