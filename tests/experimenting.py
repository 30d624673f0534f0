"""What the tests of the experiments share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyneural.experiments import find
from pyneural.experiments.frame import DataMissing, execute


def passing(id: str, out: Path, **arguments: Any) -> dict[str, Any]:
    """The result of an experiment, all of whose checks pass and whose pictures and their data are there. The test is
    skipped where its data set is missing."""
    try:
        result = execute(find(id), out=out, **arguments)
    except DataMissing as missing:
        pytest.skip(str(missing))
    assert "error" not in result, result["error"]
    assert [c for c in result["checks"] if not c["passed"]] == []
    assert result["passed"]
    for figure in result["figures"]:
        content = (out / id / figure["file"]).read_bytes()
        assert content.startswith(b"GIF89a" if figure["file"].endswith(".gif") else b"\x89PNG")
        assert (out / id / figure["data"]).stat().st_size > 0
    return result
