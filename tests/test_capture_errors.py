"""What cannot be replayed is refused, with the line and what to do; nothing half recorded stays behind."""

from __future__ import annotations

import inspect
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from capturing import assert_same, batches, bits, eager_and_compiled, regression, repeat

import pyneural as pn
from pyneural import _engine, nn, optim
from pyneural import functional as F
from pyneural.ops.losses import require_finite

HERE = __file__


def _line(function, offset):
    return f"{HERE}:{inspect.getsourcelines(function)[1] + offset}"


@pytest.mark.parametrize("read", [
    lambda t: float(t), lambda t: t.item(), lambda t: t.numpy(), lambda t: np.asarray(t), lambda t: print(t),
    lambda t: t.tolist(), lambda t: 1 if t > 0 else 2, lambda t: int(t), lambda t: f"{t}",
])  # fmt: skip
def test_reading_a_value_in_the_step(read):
    world = regression()

    def step(x, y):
        loss = world.step(x, y)
        read(loss)
        return loss

    c = pn.compile(step)
    with pytest.raises(pn.CaptureError, match=r"reads a value that it computes.*Return") as error:
        c(*batches(1)[0])
    assert f"{HERE}:{read.__code__.co_firstlineno}" in str(error.value)
    assert not c.programs


def test_reading_what_the_step_is_called_with():
    def step(x):
        return x * float(x.sum())

    with pytest.raises(pn.CaptureError) as error:
        pn.compile(step)(pn.ones(3))
    assert _line(step, 1) in str(error.value)
    with pytest.raises(pn.CaptureError, match="reads a value"):
        pn.compile(lambda x: x if x.numpy()[0] > 0 else -x)(pn.ones(3))


def test_reading_a_tensor_outside():
    gate, big, w = pn.tensor([1.0]), pn.zeros(5000), pn.tensor([1.0], requires_grad=True)
    c = pn.compile(lambda x: x * 2 if gate.item() > 0 else x * 3)
    x = pn.ones(2)
    for i in range(12):
        with pn.no_grad():
            gate.fill_(1.0 if i < 5 else -1.0)
        assert c(x).tolist() == ([2, 2] if i < 5 else [3, 3])
    assert any("whose value the step reads" in m for m in c.misses)
    with pytest.raises(pn.CaptureError, match=r"reads a tensor of shape \(5000,\)"):
        pn.compile(lambda x: x * big.numpy().sum())(x)
    o = optim.SGD([w], lr=0.1)

    def step(x):
        scale = float(w.detach())
        o.zero_grad()
        (w * x).sum().backward()
        o.step()
        return x * scale

    with pytest.raises(pn.CaptureError, match="and changes it afterwards"):
        pn.compile(step)(x)


@pytest.mark.parametrize("shape", [lambda x: x[x > 0], lambda x: pn.nonzero(x), lambda x: x.masked_select(x > 0)])
def test_shapes_that_depend_on_values(shape):
    with pytest.raises(pn.CaptureError, match=f"(?s){HERE}:.*depends on values"):
        pn.compile(shape)(pn.tensor([1.0, -1.0]))


def test_python_numbers_that_change():
    count = [0]

    def step(x):
        count[0] += 1
        return x * count[0]

    c = pn.compile(step)
    with pytest.raises(pn.CaptureError, match="has another value in each run"):
        repeat(c, 6, pn.ones(2))

    def side(x):
        count.append(1)
        return x * 2

    c = pn.compile(side)
    with pytest.raises(pn.CaptureError, match=r"12 times without one replay.*len\(count\) was"):
        repeat(c, 20, pn.ones(2))

    rng = np.random.default_rng(0)
    c = pn.compile(lambda x: x + rng.normal(size=2).astype(np.float32))
    with pytest.raises(pn.CaptureError, match="made of Python numbers or by NumPy"):
        repeat(c, 6, pn.ones(2))
    table = pn.ones(5, 2)
    i = iter(range(100))
    c = pn.compile(lambda x: x + table[next(i) % 5])
    with pytest.raises(pn.CaptureError, match=r"another part of its tensor|other attributes|another value"):
        repeat(c, 6, pn.ones(2))


