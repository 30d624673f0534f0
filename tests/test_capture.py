"""Every danger of capture: what changes between two calls of a compiled step is seen, or refused in words."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from capturing import assert_same, batches, bits, eager_and_compiled, regression, repeat

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim
from pyneural.optim import lr_scheduler


def _replays(compiled):
    return sum(r.replays for r in compiled.programs)


# ---- settings of optimisers ----


def _adam(p):
    return optim.Adam(p, lr=0.01)


def _momentum(p):
    return optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2)


@pytest.mark.parametrize("optimizer", [_adam, _momentum])
@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_settings_changed_half_way(optimizer, key):
    def between(world, i):
        world.optimizer.param_groups[0][key] *= 0.5
        if i == 5:
            world.optimizer.param_groups[0][key] = 0.3

    c = eager_and_compiled(lambda: regression(optimizer), batches(10), between)
    assert _replays(c) >= 5


def test_momentum_switched_on_and_off():
    def between(world, i):
        world.optimizer.param_groups[0]["momentum"] = 0.0 if i < 4 or i > 8 else 0.9

    c = eager_and_compiled(lambda: regression(lambda p: optim.SGD(p, lr=0.1)), batches(14), between)
    assert any("which settings are 0" in m for m in c.misses)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("schedule", [
    lambda o: lr_scheduler.ExponentialLR(o, 0.7),
    lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ConstantLR(o, 0.1, 3), lr_scheduler.StepLR(o, 2)], [4]),
    lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 2), lr_scheduler.ExponentialLR(o, 0.9)]),
    lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
])  # fmt: skip
def test_schedule_inside_the_step(schedule, first):
    def make():
        world = regression(_adam)
        s, inner = schedule(world.optimizer), world.step

        def step(x, y):
            if first:
                s.step()
            value = inner(x, y)
            if not first:
                s.step()
            return value

        return SimpleNamespace(
            step=step, state=lambda: [world.state(), s.get_last_lr(), s.last_epoch if hasattr(s, "last_epoch") else 0]
        )

    c = eager_and_compiled(make, batches(10))
    assert _replays(c) >= 6


def test_schedule_inside_an_epoch():
    x, y = (np.concatenate(a) for a in zip(*batches(9), strict=True))
    worlds = []
    for compiled in (False, True):
        pn.manual_seed(3)
        world = regression(_adam)
        s, inner = lr_scheduler.ExponentialLR(world.optimizer, 0.7), world.step

        def step(x, y, s=s, inner=inner):
            value = inner(x, y)
            s.step()
            return value

        if compiled:
            pn.compile(step).epoch(x, y, batch_size=5)
        else:
            for i in range(9):
                step(pn.tensor(x[5 * i : 5 * i + 5]), pn.tensor(y[5 * i : 5 * i + 5]))
        worlds.append([*bits([*world.state()]), s.get_last_lr()])
    assert_same(*worlds)


def test_settings_changed_in_the_step_are_refused():
    world = regression(_adam)

    def step(x, y):
        value = world.step(x, y)
        world.optimizer.param_groups[0]["lr"] *= 0.9
        return value

    with pytest.raises(pn.CaptureError, match=r"changes the settings of Adam .*outside of the step"):
        pn.compile(step)(*batches(1)[0])

    def twice(x, y):
        world.step(x, y)
        world.optimizer.param_groups[0]["lr"] *= 0.9
        return world.step(x, y)

    with pytest.raises(pn.CaptureError, match="between two of its updates"):
        pn.compile(twice)(*batches(1)[0])


def test_step_size_read_as_a_number():
    def make():
        world = regression(_adam)

        def step(x, y):
            return world.step(x, y) * world.optimizer.param_groups[0]["lr"]

        return SimpleNamespace(**{**vars(world), "step": step})

    def between(world, i):
        if i in (4, 8):
            world.optimizer.param_groups[0]["lr"] *= 0.5

    c = eager_and_compiled(make, batches(12), between)
    assert any("param_groups[0]['lr'] was" in m for m in c.misses)


def test_new_group_and_loaded_state():
    saved = {}

    def between(world, i):
        o = world.optimizer
        if i == 4:
            o.add_param_group({"params": [pn.tensor(np.ones(2, np.float32), requires_grad=True)], "lr": 0.5})
        if i == 5:
            d = o.state_dict()
            states = {k: {n: np.array(t) for n, t in s.items()} for k, s in d["state"].items()}
            saved["o"] = {"state": states, "param_groups": d["param_groups"]}
            saved["m"] = {k: np.array(t) for k, t in world.model.state_dict().items()}
        if i == 9:
            o.load_state_dict(saved["o"])
            world.model.load_state_dict(saved["m"])
        if i == 11:
            o.state.clear()

    eager_and_compiled(lambda: regression(_adam), batches(15), between)


# ---- modules ----


class Running(nn.Module):
    """Centres its input and keeps a running mean, in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", pn.zeros(4))
        self.rate = 0.1

    def forward(self, x):
        if not self.training:
            return x - self.mean
        now = x.mean(0)
        with pn.no_grad():
            self.mean.copy_(self.mean * (1 - self.rate) + now.detach() * self.rate)
        return x - now


