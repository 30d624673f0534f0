"""Forward and reverse schedules as pn.explain tells them: the order of their names, and values as cells of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyneural.experiments.frame import Run


def check_order(e: Run, name: str, told: Any, schedule: tuple[str, ...]) -> None:
    """The variables of the explained function come in the order of `schedule`, their messages in the reverse."""
    forward = [node.name for node in told.nodes if node.name]
    e.check(f"{name}: forward schedule", " ".join(forward), " ".join(schedule), kind="equal")
    backward = [visit.node.name for visit in told.walks[-1].visits if visit.node.name]
    e.check(f"{name}: reverse schedule", " ".join(backward), " ".join(schedule[::-1]), kind="equal")


def cell(array: Any) -> str:
    """Numbers with four decimals, row by row; a column as one row, and nothing for None."""
    if array is None:
        return ""
    rows = np.reshape(array, (-1, np.shape(array)[-1])) if np.ndim(array) else np.reshape(array, (1, 1))
    rows = rows.T if rows.shape[1] == 1 else rows
    return "; ".join(", ".join(f"{x:.4f}" for x in row) for row in rows)
