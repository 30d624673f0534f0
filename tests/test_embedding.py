"""Embeddings: PyTorch over all arguments, second derivatives, replay, errors."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim

RNG = np.random.default_rng(0)


def close(a, b, what=""):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-10, atol=1e-12, err_msg=str(what))


def compare(name, args, calls, **settings):
    """A layer of both libraries with the same weight: results, the gradient, and the weight, which max_norm changes."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*args, **settings).double()
    ours = getattr(nn, name)(*args, **settings).to(np.float64)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: v.numpy().copy() for k, v in theirs.state_dict().items()})
    y = theirs(*[torch.from_numpy(c) if isinstance(c, np.ndarray) else c for c in calls])
    z = ours(*[pn.from_numpy(c) if isinstance(c, np.ndarray) else c for c in calls])
    close(z.detach(), y.detach(), settings)
    g = RNG.normal(size=z.shape)
    y.backward(torch.from_numpy(g))
    z.backward(pn.from_numpy(g))
    close(ours.weight.grad, theirs.weight.grad, settings)
    close(ours.weight.detach(), theirs.weight.detach(), settings)


def test_embedding_matches_torch():
    several = itertools.product((None, 2, -1, 0), (None, 1.3), (2.0, 1.0, 3.0), (False, True))
    for padding, most, norm, by_frequency in several:
        for index in (RNG.integers(0, 6, (4, 5)), RNG.integers(0, 6, (9,)), RNG.integers(0, 6, (2, 3, 2))):
            compare("Embedding", (6, 7), (index,), padding_idx=padding, max_norm=most, norm_type=norm,
                    scale_grad_by_freq=by_frequency)  # fmt: skip


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag_matches_torch(mode):
    for padding, most in itertools.product((None, 2), (None, 1.3)):
        settings = {"mode": mode, "max_norm": most, "padding_idx": padding}
        compare("EmbeddingBag", (6, 7), (RNG.integers(0, 6, (4, 5)),), **settings)
        index = RNG.integers(0, 6, (11,))
        compare("EmbeddingBag", (6, 7), (index, np.array([0, 3, 3, 7])), **settings)
        compare("EmbeddingBag", (6, 7), (index, np.array([0, 0, 5, 11])), **settings)
        compare("EmbeddingBag", (6, 7), (index, np.array([0, 4, 4, 11])), include_last_offset=True, **settings)
        compare("EmbeddingBag", (6, 7), (np.full((2, 3), 2),), **settings)
        if mode == "sum":
            compare("EmbeddingBag", (6, 7), (index, np.array([0, 4]), RNG.normal(size=11)), **settings)
            shape = (3, 4)
            compare("EmbeddingBag", (6, 7), (RNG.integers(0, 6, shape), None, RNG.normal(size=shape)), **settings)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_scale_gradients_by_frequency(mode):
    """As rows of an embedding that are added up; the gradient of PyTorch's own bags divides by counts of other rows."""
    torch = pytest.importorskip("torch")
    table, index = RNG.normal(size=(6, 3)), RNG.integers(0, 6, (4, 5))
    a, b = torch.from_numpy(table.copy()).requires_grad_(), pn.from_numpy(table.copy()).requires_grad_()
    rows = torch.nn.functional.embedding(torch.from_numpy(index), a, scale_grad_by_freq=True)
    getattr(rows, mode)(1).pow(2).sum().backward()
    (F.embedding_bag(index, b, mode=mode, scale_grad_by_freq=True) ** 2).sum().backward()
    close(b.grad, a.grad)


def test_per_sample_weights_have_a_gradient():
    torch = pytest.importorskip("torch")
    table, index, p = RNG.normal(size=(6, 3)), RNG.integers(0, 6, (2, 4)), RNG.normal(size=(2, 4))
    a, b = torch.from_numpy(p.copy()).requires_grad_(), pn.from_numpy(p.copy()).requires_grad_()
    torch.nn.functional.embedding_bag(
        torch.from_numpy(index), torch.from_numpy(table), mode="sum", per_sample_weights=a
    ).pow(2).sum().backward()
    (F.embedding_bag(index, table, mode="sum", per_sample_weights=b) ** 2).sum().backward()
    close(b.grad, a.grad)


def test_padding_row_starts_at_zero_and_stays():
    pn.manual_seed(0)
    layer = nn.Embedding(5, 3, padding_idx=-2)
    assert layer.padding_idx == 3
    assert not layer.weight[3].detach().numpy().any()
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    (layer(pn.tensor([3, 1, 3])) ** 2).sum().backward()
    optimizer.step()
    assert not layer.weight[3].detach().numpy().any()
    drawn = nn.Embedding(2000, 50).weight.detach().numpy()
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02