BETA = 0.5


class Config:
    gamma = 1.0


def test_numbers_around_the_step():
    """A loss weight in a global, a closure, an object, a dict, a class, a partial or a default is never stale."""
    beta, config, box = 2.0, SimpleNamespace(w=3.0, unused=0), {"d": 5.0}
    values = [1.0]

    def helper(x):
        return x * BETA

    class Learner:
        def __init__(self):
            self.scale = 7.0
            self.calls = 0

        @property
        def double(self):
            return self.scale * 2

        def step(self, x):
            return helper(x) * beta + x * config.w + x * box["d"] + x * self.double + Config.gamma * x + values[0] * x

    learner = Learner()
    c = pn.compile(learner.step)
    x = pn.tensor([1.0, 10.0])

    def all_equal():
        for _ in range(4):
            assert_same(bits(c(x)), bits(learner.step(x)))
            config.unused += 1
            learner.calls += 1

    all_equal()
    before = sum(r.replays for r in c.programs)
    all_equal()
    assert sum(r.replays for r in c.programs) == before + 4
    for change in ("global", "closure", "object", "dict", "self", "class", "list"):
        if change == "global":
            globals()["BETA"] = 0.25
        elif change == "closure":
            beta = 4.0
        elif change == "object":
            config.w = 1.5
        elif change == "dict":
            box["d"] = 2.5
        elif change == "self":
            learner.scale = 8.0
        elif change == "class":
            Config.gamma = 3.0
        else:
            values[0] = 9.0
        all_equal()
    assert any(m.startswith("beta was 2.0 and is 4.0") for m in c.misses)
    globals()["BETA"], Config.gamma = 0.5, 1.0


def test_a_tensor_around_the_step_is_read_anew_and_may_be_replaced():
    weight = pn.tensor(2.0)
    c = pn.compile(lambda x: x * weight)
    x = pn.ones(2)
    for i in range(8):
        weight.fill_(float(i))
        assert c(x).tolist() == [i, i]
    assert c.programs[0].replays == 6
    weight = pn.tensor(-1.0)
    for _ in range(4):
        assert c(x).tolist() == [-1, -1]
    table = np.ones(3, np.float32)
    d = pn.compile(lambda x: x + pn.from_numpy(table))
    for i in range(8):
        table[:] = i
        assert d(pn.zeros(3)).tolist() == [i] * 3
    assert d.programs[0].replays == 6


def test_memory_that_the_step_makes():
    def step(x):
        total = pn.zeros(3)
        total[1:] = x[1:] * 2
        hot = pn.full((3,), 0.5)
        noise = pn.randn(3)
        fixed = pn.tensor([1.0, 2.0, 3.0])
        return total + hot * noise + fixed, pn.arange(3), pn.eye(3) @ x

    xs = [(np.full(3, i, np.float32),) for i in range(8)]
    c = eager_and_compiled(lambda: SimpleNamespace(step=step, state=list), xs)
    assert c.programs[0].replays == 6

    def generator(x):
        return x + pn.randn(3, generator=pn.Generator(5))

    d = pn.compile(generator)
    with pytest.raises(pn.CaptureError, match="make it outside"):
        repeat(d, 6, pn.zeros(3))
    outside = pn.Generator(5)
    e = pn.compile(lambda x: x + pn.randn(3, generator=outside))
    other = pn.Generator(5)
    for _ in range(6):
        assert_same(bits(e(pn.zeros(3))), bits(pn.randn(3, generator=other) + 0.0))


def test_exception_in_the_middle_of_capture():
    world = regression(lambda p: optim.Adam(p, lr=0.1))
    fail = [True]

    def make(fail):
        def step(x, y):
            value = world.step(x, y)
            if fail:
                raise KeyError("mine")
            return value

        return step

    c = pn.compile(make(fail))
    x, y = batches(1)[0]
    with pytest.raises(KeyError, match="mine"):
        c(x, y)
    assert pn._engine.capturing() is None
    assert not c.programs
    fail.clear()
    repeat(c, 5, x, y)
    assert c.programs[0].replays >= 2


