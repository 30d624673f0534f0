"""Memory does not grow with replays, captures, eager steps or saved states; ``pytest -m slow -s``: 10,000 of each."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

if not os.path.exists("/proc/self/statm"):
    pytest.skip("resident memory is read from /proc", allow_module_level=True)

COMMON = """
import gc, os, sys
import numpy as np
import pyneural as pn
from pyneural import functional as F, nn, optim

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

pn.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 5))
optimizer = optim.Adam(model.parameters())
x, y = pn.rand(32, 20), pn.randint(5, (32,))

def step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss

def capture():
    compiled = pn.compile(lambda x, y: step(x, y))
    for _ in range(3):  # two recordings, one replay
        compiled(x, y)
    assert compiled.programs[0].replays == 1

step(x, y)  # makes the optimiser's state, which a recording of the first step would not share with the next one
replayed = pn.compile(step)
jobs = {
    "replay": lambda: replayed(x, y),
    "capture": capture,
    "eager step": lambda: step(x, y),
    "save and load": lambda: pn.persistence.from_bytes(pn.persistence.to_bytes(optimizer.state_dict())),
}
job, count = jobs[sys.argv[1]], int(sys.argv[2])
import pyneural.persistence
for _ in range(max(200, count // 10)):
    job()
before = resident()
for _ in range(count):
    job()
print(before, resident() - before)
"""
ALLOWED = 1 << 20


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("job", ["replay", "capture", "eager step", "save and load"])
def test_no_growth(job, count):
    done = subprocess.run(
        [sys.executable, "-c", COMMON, job, str(count)], capture_output=True, text=True, timeout=1200, check=True
    )
    before, growth = map(int, done.stdout.split())
    print(f"{count} x {job}: {before / 1e6:.1f} MB resident, grown by {growth / 1e3:.0f} kB")
    assert growth < ALLOWED
