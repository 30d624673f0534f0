"""What type checkers see: stubs that are what tools/make_stubs.py makes, and types of a user's code."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

import pyneural as pn

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = pathlib.Path(pn.__file__).resolve().parent

# A line that ends in a comment is an error of the kind that the comment names; every other line must be right.
SAMPLE = """\
import numpy as np
from typing_extensions import assert_type

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim

x = pn.tensor(np.zeros((2, 3), np.float32), requires_grad=True)
assert_type(x.sum(dim=0).exp(), pn.Tensor)
assert_type(x.sum(axis=0, keepdims=True), pn.Tensor)
assert_type(pn.exp(x), pn.Tensor)
assert_type(pn.where(x > 0, x, 0.0), pn.Tensor)
assert_type(pn.concatenate([x, x], dim=1), pn.Tensor)
assert_type(1 - x @ x.T, pn.Tensor)
assert_type(x[0, ::2], pn.Tensor)
assert_type(x.shape, tuple[int, ...])
assert_type(x.split(1)[0], pn.Tensor)
assert_type(pn.randn(3, 4).reshape(4, -1), pn.Tensor)
model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
optimizer = optim.Adam(model.parameters(), lr=1e-3)
loss = F.cross_entropy(model(x), pn.tensor([0, 1]))
assert_type(loss, pn.Tensor)
loss.backward()
optimizer.step()
with pn.no_grad():
    x += 1
array: np.ndarray = x.numpy()
pn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
x.summ()  # attr-defined
pn.exp()  # call-arg
x.sum(dim="columns")  # arg-type
x.shape = (3, 2)  # misc
"""


def needs(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (it comes with the extra `lint`)")


def test_stubs_are_up_to_date() -> None:
    needs("pybind11_stubgen")
    command = [sys.executable, str(ROOT / "tools" / "make_stubs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"run tools/make_stubs.py\n{done.stdout}{done.stderr}"


def test_users_code_is_checked(tmp_path: pathlib.Path) -> None:
    needs("mypy")
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    # An editable install is found by path; what is in site-packages mypy finds by itself.
    path = {} if PACKAGE.parent.name == "site-packages" else {"MYPYPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            "--no-pretty",
            "--config-file=",
            "sample.py",
        ],
        cwd=tmp_path,
        env={**os.environ, **path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    got = [
        line.split(":")[1] + ":" + line.rsplit("[", 1)[-1].rstrip("]")
        for line in done.stdout.splitlines()
        if ": error: " in line
    ]
    expected = [f"{n}:{line.split('  # ')[1]}" for n, line in enumerate(SAMPLE.splitlines(), 1) if "  # " in line]
    assert got == expected, done.stdout + done.stderr
