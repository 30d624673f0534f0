"""Division with remainder: NumPy's bits, which are those of the exact quotient, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

import pyneural as pn

OPS = {"remainder": (pn.remainder, np.remainder), "floor_divide": (pn.floor_divide, np.floor_divide)}


@pytest.fixture(params=pn.available_isas())
def isa(request):
    before = pn.current_isa()
    pn.set_isa(request.param)
    yield
    pn.set_isa(before)


def operands(kind: str, dtype: type, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n = 20_003
    b = (rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3, n)).astype(dtype)
    if kind == "multiples and their neighbours":
        a = (b * rng.integers(-1000, 1000, n)).astype(dtype)
        return np.nextafter(a, (a * rng.choice([0.5, 1.0, 2.0], n)).astype(dtype)), b
    if kind == "of every size":  # the longest quotients that have a fraction among them
        return (rng.normal(size=n) * 10.0 ** rng.uniform(-12, 20 if dtype == np.float64 else 12, n)).astype(dtype), b
    if kind == "decimal fractions":
        return (rng.integers(-500, 500, n) / 10).astype(dtype), (rng.integers(-9, 10, n) / 10).astype(dtype)
    most, least = np.finfo(dtype).max, np.finfo(dtype).tiny
    special = np.array(
        [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 3.5, least, most, np.nextafter(dtype(0), dtype(1))], dtype
    )
    return rng.choice(special, n), rng.choice(special, n)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["multiples and their neighbours", "of every size", "decimal fractions", "special"])
@pytest.mark.parametrize("name", OPS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_has_the_bits_of_numpy(name, kind, dtype):
    ours, theirs = OPS[name]
    a, b = operands(kind, dtype, np.random.default_rng(5))
    got, want = ours(pn.from_numpy(a), pn.from_numpy(b)).numpy(), theirs(a, b)
    same = (got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)
    assert same.all(), [(a[i], b[i], got[i], want[i]) for i in np.flatnonzero(~same)[:3]]


@pytest.mark.usefixtures("isa")
def test_a_result_may_take_the_place_of_an_operand():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=1001) * 1e9, rng.normal(size=1001)
    t = pn.tensor(a)
    t %= pn.from_numpy(b)
    assert (t.numpy() == np.remainder(a, b)).all()
