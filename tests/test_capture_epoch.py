"""Compiled.epoch: rows gathered, converted and counted as by hand, stopping at a step, and what it refuses."""

from __future__ import annotations

import time

import numpy as np
import pytest
from capturing import assert_same, batches, bits, regression

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim

RNG = np.random.default_rng(3)


def _data(n=47):
    return tuple(np.concatenate(a)[:n] for a in zip(*batches(12), strict=True))


def _world(seed=3):
    pn.manual_seed(seed)
    return regression(
        lambda p: optim.Adam(p, lr=0.01),
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 2)),
    )


def test_eager_replays_nothing():
    x, y = _data()
    found = []
    for wanted in (False, True):
        compiled = pn.compile(_world().step)
        with pn.compiling.eager(wanted):
            found.append([compiled.epoch(x, y, batch_size=5) for _ in range(2)])
        assert bool(compiled.programs) is not wanted
    assert_same(found[1], found[0])
    compiled.epoch(x, y, batch_size=5)
    assert compiled.programs  # it ends with the block


@pytest.mark.parametrize("n", [45, 47, 3, 0])
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_epoch_is_the_loop(n, shuffled):
    x, y = _data()
    order = RNG.permutation(47)[:n] if shuffled else np.arange(n)
    mine, theirs = _world(), None
    c = pn.compile(mine.step)
    found = [c.epoch(x, y, batch_size=5, order=order) for _ in range(3)]
    theirs = _world()
    for values in found:
        expected = [
            theirs.step(pn.tensor(x[rows]), pn.tensor(y[rows])).item()
            for rows in (order[k : k + 5] for k in range(0, n, 5))
        ]
        assert values.tolist() == expected if n else values.size == 0
    assert_same(bits(mine.state()), bits(theirs.state()))
    if n > 40:
        assert max(p.replays for p in c.programs) >= 20
    if n == 45:
        plain = _world()
        assert pn.compile(plain.step).epoch(x[:45], y[:45], batch_size=5).shape == (9,)


def test_bytes_through_a_table_and_labels():
    images = RNG.integers(0, 256, (50, 6)).astype(np.uint8)
    labels = RNG.integers(0, 3, 50).astype(np.uint8)
    table = (np.arange(256) / 255.0 - 0.5).astype(np.float32)

    def make():
        pn.manual_seed(0)
        model = nn.Linear(6, 3)
        o = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y):
            assert y.dtype == np.int64
            o.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            o.step()
            return loss, (model(x).argmax(1) == y).float().mean()

        return model, step

    model, step = make()
    order = RNG.permutation(50)
    values = pn.compile(step).epoch(images, labels, batch_size=8, order=order, tables=[table, None])
    other, step = make()
    for k, found in zip(range(0, 50, 8), values, strict=True):
        rows = order[k : k + 8]
        expected = step(pn.tensor(table[images[rows]]), pn.tensor(labels[rows].astype(np.int64)))
        assert found.tolist() == [v.item() for v in expected]
    assert_same(bits(list(model.parameters())), bits(list(other.parameters())))


@pytest.mark.parametrize("width", [1, 20, 784, 2100])  # 2100: rows too long to be asked for ahead
@pytest.mark.parametrize("as_bytes", [False, True])
def test_rows_of_any_width_by_any_number_of_threads(width, as_bytes):
    x = RNG.integers(0, 256, (300, width)).astype(np.uint8)
    table = np.linspace(-1, 1, 256, dtype=np.float32)
    x, scaled = (x if as_bytes else table[x]), table[x]
    order = RNG.permutation(np.repeat(np.arange(300), 2))
    weights = pn.tensor(RNG.normal(size=(64, width)).astype(np.float32))
    before = pn.get_num_threads()
    for threads in (1, 3):
        pn.set_num_threads(threads)
        try:
            c = pn.compile(lambda rows: (rows * weights[: len(rows)]).sum())
            found = c.epoch(x, batch_size=64, order=order, tables=[table if as_bytes else None])
        finally:
            pn.set_num_threads(before)
        assert c.programs[0].replays >= 7
        batches = (scaled[order[k : k + 64]] for k in range(0, 600, 64))
        assert found.tolist() == [(pn.tensor(b) * weights[: len(b)]).sum().item() for b in batches]


