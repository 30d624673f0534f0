"""Replayed and eager training give the same bits: models, optimisers, threads, instruction sets, passes left out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from capturing import assert_same, batches, bits, eager_and_compiled, regression
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim

ISAS = [n for n in pn.available_isas() if n != "base"] or ["base"]
RNG = np.random.default_rng(5)
STEPS = 20


def _mlp():
    pn.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 17), nn.GELU(), nn.Linear(17, 5))
    return model, lambda x: F.cross_entropy(model(x), pn.arange(x.shape[0]) % 5)


def _tied():
    """An autoencoder whose decoder is the encoder transposed."""
    pn.manual_seed(1)
    model = nn.Linear(20, 6)
    back = nn.Parameter(np.zeros(20, np.float32))
    model.back = back

    def loss(x):
        h = pn.sigmoid(model(x))
        return F.mse_loss(h @ model.weight + back, x)

    return model, loss


def _vae():
    pn.manual_seed(1)
    model = nn.ModuleDict({"enc": nn.Linear(20, 16), "out": nn.Linear(16, 8), "dec": nn.Linear(4, 20)})

    def loss(x):
        mu, logvar = model["out"](pn.tanh(model["enc"](x))).chunk(2, 1)
        z = mu + pn.random.randn_like(mu) * (0.5 * logvar).exp()
        target = pn.sigmoid(x)
        rest = F.binary_cross_entropy_with_logits(model["dec"](z), target, reduction="sum")
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()
        return (rest + kl) / x.shape[0]

    return model, loss


def _dropout():
    pn.manual_seed(1)
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(20, 32), nn.SiLU(), nn.Dropout(0.5), nn.Linear(32, 1))
    return model, lambda x: F.huber_loss(model(x).squeeze(-1), x.sum(1))


def _wide():
    """Large enough for several threads in products, chains and updates."""
    pn.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 700), nn.Tanh(), nn.Linear(700, 300), nn.LeakyReLU(0.1), nn.Linear(300, 20))
    return model, lambda x: ((model(x) - x) ** 2).mean() + 1e-3 * sum((p**2).sum() for p in model.parameters())


MODELS = {"mlp": _mlp, "tied": _tied, "vae": _vae, "dropout": _dropout, "wide": _wide}
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "sgd decay": lambda p: optim.SGD(p, lr=0.05, weight_decay=0.01),
    "momentum": lambda p: optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.003, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.003),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.002, centered=True, momentum=0.5),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.02),
    "adadelta": lambda p: optim.Adadelta(p),
    "adamax": lambda p: optim.Adamax(p),
    "nadam": lambda p: optim.NAdam(p),
}


def _train(name, optimizer, *, replayed=True, isa=None, threads=2, n=23, dtype=np.float32, **passes):
    before = pn.current_isa(), pn.get_num_threads()
    pn.set_isa(isa or ISAS[-1])
    pn.set_num_threads(threads)
    try:
        model, loss = MODELS[name]()
        if dtype == np.float64:
            model.double()
        o = OPTIMIZERS[optimizer](list(model.parameters()))
        pn.manual_seed(9)

        def step(x):
            o.zero_grad()
            value = loss(x)
            value.backward()
            o.step()
            return value

        f = pn.compile(step, **passes) if replayed else step
        data = np.random.default_rng(2).normal(size=(STEPS, n, 20)).astype(dtype)
        losses = [f(pn.from_numpy(x)).item() for x in data]
        if replayed:
            assert f.programs[0].replays >= STEPS - 4
        return losses, bits([*model.parameters(), *[t for s in o.state.values() for t in s.values()]])
    finally:
        pn.set_isa(before[0])
        pn.set_num_threads(before[1])


def _same(a, b):
    assert a[0] == b[0]
    assert_same(a[1], b[1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [m for m in MODELS if m != "wide"])
def test_every_model_with_every_optimiser(name, optimizer):
    _same(_train(name, optimizer, replayed=False), _train(name, optimizer))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("name", MODELS)
def test_threads_and_instruction_sets(name, threads, isa):
    reference = _train(name, "sgd", replayed=False, threads=1, isa=ISAS[0])
    _same(reference, _train(name, "sgd", threads=threads, isa=isa))
    if name in ("wide", "vae"):
        _same(
            _train(name, "adam", replayed=False, threads=1, isa=ISAS[0]), _train(name, "adam", threads=threads, isa=isa)
        )


def test_the_plainest_instruction_set_agrees_with_itself():
    for name in MODELS:
        _same(_train(name, "adam", replayed=False, isa="base"), _train(name, "adam", isa="base"))


@pytest.mark.parametrize(
    "off",
    [("drop_unread",), ("fuse",), ("share_memory",), ("block",), ("drop_unread", "fuse", "share_memory", "block")],
)
@pytest.mark.parametrize("name", MODELS)
def test_every_pass_can_be_switched_off(name, off):
    for optimizer in ("sgd", "adam"):
        _same(_train(name, optimizer), _train(name, optimizer, **dict.fromkeys(off, False)))


@pytest.mark.parametrize("n", [1, 2, 64, 257])
def test_batch_sizes_and_float64(n):
    for dtype in (np.float32, np.float64):
        for name in ("mlp", "wide"):
            _same(
                _train(name, "sgd decay", replayed=False, n=n, dtype=dtype), _train(name, "sgd decay", n=n, dtype=dtype)
            )


# ---- random programs ----

UNARY = [pn.tanh, pn.sigmoid, pn.exp, lambda a: a * 0.5, lambda a: a**2, pn.abs, lambda a: a + 1,
         lambda a: F.softmax(a, -1),
         lambda a: F.dropout(a, 0.3, True), lambda a: a.transpose(-1, -2).transpose(-1, -2), lambda a: a.flip(0),
         lambda a: a - a.mean(0, keepdim=True), lambda a: a.sum(1, keepdim=True) * a,
         lambda a: a.reshape(-1).reshape(a.shape),
         lambda a: pn.relu(a), lambda a: a.contiguous(), lambda a: -a, lambda a: pn.where(a > 0, a, a * 0.1),
         lambda a: a[::2].repeat_interleave(2, 0)[: a.shape[0]] if hasattr(a, "repeat_interleave") else a.clone(),
         lambda a: a.cumsum(0) * 0.1, lambda a: pn.clamp(a, -1.0, 1.5),
         lambda a: a + pn.random.randn_like(a) * 0.1]  # fmt: skip
BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - 2 * b, pn.maximum, lambda a, b: a / (b**2 + 1),
          lambda a, b: (a @ b.transpose(0, 1)) @ b * 0.1, lambda a, b: pn.concatenate([a, b], 0)[1 : a.shape[0] + 1],
          lambda a, b: a + b[0], lambda a, b: a * b[:, :1], lambda a, b: a + b.sum()]  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    ops=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), min_size=3, max_size=15),
    backward=st.booleans(),
    wide=st.booleans(),
)
def test_random_programs(shape, ops, backward, wide):
    dtype = np.float64 if wide else np.float32

    def make():
        w = pn.tensor(np.random.default_rng(1).normal(size=shape).astype(dtype), requires_grad=True)

        def step(x):
            w.grad = None
            values = [x, w, x * w]
            for kind, i, j in ops:
                a, b = values[i % len(values)], values[j % len(values)]
                if kind % 3 == 0:
                    values.append(BINARY[kind % len(BINARY)](a, b))
                else:
                    values.append(UNARY[kind % len(UNARY)](a))
            out = sum((v.mean() for v in values[3:]), start=w.sum() * 0)
            if backward:
                out.backward()
                with pn.no_grad():
                    w.copy_(w - 0.01 * pn.clamp(w.grad, -1.0, 1.0))
                return out, values[-1], w.grad
            return out, values[-1]

        return SimpleNamespace(step=step, state=lambda: [w])

    rng = np.random.default_rng(0)
    inputs = [(rng.normal(size=shape).astype(dtype),) for _ in range(4)]
    with np.errstate(all="ignore"):
        c = eager_and_compiled(make, inputs)
        assert c.programs[0].replays == 2
        eager_and_compiled(make, inputs, share_memory=False)


def test_no_growth_over_many_replays():
    import gc
    import resource
    import tracemalloc

    world = regression(lambda p: optim.Adam(p))
    c = pn.compile(world.step)
    x, y = (pn.from_numpy(a) for a in batches(1)[0])
    for _ in range(500):
        c(x, y)
    gc.collect()
    tracemalloc.start()
    before, peak = tracemalloc.get_traced_memory()[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10_000):
        c(x, y)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 20_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 8_000
