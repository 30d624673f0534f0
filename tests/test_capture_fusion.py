"""What a program's passes make of a step, and that the bits stay those of the eager one."""

from types import SimpleNamespace

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim
from pyneural.ops import moments


def kinds(compiled):
    """What each step of the last program is, with the ops in it."""
    return [(s["what"], [c["op"] for c in s["calls"]]) for s in compiled.programs[-1].program.listing()]


def trained(make_optimizer, compiled, steps=6, batch=32, activation=nn.Tanh):
    pn.manual_seed(5)
    model = nn.Sequential(nn.Linear(40, 70), activation(), nn.Linear(70, 50), activation(), nn.Linear(50, 3))
    optimizers = make_optimizer(model)
    x, y = pn.randn(batch, 40), pn.randn(batch, 3)

    def step(x, y):
        for o in optimizers:
            o.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        for o in optimizers:
            o.step()
        return loss

    run = pn.compile(step) if compiled else step
    losses = [float(run(x, y)) for _ in range(steps)]
    return losses, [p.detach().numpy().tobytes() for p in model.parameters()], run


def test_elementwise_calls_join_the_product_that_they_follow():
    make = lambda model: [optim.Adam(model.parameters(), lr=0.01)]  # noqa: E731
    losses, weights, _ = trained(make, compiled=False)
    replayed, again, run = trained(make, compiled=True)
    assert (losses, weights) == (replayed, again)
    found = kinds(run)
    assert ("product and chain", ["linear", "tanh"]) in found
    assert any(what == "product and chain" and ops[0] == "matmul" for what, ops in found), "nor in the backward pass"
    # Two layers' weights and biases and the last one's: six parameters, one pass.
    assert ("one pass", ["adam_"] * 6) in found


def test_a_product_whose_result_is_used_twice_keeps_it():
    w = pn.randn(90, 60)

    def step(x):
        z = F.linear(x, w)
        return (F.relu(z) * 2 + 1).sum() + z.sum()

    compiled = pn.compile(step)
    x = pn.randn(20, 60)
    assert [float(compiled(x)) for _ in range(3)] == [float(step(x))] * 3
    assert ("product and chain", ["linear", "relu", "mul", "add"]) in kinds(compiled)


def test_neighbouring_updates_of_one_parameter_stay_in_order():
    def make(model):
        parameters = list(model.parameters())
        return [optim.SGD(parameters, lr=0.1, momentum=0.9), optim.Adam(parameters[::-1], lr=0.05)]

    losses, weights, _ = trained(make, compiled=False)
    replayed, again, run = trained(make, compiled=True)
    assert (losses, weights) == (replayed, again)
    passes = [ops for what, ops in kinds(run) if what == "one pass"]
    assert passes == [["momentum_"] * 6, ["adam_"] * 6]


def test_numbers_in_the_text_are_worked_out_once():
    w = pn.randn(7, requires_grad=True)

    def step(x):
        w.grad = None
        (F.mse_loss(w, x) * 3.0).backward()
        return w.grad * 1.0

    compiled = pn.compile(step)
    for _ in range(3):
        x = pn.randn(7)
        np.testing.assert_array_equal(compiled(x).numpy(), step(x).numpy())
    # Of the gradient of a mean, 1 * 3 / 7 is made of numbers; what is left reads x or w.
    used = [c for s in compiled.programs[-1].program.listing() for c in s["calls"]]
    assert all(any("argument" in i or "outside" in i or " t" in i for i in c["inputs"]) for c in used), used
    assert "cast" not in [c["op"] for c in used]


def test_numpy_memory_that_lives_on_is_read_at_each_replay():
    scale = np.array([2.0], np.float32)

    def step(x):
        return x * (pn.from_numpy(scale) * 3.0)

    compiled = pn.compile(step)
    x = pn.randn(7)
    for value in (2.0, 5.0, -1.0):
        scale[0] = value
        np.testing.assert_array_equal(compiled(x).numpy(), step(x).numpy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1), (2, 3), (5, 100), (4, 128), (3, 171)])