def _deep(extra=None):
    return nn.Sequential(Running(), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


def test_buffers_dropout_modes_and_numbers():
    def between(world, i):
        world.model.train(i % 3 != 2)
        if i == 10:
            world.model[3].p = 0.6
        if i == 16:
            world.model[0].rate = 0.5

    c = eager_and_compiled(lambda: regression(_adam, _deep), batches(24), between)
    assert _replays(c) >= 6
    assert "Sequential: training was True and is False" in c.misses
    assert "Dropout: p was 0.3 and is 0.6" in c.misses


def test_dropout_is_fresh_and_follows_the_seed():
    drop = pn.compile(lambda x: F.dropout(x, 0.5, True))
    x = pn.ones(50)
    seen = [bits(drop(x)).tobytes() for _ in range(6)]
    assert len(set(seen)) == 6
    pn.manual_seed(11)
    again = bits(drop(x))
    pn.manual_seed(11)
    assert_same(again, bits(F.dropout(x, 0.5, True)))
    assert drop.programs[0].replays >= 4


def test_modules_edited_after_capture():
    def between(world, i):
        m = world.model
        if i == 4:
            m.append(nn.Tanh())
        if i == 7:
            m[2] = nn.ReLU()
        if i == 10:
            world.handle = m[0].register_forward_hook(lambda module, args, out: out * 2)
        if i == 12:
            world.handle.remove()
        if i == 13:
            m[0].weight = nn.Parameter(np.ones((8, 4), np.float32))
        if i == 16:
            m[0].bias = None

    make = lambda: regression(layers=lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Tanh(), nn.Linear(8, 2)))  # noqa: E731
    c = eager_and_compiled(make, batches(20), between)
    assert "its parts" in c.explain()


def test_parameter_used_without_calling_its_module():
    def make():
        layer = nn.Linear(4, 2)
        step = lambda x: F.linear(x, layer.weight)  # noqa: E731
        return SimpleNamespace(step=step, layer=layer, state=lambda: [])

    def between(world, i):
        if i == 4:
            world.layer.weight = nn.Parameter(np.full((2, 4), 3, np.float32))

    eager_and_compiled(make, [b[:1] for b in batches(8)], between)


def test_frozen_and_converted():
    def between(world, i):
        if i == 4:
            world.model[0].requires_grad_(False)
        if i == 7:
            world.model[0].requires_grad_(True)

    eager_and_compiled(lambda: regression(_momentum), batches(10), between)

    layer = nn.Linear(4, 2)
    c = pn.compile(lambda x: layer(x.to(layer.weight.dtype)))
    x = pn.ones(3, 4)
    for _ in range(4):
        c(x)
    layer.double()
    with pn.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(1.0)
    for _ in range(4):
        assert bits(c(x)).tolist() == [[9.0, 9.0]] * 3
        assert c(x).dtype == np.float64


def test_attributes_that_forward_leaves_are_fresh():
    class Keeps(nn.Module):
        def forward(self, x):
            self.last = x * 2
            return self.last + 1

    net = Keeps()
    c = pn.compile(lambda x: net(x))
    for i in range(6):
        c(pn.full((3,), float(i)))
        assert net.last.tolist() == [2.0 * i] * 3
    assert _replays(c) == 4


def test_state_carried_over_by_new_tensors_is_refused():
    net = nn.Module()
    net.h = pn.zeros(3)

    def step(x):
        net.h = net.h * 0.5 + x
        return net.h.sum()

    c = pn.compile(step)
    with pytest.raises(pn.CaptureError, match=r"another one in each run.*copy_\(\)"):
        repeat(c, 8, pn.ones(3))


# ---- arguments ----


def test_new_batch_size_and_back():
    inputs = [*batches(4), *batches(4, n=7), *batches(3), *batches(3, n=0), *batches(2, n=7)]
    c = eager_and_compiled(lambda: regression(_adam, loss=lambda p, t: ((p - t) ** 2).sum()), inputs)
    assert len(c.programs) == 3


def test_same_array_twice_strided_and_written():
    a = np.arange(24, dtype=np.float32).reshape(4, 6)

    def step(x, y):
        y.copy_(y + x * 2)
        x.add_(1) if hasattr(x, "add_") else x.copy_(x + 1)
        return (x * y).sum(), x @ pn.ones(x.shape[1], 2)

    c = pn.compile(step)
    for f in (
        lambda: (a.copy(),) * 2,
        lambda: (a.copy()[::2, ::-1], a.copy()[1::2, :]),
        lambda: (a.copy().T, a.copy().T),
    ):
        for _ in range(6):
            mine, theirs = f(), f()
            if mine[0] is mine[1]:
                theirs = (theirs[0],) * 2
            mine = [pn.from_numpy(m) for m in mine] if mine[0] is not mine[1] else [pn.from_numpy(mine[0])] * 2
            theirs = (
                [pn.from_numpy(m) for m in theirs] if theirs[0] is not theirs[1] else [pn.from_numpy(theirs[0])] * 2
            )
            assert_same(bits([c(*mine), mine]), bits([step(*theirs), theirs]))
    assert len(c.programs) == 3
    assert all(r.replays == 4 for r in c.programs)


