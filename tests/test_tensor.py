"""The tensor: memory shared with NumPy, dtypes, promotion, writes in place, and what it refuses."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest

import pyneural as pn


def test_from_numpy_shares_memory_both_ways():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = pn.from_numpy(a)
    a[0, 0] = 7
    assert t[0, 0].item() == 7
    np.asarray(t)[1, 2] = -1
    assert a[1, 2] == -1
    assert np.shares_memory(np.asarray(t), a)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: a[:, ::2],
        lambda a: a[1:, -1::-2],
        lambda a: a[None],
        lambda a: a[0, 0, None],
    ],
)
def test_any_strides_are_taken_as_they_are(view):
    a = np.arange(24, dtype=np.float64).reshape(4, 6)
    v = view(a)
    t = pn.from_numpy(v)
    assert np.shares_memory(np.asarray(t), a)
    assert np.array_equal(np.asarray(t), v)
    assert np.array_equal(np.asarray(t + 1), v + 1)


def test_memory_outlives_either_side():
    t = pn.from_numpy(np.full(1000, 3.0))
    gc.collect()
    assert t.sum().item() == 3000
    a = np.asarray(pn.tensor(np.full(1000, 2.0)) * 2)
    gc.collect()
    assert a.sum() == 4000


def test_read_only_memory_is_readable_and_not_writable():
    a = np.zeros(3)
    a.flags.writeable = False
    t = pn.from_numpy(a)
    assert not np.asarray(t).flags.writeable
    assert (t + 1).sum().item() == 3
    with pytest.raises(ValueError, match="read-only"):
        t.add_(1)
    with pytest.raises(ValueError, match="read-only"):
        t[0] = 1


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"])
def test_dtypes_round_trip(dtype):
    a = np.array([0, 1, 1], dtype)
    t = pn.tensor(a)
    assert t.dtype == np.dtype(dtype)
    assert np.array_equal(np.asarray(t), a)
    assert t.tolist() == a.tolist()


def test_default_dtypes():
    assert pn.tensor([1.0, 2.0]).dtype == np.float32
    assert pn.tensor(1.5).dtype == np.float32
    assert pn.tensor([1, 2]).dtype == np.int64
    assert pn.tensor(True).dtype == np.bool_
    assert pn.tensor(np.ones(2)).dtype == np.float64
    assert pn.zeros(2).dtype == np.float32
    assert pn.arange(3).dtype == np.int64
    assert pn.arange(0.0, 1.0, 0.5).dtype == np.float32


def test_promotion_is_by_kind_first():
    f4, f8, i8, b = pn.ones(2), pn.ones(2, dtype=np.float64), pn.ones(2, dtype=np.int64), pn.ones(2, dtype=np.bool_)
    assert (f4 + f8).dtype == np.float64
    assert (f4 * i8).dtype == np.float32
    assert (i8 / i8).dtype == np.float32
    assert (i8 + b).dtype == np.int64
    assert (b + b).dtype == np.bool_
    assert (b * b).tolist() == [True, True]
    assert (f4 * 0.1).dtype == np.float32
    assert (f4 * np.float64(0.1)).dtype == np.float32
    assert (f4 * pn.tensor(np.float64(0.1))).dtype == np.float32
    assert (i8 * 0.5).dtype == np.float32
    assert (f8 * 0.1)[0].item() == 0.1
    assert (f4 == f8).dtype == np.bool_


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, np.float16), "float16 is not supported"),
        (np.zeros(2, np.complex64), "complex64 is not supported"),
        (np.zeros(2, ">f4"), "byte order"),
        (np.zeros((1,) * 9), "9 dimensions"),
        ([1, 2], "NumPy array"),
        (
            np.zeros(3, [("a", "f4"), ("b", "i2")])["a"],
            r"from_numpy: strides \(6,\) are not multiples of the item size 4",
        ),
    ],
)
def test_from_numpy_refuses(value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        pn.from_numpy(value)


@pytest.mark.parametrize("value", ["text", [1, "a"], object(), {1: 2}, [[1, 2], [3]]])
def test_tensor_refuses_what_is_no_number(value):
    with pytest.raises(TypeError, match="tensor"):
        pn.tensor(value)


def test_misaligned_memory_is_refused():
    raw = np.zeros(17, np.uint8)
    odd = raw[1:].view(np.float32)
    with pytest.raises(TypeError, match="aligned"):
        pn.from_numpy(odd)


def test_item_and_truth():
    assert pn.tensor([[2.5]]).item() == 2.5
    assert float(pn.tensor(3)) == 3.0
    assert int(pn.tensor(3.7)) == 3
    assert [10, 20, 30][pn.tensor(1)] == 20
    assert bool(pn.tensor(1.0))
    assert not pn.tensor([0])
    with pytest.raises(ValueError, match=r"2 elements \(shape \(2,\)\)"):
        pn.ones(2).item()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(pn.ones(2))
    with pytest.raises(TypeError, match="integer tensor"):
        [1, 2][pn.tensor(1.0)]


def test_writes_in_place_change_every_view():
    base = pn.zeros(2, 3)
    row = base[1]
    row += 2
    row *= 3
    base[0, 1:] = pn.tensor([4, 5])
    assert base.tolist() == [[0, 4, 5], [6, 6, 6]]
    base.fill_(1).sub_(0.5).div_(2).clamp_(max=0.2)
    assert np.allclose(np.asarray(row), 0.2)
    with pytest.raises(ValueError, match=r"shape \(4,\) does not fit into shape \(2, 3\)"):
        base.copy_(pn.ones(4))


def test_overlapping_copies_read_before_they_write():
    t = pn.arange(6)
    t[1:] = t[:-1]
    assert t.tolist() == [0, 0, 1, 2, 3, 4]
    a = np.arange(6)
    pn.from_numpy(a[1:]).copy_(pn.from_numpy(a[:-1]))
    assert a.tolist() == [0, 0, 1, 2, 3, 4]


def test_float_to_integer_saturates():
    t = pn.tensor(np.array([1.9, -1.9, np.nan, np.inf, -np.inf, 300.0]))
    assert t.to(np.uint8).tolist() == [1, 0, 0, 255, 0, 255]
    assert t.to(np.int64).tolist()[:3] == [1, -1, 0]
    assert t.long().tolist()[3:5] == [np.iinfo(np.int64).max, np.iinfo(np.int64).min]


def test_copies_and_pickles_are_independent():
    t = pn.tensor([1.0, 2.0], requires_grad=True)
    t.sum().backward()
    for twin in (copy.deepcopy(t), pickle.loads(pickle.dumps(t)), t.clone().detach()):
        assert np.array_equal(np.asarray(twin), np.asarray(t))
        assert not np.shares_memory(np.asarray(twin), np.asarray(t))
    assert copy.deepcopy(t).requires_grad
    assert np.array_equal(np.asarray(copy.deepcopy(t).grad), [1, 1])
    with pytest.raises(RuntimeError, match="clone"):
        copy.deepcopy(t * 2)


def test_numpy_on_the_left_gives_a_tensor():
    t = pn.ones(2, requires_grad=True)
    y = np.array([2.0, 3.0], np.float32) * t
    assert isinstance(y, pn.Tensor)
    assert y.requires_grad
    assert (np.float32(2) - t).tolist() == [1, 1]


def test_repr_shows_values_dtype_and_tape():
    assert repr(pn.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert "dtype=float64" in repr(pn.ones(1, dtype=np.float64))
    assert "requires_grad=True" in repr(pn.ones(1, requires_grad=True))
    assert "grad_fn=<mul" in repr(pn.ones(1, requires_grad=True) * 2)
    assert f"{pn.tensor(0.12345):.2f}" == "0.12"


REFUSED = [
    (
        lambda: pn.zeros(2).to(np.float16),
        TypeError,
        "dtype float16 is not supported; use one of bool, uint8, int8, int16",
    ),
    (lambda: len(pn.tensor(1.0)), TypeError, r"len\(\) of a 0-d tensor"),
    (lambda: list(pn.tensor(1.0)), TypeError, r"a 0-d tensor cannot be iterated over; use item\(\)"),
    (lambda: setattr(pn.ones(2), "grad", np.ones(2)), TypeError, "grad: must be a Tensor or None, not ndarray"),
    (lambda: (pn.ones(2, requires_grad=True) * 2)._share(pn.ones(2)), RuntimeError, "cannot be given other memory"),
    (
        lambda: pn.ones(2).__array__(np.float64, copy=False),
        ValueError,
        "a float32 tensor cannot be seen as float64 without",
    ),
    (lambda: pow(pn.ones(2), 2, 3), TypeError, "pow: a third argument is not supported"),
    (
        lambda: pn.ones(2).copy_(pn.ones(2, requires_grad=True)),
        RuntimeError,
        "writing a tensor that requires a gradient into",
    ),
    (lambda: (pn.ones(2, requires_grad=True) * 2).retain_grad(), RuntimeError, "retain_grad: only leaves keep .grad"),
    (
        lambda: -pn.tensor([True]),
        TypeError,
        "neg: bool tensors have no neg; use logical_not or logical_xor, or convert them",
    ),
    (lambda: pn.tensor(1.0).expand(2**31, 2**31).contiguous(), ValueError, "is larger than any memory"),
    (lambda: pn.tensor(1.0).expand(2**40, 2**30), ValueError, "has more elements than can be counted"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_none_is_refused_by_name():
    with pytest.raises(TypeError, match="add: b is None"):
        pn.add(pn.ones(2), None)
    with pytest.raises(TypeError, match="linear: weight is None"):
        pn.linear(pn.ones(2, 3), None)


def test_too_large_shapes_are_refused():
    with pytest.raises((ValueError, MemoryError)):
        pn.tensor(1.0).expand(2**40, 2**30).contiguous()


def test_constructor_makes_float32_as_in_pytorch():
    assert pn.Tensor([1, 2]).tolist() == [1.0, 2.0]
    assert pn.Tensor([1, 2]).dtype == np.float32
    assert pn.Tensor(2, 3).shape == (2, 3)
    assert pn.Tensor().shape == (0,)
    assert type("Mine", (pn.Tensor,), {})([3.0]).tolist() == [3.0]
    with pytest.raises(TypeError, match="Tensor: takes data or sizes"):
        pn.Tensor([1], [2])


@pytest.mark.parametrize(
    "change", [lambda t: t.div_(2), lambda t: t.add_(1.5), lambda t: t.mul_(0.5), lambda t: t.clamp_(0.5)]
)
def test_an_integer_tensor_does_not_lose_fractions_in_place(change):
    t = pn.tensor([1, 2])
    with pytest.raises(TypeError, match="which a tensor of int64 cannot hold"):
        change(t)
    assert t.tolist() == [1, 2]
    assert t.add_(3).tolist() == [4, 5]


def test_bit_operators_are_for_masks():
    mask = pn.tensor([True, False])
    assert (mask & True).tolist() == [True, False]
    assert (~mask).tolist() == [False, True]
    assert (mask | ~mask).tolist() == [True, True]
    assert (mask ^ mask).tolist() == [False, False]
    for f in (
        lambda: pn.tensor([5, 3]) & 1,
        lambda: mask | pn.tensor([1, 0]),
        lambda: 1 ^ mask,
        lambda: ~pn.tensor([5]),
    ):
        with pytest.raises(TypeError, match="works on bool tensors"):
            f()


def test_comparison_with_none_and_text_is_by_identity():
    t = pn.tensor([1.0, 2.0])
    assert (t is None) is False
    assert (t is not None) is True
    assert (t == "a") is False
    assert t not in (None, "a")


def test_conversion_wants_a_dtype():
    t = pn.ones(2)
    with pytest.raises(TypeError, match="dtype is None"):
        t.to(None)
    assert t.to("cpu") is t
    assert t.to(pn.ones(1, dtype=np.float64)).dtype == np.float64
    with pytest.raises(ValueError, match="no device 'cuda:0'"):
        t.to("cuda:0")
    with pytest.raises(ValueError, match="to the power -1 is no integer"):
        pn.tensor([1, 2]) ** -1


def test_shapes_consist_of_integers():
    with pytest.raises(TypeError, match=r"zeros: size is 2\.5 but must be an integer"):
        pn.zeros(2.5)
    assert pn.zeros(np.int32(2), pn.tensor(3)).shape == (2, 3)


def test_pytorchs_attributes_and_makers():
    x = pn.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=np.float64)
    assert (x.device, x.nbytes, x.element_size(), x.stride(), x.stride(0)) == ("cpu", 32, 8, (2, 1), 2)
    assert x.is_floating_point()
    assert pn.is_tensor(x)
    assert not pn.is_tensor(x.numpy())
    assert (
        x.new_zeros(2).dtype
        == x.new_ones((2,)).dtype
        == x.new_full((1,), 3).dtype
        == x.new_tensor([1]).dtype
        == x.dtype
    )
    assert pn.ones(1).type_as(x).dtype == x.dtype
    assert pn.empty_like(x).shape == pn.rand_like(x).shape == (2, 2)
    w = pn.ones(2, requires_grad=True)
    w.data -= 0.5
    w.data = w.data * 2
    assert w.requires_grad
    assert w.tolist() == [1.0, 1.0]
    assert not w.data.requires_grad
    with pytest.raises(TypeError, match="only float tensors"):
        w.data = pn.tensor([1, 2])


def test_the_number_of_threads_is_at_least_one():
    before = pn.get_num_threads()
    for count in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            pn.set_num_threads(count)
    assert pn.get_num_threads() == before
