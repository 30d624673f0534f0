"""Every op record, tried in every way that holds for all ops.

Kernel against NumPy reference in float32 and float64, on dense, strided and column-major inputs, with NaN and
infinities, for every instruction set of this CPU; equal bits for 1, 2 and 7 threads; gradient rules against differences
in float64, to second order; refused inputs by message; and no op with only one half.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from samples import Make, converted, is_float, strided, transposed

import pyneural as pn
from pyneural import _engine
from pyneural.autodiff import gradcheck, gradgradcheck
from pyneural.ops.record import RECORDS

ISAS = pn.available_isas()
FUSED = [i for i in ISAS if i != "base"]
records = pytest.mark.parametrize("name", list(RECORDS))


def tensors(args: list) -> list:
    """Arrays as tensors, sequences of arrays as lists of tensors, everything else as it is."""
    return [_tensor(a) for a in args]


def _tensor(a: Any) -> Any:
    if isinstance(a, np.ndarray):
        return pn.from_numpy(a)
    if isinstance(a, (list, tuple)) and any(isinstance(x, np.ndarray) for x in a):
        return [pn.from_numpy(x) for x in a]
    return a


def run(record: Any, args: list) -> list[np.ndarray]:
    """What the op gives; of an op that works in place, what it leaves in the arguments that it writes."""
    with pn.no_grad():
        result = record.function(*tensors(args))
    if in_place(record):
        return [np.array(args[i]) for i in record.function.writes]
    if result is None:  # an op that only checks
        return []
    return [np.array(r) for r in (result if isinstance(result, (tuple, list)) else [result])]


def reference(record: Any, args: list) -> list[np.ndarray]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        result = record.reference(*args)
    return [np.asarray(r) for r in (result if isinstance(result, (tuple, list)) else [result])]


def samples(record: Any) -> list[tuple]:
    """The record's samples, new at every call: ops that work in place change them."""
    return list(record.samples(Make()))


def own(args: Any) -> list:
    """args with arrays of their own for an op to change."""
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def served(record: Any, dtype: Any) -> Any:
    """dtype, if the op takes it; otherwise the test is skipped."""
    if record.dtypes == "float32" and dtype != np.float32:
        pytest.skip("a float32 op")
    return dtype


def in_place(record: Any) -> bool:
    return record.primitive and "in_place" in record.function.flags


def compare(record: Any, got: list[np.ndarray], want: list[np.ndarray], dtype: Any, what: str) -> None:
    assert len(got) == len(want), what
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        assert g.shape == w.shape, f"{what}, output {k}: shape {g.shape}, reference {w.shape}"
        if g.dtype.kind != "f":
            assert np.array_equal(g, w), f"{what}, output {k}"
            continue
        # Casts and random draws are told the dtype of their result; the reference has it then. In place it cannot
        # change.
        told = record.name == "cast" or (record.primitive and "draws" in record.function.flags)
        if not in_place(record):
            assert g.dtype == (w.dtype if told else dtype), f"{what}, output {k}: dtype {g.dtype}"
        w = w.astype(np.float64)
        unit = np.finfo(g.dtype).eps * np.maximum(np.abs(w), 1.0)
        with np.errstate(invalid="ignore"):
            fine = (
                (np.abs(g.astype(np.float64) - w) <= record.tolerance * unit) | (g == w) | (np.isnan(g) & np.isnan(w))
            )
        if not fine.all():
            i = tuple(np.argwhere(~fine)[0])
            raise AssertionError(
                f"{what}, output {k}{list(i)}: {g[i]!r}, reference {w[i]!r}, {(~fine).sum()} of {fine.size} differ"
            )


def test_every_op_has_both_halves() -> None:
    in_table, in_records = set(_engine.op_names()), {n for n, r in RECORDS.items() if r.primitive}
    assert in_table - in_records == set(), "rows of csrc/ops without a record in pyneural/ops"
    assert in_records - in_table == set(), "records in pyneural/ops without a row in csrc/ops"


@records
def test_record_is_complete(name: str) -> None:
    record = RECORDS[name]
    assert samples(record), "no samples"
    assert set(record.formula) == set(record.gradient), "each gradient rule needs its formula and each formula its rule"
    if record.primitive:
        assert set(record.function.inputs) >= set(record.gradient)


@records
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_matches_reference(name: str, dtype: Any) -> None:
    record = RECORDS[name]
    dtype = served(record, dtype)
    for n, args in enumerate(samples(record)):
        args = converted(args, dtype)
        want = reference(record, args)
        forms = [("dense", lambda a: a), ("strided", strided), ("column-major", transposed)]
        if name == "reshape":  # the primitive is a view, which not all strides allow (test_shape_ops.py)
            forms = forms[:1]
        for form, change in forms:
            for isa in ISAS if form == "dense" else ISAS[-1:]:
                pn.set_isa(isa)
                got = run(record, [change(a) for a in own(args)])
                compare(record, got, want, dtype, f"{name}, sample {n}, {form}, {isa}")


@records
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_same_bits_for_threads_and_instruction_sets(name: str, dtype: Any) -> None:
    record = RECORDS[name]
    dtype = served(record, dtype)
    for n, args in enumerate(samples(record)):
        args = converted(args, dtype)
        first: list[bytes] = []
        for isa in FUSED or ISAS[-1:]:
            pn.set_isa(isa)
            for threads in (1, 2, 7):
                pn.set_num_threads(threads)
                bits = [r.tobytes() for r in run(record, own(args))]
                first = first or bits
                assert bits == first, f"{name}, sample {n}: {isa} with {threads} threads gives other bits"


