"""In company: other libraries with OpenMP in one process, forked and spawned workers, Python threads, a busy neighbour.

The long ones: ``pytest -m slow -s tests/test_stress_processes.py``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn, optim

X = np.random.default_rng(0).normal(size=(640, 40)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)

OTHERS = [name for name in ("torch", "sklearn", "lightgbm", "jax") if importlib.util.find_spec(name)]


def train(seed: int = 0, epochs: int = 3) -> str:
    """A replayed training, and a hash of its weights."""
    generator = pn.Generator(seed)
    with pn.random.using(generator):
        model = nn.Sequential(nn.Linear(40, 300), nn.ReLU(), nn.Dropout(0.2), nn.Linear(300, 2))
        trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3))
        trainer.fit(X, Y, epochs, 64, progress=False)
    assert trainer._steps["train", "raise"].programs
    return hashlib.sha256(b"".join(np.asarray(p.detach()).tobytes() for p in model.parameters())).hexdigest()


# ---- other libraries in the process ----

USE = {
    "torch": "torch.set_num_threads(2); assert (torch.ones(400, 400) @ torch.ones(400, 400)).sum() == 400.0**3",
    "sklearn": "from sklearn.cluster import KMeans; assert KMeans(2, n_init=1, random_state=0).fit(X).inertia_ > 0",
    "lightgbm": "lightgbm.LGBMClassifier(n_estimators=3, num_threads=2, verbose=-1).fit(X, Y)",
    "jax": "assert jax.jit(lambda a: (a @ a).sum())(np.ones((400, 400), 'f4')) == 400.0**3",
}


def beside(order: list[str]) -> str:
    """What a training gives in a process that imports these libraries in this order and lets all compute in turn."""
    lines = ["import sys, warnings; warnings.simplefilter('ignore')", "import numpy as np"]
    lines += [f"import {name}" for name in order]
    lines += [f"sys.path.insert(0, {os.path.dirname(__file__)!r})", "from test_stress_processes import X, Y, train"]
    lines += ["pyneural.set_num_threads(3)", "found = train()"]
    for name in order:
        if name != "pyneural":
            lines += [USE[name], "assert train() == found", USE[name]]
    command = [sys.executable, "-c", "\n".join([*lines, "print(found)"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{order}: {done.stderr}"
    return done.stdout.strip()


@pytest.mark.parametrize("place", ["first", "between", "last"])
def test_all_libraries_in_one_process(place):
    at = {"first": 0, "between": len(OTHERS) // 2, "last": len(OTHERS)}[place]
    assert beside([*OTHERS[:at], "pyneural", *OTHERS[at:]]) == train()


@pytest.mark.slow
def test_every_order_of_import():
    """Each pair in both orders; and all of them, each library first once, with pyneural in every place."""
    orders = [order for name in OTHERS for order in ([name, "pyneural"], ["pyneural", name])]
    for turn in range(len(OTHERS)):
        turned = OTHERS[turn:] + OTHERS[:turn]
        orders += [[*turned[:at], "pyneural", *turned[at:]] for at in range(len(OTHERS) + 1)]
    expected = train()
    for order in orders:
        assert beside(order) == expected, order
    print(f"{len(orders)} orders of {', '.join(OTHERS)} and pyneural: the same bits")


# ---- processes ----


@pytest.fixture
def _team():
    """A team of threads is there before anything forks."""
    before = pn.get_num_threads()
    pn.set_num_threads(3)
    train()
    yield
    pn.set_num_threads(before)


@pytest.mark.usefixtures("_team")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "method", [m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods()]
)
def test_workers_of_multiprocessing_train(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map_async(train, range(4)).get(timeout=300)
    assert found == [train(seed) for seed in range(4)]


@pytest.mark.usefixtures("_team")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_workers_of_joblib_train(backend):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    found = joblib.Parallel(n_jobs=2, backend=backend, timeout=300)(joblib.delayed(train)(seed) for seed in range(4))
    assert found == [train(seed) for seed in range(4)]


# ---- Python threads ----


def test_eight_threads_train_each_its_model():
    expected = [train(seed) for seed in range(8)]
    found: list[str | None] = [None] * 8

    def run(seed: int) -> None:
        found[seed] = train(seed)

    in_threads(run)
    assert found == expected


def in_threads(run):
    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(300)
        assert not t.is_alive()


@pytest.mark.parametrize("replays", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_eight_threads_share_one_step(replays):
    w = pn.tensor(np.random.default_rng(1).normal(size=(40, 200)).astype(np.float32))
    step = pn.compile(lambda x: pn.tanh(x @ w).square().sum(1))
    batches = [pn.tensor(X[64 * i : 64 * i + 64]) for i in range(8)]
    expected = [step(b).numpy().tobytes() for b in batches]
    wrong = []

    def run(i: int) -> None:
        for _ in range(replays):
            if step(batches[i]).numpy().tobytes() != expected[i]:
                wrong.append(i)

    in_threads(run)
    assert wrong == []
    assert step.programs[0].replays >= 8 * replays


# ---- a busy neighbour ----


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_a_busy_neighbour_slows_down_by_its_share():
    """Beside a process that spins, two threads on two cores get two thirds of the machine from a fair scheduler: 1.5
    times as long. A team that spins against the neighbour would take ten times as long."""

    def seconds() -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            train(epochs=8)
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    seconds()
    alone = seconds()
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        beside_it = seconds()
    finally:
        neighbour.kill()
        neighbour.wait()
    ratio = beside_it / alone
    print(f"alone {1e3 * alone:.0f} ms, beside a busy neighbour {1e3 * beside_it:.0f} ms: {ratio:.2f} times as long")
    assert ratio < 4
