"""Peak memory of a process that imports a library, makes its data and trains for some steps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from pyneural.benchmarking import Job, Way, case

# The two libraries have the same names, so a job is written once. A process's own peak is in kilobytes on Linux and in
# bytes on macOS; getrusage would report the parent's peak for a child that was forked from it.
FRAME = """
import sys, numpy as np
library = sys.argv[1]
if library == "pyneural":
    import pyneural as lib
    from pyneural import nn, optim, functional as F
    tensor, compile = lib.from_numpy, lib.compile
else:
    import torch as lib
    from torch import nn, optim
    import torch.nn.functional as F
    tensor, compile = lib.from_numpy, lambda step: step
rng = np.random.default_rng(0)
{job}
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
for k in range({steps}):
    step(*batch(k))
print(peak())
"""

DENSE = """
x, y = rng.random((60000, 784), dtype=np.float32), rng.integers(0, 10, 60000)
def batch(k): return tensor(x[64 * k : 64 * k + 64]), tensor(y[64 * k : 64 * k + 64])
"""

JOBS = {
    "import alone": ("def step(): pass\ndef batch(k): return ()", 1),
    "784-128-10, batch 64, SGD, 900 steps": (
        DENSE
        + """
net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = optim.SGD(net.parameters(), lr=0.1)
@compile
def step(x, y):
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
""",
        900,
    ),
    "784-1024-2-1024-784, batch 64, Adam, 100 steps": (
        DENSE
        + """
sizes = 784, 1024, 2, 1024, 784
net = nn.Sequential(*(part for i, o in zip(sizes, sizes[1:]) for part in (nn.Linear(i, o), nn.ReLU())))
optimizer = optim.Adam(net.parameters())
@compile
def step(x, y):
    optimizer.zero_grad()
    F.mse_loss(net(x), x).backward()
    optimizer.step()
""",
        100,
    ),
    "convolutions 1-20-20-10, batch 64, SGD, 50 steps": (
        DENSE
        + """
net = nn.Sequential(nn.Conv2d(1, 20, 4), nn.BatchNorm2d(20), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 20, 4),
                    nn.ReLU(), nn.Flatten(), nn.Linear(1620, 10))
optimizer = optim.SGD(net.parameters(), lr=0.1)
@compile
def step(x, y):
    optimizer.zero_grad()
    F.cross_entropy(net(x.reshape(64, 1, 28, 28)), y).backward()
    optimizer.step()
""",
        50,
    ),
    "attention, 4 heads of 64, length 2048, forward and backward": (
        """
q = tensor(rng.normal(size=(1, 4, 2048, 64)).astype(np.float32)).requires_grad_()
def batch(k): return (q,)
def step(q): F.scaled_dot_product_attention(q, q, q).sum().backward()
""",
        3,
    ),
}


def peak(library: str, job: str, steps: int) -> Any:
    """Bytes that a fresh interpreter takes at most."""

    def run() -> float:
        program = FRAME.format(job=job, steps=steps)
        command = [sys.executable, "-I", "-c", program, library]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return run


@case("memory")
def memory(quick: bool) -> Iterator[Job]:
    """Linux only: the peak is read from /proc."""
    for name, (job, steps) in JOBS.items():
        ways = {lib: Way(lambda lib=lib, job=job, steps=steps: peak(lib, job, steps)) for lib in ("pyneural", "torch")}
        yield Job(name, ways, step="process", measures="B", goals={"torch": 1.0})
