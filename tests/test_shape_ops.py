"""Shape ops beyond what every op record is tried for: memory shared by views, PyTorch's argument forms, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pyneural as pn
from pyneural import functional as F
from pyneural.autodiff import gradcheck
from pyneural.ops.shape import axis_of

RNG = np.random.default_rng(0)


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def shares(a: pn.Tensor, b: pn.Tensor) -> bool:
    return np.shares_memory(np.asarray(a), np.asarray(b))


VIEWS = {
    "reshape": lambda x: x.reshape(6, 4),
    "view": lambda x: x.view(-1),
    "permute": lambda x: x.permute(2, 0, 1),
    "transpose": lambda x: x.transpose(0, -1),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, -1)),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(1, -1),
    "split": lambda x: x.split(2, 1)[1],
    "chunk": lambda x: x.chunk(2, 2)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "flip": lambda x: x.flip((0, 2)),
    "movedim": lambda x: x.movedim(0, -1),
    "broadcast_to": lambda x: x.broadcast_to((5, 2, 3, 4)),
    "getitem": lambda x: x[::-1, 1:, None, ::2],
}


@pytest.mark.parametrize("name", list(VIEWS))
def test_view_shares_memory_and_passes_gradients(name: str) -> None:
    x = pn.from_numpy(values(2, 3, 4))
    y = VIEWS[name](x)
    assert shares(x, y)
    before = y.numpy().copy()
    x.mul_(2.0)
    assert np.array_equal(y.numpy(), 2 * before)
    gradcheck(VIEWS[name], [x.numpy()])


def test_view_of_what_has_no_view() -> None:
    x = pn.from_numpy(values(3, 4)).t()
    with pytest.raises(ValueError, match=r"view: x of shape \(4, 3\) .* no view of shape \(12,\) exists; use reshape"):
        x.view(12)
    y = x.reshape(12)
    assert not shares(x, y)
    assert np.array_equal(y.numpy(), x.numpy().reshape(12))


@given(st.data())
def test_reshape_views_wherever_numpy_does(data: Any) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
    array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    array = array.transpose(data.draw(st.permutations(range(array.ndim))))
    if array.ndim and data.draw(st.booleans()):
        array = array[:: data.draw(st.sampled_from([1, 2, -1]))]
    rest, new = array.size, []
    for p in (2, 3, 2, 3):
        if rest and rest % p == 0 and data.draw(st.booleans()):
            new.append(p)
            rest //= p
    new.insert(data.draw(st.integers(0, len(new))), rest)
    want = array.reshape(new)
    got = pn.from_numpy(array).reshape(new)
    assert np.array_equal(got.numpy(), want)
    if array.size > 1:
        assert shares(pn.from_numpy(array), got) == np.shares_memory(array, want)


def test_errors_name_the_op_and_the_shapes() -> None:
    x = pn.zeros(2, 3)
    for call, error, message in [
        (lambda: x.reshape(4, 2), ValueError, r"reshape: x of shape \(2, 3\) has 6 elements .* the shape \(4, 2\)"),
        (lambda: x.transpose(0, 2), IndexError, r"transpose: dim 2 is out of range for shape \(2, 3\)"),
        (lambda: x.movedim((0, 1), 0), ValueError, "movedim: source"),
        (lambda: x.flatten(1, 0), ValueError, "flatten: start_dim 1 lies behind end_dim 0"),
        (lambda: x.unflatten(1, (2, 2)), ValueError, "unflatten: sizes"),
        (lambda: x.narrow(1, 2, 2), IndexError, r"narrow: 2 indices from 2 on leave dim 1 of shape \(2, 3\)"),
        (lambda: x.select(0, 2), IndexError, "select: index 2 is out of range for dim 0 of size 2"),
        (lambda: x.split([1, 1], 1), ValueError, "split: sizes"),
        (lambda: x.split(0), ValueError, "at least 1"),
        (lambda: x.chunk(0), ValueError, "at least 1"),
        (lambda: x.unsqueeze(4), IndexError, "unsqueeze: dim 4"),
        (lambda: pn.zeros(2, 2, 2).t(), ValueError, "t: x has shape"),
        (lambda: pn.stack([x, pn.zeros(3)]), ValueError, r"stack: tensor 1 of shape \(3,\) differs from tensor 0"),
        (lambda: pn.stack([]), ValueError, "at least one"),
        (lambda: pn.cat([x, pn.zeros(2)]), ValueError, r"tensor 1 of shape \(2,\) does not fit"),
        (lambda: x.repeat_interleave([1, 2, 3], 0), ValueError, "repeat_interleave"),
        (lambda: x.reshape(1, 1, 1, 1, 1, 1, 1, 2, 3), ValueError, "at most 8"),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_joins_and_parts_match_numpy() -> None:
    a, b = values(2, 3), values(2, 3)
    x, y = pn.from_numpy(a), pn.from_numpy(b)
    for dim in (0, 1, -1):
        assert np.array_equal(pn.cat([x, y], dim).numpy(), np.concatenate([a, b], dim))
        assert np.array_equal(pn.concatenate([x, y], axis=dim).numpy(), np.concatenate([a, b], dim))
    for dim in (0, 1, 2, -1):
        assert np.array_equal(pn.stack([x, y], dim).numpy(), np.stack([a, b], dim))
    wide = values(7, 4)
    parts = pn.from_numpy(wide).split(3)
    assert [p.shape for p in parts] == [(3, 4), (3, 4), (1, 4)]
    assert np.array_equal(pn.cat(parts).numpy(), wide)
    assert [p.shape[1] for p in pn.from_numpy(wide).split([1, 0, 3], dim=1)] == [1, 0, 3]
    assert [p.shape[0] for p in pn.from_numpy(wide).chunk(3)] == [3, 3, 1]
    assert pn.cat([pn.ones(2, dtype=np.int64), pn.ones(1)]).dtype == np.float32
    gradcheck(lambda p, q: pn.cat([p, q, p], 1), [a, b])
    gradcheck(lambda p, q: pn.stack([p, q], 1), [a, b])


def test_pytorch_agrees() -> None:
    torch = pytest.importorskip("torch")
    a = values(2, 3, 4).astype(np.float32)
    x, y = pn.from_numpy(a), torch.from_numpy(a)
    for call in [
        lambda m, t: t.repeat(2, 1, 3, 1),
        lambda m, t: m.tile(t, (2, 2)),
        lambda m, t: t.repeat_interleave(3, dim=1),
        lambda m, t: m.roll(t, (1, -2), (0, 2)),
        lambda m, t: t.unflatten(2, (2, 2)).flatten(0, 2),
        lambda m, t: m.diagonal(t, 1, 1, 2),
        lambda m, t: m.tril(t, -1),
        lambda m, t: m.triu(t, 1),
        lambda m, t: m.movedim(t, (0, 1), (2, 0)),
        lambda m, t: m.swapaxes(t, 0, 2),
        lambda m, t: t[0].diag(1),
        lambda m, t: m.squeeze(t[:, :1, :1], 1),
    ]:
        assert np.array_equal(call(pn, x).numpy(), call(torch, y).numpy())
    pads = [(1, 2), (1, 2, 0, 1), (2, 1), (3, 1), (1, 2)]
    for pad, mode in zip(pads, ["constant", "constant", "reflect", "replicate", "circular"], strict=True):
        want = torch.nn.functional.pad(y, pad, mode=mode).numpy()
        assert np.array_equal(pn.pad(x, pad, mode=mode).numpy(), want)
        assert np.array_equal(F.pad(x, pad, mode=mode).numpy(), want)


def test_large_copies_are_the_same_with_threads() -> None:
    a = values(700, 900).astype(np.float32)
    x = pn.from_numpy(a)
    for threads in (1, 2, 7):
        pn.set_num_threads(threads)
        assert np.array_equal(x.t().contiguous().numpy(), a.T)
        assert np.array_equal(pn.cat([x.flip(0), x], 1).numpy(), np.concatenate([a[::-1], a], 1))
        framed = np.pad(a, ((3, 4), (1, 2)), constant_values=2)
        assert np.array_equal(pn.pad(x, (1, 2, 3, 4), value=2.0).numpy(), framed)


def test_contiguous_and_clone() -> None:
    x = pn.from_numpy(values(3, 4))
    assert x.contiguous() is x
    assert x.t().contiguous().is_contiguous()
    assert not shares(x, x.clone())


def test_axis_of() -> None:
    assert axis_of("f", -1, 3, (1, 2, 3)) == 2
    with pytest.raises(IndexError, match=r"f: dim 3 is out of range for shape \(1, 2, 3\) \(use -3 to 2\)"):
        axis_of("f", 3, 3, (1, 2, 3))


def test_flip_takes_dimensions_one_by_one():
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(pn.tensor(x).flip(0, 1).numpy(), x[::-1, ::-1])
    np.testing.assert_array_equal(pn.tensor(x).flip((0, 1)).numpy(), x[::-1, ::-1])
