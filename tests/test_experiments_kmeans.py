"""The experiments on k-means that are done by hand: every check passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyneural.experiments import find
from pyneural.experiments.frame import execute


@pytest.mark.parametrize("name", ["lloyd-four-points", "lloyd-second-fixed-point", "competitive-learning-rounded"])
def test_every_check_passes(name: str, tmp_path: Path) -> None:
    result = execute(find(name), profile="quick", out=tmp_path)
    assert "error" not in result, result["error"]
    assert [c["name"] for c in result["checks"] if not c["passed"]] == []
    assert len(result["checks"]) >= 7
    assert result["figures"]
