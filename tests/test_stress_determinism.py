"""The hash of an experiment's result is the same for any number of threads, eager or replayed, on AVX2 and AVX-512.

All of it: ``pytest -m slow tests/test_stress_determinism.py`` (4 minutes of two cores).
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import pytest

import pyneural as pn
from pyneural import data
from pyneural.experiments import find

TEN = (
    "ae-vs-pca conv1x1-backprop elbo-learned-covariance gan-1d-optimal imitate-backprop kmeans-network "
    "latent-features-classifier minibatch-bias-variance mlp-activations svm-c-sweep"
).split()
QUICK = ["conv1x1-backprop", "elbo-learned-covariance", "minibatch-bias-variance"]
FUSED = [isa for isa in pn.available_isas() if isa != "base"]  # base has no fused multiply-add, and rounds otherwise


def there(ids):
    """Those whose data sets are on this machine."""
    missing = {name for name in ("mnist", "fashion-mnist") if data.find(name) is None}
    return [i for i in ids if not missing & set(find(i).needs)]


def hashes(ids, out, isa, threads, eager):
    command = [sys.executable, "-m", "pyneural", "run", *ids, "--threads", str(threads), "--out", str(out)]
    environment = {**os.environ, "PYNEURAL_ISA": isa}
    done = subprocess.run(
        command + ["--eager"] * eager, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = {i: json.loads((out / i / "result.json").read_text()) for i in ids}
    assert {(r["environment"]["isa"], r["threads"], r["eager"]) for r in results.values()} == {(isa, threads, eager)}
    return {i: r["hash"] for i, r in results.items()}


def compare(ids, runs, out):
    ids = there(ids)
    if not ids or not FUSED:
        pytest.skip("no data, or no instruction set with fused multiply-add")
    found = {}
    for n, run in enumerate(runs):
        found[run] = hashes(ids, out / str(n), *run)
        print(*run, "".join(f"\n  {i} {h}" for i, h in found[run].items()), flush=True)
    first = found[runs[0]]
    assert {run: h for run, h in found.items() if h != first} == {}


def test_hashes_of_three_experiments(tmp_path):
    compare(QUICK, [(FUSED[-1], 2, False), (FUSED[0], 1, True), (FUSED[0], 7, False)], tmp_path)


@pytest.mark.slow
def test_hashes_of_ten_experiments(tmp_path):
    compare(TEN, list(itertools.product(FUSED, (1, 2, 7), (False, True))), tmp_path)
