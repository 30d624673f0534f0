"""The multilayer perceptron: what it computes, how it starts, what it refuses, PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn, optim
from pyneural.models import MLP, initialise

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 7)).astype(np.float32)


def test_layers_and_what_they_compute():
    model = MLP((7, 5, 4, 3), "tanh", "sigmoid")
    assert [type(m).__name__ for m in model.layers] == ["Linear", "Tanh", "Linear", "Tanh", "Linear", "Sigmoid"]
    w0, b0, w1, b1, w2, b2 = (np.asarray(p.detach(), np.float64) for p in model.parameters())
    first = np.tanh(X @ w0.T + b0)
    second = np.tanh(first @ w1.T + b1)
    x = pn.tensor(X)
    np.testing.assert_allclose(np.asarray(model(x).detach()), 1 / (1 + np.exp(-(second @ w2.T + b2))), atol=1e-6)
    np.testing.assert_allclose(np.asarray(model.hidden(x, 0).detach()), first, atol=1e-6)
    np.testing.assert_allclose(np.asarray(model.hidden(x).detach()), second, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(model.hidden(x, -2).detach()), np.asarray(model.hidden(x, 0).detach()))


def test_dropout_stands_after_hidden_layers_only():
    model = MLP((7, 5, 3), ["relu"], dropout=0.5)
    assert [type(m).__name__ for m in model.layers] == ["Linear", "ReLU", "Dropout", "Linear"]
    x = pn.tensor(X)
    assert not np.array_equal(np.asarray(model(x).detach()), np.asarray(model(x).detach()))
    np.testing.assert_array_equal(np.asarray(model.hidden(x).detach()), np.asarray(model.hidden(x).detach()))
    model.eval()
    np.testing.assert_array_equal(np.asarray(model(x).detach()), np.asarray(model(x).detach()))


def test_identity_needs_no_module():
    model = MLP((7, 5, 3), "identity", bias=False, dtype=np.float64)
    assert len(model.layers) == 2
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float64)}
    assert len(list(model.parameters())) == 2


@pytest.mark.parametrize(("activation", "six"), [("relu", 6), ("tanh", 6), ("sigmoid", 2)])
def test_scikit_learn_start(activation, six):
    model = MLP((300, 200, 100), activation, init="sklearn")
    for layer, (n, m) in zip(
        (m for m in model.layers if isinstance(m, nn.Linear)), ((300, 200), (200, 100)), strict=True
    ):
        bound = math.sqrt(six / (n + m))
        for p in layer.parameters():
            values = np.asarray(p.detach())
            assert 0.9 * bound < np.abs(values).max() <= bound
            assert abs(values.mean()) < 0.2 * bound


@pytest.mark.parametrize(
    ("name", "spread"),
    [
        ("xavier_uniform", math.sqrt(2) * math.sqrt(2 / 500)),
        ("xavier_normal", math.sqrt(2) * math.sqrt(2 / 500)),
        ("kaiming_uniform", math.sqrt(2 / 300)),
        ("kaiming_normal", math.sqrt(2 / 300)),
        ("orthogonal", math.sqrt(2) / math.sqrt(300)),
    ],
)
def test_named_starts_have_their_spread_and_no_bias(name, spread):
    model = MLP((300, 200), init=name)  # without a hidden layer there is no activation whose gain could count
    MLP((300, 200, 3), init=name)
    initialise(model, name, "relu")
    weight, bias = (np.asarray(p.detach()) for p in model.parameters())
    assert weight.std() == pytest.approx(spread, rel=0.03)
    assert not bias.any()


def test_a_function_starts_each_layer():
    model = MLP((7, 5, 3), init=lambda layer: nn.init.constant_(layer.weight, layer.in_features))
    assert [float(p.detach()[0, 0]) for p in model.parameters() if p.ndim == 2] == [7, 5]


def test_the_default_start_is_the_layers_own():
    pn.manual_seed(4)
    model = MLP((7, 5, 3))
    pn.manual_seed(4)
    first, second = nn.Linear(7, 5), nn.Linear(5, 3)
    for p, q in zip(model.parameters(), [*first.parameters(), *second.parameters()], strict=True):
        np.testing.assert_array_equal(np.asarray(p.detach()), np.asarray(q.detach()))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MLP((7,)), ValueError, "at least 2 integers"),
        (lambda: MLP((7, 0, 3)), ValueError, "above 0"),
        (lambda: MLP((7, 5, 3), ["relu", "tanh"]), ValueError, "2 activations for 1 hidden"),
        (lambda: MLP((7, 5, 3), "logistc"), ValueError, "unknown activation 'logistc'"),
        (lambda: MLP((7, 5, 3), init="glorot"), ValueError, "unknown init 'glorot'; known are xavier_uniform"),
        (lambda: MLP((7, 5, 3), dropout=1.5), ValueError, "dropout must be a probability"),
        (lambda: MLP((7, 5, 3)).hidden(pn.tensor(X), 1), IndexError, "layer is 1, but there are 1 hidden"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_losses_follow_pytorch():
    """The same weights and batches: 100 steps of Adam, losses equal to 1e-3 relative."""
    torch = pytest.importorskip("torch")
    pn.manual_seed(2)
    model = MLP((7, 16, 8, 3), init="sklearn")
    layers = [torch.nn.Linear(7, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)]
    theirs = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), model.parameters(), strict=True):
            p.copy_(torch.from_numpy(np.array(q.detach())))
    labels = X[:, :3].argmax(axis=1)
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2, weight_decay=1e-4)
    trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-4))
    history = trainer.fit(X, labels, epochs=100, batch_size=60, shuffle=False, progress=False)
    expected = []
    for _ in range(100):
        adam.zero_grad()
        value = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(X)), torch.from_numpy(labels))
        value.backward()
        adam.step()
        expected.append(value.item())
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-3)
