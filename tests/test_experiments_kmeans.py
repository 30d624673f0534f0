"""The experiments on k-means that are done by hand: every check passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from experimenting import passing


@pytest.mark.parametrize("name", ["lloyd-four-points", "lloyd-second-fixed-point", "competitive-learning-rounded"])
def test_every_check_passes(name: str, tmp_path: Path) -> None:
    result = passing(name, tmp_path)
    assert len(result["checks"]) >= 7
    assert result["figures"]
