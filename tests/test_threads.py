"""Parallel loops and the teams of threads that stay for several of them; tests/native/threads.cpp does the work."""

import subprocess

import numpy as np
import pytest
from native_programs import ROOT, linked_program

import pyneural as pn
import pyneural.functional as F
from pyneural import nn


def test_every_task_is_done_once_and_in_order(tmp_path):
    program = linked_program([ROOT / "tests" / "native" / "threads.cpp"], tmp_path)
    result = subprocess.run([program], capture_output=True, text=True, check=False, timeout=600)
    assert (result.returncode, result.stdout) == (0, "fine\n")


@pytest.mark.parametrize("threads", [2, 5])
def test_a_refusal_in_a_replayed_step_leaves_the_threads_as_they_were(threads):
    before = pn.get_num_threads()
    layer, rows = nn.Conv2d(3, 20, 5), pn.arange(40.0)

    def step(x, index):
        y = layer(x)
        z = F.max_pool2d(F.relu(y), 2)
        return (z * z).sum() + rows[index].sum() + layer(x * 2).sum()

    try:
        pn.set_num_threads(threads)
        run = pn.compile(step)
        x, good = pn.randn(32, 3, 24, 24), np.arange(3)
        with pn.no_grad():
            wanted = step(x, pn.tensor(good)).item()
            for index in (good, good, good, [1, 2, 77], good, [-99, 1, 2], good):
                if max(index) > 40 or min(index) < -40:
                    with pytest.raises(IndexError, match="out of range"):
                        run(x, pn.tensor(np.array(index)))
                else:
                    assert run(x, pn.tensor(np.array(index))).item() == wanted
        (recording,) = run.programs
        assert recording.replays >= 3
    finally:
        pn.set_num_threads(before)
