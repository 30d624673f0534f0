"""Scaled dot-product attention: against PyTorch and plain matrices, masks, dropout, derivatives, replay, memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
from pyneural import functional as F

RNG = np.random.default_rng(0)


def normal(*shape, dtype=np.float64):
    return RNG.standard_normal(shape).astype(dtype)


def qkv(batch=(2, 3), queries=5, keys=7, width=4, values=6, dtype=np.float64):
    return [normal(*batch, *s, dtype=dtype) for s in ((queries, width), (keys, width), (keys, values))]


def tensors(arrays, requires_grad=False):
    return [pn.tensor(a, requires_grad=requires_grad) for a in arrays]


# ---- PyTorch ----

CASES = [
    ((2, 3), 5, 7, 4, 6),
    ((), 1, 1, 1, 1),
    ((4,), 64, 64, 16, 16),
    ((1, 2), 65, 130, 8, 24),
    ((2,), 130, 63, 33, 5),
    ((2, 1, 2), 17, 300, 3, 16),
    ((1,), 200, 600, 16, 16),
]
MASKS = {
    "none": lambda batch, queries, keys: {},
    "causal": lambda batch, queries, keys: {"is_causal": True},
    "bool": lambda batch, queries, keys: {"attn_mask": RNG.random((queries, keys)) < 0.5},
    "float": lambda batch, queries, keys: {"attn_mask": normal(*batch, queries, keys)},
    "keys": lambda batch, queries, keys: {"attn_mask": RNG.random((*batch[:1], *[1] * len(batch), keys)) < 0.7},
    "scale": lambda batch, queries, keys: {"scale": -0.3},
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("sizes", CASES, ids=str)
def test_agrees_with_pytorch(sizes, kind):
    torch = pytest.importorskip("torch")
    batch, queries, keys, _, values = sizes
    arrays = qkv(*sizes)
    options = MASKS[kind](batch, queries, keys)
    ours, theirs = tensors(arrays, True), [torch.tensor(a, requires_grad=True) for a in arrays]
    weight = normal(*batch, queries, values)
    y = F.scaled_dot_product_attention(*ours, **options)
    (y * pn.tensor(weight)).sum().backward()
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    z = torch.nn.functional.scaled_dot_product_attention(*theirs, **options)
    (z * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(y.detach(), z.detach(), rtol=1e-9, atol=1e-10)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-9, atol=1e-10)


def test_groups_of_heads_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    query, (_, key, value) = normal(2, 6, 5, 4), qkv((2, 3))
    for mask in (None, RNG.random((5, 7)) < 0.6, RNG.random((2, 6, 5, 7)) < 0.6, RNG.random((2, 1, 5, 7)) < 0.6):
        y = F.scaled_dot_product_attention(*tensors([query, key, value]), mask, enable_gqa=True)
        z = torch.nn.functional.scaled_dot_product_attention(
            *map(torch.tensor, (query, key, value)), None if mask is None else torch.tensor(mask), enable_gqa=True
        )
        np.testing.assert_allclose(y, z, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="6 heads of query cannot share 4 of key and 4 of value"):
        F.scaled_dot_product_attention(query, normal(2, 4, 7, 4), normal(2, 4, 7, 6), enable_gqa=True)


def test_leading_dimensions_broadcast():
    query, key, value = normal(3, 1, 5, 4), normal(2, 7, 4), normal(1, 1, 7, 6)
    given = tensors([query, key, value], True)
    full = [np.array(np.broadcast_to(x, (3, 2, *x.shape[-2:]))) for x in (query, key, value)]
    y, z = F.scaled_dot_product_attention(*given), F.scaled_dot_product_attention(*tensors(full))
    assert y.shape == (3, 2, 5, 6)
    np.testing.assert_array_equal(y.detach(), z)
    y.sum().backward()
    assert [g.grad.shape for g in given] == [g.shape for g in given]


# ---- masks ----


@pytest.mark.parametrize("sizes", [(5, 7), (64, 64), (70, 200)], ids=str)
@pytest.mark.parametrize("kind", [bool, float])
def test_queries_that_see_nothing_give_zeros(sizes, kind):
    queries, keys = sizes
    seen = RNG.random((2, 1, queries, keys)) < 0.5
    seen[..., 2] = True
    seen[:, :, [0, 3, queries - 1]] = False
    mask = seen if kind is bool else np.where(seen, 0.0, -np.inf)
    given = tensors(qkv((2, 3), queries, keys), True)
    y = F.scaled_dot_product_attention(*given, mask)
    (y * y).sum().backward()
    assert np.isfinite(y.detach().numpy()).all()
    assert not y.detach().numpy()[:, :, [0, 3, queries - 1]].any()
    assert y.detach().numpy()[:, :, 1].all()
    for x in given:
        assert np.isfinite(x.grad.numpy()).all()
    assert not given[0].grad.numpy()[:, :, [0, 3, queries - 1]].any()
    alone = F.scaled_dot_product_attention(*given, np.zeros(keys, bool))
    assert not alone.detach().numpy().any()


def test_no_keys_give_zeros():
    given = tensors(qkv(keys=0), True)
    y = F.scaled_dot_product_attention(*given)
    assert y.shape == (2, 3, 5, 6)
    assert not y.detach().numpy().any()
    y.sum().backward()
    assert not given[0].grad.numpy().any()


def test_a_causal_mask_is_the_triangle():
    for queries, keys in ((5, 7), (130, 70), (64, 200)):
        given = tensors(qkv((2,), queries, keys, dtype=np.float32))
        a = F.scaled_dot_product_attention(*given, is_causal=True)
        b = F.scaled_dot_product_attention(*given, np.tri(queries, keys, dtype=bool))
        np.testing.assert_array_equal(a, b)


def test_long_sequences_are_exact():
    """Scores that grow along the keys, so that the running maximum moves in every tile."""
    query, key, value = qkv((1,), 3, 1000, 4)
    key = key + np.linspace(-40, 60, 1000)[:, None]
    query = abs(query)
    scores = query @ key.swapaxes(-1, -2) / 2
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ value
    np.testing.assert_allclose(F.scaled_dot_product_attention(*tensors([query, key, value])), expected, rtol=1e-12)


# ---- dropout ----


def test_dropout_is_unbiased_and_repeats():
    query, key = normal(2, 3, 70, 8), normal(2, 3, 90, 8)
    value = np.broadcast_to(np.eye(90), (2, 3, 90, 90)).copy()  # the output is the matrix of weights
    given = tensors([query, key, value])
    whole = F.scaled_dot_product_attention(*given).numpy()
    pn.manual_seed(5)
    dropped = F.scaled_dot_product_attention(*given, dropout_p=0.25).numpy()
    pn.manual_seed(5)
    np.testing.assert_array_equal(dropped, F.scaled_dot_product_attention(*given, dropout_p=0.25))
    assert (dropped != F.scaled_dot_product_attention(*given, dropout_p=0.25).numpy()).any()
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], (whole / 0.75)[kept], rtol=1e-12)
    share = kept.mean()
    assert abs(share - 0.75) < 5 * (0.75 * 0.25 / kept.size) ** 0.5
    for axis in (0, 1, 2, 3):  # no head, query or key is favoured
        along = kept.mean(axis=tuple(i for i in range(4) if i != axis))
        assert abs(along - 0.75).max() < 5 * (0.75 * 0.25 * len(along) / kept.size) ** 0.5
    assert not F.scaled_dot_product_attention(*given, dropout_p=1.0).numpy().any()


def test_the_gradient_drops_the_same_weights():
    query, key, value = tensors(qkv((2,), 70, 90), True)
    pn.manual_seed(1)
    y = F.scaled_dot_product_attention(query, key, value, dropout_p=0.4)
    weight = pn.tensor(normal(*y.shape))
    found = pn.grad(lambda v: (F.scaled_dot_product_attention(query, key, v, dropout_p=0.4) * weight).sum())
    pn.manual_seed(1)
    slope = found(value)
    # y is linear in value, so <y, weight> is <value, slope> only if both use one mask.
    assert abs((y * weight).sum().item() - (value * slope).sum().item()) < 1e-9


# ---- derivatives ----


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 1.3}], ids=str)
def test_derivatives_to_second_order(options):
    given = qkv((2,), 3, 4, 3, 2)
    pn.gradcheck(lambda *x: F.scaled_dot_product_attention(*x, **options), given)
    pn.autodiff.gradgradcheck(lambda *x: F.scaled_dot_product_attention(*x, **options), given)


def test_derivatives_of_a_mask_and_of_dropout():
    given, mask = qkv((2,), 3, 4, 3, 2), normal(3, 4)

    def f(*x):
        pn.manual_seed(2)
        return F.scaled_dot_product_attention(*x, dropout_p=0.3)

    pn.gradcheck(f, [*given, mask])
    pn.autodiff.gradgradcheck(f, [*given, mask])


def test_second_derivative_equals_that_of_plain_matrices():
    arrays = qkv((2,), 70, 70, 4, 5)

    def plain(q, k, v):
        return pn.softmax(q @ k.transpose(-2, -1) / 2, -1) @ v

    found = []
    for f in (F.scaled_dot_product_attention, plain):
        given = tensors(arrays, True)
        slopes = pn.autodiff.gradients([(f(*given) ** 2).sum()], given, create_graph=True)
        sum((s * s).sum() for s in slopes).backward()
        found.append([*(s.detach() for s in slopes), *(x.grad for x in given)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


# ---- bits ----


@pytest.mark.parametrize(("mask", "causal", "p"), [(None, False, 0.0), (None, True, 0.2), ("keys", False, 0.1)])
def test_replay_equals_eager(mask, causal, p):
    seen = None if mask is None else np.arange(90) % 3 > 0

    def make():
        rng = np.random.default_rng(1)
        given = tensors([rng.standard_normal((2, n, 3, 8), np.float32) for n in (70, 90, 90)], True)

        def step(scale):
            for x in given:
                x.grad = None
            q, k, v = (x.transpose(1, 2) for x in given)
            y = F.scaled_dot_product_attention(q * scale, k, v, seen, dropout_p=p, is_causal=causal)
            (y * y).sum().backward()
            return y

        return SimpleNamespace(step=step, state=lambda: [x.grad for x in given])

    eager_and_compiled(make, [(np.float32([s]),) for s in (1, 2, 3, 4)])


def test_threads_and_instruction_sets_change_no_bit():
    sets = [i for i in pn.available_isas() if i != "base"]
    arrays = [normal(1, 2, n, 12, dtype=np.float32) for n in (300, 1200, 1200)]
    bits = set()
    for name, n in itertools.product(sets or pn.available_isas(), (1, 2, 7)):
        pn.set_isa(name)
        pn.set_num_threads(n)
        pn.manual_seed(3)
        given = tensors(arrays, True)
        y = F.scaled_dot_product_attention(*given, dropout_p=0.1)
        (y * y).sum().backward()
        bits.add(b"".join(np.asarray(a).tobytes() for a in (y.detach(), *(x.grad for x in given))))
    assert len(bits) == 1


# ---- memory ----


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_no_buffer_is_quadratic_in_the_length():
    """A sequence of 8,192 has 268 MB of scores; forward and backward take less than a tenth of that."""
    program = """
