"""Loads the OpenMP runtime with a short spin: a thread that waits for the others sleeps after some ten microseconds.

GNU's runtime spins for milliseconds by default. Where other programs want the same cores, the thread that is waited for
does not get to run meanwhile, and training becomes up to fifty times slower. Whoever has the machine alone can set
``OMP_WAIT_POLICY=active``; what is set already is left alone. The runtime reads the variable once, when it is loaded,
so it is taken back afterwards and neither other libraries nor child processes see it.
"""

from __future__ import annotations

import os

_ours = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
if _ours:
    os.environ["GOMP_SPINCOUNT"] = "1000"
try:
    from . import _kernels as _kernels
finally:
    if _ours:
        del os.environ["GOMP_SPINCOUNT"]