def test_numpy_argument_on_the_parameters_memory():
    def make():
        w = pn.tensor(np.eye(4, dtype=np.float32), requires_grad=True)
        o = optim.SGD([w], lr=0.1)

        def step(x):
            o.zero_grad()
            loss = ((x @ w) ** 2).sum()
            loss.backward()
            o.step()
            return loss

        return SimpleNamespace(step=lambda: None, w=w, inner=step)

    found = []
    for compiled in (False, True):
        world = make()
        f = pn.compile(world.inner) if compiled else lambda x, f=world.inner: f(pn.from_numpy(x))
        view = world.w.detach().numpy()
        found.append([bits(f(view)) for _ in range(6)] + [bits(world.w)])
    assert_same(*found)


def test_read_only_memory_is_not_written():
    def step(x):
        x.copy_(x + 1)
        return x.sum()

    c = pn.compile(step)
    for _ in range(4):
        c(np.ones(3, np.float32))
    frozen = np.ones(3, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        c(frozen)
    assert frozen.tolist() == [1, 1, 1]
    assert c(np.ones(3, np.float32)).item() == 6


def test_results_of_every_kind():
    w = pn.ones(2, 3)

    def step(x, scale=2.0, *, names=("a", "b")):
        y = x * scale
        return {
            "x": x,
            "view": y[0],
            "w": w,
            "part": w[1],
            "nested": [y, (y.sum(), names[0])],
            "none": None,
            "n": len(x),
        }

    c = pn.compile(step)
    x = pn.tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    for _ in range(5):
        got = c(x, scale=3.0, names=("p", "q"))
        assert got["x"] is x
        assert got["w"] is w
        assert_same(bits(got), bits(step(x, 3.0, names=("p", "q"))))
    with pn.no_grad():
        w.fill_(7)
    assert got["part"].tolist() == [7, 7, 7]
    kept = c(x)["nested"][0]
    before = bits(kept)
    c(x + 1)
    assert_same(before, bits(kept))


def test_outputs_outlive_the_program():
    c = pn.compile(lambda x: x * 2)
    for _ in range(4):
        y = c(pn.ones(1000))
    del c
    gc.collect()
    _ = [pn.full((1000,), 9.0) for _ in range(20)]
    assert y.tolist() == [2.0] * 1000


def test_numbers_as_arguments():
    c = pn.compile(lambda x, s: x * s)
    x = pn.ones(2)
    for s in (0.0, -0.0, 1, 1.0, True, float("nan"), 2.5) * 4:
        assert_same(bits(c(x, s)), bits(x * s))
    assert _replays(c) >= 10
    d = pn.compile(lambda x, s: x * s)
    with pytest.warns(RuntimeWarning, match="0-d tensors, pad batches"):
        repeat(lambda i: d(x, float(next(i))), 40, iter(range(1, 50)))
    scale = pn.tensor(0.0)
    for i in range(10):
        assert d(x, pn.tensor(float(i))).tolist() == [i, i]
    assert scale.item() == 0
    with pytest.raises(pn.CaptureError, match="called with a set"):
        c(x, {1})


def test_arguments_that_require_gradients():
    def make():
        def step(x):
            loss = (x**3).sum()
            loss.backward()
            return loss

        return step

    xs = [pn.tensor(np.arange(3, dtype=np.float32), requires_grad=True) for _ in range(2)]
    c, step = pn.compile(make()), make()
    for _ in range(6):
        c(xs[0])
        step(xs[1])
    assert_same(bits(xs[0].grad), bits(xs[1].grad))

    def asks(x):
        x.requires_grad_()
        (x**2).sum().backward()
        return x.sum()

    with pytest.raises(pn.CaptureError, match="leaves a gradient in its argument 0"):
        pn.compile(asks)(pn.ones(3))


def test_inference_without_gradients():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    predict = pn.compile(pn.no_grad(lambda x: model(x)))
    plain = pn.compile(lambda x: model(x))
    for x, _ in batches(5):
        expected = bits(model(pn.tensor(x)))
        assert_same(bits(predict(x)), expected)
        assert_same(bits(plain(x)), expected)
        with pn.no_grad():
            assert_same(bits(plain(x)), expected)
        assert not predict(x).requires_grad
    assert _replays(predict) == 8
    empty = pn.compile(lambda: None)
    assert [empty() for _ in range(4)] == [None] * 4