def test_from_pretrained():
    table = RNG.normal(size=(4, 3)).astype(np.float32)
    layer = nn.Embedding.from_pretrained(table, padding_idx=1)
    assert not layer.weight.requires_grad
    np.testing.assert_array_equal(layer(pn.tensor([2, 0])), table[[2, 0]])
    assert nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum").weight.requires_grad
    with pytest.raises(ValueError, match="Embedding: embeddings must have 2 dimensions"):
        nn.Embedding.from_pretrained(np.zeros(3))


def test_second_derivatives():
    index = np.array([1, 0, 1, 2])
    table = pn.from_numpy(RNG.normal(size=(3, 2)))
    hessian = np.asarray(pn.hessian(lambda w: (F.embedding(index, w) ** 3).sum())(table)).reshape(6, 6)
    close(hessian, np.diag((6 * table.numpy() * np.array([[1], [2], [1]])).ravel()))


@pytest.mark.parametrize("settings", [{}, {"padding_idx": 1, "scale_grad_by_freq": True}, {"max_norm": 1.0}])
def test_replayed_step_has_the_same_bits(settings):
    def make():
        words, bags = nn.Embedding(9, 4, **settings), nn.EmbeddingBag(9, 4, mode="mean", **settings)
        most = nn.EmbeddingBag(9, 4, mode="max", include_last_offset=True)
        parameters = [p for layer in (words, bags, most) for p in layer.parameters()]
        optimizer = optim.SGD(parameters, lr=0.1)

        def step(x, flat, offsets):
            optimizer.zero_grad()
            loss = (words(x) ** 2).sum() + (bags(x) ** 3).sum() + (bags(flat, offsets) ** 2).sum()
            loss = loss + (most(flat, offsets) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return SimpleNamespace(step=step, state=lambda: parameters)

    def inputs():
        return RNG.integers(0, 9, (5, 3)), RNG.integers(0, 9, (8,)), np.sort(np.r_[0, RNG.integers(0, 8, 2)])

    eager_and_compiled(make, [inputs() for _ in range(5)])


def test_a_replayed_step_refuses_a_wrong_number():
    layer = nn.Embedding(4, 2)
    look_up = pn.compile(lambda x: layer(x).sum())
    look_up(pn.tensor([0, 3]))
    look_up(pn.tensor([1, 3]))
    with pytest.raises(IndexError, match="embedding: index 4 is out of range"):
        look_up(pn.tensor([1, 4]))


def test_a_wrong_number_changes_nothing():
    layer = nn.Embedding(4, 2, max_norm=0.1)
    before = layer.weight.detach().numpy().copy()
    with pytest.raises(IndexError, match="index 4 is out of range"):
        layer(pn.tensor([0, 4]))
    np.testing.assert_array_equal(layer.weight.detach(), before)


def test_bad_arguments_are_named():
    table, index = pn.zeros((4, 3)), np.array([1, 2])
    for call, message in (
        (lambda: nn.Embedding(4, 3, padding_idx=4), "Embedding: padding_idx is 4 but must lie between -4 and 3"),
        (lambda: nn.Embedding(4, 3, sparse=True), "Embedding: sparse gradients do not exist here"),
        (lambda: nn.Embedding(-1, 3), "Embedding: num_embeddings must be an integer of at least 0"),
        (lambda: nn.Embedding(4, 3, _weight=pn.zeros((3, 3))), r"weight has shape \(3, 3\) but must have \(4, 3\)"),
        (lambda: nn.EmbeddingBag(4, 3, mode="median"), "EmbeddingBag: mode is 'median' but must be"),
        (lambda: F.embedding(index, table, sparse=True), "embedding: sparse gradients do not exist here"),
        (lambda: F.embedding(index, pn.zeros(3)), "embedding: weight must have 2 dimensions"),
        (lambda: F.embedding_bag(index, table), r"embedding_bag: x must be a matrix, .* without offsets"),
        (lambda: F.embedding_bag(index[None], table, [0]), r"shape \(1, 2\) with offsets"),
        (lambda: F.embedding_bag(index[None], table, mode="median"), "embedding_bag: mode is 'median' but must"),
        (lambda: F.embedding_bag(index, table, [[0]]), r"a vector of at least 0 entries, got shape \(1, 1\)"),
        (lambda: F.embedding_bag(index[None], table, per_sample_weights=pn.ones((1, 2))), "are for mode 'sum'"),
        (lambda: F.embedding_bag(index[None], table, mode="max", scale_grad_by_freq=True), "modes 'sum' and 'mean'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(IndexError, match="embedding: index -1 is out of range"):
        F.embedding([-1], table)
    with pytest.raises(TypeError, match="embedding: index is float32 but must hold integers"):
        F.embedding(pn.zeros(2), table)
