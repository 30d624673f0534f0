"""Products in bfloat16: what is rounded, in which order sums are taken, and what autocast switches."""

import threading

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn, optim
from pyneural.ops.linalg import bfloat16

SHAPES = [(1, 1, 1), (3, 2, 5), (8, 48, 32), (9, 49, 33), (64, 10, 128), (17, 130, 257), (70, 96, 1100), (200, 65, 64)]


def in_pairs(a, b):
    """The product of rounded operands in the documented order: along k in pairs, the second of each first."""
    a, b = bfloat16(a).astype(np.float64), bfloat16(b).astype(np.float64)
    k = a.shape[1]
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for p in range(0, k, 2):
        for q in (p + 1, p):
            if q < k:
                # Products of two bfloat16 are exact in float32, and float64 rounds their sum right for float32 but for
                # ties: here the summands are of like size, and 53 bits hold the sum exactly.
                total = (total.astype(np.float64) + a[:, q, None] * b[None, q]).astype(np.float32)
    return total


def test_rounding_is_to_nearest_even():
    ones = np.float32(1)
    x = np.array(
        [1, 1 + 2**-9, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20, 3e38, np.inf, np.nan, 1e-40, -1e-40, 0.0]
    )
    want = [1, 1, 1, 1 + 2**-6, -1 - 2**-7, 3.0039e38, np.inf, np.nan, 0, 0, 0]
    np.testing.assert_allclose(bfloat16(x.astype(np.float32)), want, rtol=1e-4)
    assert np.signbit(bfloat16(np.float32([-1e-40])))[0]
    # The product with 1 is the rounded operand itself, on whatever way the CPU takes.
    for isa in pn.available_isas():
        pn.set_isa(isa)
        got = pn.ops.record.RECORDS["matmul_bf16"].function(x.astype(np.float32)[:, None], ones[None, None]).numpy()
        np.testing.assert_array_equal(got[:, 0], bfloat16(x.astype(np.float32)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_order_and_bits(shape):
    m, n, k = shape
    rng = np.random.default_rng(shape)
    a, b = rng.uniform(1, 2, (m, k)).astype(np.float32), rng.uniform(-2, 2, (k, n)).astype(np.float32)
    want = in_pairs(a, b)
    multiply = pn.ops.record.RECORDS["matmul_bf16"].function
    for isa in pn.available_isas():
        pn.set_isa(isa)
        for threads in (1, 2, 7):
            pn.set_num_threads(threads)
            for left in (a, np.asfortranarray(a)):
                for right in (b, np.asfortranarray(b)):
                    got = multiply(pn.from_numpy(left), pn.from_numpy(right)).numpy()
                    assert got.tobytes() == want.tobytes(), (isa, threads, np.argwhere(got != want)[:3])


def step_of(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = pn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def network():
    pn.manual_seed(3)
    model = nn.Sequential(nn.Linear(40, 70), nn.Tanh(), nn.Linear(70, 6))
    return model, optim.Adam(model.parameters(), lr=0.01)


def test_autocast_changes_products_and_their_gradients_alone():
    x, w = pn.randn(5, 8), pn.randn(4, 8, requires_grad=True)
    plain = pn.linear(x, w)
    with pn.autocast():
        assert pn.is_autocast_enabled()
        y = pn.linear(x, w)
        np.testing.assert_array_equal((x @ w.T).detach().numpy(), y.detach().numpy())
        np.testing.assert_array_equal((x * 1.01).numpy(), x.numpy() * np.float32(1.01))
        with pn.autocast(enabled=False):
            np.testing.assert_array_equal(pn.linear(x, w).detach().numpy(), plain.detach().numpy())
        double = pn.linear(x.double(), w.detach().double())
        np.testing.assert_allclose(double.numpy(), x.numpy().astype(float) @ w.detach().numpy().astype(float).T)
        array = pn.linear(x.numpy().astype(float), w.detach())  # an array of doubles is no float32 operand either
        np.testing.assert_array_equal(array.numpy(), double.numpy())
    assert not pn.is_autocast_enabled()
    rounded = bfloat16(x.numpy()) @ bfloat16(w.detach().numpy()).T
    np.testing.assert_allclose(y.detach().numpy(), rounded, rtol=1e-5, atol=1e-6)
    assert np.abs(plain.detach().numpy() - rounded).max() > 1e-4
    g = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    y.backward(g)  # outside of the block: still a product in bfloat16
    assert y.dtype == w.grad.dtype == np.float32
    np.testing.assert_allclose(w.grad.numpy(), bfloat16(g).T @ bfloat16(x.numpy()), rtol=1e-5, atol=1e-6)


def test_replayed_steps_have_eager_bits_and_know_the_switch():
    x, y = pn.randn(30, 40), pn.randn(30, 6)
    weights = []
    for compiled in (False, True):
        model, optimizer = network()
        step = step_of(model, optimizer)
        step = pn.compile(step) if compiled else step
        for i in range(12):
            with pn.autocast(enabled=i % 3 != 0):
                step(x, y)
        weights.append([p.detach().numpy().copy() for p in model.parameters()])
        if compiled:
            assert len(step.programs) == 2
            assert "linear_bf16" in step.explain()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*weights, strict=True))


def test_training_in_bfloat16_learns():
    model, optimizer = network()
    x = pn.randn(256, 40)
    y = pn.tanh(x[:, :6] * 2)
    step = pn.autocast()(step_of(model, optimizer))
    losses = [float(step(x, y)) for _ in range(300)]
    assert losses[-1] < 0.02 < losses[0]


def test_autocast_is_per_thread_and_refuses_other_dtypes():
    seen = []
    with pn.autocast():
        thread = threading.Thread(target=lambda: seen.append(pn.is_autocast_enabled()))
        thread.start()
        thread.join()
    assert seen == [False]
    with pytest.raises(ValueError, match="autocast: dtype is float16; only 'bfloat16'"):
        pn.autocast(dtype=np.float16)
    with pytest.raises(RuntimeError, match="stop"), pn.autocast():
        raise RuntimeError("stop")
    assert not pn.is_autocast_enabled()