def test_progress_may_stop_it_at_a_step():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6400, 256)).astype(np.float32)

    def make():
        pn.manual_seed(1)
        model = nn.Sequential(nn.Linear(256, 512), nn.Tanh(), nn.Linear(512, 256))
        o = optim.SGD(model.parameters(), lr=0.01)

        def step(x):
            o.zero_grad()
            loss = F.mse_loss(model(x), x)
            loss.backward()
            o.step()
            return loss

        return model, step

    model, step = make()
    c = pn.compile(step)
    reached, times = [], []

    def stop(done, values):
        assert len(values) == done
        assert np.isfinite(values).all()
        reached.append(done)
        times.append(time.perf_counter())
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        c.epoch(x, batch_size=32, on_progress=stop)
    other, step = make()
    for k in range(reached[-1]):
        step(pn.tensor(x[32 * k : 32 * k + 32]))
    assert_same(bits(list(model.parameters())), bits(list(other.parameters())))


def test_settings_changed_by_the_listener_count():
    x, y = _data(45)
    mine, theirs = _world(), _world()
    pn.manual_seed(0)
    c = pn.compile(mine.step)
    c.epoch(x, y, batch_size=5)
    seen = []

    def listen(done, values):
        seen.append(done)
        mine.optimizer.param_groups[0]["lr"] *= 0.5

    pn.manual_seed(7)
    c.epoch(x, y, batch_size=5, on_progress=listen)
    pn.manual_seed(0)
    for k in range(9):
        theirs.step(pn.tensor(x[5 * k : 5 * k + 5]), pn.tensor(y[5 * k : 5 * k + 5]))
    pn.manual_seed(7)
    for k in range(9):
        theirs.step(pn.tensor(x[5 * k : 5 * k + 5]), pn.tensor(y[5 * k : 5 * k + 5]))
        if k + 1 in seen:
            theirs.optimizer.param_groups[0]["lr"] *= 0.5
    assert_same(bits(mine.state()), bits(theirs.state()))


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda c, x, y: c.epoch(x, y[:-1], batch_size=5), ValueError, "same number of rows"),
    (lambda c, x, y: c.epoch(batch_size=5), ValueError, "same number of rows"),
    (lambda c, x, y: c.epoch(x, y, batch_size=0), ValueError, "batch_size is 0"),
    (lambda c, x, y: c.epoch(x, y, batch_size=5, order=[0, 47]), ValueError, "row numbers from 0 to 46"),
    (lambda c, x, y: c.epoch(x, y, batch_size=5, order=[-1]), ValueError, "row numbers from 0 to 46"),
    (lambda c, x, y: c.epoch(x, y, batch_size=5, order=[[0]]), ValueError, "vector of row numbers"),
    (lambda c, x, y: pn.compile(lambda a, b: a).epoch(x, y, batch_size=5), pn.CaptureError, "single float numbers"),
    (lambda c, x, y: pn.compile(lambda a, b: None).epoch(x, y, batch_size=5), pn.CaptureError, "single float numbers"),
    (lambda c, x, y: pn.compile(lambda a, b: a.argmax()).epoch(x, y, batch_size=5), pn.CaptureError, "single float"),
    (lambda c, x, y: pn.compile(lambda a, b: float(a.sum())).epoch(x, y, batch_size=5), pn.CaptureError, "reads a"),
    (lambda c, x, y: c.epoch(x, y, batch_size=5, tables=[np.zeros(256)]), ValueError, "tables"),
    (lambda c, x, y: c.epoch(x, y, batch_size=5, tables=[np.zeros(256), None]), ValueError, "tables"),
    (lambda c, x, y: c.epoch(x.astype(np.uint8), y, batch_size=5, tables=[np.zeros(9), None]), ValueError, "tables"),
])  # fmt: skip
def test_refused(call, error, match):
    world = _world()
    x, y = _data()
    before = bits(world.state())
    with pytest.raises(error, match=match):
        call(pn.compile(world.step), x, y)
    assert_same(before, bits(world.state()))


def test_program_recorded_by_calls_returns_integers():
    c = pn.compile(lambda a: a.argmax())
    x = np.eye(6, dtype=np.float32)
    for _ in range(4):
        c(x[:2])
    with pytest.raises(pn.CaptureError, match="single float numbers"):
        c.epoch(x, batch_size=2)