def test_labels_out_of_range_at_a_replay():
    pn.manual_seed(0)
    model = nn.Linear(4, 3)
    o = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        o.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        o.step()
        return loss

    c = pn.compile(step)
    x, y = np.ones((5, 4), np.float32), np.array([0, 1, 2, 0, 1])
    for _ in range(4):
        c(x, y)
    before = bits(list(model.parameters()))
    with pytest.raises(IndexError, match=r"cross_entropy.*3"):
        c(x, np.array([0, 1, 3, 0, 1]))
    assert_same(before, bits(list(model.parameters())))
    copy = nn.Linear(4, 3)
    copy.load_state_dict(model.state_dict())
    assert_same(bits(c(x, y)), bits(F.cross_entropy(copy(pn.tensor(x)), pn.tensor(y))))
    with pytest.raises(IndexError):
        c.epoch(np.tile(x, (3, 1)), np.array([0] * 10 + [7] * 5), batch_size=5)
    assert c.since == 2
    assert np.isfinite(c(x, y).item())


def test_loss_that_is_not_finite():
    world = regression()

    def step(x, y):
        world.optimizer.zero_grad()
        loss = F.mse_loss(world.model(x), y)
        require_finite(loss)
        loss.backward()
        world.optimizer.step()
        return loss

    c = pn.compile(step)
    x, y = batches(1)[0]
    for _ in range(4):
        c(x, y)
    before = bits(world.state())
    with pytest.raises(FloatingPointError):
        c(x * np.nan, y)
    assert_same(before, bits(world.state()))
    assert np.isfinite(c(x, y).item())


# ---- gradients ----


def test_gradients_summed_over_calls():
    def between(world, i):
        if i % 4 == 0:
            world.optimizer.step()
            world.optimizer.zero_grad(set_to_none=i % 8 == 0)

    def make():
        world = regression(lambda p: optim.SGD(p, lr=0.1))

        def step(x, y):
            loss = F.mse_loss(world.model(x), y)
            loss.backward()
            return loss

        world.step = step
        world.state = lambda: [[p, p.grad] for p in world.model.parameters()]
        return world

    c = eager_and_compiled(make, batches(24), between)
    assert sum(r.replays for r in c.programs) >= 16
    c = eager_and_compiled(make, batches(8))
    assert c.programs[0].replays >= 5


def test_gradients_are_there_after_a_replay():
    world = regression()
    step = pn.compile(lambda x, y: (world.optimizer.zero_grad(), F.mse_loss(world.model(x), y).backward())[1])
    other = regression()
    other.model.load_state_dict(world.model.state_dict())
    for x, y in batches(6):
        step(x, y)
        world.optimizer.step()
        other.optimizer.zero_grad()
        F.mse_loss(other.model(pn.tensor(x)), pn.tensor(y)).backward()
        other.optimizer.step()
        mine, theirs = ([p.grad for p in w.model.parameters()] for w in (world, other))
        assert_same(bits(mine), bits(theirs))
    kept = bits(mine[0])
    step(x, y)
    assert_same(kept, bits(mine[0]))


def test_clipping_penalties_and_second_derivatives():
    def make():
        world = regression(lambda p: optim.SGD(p, lr=0.1, momentum=0.5))

        def step(x, y):
            world.optimizer.zero_grad()
            x = x.detach().requires_grad_()
            out = world.model(x)
            (slope,) = pn.autodiff.gradients(out.sum(), x, create_graph=True)
            loss = F.mse_loss(out, y) + 0.1 * (slope**2).mean()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(world.model.parameters(), 0.5)
            world.optimizer.step()
            return loss, norm

        world.step = step
        return world

    c = eager_and_compiled(make, batches(8))
    assert c.programs[0].replays >= 4
    h = pn.compile(lambda x: pn.hessian(lambda v: (v**3).sum())(x))
    for i in range(4):
        assert_same(bits(h(pn.tensor([1.0, i]))), np.array([[6, 0], [0, 6 * i]], np.float32))


