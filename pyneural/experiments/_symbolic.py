"""SymPy, where it is installed: symbolic checks beside the numeric ones, which run without it as well."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pyneural.experiments.frame import Run


def symbolic(e: Run, checks: Callable[[Any], None]) -> None:
    """Call `checks` with the module sympy; without SymPy, say plainly that they were left out."""
    try:
        sympy = importlib.import_module("sympy")
    except ImportError:
        e.report("symbolic checks", "not made: SymPy is not installed; pip install 'pyneural[symbolic]'")
        return
    checks(sympy)