import re
import numpy as np
import pyneural as pn

def attend(n):
    given = [pn.tensor(np.ones((1, n, 8), np.float32), requires_grad=True) for _ in range(3)]
    y = pn.functional.scaled_dot_product_attention(*given, is_causal=True, dropout_p=0.1)
    y.backward(pn.ones(1, n, 8))

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])

attend(64)
first = peak()
attend(8192)
second = peak()
scores = pn.ones(8192, 1024)  # an eighth of them is seen
print(second - first, peak() - second)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) < 8192**2 * 4 / 10
    assert int(out[1]) > 8192**2 * 4 / 10


# ---- errors ----


def test_errors():
    q, k, v = tensors(qkv())
    with pytest.raises(ValueError, match="attn_mask or is_causal, not both"):
        F.scaled_dot_product_attention(q, k, v, np.ones((5, 7), bool), is_causal=True)
    with pytest.raises(TypeError, match="the mask is int64 but must be bool or float"):
        F.scaled_dot_product_attention(q, k, v, np.ones((5, 7), np.int64))
    with pytest.raises(ValueError, match=r"do not broadcast: query is \(2, 3, 5, 4\), key \(4, 3, 7, 4\)"):
        F.scaled_dot_product_attention(q, pn.zeros(4, 3, 7, 4, dtype=np.float64), v)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        F.scaled_dot_product_attention(q[0, 0, 0], k, v)
    with pytest.raises(ValueError, match="probability"):
        F.scaled_dot_product_attention(q, k, v, dropout_p=1.5)
    with pytest.raises(ValueError, match="one last size"):
        F.scaled_dot_product_attention(q[..., :3], k, v)
    with pytest.raises(ValueError, match="broadcast to the scores"):
        F.scaled_dot_product_attention(q, k, v, np.ones((5, 6), bool))