@records
def test_nan_and_infinity(name: str) -> None:
    record = RECORDS[name]
    if "hyper" in record.inputs:
        pytest.skip("an optimiser's state is finite")
    for n, args in enumerate(samples(record)):
        if sum(is_float(a) and a.size > 3 for a in args) == 0:
            continue
        dtype = np.float32 if record.dtypes == "float32" else np.float64
        args = converted(own(args), dtype)
        for k, a in enumerate(args):
            if is_float(a) and a.size > 3:
                a.flat[k], a.flat[-1], a.flat[1 + k] = np.nan, np.inf, -np.inf
        for isa in ISAS:
            pn.set_isa(isa)
            got, want = run(record, own(args)), reference(record, args)
            compare(record, got, want, dtype, f"{name}, sample {n} with NaN and infinities, {isa}")
        return


@records
def test_gradient(name: str) -> None:
    record = RECORDS[name]
    rules = record.gradient if record.primitive else True
    if not rules or not record.differences or in_place(record):
        pytest.skip("no gradient, or none that differences can measure")
    if not any(is_float(a) or isinstance(a, (list, tuple)) for a in samples(record)[0]):
        pytest.skip("no float input")
    for args in samples(record):
        flat = [
            x
            for a in args
            for x in (a if isinstance(a, (list, tuple)) and any(isinstance(y, np.ndarray) for y in a) else [a])
        ]
        if any(isinstance(a, np.ndarray) and a.size > 5000 for a in flat):
            continue

        def f(*values: Any, args: tuple = args) -> Any:
            rest, built = list(values), []
            for a in args:
                if isinstance(a, (list, tuple)) and any(isinstance(y, np.ndarray) for y in a):
                    built.append(rest[: len(a)])
                    rest = rest[len(a) :]
                else:
                    built.append(rest.pop(0))
            return record.function(*built)

        gradcheck(f, flat)
        if sum(a.size for a in flat if isinstance(a, np.ndarray)) < 500:
            gradgradcheck(f, flat, rtol=2e-4, atol=1e-5)


@records
def test_refuses_bad_input(name: str) -> None:
    record = RECORDS[name]
    if record.errors is None:
        pytest.skip("every input of the right type is good")
    for args, exception, pattern in record.errors(Make()):
        with pytest.raises(exception, match=pattern):
            record.function(*tensors(list(args)))


@records
def test_takes_integers(name: str) -> None:
    record = RECORDS[name]
    if record.dtypes != "any":
        pytest.skip("a float op")
    for dtype in (np.int64, np.int32, np.uint8):
        for n, args in enumerate(samples(record)):
            args = [np.abs(np.rint(a * 3)).astype(dtype) + 1 if is_float(a) else a for a in args]
            got, want = run(record, args), reference(record, args)
            for g, w in zip(got, want, strict=True):
                assert g.shape == w.shape
                assert np.array_equal(g, w.astype(g.dtype)), f"{name}, sample {n}, {dtype.__name__}"


@pytest.mark.parametrize("isa", pn.available_isas())
def test_clip_with_crossed_limits_gives_the_upper_one(isa):
    pn.set_isa(isa)
    x = np.linspace(-2, 2, 37, dtype=np.float32)
    np.testing.assert_array_equal(pn.clip(x, 1, 0).numpy(), np.clip(x, 1, 0))


def test_synonyms():
    a, b, v = pn.tensor([[1.0, 2.0], [3.0, 4.0]]), pn.tensor([[0.0, 1.0], [1.0, 0.0]]), pn.tensor([1.0, -1.0])
    an, bn, vn = a.numpy(), b.numpy(), v.numpy()
    pairs = [(a.mm(b), an @ bn), (pn.bmm(a[None], b[None]), (an @ bn)[None]), (a.mv(v), an @ vn), (v.dot(v), vn @ vn),
             (pn.outer(v, v), np.outer(vn, vn)), (pn.addmm(v, a, b, beta=2, alpha=3), 2 * vn + 3 * (an @ bn)),
             (a.subtract(1), an - 1), (a.multiply(2), an * 2), (a.divide(2), an / 2), (v.absolute(), abs(vn)),
             (a.where(a > 2, 0.0), np.where(an > 2, an, 0)), (pn.isclose(a, an), np.ones((2, 2), bool)),
             (a.clone().abs_().sqrt_(), np.sqrt(an)), (v.clone().relu_(), np.maximum(vn, 0)),
             (a.clone().masked_fill_(a > 2, 9.0), np.where(an > 2, 9, an)), (v.clone().pow_(2), vn**2)]  # fmt: skip
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)
    assert a.equal(an)
    assert not a.equal(b)
    assert not a.equal(v)
    assert a.allclose(an + 1e-9)
    assert not pn.allclose(a, b)
    for call in (lambda: a.mm(v), lambda: pn.bmm(a, b), lambda: a.mv(b), lambda: a.dot(v), lambda: pn.outer(a, v),
                 lambda: pn.bmm(pn.ones(2, 3, 4), pn.ones(5, 4, 6))):  # fmt: skip
        with pytest.raises(ValueError, match=r"dimensions|batches"):
            call()
    with pytest.raises(RuntimeError, match="in place"):
        pn.ones(2, requires_grad=True).exp_()