def test_small_chains_with_operands_of_every_layout(shape):
    """Chains of one tile run from prepared addresses: rows, columns, numbers, transposed and reversed operands."""
    rows, columns = shape
    row, column = pn.randn(columns), pn.randn(rows, 1)
    other = pn.randn(columns, rows)

    def step(x):
        y = x * row + column
        y = (y - other.T) * 0.5
        return pn.tanh(y.flip(1)) * y + x[:1]

    compiled = pn.compile(step)
    for _ in range(3):
        x = pn.randn(rows, columns)
        np.testing.assert_array_equal(compiled(x).numpy(), step(x).numpy())
    # Another array stands in the argument's place: strides as before, memory elsewhere.
    big = np.asarray(pn.randn(2, rows, columns))
    for x in (pn.from_numpy(big[0]), pn.from_numpy(big[1])):
        np.testing.assert_array_equal(compiled(x).numpy(), step(x).numpy())


@pytest.mark.parametrize("batch", [3, 13, 64])
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 9, 3, stride=2, padding=1), nn.ConvTranspose2d(3, 4, 3, stride=2)])
def test_activations_join_convolutions_and_the_gradient_of_maxima(layer, batch):
    """Whatever way the convolution is done in; what the chain replaces lies where the chain leaves its result."""

    def step(x):
        x = x * 1.0
        y = F.max_pool2d(F.tanh(layer(x)), 2)
        (y * y).sum().backward()
        return y

    def gradients(call, x):
        layer.zero_grad()
        return [call(x).numpy(), *(p.grad.numpy() for p in layer.parameters())]

    run = pn.compile(step)
    for _ in range(3):
        x = pn.randn(batch, 3, 23, 25)
        for a, b in zip(gradients(step, x), gradients(run, x), strict=True):
            np.testing.assert_array_equal(a, b)
    steps = [ops for what, ops in kinds(run) if what == "product and chain"]
    assert steps == [[steps[0][0], "tanh"], ["max_pool_backward", "tanh_backward"]]
    assert steps[0][0] in ("conv", "conv_transpose")


@pytest.mark.parametrize("batch", [3, 32])
@pytest.mark.parametrize("pool", [(2,), (3, 1, 1), (2, 3), (2, 2, 0, 2)])
def test_relu_s_gradient_goes_before_that_of_maxima(pool, batch):
    """It then masks few elements, which are zero, NaN or of both signs here; every bit stays, signs of zeros too."""
    layer = nn.Conv2d(3, 4, 3)

    def make():
        def step(x, g):
            layer.zero_grad()
            y = F.max_pool2d(F.relu(layer(x)), *pool)
            ((y + 1) * -g[:, :, : y.shape[2], : y.shape[3]]).sum().backward()
            return y, *(p.grad for p in layer.parameters())

        return SimpleNamespace(step=step, state=lambda: [])

    rng = np.random.default_rng(1)
    inputs = []
    for _ in range(3):
        x = rng.integers(-2, 3, size=(batch, 3, 12, 13)).astype(np.float32)
        x[0, 0, 4, 5] = np.nan
        inputs.append((x, rng.integers(-1, 2, size=(batch, 4, 12, 13)).astype(np.float32)))
    compiled = eager_and_compiled(make, inputs)
    order = [op for _, ops in kinds(compiled) for op in ops]
    assert order.index("relu_backward") < order.index("max_pool_backward")


def test_relu_s_gradient_stays_where_others_read_what_it_masks():
    layer = nn.Conv2d(3, 4, 3)

    def make():
        def step(x):
            z = F.relu(layer(x))
            y = F.max_pool2d(z, 2)
            return pn.autodiff.gradients((y * y).sum(), [layer.weight, z])

        return SimpleNamespace(step=step, state=lambda: [])

    rng = np.random.default_rng(1)
    compiled = eager_and_compiled(make, [(rng.normal(size=(16, 3, 8, 8)).astype(np.float32),) for _ in range(3)])
    order = [op for _, ops in kinds(compiled) for op in ops]
    assert order.index("max_pool_backward") < order.index("relu_backward")


