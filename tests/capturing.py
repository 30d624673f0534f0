"""Helpers of the capture tests: the same calls of a step made eagerly and compiled, compared bit for bit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim


def bits(value):
    """Tensors in a result, or a list of tensors, as NumPy copies; other values as they are."""
    if isinstance(value, pn.Tensor):
        return np.array(value.detach())
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [bits(v) for v in value]
    return value


def assert_same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a:
            assert_same(a[k], b[k])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.view(np.uint8) if a.ndim else a, b.view(np.uint8) if b.ndim else b)
    else:
        assert a == b


def eager_and_compiled(make, inputs, between=None, **passes):
    """Calls ``make().step`` with each of the inputs, eagerly and compiled, and compares all results and the state.

    ``between(world, i)`` is called before call i. Returns the Compiled.
    """
    found = []
    compiled = None
    for kind in ("eager", "compiled"):
        pn.manual_seed(3)
        world = make()
        f = world.step
        if kind == "compiled":
            f = compiled = pn.compile(world.step, **passes)
        got = []
        for i, args in enumerate(inputs):
            if between:
                between(world, i)
            copies = [pn.from_numpy(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
            got.append(bits(f(*copies)))
            got.append(bits(copies))
        found.append([got, bits(world.state())])
    assert_same(*found)
    return compiled


def descent(model, loss):
    """Steps of SGD on loss(*inputs)."""
    o = optim.SGD(model.parameters(), lr=0.1)

    def step(*inputs):
        o.zero_grad()
        value = loss(*inputs)
        value.backward()
        o.step()
        return value

    return SimpleNamespace(step=step, state=lambda: [*model.parameters(), *model.buffers()])


def regression(optimizer=lambda p: optim.SGD(p, lr=0.1), layers=None, loss=F.mse_loss):
    """A small network with its step; inputs are (n, 4) and (n, 2)."""
    model = layers() if layers else nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    o = optimizer(list(model.parameters()))

    def step(x, y):
        o.zero_grad()
        value = loss(model(x), y)
        value.backward()
        o.step()
        return value

    def state():
        return [*model.parameters(), *model.buffers(), *[t for s in o.state.values() for t in s.values()]]

    return SimpleNamespace(model=model, optimizer=o, step=step, state=state)


def batches(count=8, n=5, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, 4)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)) for _ in range(count)]


def repeat(f, times, *args):
    for _ in range(times):
        f(*args)
