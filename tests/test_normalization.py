"""Normalisation: layers against PyTorch over a wide range of arguments, running statistics, replay, errors."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from capturing import assert_same, bits, eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim

RNG = np.random.default_rng(0)

#: Class, its arguments, and shapes of x.
LAYERS = [
    ("BatchNorm1d", (5,), {}, ((4, 5), (3, 5, 1), (2, 5, 17))),
    ("BatchNorm1d", (33,), {"eps": 1e-3, "momentum": 0.3}, ((64, 33), (300, 33), (2, 33, 3))),
    ("BatchNorm1d", (129,), {}, ((65, 129), (3, 129, 15))),
    ("BatchNorm2d", (3,), {}, ((2, 3, 4, 5), (7, 3, 1, 1), (5, 3, 7, 7))),
    ("BatchNorm2d", (20,), {"momentum": None}, ((8, 20, 9, 9), (3, 20, 3, 2))),
    ("BatchNorm2d", (1,), {"affine": False}, ((3, 1, 70, 70),)),
    ("BatchNorm2d", (4,), {"bias": False}, ((2, 4, 5, 5),)),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, ((2, 4, 5, 5),)),
    ("BatchNorm3d", (3,), {"momentum": 1.0}, ((2, 3, 2, 3, 4), (1, 3, 5, 1, 7))),
    ("InstanceNorm1d", (5,), {}, ((4, 5, 3), (5, 7))),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, ((2, 3, 4, 5), (3, 7, 7))),
    ("InstanceNorm2d", (3,), {"affine": True, "bias": False}, ((2, 3, 33, 3),)),
    ("InstanceNorm3d", (3,), {"track_running_stats": True, "momentum": 0.4}, ((2, 3, 2, 3, 4), (3, 2, 2, 2))),
    ("GroupNorm", (2, 6), {}, ((3, 6), (2, 6, 5), (2, 6, 4, 7))),
    ("GroupNorm", (6, 6), {"eps": 1e-2, "bias": False}, ((2, 6, 5), (1, 6, 33, 3))),
    ("GroupNorm", (1, 6), {"affine": False}, ((2, 6, 3, 1, 2),)),
    ("GroupNorm", (4, 64), {}, ((2, 64, 17), (3, 64))),
    ("LayerNorm", (7,), {}, ((7,), (5, 7), (2, 3, 7), (0, 7))),
    ("LayerNorm", (64,), {"eps": 1e-3}, ((33, 64), (2, 700, 64))),
    ("LayerNorm", (1025,), {"bias": False}, ((65, 1025),)),
    ("LayerNorm", ((3, 5),), {}, ((4, 3, 5), (2, 2, 3, 5))),
    ("LayerNorm", (9000,), {"elementwise_affine": False}, ((5, 9000),)),
    ("RMSNorm", (7,), {}, ((5, 7), (2, 3, 7))),
    ("RMSNorm", ((4, 33),), {"eps": 1e-3}, ((600, 4, 33),)),
    ("RMSNorm", (16,), {"elementwise_affine": False}, ((3, 16),)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, ((2, 7, 5), (2, 4, 3, 3), (1, 5, 2, 3, 2))),
    ("LocalResponseNorm", (4,), {"alpha": 1.0, "beta": 0.5, "k": 2.0}, ((2, 7, 5), (3, 3, 2, 2))),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(LAYERS)]


def close(a, b, tolerance, what):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, what
    assert a.dtype == b.dtype, what
    size = max(1.0, np.abs(b).max(initial=0.0))
    np.testing.assert_allclose(a / size, b / size, rtol=0, atol=tolerance, err_msg=str(what))


def mean_and_spread(shape, dtype):
    """Values whose channels differ in mean and spread."""
    x = RNG.normal(size=shape)
    axis = min(1, len(shape) - 1)
    each = [n if d == axis else 1 for d, n in enumerate(shape)]
    return (x * RNG.uniform(0.5, 2, each) + RNG.uniform(-2, 2, each)).astype(dtype)


def own_parameters(*layers):
    """The same random parameters for layers of both libraries."""
    for mine, theirs in zip(*[list(m.parameters()) for m in layers], strict=True):
        values = RNG.uniform(0.5, 1.5, tuple(mine.shape)).astype(np.asarray(mine.detach()).dtype)
        mine.data = pn.from_numpy(values)
        theirs.data = theirs.data.new_tensor(values)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize(("name", "args", "options", "shapes"), LAYERS, ids=IDS)
def test_layer_equals_pytorchs(name, args, options, shapes, dtype):
    """Three steps of training and one of evaluation: results, gradients, running statistics."""
    torch = pytest.importorskip("torch")
    tolerance = 1e-11 if dtype == np.float64 else 3e-5
    for shape in shapes:
        layer, peer = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
        layer, peer = layer.to(dtype), peer.to(torch.from_numpy(np.zeros(1, dtype)).dtype)
        own_parameters(layer, peer)
        for step in range(4):
            if step == 3:
                layer.eval(), peer.eval()
            data, g = mean_and_spread(shape, dtype), mean_and_spread(shape, dtype)
            x, z = pn.from_numpy(data.copy()).requires_grad_(), torch.from_numpy(data.copy()).requires_grad_()
            y, w = layer(x), peer(z)
            y.backward(pn.from_numpy(g))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                w.backward(torch.from_numpy(g))
            what = (name, args, options, shape, step)
            close(y.detach(), w.detach(), tolerance, what)
            close(x.grad, z.grad, tolerance, (*what, "gradient of x"))
            for (n, p), q in zip(layer.named_parameters(), peer.parameters(), strict=True):
                close(p.grad, q.grad, tolerance, (*what, "gradient of", n))
            state = peer.state_dict()
            assert list(layer.state_dict()) == list(state)
            for n, b in layer.named_buffers():
                close(b, state[n], tolerance, (*what, n))


@pytest.mark.parametrize(("name", "args", "options", "shapes"), LAYERS, ids=IDS)
def test_state_and_text_are_pytorchs(name, args, options, shapes):
    torch = pytest.importorskip("torch")
    layer, peer = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    for p in peer.state_dict().values():
        p.copy_(p + 3)
    layer.load_state_dict(peer.state_dict())
    for n, value in peer.state_dict().items():
        assert np.array_equal(layer.state_dict()[n], value), n
    assert repr(layer) == repr(peer)


FUNCTIONS = [
    ("batch_norm", (5, 4, 3), lambda v: (v(4), v(4) ** 2, v(4), None), {"training": True, "momentum": 0.25}),
    ("batch_norm", (5, 4), lambda v: (v(4), v(4) ** 2), {"eps": 1e-2}),
    ("batch_norm", (5, 4, 2, 2, 2), lambda v: (None, None, None, v(4), True), {}),
    ("instance_norm", (2, 4, 3), lambda v: (v(4), v(4) ** 2, v(4), v(4)), {}),
    ("instance_norm", (2, 4, 3, 3), lambda v: (v(4), v(4) ** 2, None, v(4), False, 0.1, 1e-2), {}),
    ("group_norm", (3, 6, 4), lambda v: (2, v(6), v(6), 1e-2), {}),
    ("group_norm", (3, 6), lambda v: (3,), {"bias": True}),
    ("layer_norm", (3, 2, 5), lambda v: ((2, 5), v(2, 5), v(2, 5), 1e-2), {}),
    ("layer_norm", (3, 5), lambda v: ((5,),), {"bias": True}),
    ("rms_norm", (3, 2, 5), lambda v: ((5,), v(5)), {"eps": 1e-2}),
    ("rms_norm", (3, 5), lambda v: ((5,),), {}),
    ("local_response_norm", (2, 6, 3), lambda v: (3, 0.5, 0.6, 1.5), {}),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(FUNCTIONS)), ids=[f"{f[0]}-{i}" for i, f in enumerate(FUNCTIONS)])
def test_function_equals_pytorchs(case):
    """Names, order and defaults of the arguments; what is changed in place; second derivatives."""
    torch = pytest.importorskip("torch")
    name, shape, make, options = FUNCTIONS[case]
    options = dict(options)
    args = [RNG.uniform(-1, 1, shape), *make(lambda *s: RNG.uniform(-1, 1, s) + 0.1)]
    if options.get("bias"):
        options["bias"] = RNG.uniform(-1, 1, shape[1:])
    found = []
    for f, tensor in ((getattr(F, name), pn.tensor), (getattr(torch.nn.functional, name), torch.tensor)):
        own = [tensor(a) if isinstance(a, np.ndarray) else a for a in args]
        named = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        x = own[0].requires_grad_()
        y = f(*own, **named)
        with warnings.catch_warnings():  # PyTorch warns of a cycle, which ends here
            warnings.simplefilter("ignore")
            (y * y * y).sum().backward(create_graph=True)
        grad, x.grad = x.grad, None
        (grad * grad).sum().backward()
        found.append([np.asarray(t.detach()) for t in [y, grad, x.grad, *[a for a in own[1:] if hasattr(a, "shape")]]])
    for a, b in zip(*found, strict=True):
        close(a, b, 1e-9, name)


# ---- running statistics ----


def test_momentum_none_is_the_mean_over_batches():
    layer = nn.BatchNorm1d(3, momentum=None).double()
    batches = [RNG.normal(size=(n, 3)) for n in (4, 9, 5)]
    for x in batches:
        layer(pn.from_numpy(x))
    close(layer.running_mean, np.mean([x.mean(0) for x in batches], 0), 1e-14, "mean")
    close(layer.running_var, np.mean([x.var(0, ddof=1) for x in batches], 0), 1e-14, "var")
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    assert np.array_equal(layer.running_var, np.ones(3))


def test_running_statistics_need_no_gradient_and_keep_their_memory():
    layer = nn.BatchNorm2d(3)
    memory = [np.asarray(b) for b in (layer.running_mean, layer.running_var, layer.num_batches_tracked)]
    x = pn.from_numpy(mean_and_spread((4, 3, 5, 5), np.float32)).requires_grad_()
    layer(x).sum().backward()
    assert not layer.running_mean.requires_grad
    assert memory[2] == 1
    assert np.allclose(memory[0], 0.1 * np.asarray(x.detach()).mean((0, 2, 3)), rtol=1e-5)
    layer.eval()(x)
    assert memory[2] == 1


def test_float64_statistics_of_a_float32_batch():
    mean, var = pn.zeros(3, dtype=np.float64), pn.ones(3, dtype=np.float64)
    y = F.batch_norm(pn.from_numpy(mean_and_spread((9, 3), np.float32)), mean, var, training=True)
    assert y.dtype == np.float32
    assert mean.dtype == np.float64
    assert np.asarray(mean).all()


def test_an_empty_batch_leaves_the_statistics_alone():
    layer = nn.BatchNorm2d(3)
    x = pn.zeros((0, 3, 4, 4), requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    assert np.array_equal(layer.weight.grad, np.zeros(3))
    assert np.array_equal(layer.running_mean, np.zeros(3))
    assert np.array_equal(layer.running_var, np.ones(3))


# ---- numbers ----


@pytest.mark.parametrize("shape", [(64, 7), (16, 7, 31, 31), (3, 7, 12)])
def test_large_means_cost_no_digits(shape):
    """The variance is that of x - mean: with one pass over x and x^2 nothing would be left of it."""
    x = (RNG.normal(size=shape) + 3000).astype(np.float32)
    y = F.batch_norm(pn.from_numpy(x), None, None, training=True)
    wide = x.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    want = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    assert np.abs(np.asarray(y) - want).max() < 2e-3  # half a spacing of float32 at 3000 is 1.2e-4 of the mean
    rows = np.moveaxis(x, 1, 0).reshape(7, -1)
    y = F.layer_norm(pn.from_numpy(rows), rows.shape[1:])
    assert np.abs(np.asarray(y) - np.moveaxis(want, 1, 0).reshape(7, -1)).max() < 2e-3


def test_first_elements_unlike_the_others_cost_no_digits():
    """The variance is made from distances to the mean of the first elements, and again where that is far off."""
    x = RNG.normal(size=(50_000, 3)).astype(np.float32)
    x[:16] = 1000.0
    wide = x.astype(np.float64)
    want = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
    for y in (
        F.batch_norm(pn.from_numpy(x), None, None, training=True),
        F.batch_norm(pn.from_numpy(x.T[None].copy()), None, None, training=True)[0].T,
        F.layer_norm(pn.from_numpy(x.T.copy()), 50_000).T,
    ):
        assert np.abs(np.asarray(y) - want).max() < 1e-5 * want.max()


def test_constant_channels():
    for y in (F.batch_norm(pn.full((8, 3, 4), 5.0), None, None, training=True), F.layer_norm(pn.full((4, 9), 5.0), 9)):
        assert np.array_equal(y, np.zeros(y.shape))


# ---- replay ----


def _network(layers, momentum):
    pn.manual_seed(1)
    model = nn.Sequential(*layers(momentum))
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    def step(x):
        y = model(x)
        if not model.training:
            return y
        loss = (y * y).mean() + (y - x.mean()).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, y

    return SimpleNamespace(step=step, state=lambda: [*model.parameters(), *model.buffers()], model=model)


NETWORKS = {
    "images": ((6, 1, 9, 9), lambda m: [
        nn.Conv2d(1, 20, 3), nn.BatchNorm2d(20, momentum=m), nn.ReLU(), nn.GroupNorm(4, 20),
        nn.InstanceNorm2d(20, track_running_stats=True), nn.Flatten(), nn.Linear(980, 3),
        nn.BatchNorm1d(3, momentum=m, affine=False)]),
    "rows": ((33, 12), lambda m: [
        nn.Linear(12, 70), nn.ReLU(), nn.BatchNorm1d(70, momentum=m), nn.Linear(70, 16), nn.LayerNorm(16), nn.Tanh(),
        nn.Linear(16, 7), nn.RMSNorm(7)]),
}  # fmt: skip


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("network", NETWORKS)
def test_replay_gives_the_same_bits(network, momentum):
    shape, layers = NETWORKS[network]
    inputs = [(mean_and_spread(shape, np.float32),) for _ in range(26)]
    compiled = eager_and_compiled(
        lambda: _network(layers, momentum), inputs, lambda world, i: world.model.train(i not in range(10, 16))
    )
    assert sum(p.replays for p in compiled.programs) >= 20


def test_momentum_that_changes_is_seen():
    shape, layers = NETWORKS["rows"]

    def between(world, i):
        world.model[2].momentum = 0.5 if i >= 8 else 0.1

    inputs = [(mean_and_spread(shape, np.float32),) for _ in range(14)]
    eager_and_compiled(lambda: _network(layers, 0.1), inputs, between)


def test_threads_change_no_bit():
    x, g = mean_and_spread((64, 20, 27, 27), np.float32), mean_and_spread((64, 20, 27, 27), np.float32)
    rows = mean_and_spread((3000, 70), np.float32)
    before, found = pn.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            pn.set_num_threads(threads)
            got = []
            for layer, data, dy in (
                (nn.BatchNorm2d(20), x, g),
                (nn.GroupNorm(5, 20), x, g),
                (nn.LayerNorm(70), rows, rows[::-1].copy()),
                (nn.BatchNorm1d(70), rows, rows[::-1].copy()),
            ):
                t = pn.from_numpy(data).requires_grad_()
                y = layer(t)
                y.backward(pn.from_numpy(dy))
                got += [y, t.grad, *[p.grad for p in layer.parameters()], *layer.buffers()]
            found.append(bits(got))
    finally:
        pn.set_num_threads(before)
    assert_same(found[0], found[1])
    assert_same(found[0], found[2])


def test_trainer_equals_the_loop_by_hand():
    x, y = mean_and_spread((96, 6), np.float32), mean_and_spread((96, 2), np.float32)

    def model():
        pn.manual_seed(2)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 2))

    trained, by_hand = model(), model()
    trainer = pn.Trainer(trained, nn.MSELoss(), optim.SGD(trained.parameters(), lr=0.05))
    history = trainer.fit(x, y, epochs=3, batch_size=32, shuffle=False, validation=(x, y))
    optimizer = optim.SGD(by_hand.parameters(), lr=0.05)
    for _ in range(3):
        by_hand.train()
        for i in range(0, 96, 32):
            optimizer.zero_grad()
            F.mse_loss(by_hand(pn.from_numpy(x[i : i + 32])), pn.from_numpy(y[i : i + 32])).backward()
            optimizer.step()
        with pn.no_grad():
            loss = F.mse_loss(by_hand.eval()(pn.from_numpy(x)), pn.from_numpy(y)).item()
    assert_same(bits(list(trained.state_dict().values())), bits(list(by_hand.state_dict().values())))
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert trained[2].num_batches_tracked.item() == 9


# ---- errors ----

REFUSED = [
    (lambda: nn.BatchNorm1d(-1), r"BatchNorm1d: num_features must be an integer of at least 0, got -1"),
    (lambda: nn.BatchNorm1d(3)(pn.zeros((2, 3, 4, 4))), r"BatchNorm1d: x must have 2 or 3 dimensions.*\(2, 3, 4, 4\)"),
    (lambda: nn.BatchNorm2d(3)(pn.zeros((2, 3))), r"BatchNorm2d: x must have 4 dimensions"),
    (lambda: nn.BatchNorm3d(3)(pn.zeros((2, 3, 4, 4))), r"BatchNorm3d: x must have 5 dimensions"),
    (
        lambda: nn.BatchNorm2d(3)(pn.zeros((2, 4, 5, 5))),
        r"batch_norm: running_mean has shape \(3,\) but x has 4 channels",
    ),
    (lambda: nn.BatchNorm1d(3)(pn.zeros((1, 3))), r"more than 1 value per channel when training, but x is \(1, 3\)"),
    (lambda: nn.BatchNorm1d(3, eps=0.0)(pn.zeros((2, 3))), "eps is 0.0 but must be above 0"),
    (lambda: nn.InstanceNorm2d(3)(pn.zeros((2, 3))), r"InstanceNorm2d: x must have 3 or 4 dimensions"),
    (lambda: nn.InstanceNorm1d(3)(pn.zeros((2, 3, 1))), "more than 1 spatial element"),
    (lambda: nn.InstanceNorm1d(3, affine=True)(pn.zeros((2, 4, 5))), r"weight has shape \(3,\) but x has 4 channels"),
    (lambda: nn.GroupNorm(4, 6), "num_groups is 4 but must divide num_channels, 6"),
    (
        lambda: nn.GroupNorm(2, 6)(pn.zeros((3, 8))),
        r"GroupNorm: x has 8 channels but num_channels is 6 \(x is \(3, 8\)\)",
    ),
    (lambda: nn.LayerNorm(6)(pn.zeros((3, 8))), r"normalized_shape is \(6,\) but x ends otherwise \(x is \(3, 8\)\)"),
    (lambda: nn.RMSNorm((2, 6))(pn.zeros((6,))), r"rms_norm: normalized_shape is \(2, 6\) but x ends otherwise"),
    (lambda: nn.LocalResponseNorm(0), "size must be an integer of at least 1, got 0"),
    (lambda: nn.LocalResponseNorm(2)(pn.zeros((3, 8))), "must have 3 dimensions or more"),
]


@pytest.mark.parametrize(("call", "pattern"), REFUSED)
def test_refused(call, pattern):
    with pytest.raises(ValueError, match=pattern):
        call()


def test_refused_before_anything_changes():
    layer = nn.BatchNorm1d(3)
    for bad in (pn.zeros((1, 3)), pn.zeros((5, 4))):
        with pytest.raises(ValueError, match="batch_norm"):
            layer(bad)
    layer.weight.data = pn.ones(4)
    with pytest.raises(ValueError, match="weight has shape"):
        layer(pn.ones((5, 3)))
    assert layer.num_batches_tracked.item() == 0
    assert np.array_equal(layer.running_mean, np.zeros(3))