@pytest.mark.parametrize("shape", [(64, 20, 12, 12), (5, 7, 9, 30), (64, 9, 3, 2), (64, 300), (33, 5, 20)])
def test_activations_join_batch_norm_and_its_gradient(shape):
    """Over the update of the running statistics; planes that are taken alone, and several of few places together."""

    def trained(compiled):
        pn.manual_seed(3)
        make = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
        model = nn.Sequential(nn.ReLU(), make(shape[1]), nn.LeakyReLU())
        gain = pn.ones(shape[1:]).requires_grad_()
        optimizer = optim.SGD([*model.parameters(), gain], lr=0.1)

        def step(x):
            optimizer.zero_grad()
            (model(x * gain) ** 2).mean().backward()
            optimizer.step()

        run = pn.compile(step) if compiled else step
        for _ in range(4):
            run(pn.randn(*shape))
        return [np.asarray(v).tobytes() for v in [*model.state_dict().values(), gain.detach()]], run

    eager, _ = trained(compiled=False)
    replayed, run = trained(compiled=True)
    assert eager == replayed
    steps = [ops for what, ops in kinds(run) if what == "product and chain"]
    assert any(ops[:2] == ["batch_norm", "leaky_relu"] for ops in steps)
    assert any(ops[0] == "batch_norm_backward" and "relu_backward" in ops for ops in steps)


@pytest.mark.parametrize("shape", [(9, 5, 27, 27), (40, 33, 7, 9)])
@pytest.mark.parametrize("layer", ["Dropout", "Dropout2d", "AlphaDropout"])
def test_dropout_is_a_part_of_the_norm_before_it_and_of_the_convolution_behind_it(shape, layer):
    def trained(compiled):
        pn.manual_seed(3)
        c = shape[1]
        model = nn.Sequential(nn.BatchNorm2d(c), getattr(nn, layer)(0.3), nn.Conv2d(c, c, 3, stride=2))
        optimizer = optim.SGD(model.parameters(), lr=0.01)

        def step(x):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()

        run = pn.compile(step) if compiled else step
        for _ in range(4):
            run(pn.randn(*shape))
        return [np.asarray(v).tobytes() for v in model.state_dict().values()], run

    eager, _ = trained(compiled=False)
    replayed, run = trained(compiled=True)
    assert eager == replayed
    steps = [ops for what, ops in kinds(run) if what == "product and chain"]
    assert ["batch_norm", "dropout"] in steps
    assert ["conv_transpose", "dropout"] in steps


def test_a_chain_that_reads_the_statistics_of_a_norm_is_not_done_while_they_are_made():
    """Channel by channel the others' are not there yet: here each element meets the mean of another channel."""
    x = pn.randn(32, 33, 33)

    def step(x):
        y, mean, _ = moments.batch_norm(x * 1.0, None, None, 1e-5)
        return y * mean

    run = pn.compile(step)
    for _ in range(3):
        np.testing.assert_array_equal(run(x).numpy(), step(x).numpy())
    assert not any(what == "product and chain" and ops[0] == "batch_norm" for what, ops in kinds(run))


def test_operations_of_products_and_convolutions_are_counted():
    x, w, k = pn.randn(4, 6, 9, 9), pn.randn(7, 6 * 7 * 7), pn.randn(6, 3, 3, 3)

    def step(x):
        y = F.conv2d(x, k, groups=2)
        return pn.linear(y.reshape(4, -1), w)

    compiled = pn.compile(step)
    for _ in range(3):
        compiled(x)
    work = {c["op"]: c["operations"] for s in compiled.programs[-1].program.listing() for c in s["calls"]}
    assert work["conv"] == 2 * 4 * 6 * 7 * 7 * 3 * 9
    assert work["linear"] == 2 * 4 * 7 * 294
