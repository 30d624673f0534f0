"""What the tests of ``pn.explain`` share: a network that can be worked by hand, and equality to the last bit."""

from __future__ import annotations

import numpy as np

import pyneural as pn


def tensor(*shape, seed=0):
    return pn.tensor(np.random.default_rng(seed).normal(size=shape))


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert a.tobytes() == b.tobytes()


def hand_network():
    """The 3-3-3-1 network: weights, input, target, and its error as a function of the input."""
    w1, w2, w3 = (tensor(*s, seed=i).requires_grad_() for i, s in enumerate([(3, 3), (3, 3), (1, 3)]))
    x, y = tensor(3, 1, seed=4), pn.tensor([[0.5]]).double()

    def error(x):
        h1 = (w1 @ x).tanh()
        h2 = (w2 @ h1).tanh()
        out = (w3 @ h2).sigmoid()
        return (out - y).square().sum()

    return error, x, (w1, w2, w3)
