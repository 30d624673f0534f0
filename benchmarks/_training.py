"""Trainings, each described once and run by every library: eager, compiled, in one call, by PyTorch, JAX, scikit-learn.

pyneural and PyTorch run the same lines, because they have the same names. All start from the same weights and see the
same rows in the same order; what is compared are the weights after a few steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Unavailable, Way, difference

Chain = tuple[tuple[int, int, str], ...]  # a network: (inputs, outputs, activation or "") of each layer


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        data: Gives the rows: (x, y).
        batch: Rows per step.
        nets: One chain of layers, or several that the loss puts together.
        loss: ``loss(lib, nets, x, y)``, written with what :func:`torch_like` and :func:`jax_library` have in common.
        optimizer, rate: ``"SGD"`` or ``"Adam"``, and its step size.
        steps: Steps of one timed run where Python loops, and where the library does.
        bias: Whether the layers have one.
        decay: Weight decay, added to the gradient.
        gathers: Whether a batch is some of the rows; otherwise every step sees them all.
        noise: Whether the loss draws random numbers. To compare results they are replaced with fixed ones.
    """

    name: str
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    batch: int
    nets: tuple[Chain, ...]
    loss: Callable[..., Any]
    optimizer: str
    rate: float
    steps: tuple[int, int]
    bias: bool = True
    decay: float = 0.0
    gathers: bool = True
    noise: bool = False
    tolerance: float = 1e-4
    check_steps: int = 5
    goals: dict[str, float] = field(default_factory=dict)

    def start(self) -> list[np.ndarray]:
        """The first weights: weight (out, in) and bias, if any, of each layer, uniform up to 1 / sqrt(in)."""
        rng = np.random.default_rng(1)
        found = []
        for inputs, outputs, _ in (layer for chain in self.nets for layer in chain):
            bound = inputs**-0.5
            shapes = ((outputs, inputs), (outputs,))[: 1 + self.bias]
            found += [rng.uniform(-bound, bound, s).astype(np.float32) for s in shapes]
        return found

    def orders(self, steps: int) -> np.ndarray:
        """Row numbers (batches, batch): at least one epoch and at least `steps` batches, shuffled epoch by epoch."""
        rng, n = np.random.default_rng(2), len(self.data()[0])
        each = n // self.batch
        epochs = [rng.permutation(n)[: each * self.batch].reshape(each, self.batch) for _ in range(-(-steps // each))]
        return np.concatenate(epochs)

    def flops(self) -> float:
        """Multiplications and additions of the matrix products of one step; the first layer needs no input gradient."""
        layers = [layer for chain in self.nets for layer in chain]
        return sum(2.0 * self.batch * i * o * (2 if k == 0 else 3) for k, (i, o, _) in enumerate(layers))


def fixed_noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def endless(orders: Any, steps: int) -> Iterator[Any]:
    """Groups of `steps` batches, one group after the other, again from the start when they are used up."""
    while True:
        for first in range(0, len(orders) - steps + 1, steps):
            yield orders[first : first + steps]


# ---- pyneural and PyTorch ----


def torch_like(name: str, fixed: bool) -> SimpleNamespace:
    """The names that a loss may use, from pyneural or torch."""
    import importlib

    top = importlib.import_module(name)
    nn, optim = importlib.import_module(f"{name}.nn"), importlib.import_module(f"{name}.optim")
    functional = importlib.import_module("pyneural.functional" if name == "pyneural" else "torch.nn.functional")
    return SimpleNamespace(
        nn=nn,
        optim=optim,
        no_grad=top.no_grad,
        tensor=top.from_numpy,
        randn=(lambda *shape: top.from_numpy(fixed_noise(*shape))) if fixed else top.randn,
        cross_entropy=functional.cross_entropy,
        exp=top.exp,
        mse=functional.mse_loss,
        squares=lambda a, b: functional.mse_loss(a, b, reduction="sum"),
    )


def prepare(
    t: Training, lib: SimpleNamespace, wrap: Callable[[Any], Any] = lambda loss: loss, **options: Any
) -> tuple[Callable[[Any, Any], Any], list[Any]]:
    """(step(x, y) -> loss, parameters) of a training in PyTorch's style; `wrap` may compile the loss(x, y)."""
    activations = {"relu": lib.nn.ReLU, "tanh": lib.nn.Tanh, "sigmoid": lib.nn.Sigmoid}
    nets = []
    for chain in t.nets:
        layers = []
        for inputs, outputs, activation in chain:
            layers.append(lib.nn.Linear(inputs, outputs, bias=t.bias))
            if activation:
                layers.append(activations[activation]())
        nets.append(lib.nn.Sequential(*layers))
    parameters = [p for net in nets for p in net.parameters()]
    with lib.no_grad():
        for p, values in zip(parameters, t.start(), strict=True):
            p.copy_(lib.tensor(values))
    optimizer = getattr(lib.optim, t.optimizer)(parameters, lr=t.rate, weight_decay=t.decay, **options)
    loss_of = wrap(lambda x, y: t.loss(lib, nets, x, y))

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step, parameters


def torch_compiled(loss: Any) -> Any:
    """A loss and its backward pass by torch.compile, which needs a C++ compiler.

    The optimiser stays outside, where it is fused: with 1.6 million weights a step takes less time so than with all of
    it compiled, with a thousand a tenth more. What was compiled before is forgotten, because there is a limit to the
    versions of one function, beyond which it runs eagerly.
    """
    import torch

    torch.compiler.reset()
    compiled = torch.compile(loss, dynamic=False)

    def call(x: Any, y: Any) -> Any:
        try:
            return compiled(x, y)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise Unavailable(f"torch.compile fails here: {reason}") from error

    return call


def looping(t: Training, steps: int, fixed: bool, name: str, compiled: bool = False, **options: Any) -> Any:
    """A Python loop over batches that are gathered by index; `compiled` means pyneural's whole step, torch's loss."""
    lib = torch_like(name, fixed)
    if compiled and name == "torch":
        options["wrap"] = torch_compiled
    step, parameters = prepare(t, lib, **options)
    if compiled and name == "pyneural":
        import pyneural as pn

        step = pn.compile(step)
    x, y = (lib.tensor(a) for a in t.data())
    if not t.gathers:

        def run_whole() -> Any:
            for _ in range(steps):
                step(x, y)
            return parameters

        return run_whole
    # Where Python loops, 2,000 batches are enough to stay out of the caches.
    groups = endless([lib.tensor(rows) for rows in t.orders(steps)[: max(2000, steps)]], steps)

    def run() -> Any:
        for rows in next(groups):
            step(x[rows], y[rows])
        return parameters

    return run


def one_call(t: Training, steps: int, fixed: bool) -> Any:
    """pyneural's compiled step on all batches in one call."""
    import pyneural as pn

    step, parameters = prepare(t, torch_like("pyneural", fixed))
    compiled = pn.compile(step)
    x, y = t.data()
    groups = endless(t.orders(steps), steps)

    def run() -> Any:
        compiled.epoch(x, y, batch_size=t.batch, order=next(groups).reshape(-1))
        return parameters

    return run


# ---- JAX ----


def jax_library(fixed: bool, key: Any) -> SimpleNamespace:
    import jax
    import jax.numpy as jnp

    def cross_entropy(scores: Any, labels: Any) -> Any:
        chosen = jnp.take_along_axis(scores, labels[:, None], 1)[:, 0]
        return (jax.nn.logsumexp(scores, 1) - chosen).mean()

    return SimpleNamespace(
        randn=(lambda *shape: fixed_noise(*shape)) if fixed else (lambda *shape: jax.random.normal(key, shape)),
        cross_entropy=cross_entropy,
        exp=jnp.exp,
        mse=lambda a, b: jnp.square(a - b).mean(),
        squares=lambda a, b: jnp.square(a - b).sum(),
    )


def in_jax(t: Training, steps: int, fixed: bool, scan: bool) -> Any:
    """All steps in one jitted scan, or a Python loop around one jitted step."""
    import jax
    import jax.numpy as jnp

    activations = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "": lambda z: z}

    def loss(weights: list[Any], x: Any, y: Any, key: Any) -> Any:
        rest = iter(weights)

        def network(chain: Chain) -> Callable[[Any], Any]:
            layers = [(next(rest), next(rest) if t.bias else 0.0, activations[name]) for _, _, name in chain]

            def forward(z: Any) -> Any:
                for w, b, activation in layers:
                    z = activation(z @ w.T + b)
                return z

            return forward

        return t.loss(jax_library(fixed, key), [network(chain) for chain in t.nets], x, y)

    def update(weights: Any, moments: Any, count: Any, grads: Any) -> Any:
        if t.decay:
            grads = [g + t.decay * w for w, g in zip(weights, grads, strict=True)]
        if t.optimizer == "SGD":
            return [w - t.rate * g for w, g in zip(weights, grads, strict=True)], moments
        means = [0.9 * m + 0.1 * g for (m, _), g in zip(moments, grads, strict=True)]
        squares = [0.999 * v + 0.001 * g * g for (_, v), g in zip(moments, grads, strict=True)]
        size, root = t.rate / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
        new = [w - size * m / (jnp.sqrt(v) / root + 1e-8) for w, m, v in zip(weights, means, squares, strict=True)]
        return new, list(zip(means, squares, strict=True))

    def step(state: Any, rows: Any, x: Any, y: Any) -> Any:
        weights, moments, count, key = state
        key, used = jax.random.split(key) if t.noise else (key, key)
        batch = (x[rows], y[rows]) if t.gathers else (x, y)
        value, grads = jax.value_and_grad(loss)(weights, *batch, used)
        weights, moments = update(weights, moments, count + 1, grads)
        return (weights, moments, count + 1, key), value

    whole = jax.jit(lambda state, orders, x, y: jax.lax.scan(lambda s, rows: step(s, rows, x, y), state, orders))
    single = jax.jit(step)
    x, y = (jnp.asarray(a) for a in t.data())
    weights = [jnp.asarray(w) for w in t.start()]
    moments = [(jnp.zeros_like(w), jnp.zeros_like(w)) for w in weights] if t.optimizer == "Adam" else []
    state = weights, moments, jnp.zeros((), jnp.float32), jax.random.key(0)
    orders = t.orders(steps) if t.gathers else np.zeros((steps, 1), np.int64)
    orders = orders if scan else orders[: max(2000, steps)]
    groups = endless(jnp.asarray(orders) if scan else [jnp.asarray(rows) for rows in orders], steps)

    def run() -> Any:
        nonlocal state
        group = next(groups)
        if scan:
            state, _ = whole(state, group, x, y)
        else:
            for rows in group:
                state, _ = single(state, rows, x, y)
        return jax.block_until_ready(state[0])

    return run


# ---- scikit-learn ----


def in_sklearn(t: Training, steps: int, fixed: bool) -> Any:
    """MLPClassifier for one chain with ReLU that ends in a softmax, by plain SGD."""
    from sklearn.neural_network import MLPClassifier

    x, y = t.data()
    hidden = tuple(outputs for _, outputs, _ in t.nets[0][:-1])
    net = MLPClassifier(hidden, activation="relu", solver="sgd", alpha=0.0, batch_size=t.batch, momentum=0.0,
                        learning_rate_init=t.rate, nesterovs_momentum=False, shuffle=False)  # fmt: skip
    net.partial_fit(x[: t.batch], y[: t.batch], classes=np.unique(y))
    start = t.start()
    for ours, theirs in zip(start[0::2] + start[1::2], net.coefs_ + net.intercepts_, strict=True):
        theirs[...] = ours.T
    groups = endless(t.orders(steps), steps)

    def run() -> Any:
        rows = next(groups).reshape(-1)
        net.partial_fit(x[rows], y[rows])
        return [a.T for layer in zip(net.coefs_, net.intercepts_, strict=True) for a in layer]

    return run


# ---- jobs ----


@cache
def images() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's 60,000 images in [0, 1] as rows, and their labels; random numbers of that shape if it is not found."""
    from pyneural import data

    try:
        mnist = data.load("mnist")
    except data.DatasetNotFoundError:
        rng = np.random.default_rng(0)
        x = rng.random((60_000, 784), np.float32)
        return np.where(x < 0.8, np.float32(0), x), rng.integers(0, 10, 60_000)
    return data.unit_scale(mnist.images).reshape(-1, 784), np.asarray(mnist.labels, np.int64)


def job(t: Training, quick: bool) -> Job:
    """A training as a job: ours compiled where pyneural has that, and every peer."""
    import pyneural as pn

    loop, whole = (max(1, n // 10) for n in t.steps) if quick else t.steps

    def way(make: Callable[..., Any], steps: int, **how: Any) -> Way:
        check = lambda: make(t, t.check_steps, fixed=t.noise, **how)  # noqa: E731
        return Way(lambda: make(t, steps, fixed=False, **how), steps, check)

    ways: dict[str, Way] = {}
    if hasattr(pn, "compile"):
        if t.gathers and hasattr(pn.compile(lambda: None), "epoch"):
            ways["pyneural epoch"] = way(one_call, whole)
        ways["pyneural compiled"] = way(looping, loop, name="pyneural", compiled=True)
    ways["pyneural eager"] = way(looping, loop, name="pyneural")
    ways["torch"] = way(looping, loop, name="torch")
    if t.optimizer == "Adam":
        ways["torch fused"] = way(looping, loop, name="torch", fused=True)
    fused = {"fused": True} if t.optimizer == "Adam" else {}
    ways["torch-compile"] = way(looping, loop, name="torch", compiled=True, **fused)
    ways["jax scan"] = way(in_jax, whole, scan=True)
    ways["jax jit"] = way(in_jax, loop, scan=False)
    if t.optimizer == "SGD" and t.nets[0][0][2] == "relu" and len(t.nets) == 1:
        ways["sklearn"] = way(in_sklearn, whole)
    flops = t.flops() if t.flops() > 1e7 else 0.0  # below that, the products are not what a step is made of

    def agrees(ours: Any, theirs: Any) -> str:
        # Adam takes whole steps along gradients that are all rounding, so that single weights may differ by much.
        return difference(ours, theirs, t.tolerance, overall=True)

    return Job(t.name, ways, step="step", flops=flops, goals=t.goals, agrees=agrees)
