"""What a source prints and what is right, under one and the same check: the printed value must not pass it."""

from __future__ import annotations

from typing import Any

from pyneural.experiments import _judge
from pyneural.experiments.frame import Run


def slip(
    e: Run,
    name: str,
    measured: Any,
    right: Any,
    printed: Any,
    tolerance: float,
    kind: str = "absolute",
    note: str = "",
) -> None:
    """Two checks: `measured` is `right`, and the check of it against `printed` in the place of `right` fails.

    `printed` is the number that the source prints, or the value of the formula that it prints. It is shown beside the
    first check.
    """
    e.check(name, measured, right, tolerance, kind, printed=printed, note=note)
    passes = _judge.judge(name, measured, printed, tolerance, kind)[0]
    shown = _judge.show(_judge.plain(printed))
    e.check(f"{name}: the same check passes with the printed {shown}", passes, False, kind="equal")