def test_two_optimisers_take_turns():
    def make():
        pn.manual_seed(1)
        g, d = nn.Linear(4, 4), nn.Linear(4, 1)
        og, od = optim.Adam(g.parameters(), lr=0.01), optim.RMSprop(d.parameters(), lr=0.01)

        def step(x, y):
            od.zero_grad()
            fake = g(x + pn.randn(*x.shape))
            ld = (F.softplus(-d(x)) + F.softplus(d(fake.detach()))).mean()
            ld.backward()
            od.step()
            og.zero_grad()
            lg = F.softplus(-d(fake)).mean()
            lg.backward()
            og.step()
            return ld, lg

        return SimpleNamespace(step=step, state=lambda: [*g.parameters(), *d.parameters()])

    c = eager_and_compiled(make, batches(9))
    assert c.programs[0].replays >= 4


# ---- compile in compile, threads ----


def test_compile_inside_compile():
    inner = pn.compile(lambda x: x * 2 + 1)
    for _ in range(4):
        inner(pn.ones(2))
    outer = pn.compile(lambda x: inner(x) * 3)
    for i in range(5):
        assert outer(pn.full((2,), float(i))).tolist() == [(2 * i + 1) * 3] * 2
    assert outer.programs[0].replays == 3
    with pytest.raises(pn.CaptureError, match="epoch"):
        pn.compile(lambda x: inner.epoch(x, batch_size=1))(pn.ones(2))


@pytest.mark.parametrize("shared", [False, True])
def test_threads(shared):
    def make(seed):
        pn.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 8))
        return pn.compile(lambda x: model(x)), model

    made = [make(0)] * 2 if shared else [make(0), make(1)]
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(40, 100, 64)).astype(np.float32) for _ in range(2)]
    found = [[], []]

    def work(k):
        for x in data[k]:
            found[k].append(bits(made[k][0](x)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(2):
        assert_same(found[k], [bits(made[k][1](pn.tensor(x))) for x in data[k]])


def test_kernels_and_threads_changed_after_capture():

    def between(world, i):
        pn.set_num_threads(1 + i % 3)
        pn.set_isa(
            [n for n in pn.available_isas() if n != "base"][i % len([n for n in pn.available_isas() if n != "base"])]
        )

    c = eager_and_compiled(lambda: regression(lambda p: optim.Adam(p)), batches(9), between)
    assert c.programs[0].replays >= 5


def test_explain_and_programs():
    world = regression()
    c = pn.compile(world.step)
    for x, y in batches(4):
        c(x, y)
    text = c.explain()
    for word in (
        "linear",
        "tanh",
        "sgd_",
        "flop",
        "float32(5, 4) argument 0",
        "chain of",
        "checked before each replay",
        "Linear: ",
    ):
        assert word in text
    (program,) = c.programs
    listed = program.program.listing()
    assert len(listed) == program.program.steps()
    assert sum(len(s["calls"]) for s in listed) == program.program.calls()
    first = listed[0]["calls"][0]
    assert first["op"] == "linear"
    assert first["operations"] == 2 * 5 * 4 * 8
    assert first["bytes"] == 4 * (5 * 4 + 8 * 4 + 8 + 5 * 8)
    assert "new kind" in program.why
    assert program.arguments == ["float32(5, 4)", "float32(5, 2)"]


def test_settings_that_change_between_two_updates_of_a_step():
    p = nn.Parameter(np.ones(2))
    o = optim.SGD([p], lr=0.1)

    @pn.compile
    def step():
        for lr in (0.1, 0.2):
            o.param_groups[0]["lr"] = lr
            o.zero_grad()
            (p * p).sum().backward()
            o.step()

    with pytest.raises(pn.CaptureError, match="changes the settings of SGD between two of its updates"):
        repeat(step, 3)


def test_more_tensors_than_a_step_may_take():
    step = pn.compile(lambda *xs: [x + 1 for x in xs])
    with pytest.raises(pn.CaptureError, match="takes and returns at most 64 tensors"):
        repeat(step, 3, *[pn.ones(2) for _ in range(65)])


def test_one_capture_at_a_time():
    capture = _engine.Capture([])
    capture.enter()
    try:
        with pytest.raises(pn.CaptureError, match="a step is captured already on this thread"):
            _engine.Capture([]).enter()
    finally:
        capture.leave()
