"""Loads the OpenMP runtime with a spin that suits small steps: a thread that waits sleeps after some 0.2 ms.

GNU's runtime spins for milliseconds by default. Where another program wants the same cores, the thread that is
waited for does not get to run meanwhile: beside one busy neighbour on two cores a matrix product of 0.5 ms took 7
to 9 ms, with this spin 2 ms. A spin that is shorter still (1 ms there) lets the threads fall asleep between the
parts of a training step, which then runs a tenth slower on a machine of its own, and at times on one core only.
Whoever has the machine alone can set ``OMP_WAIT_POLICY=active``; what is set already is left alone. The runtime
reads the variable once, when it is loaded, so it is taken back afterwards and neither other libraries nor child
processes see it.
"""

from __future__ import annotations

import os

_ours = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
if _ours:
    os.environ["GOMP_SPINCOUNT"] = "20000"
try:
    from . import _kernels as _kernels
finally:
    if _ours:
        del os.environ["GOMP_SPINCOUNT"]
