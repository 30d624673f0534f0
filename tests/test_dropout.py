"""Dropout layers: what they drop, the gradient's mask, PyTorch's values, replay, errors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn

SHAPES = {"Dropout": (4, 5, 6), "AlphaDropout": (4, 5, 6), "Dropout1d": (40, 30, 7), "Dropout2d": (40, 30, 3, 4),
          "Dropout3d": (40, 30, 2, 3, 2), "FeatureAlphaDropout": (40, 30, 3, 4)}  # fmt: skip
layers = pytest.mark.parametrize("name", list(SHAPES))


@layers
def test_the_gradient_has_the_mask_of_the_values(name):
    pn.manual_seed(0)
    x = pn.ones(SHAPES[name], requires_grad=True)
    y = getattr(nn, name)(0.3)(x)
    y.sum().backward()
    kept = y.detach().numpy() == y.detach().numpy().max()
    assert 0.6 < kept.mean() < 0.8
    assert np.array_equal(x.grad.numpy() != 0, kept)
    assert len(np.unique(x.grad.numpy())) == 2


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"])
def test_whole_channels_are_dropped(name):
    pn.manual_seed(1)
    y = getattr(nn, name)(0.5)(pn.ones(SHAPES[name])).numpy()
    by_channel = y.reshape(*y.shape[:2], -1)
    assert (by_channel == by_channel[:, :, :1]).all()
    assert abs((by_channel[:, :, 0] == y.max()).mean() - 0.5) < 0.06
    if name != "FeatureAlphaDropout":
        alone = getattr(nn, name)(0.5)(pn.ones(SHAPES[name][1:])).numpy().reshape(30, -1)
        assert (alone == alone[:, :1]).all()
        assert len(np.unique(alone)) == 2


@layers
def test_values_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    for p in (0.1, 0.5, 0.9):
        for value in (0.7, -2.0):
            ours = getattr(nn, name)(p)(pn.full(SHAPES[name], value, dtype=np.float64))
            theirs = getattr(torch.nn, name)(p)(torch.full(SHAPES[name], value, dtype=torch.float64))
            np.testing.assert_allclose(np.unique(ours), np.unique(theirs), rtol=1e-12)
    assert repr(getattr(nn, name)(0.25)) == repr(getattr(torch.nn, name)(0.25))


def test_alpha_dropout_of_features_keeps_mean_and_variance():
    pn.manual_seed(2)
    y = F.feature_alpha_dropout(pn.randn(3000, 100, 2), 0.4, training=True).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


@layers
def test_evaluation_and_the_ends_of_p(name):
    x = pn.ones(SHAPES[name])
    assert getattr(nn, name)(0.5).eval()(x) is x
    assert getattr(nn, name)(0.0)(x) is x
    assert not getattr(nn, name)(1.0)(x).numpy().any()


@layers
def test_replayed_layers_draw_anew_and_with_the_same_bits(name):
    def make():
        layer = getattr(nn, name)(0.3)

        def step(x):
            y, (g,) = layer(x), pn.grad(lambda v: (layer(v) ** 2).sum(), argnums=(0,))(x)
            return y, g

        return SimpleNamespace(step=step, state=list)

    inputs = np.random.default_rng(0).normal(size=SHAPES[name]).astype(np.float32)
    eager_and_compiled(make, [(inputs,) for _ in range(4)])
    once = pn.compile(getattr(nn, name)(0.5))
    drawn = [once(pn.ones(SHAPES[name])).numpy() for _ in range(4)]
    assert not np.array_equal(drawn[2], drawn[3])


def test_bad_arguments_are_named():
    for name in SHAPES:
        with pytest.raises(ValueError, match=rf"{name}: p must be a probability between 0 and 1, got 1\.5"):
            getattr(nn, name)(1.5)
    for f, name in ((F.dropout2d, "dropout2d"), (F.feature_alpha_dropout, "feature_alpha_dropout")):
        with pytest.raises(ValueError, match=f"{name}: p must be a probability"):
            f(pn.ones((2, 3, 4, 5)), -0.1, True)
    with pytest.raises(ValueError, match=r"feature_alpha_dropout: x must have at least 2 dimensions"):
        F.feature_alpha_dropout(pn.ones(3), 0.5, True)
