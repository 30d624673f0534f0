"""Experiments that train: each runs in the quick profile, and its checks pass."""

from __future__ import annotations

import pytest

from pyneural.experiments import find
from pyneural.experiments.frame import DataMissing, execute

IDS = ("ae-bottleneck-2", "imitate-hacks", "imitate-step-network", "init-activation-grid", "optimizer-grid",
       "seq2seq-transliteration")  # fmt: skip


@pytest.mark.parametrize("id", IDS)
def test_quick_profile_passes(id, tmp_path):
    try:
        result = execute(find(id), profile="quick", out=tmp_path, threads=1)
    except DataMissing as missing:
        pytest.skip(str(missing))
    assert not result.get("error")
    assert [c["name"] for c in result["checks"] if not c["passed"]] == []
    assert result["passed"]
    assert result["figures"]
    for figure in result["figures"]:
        assert (tmp_path / id / figure["file"]).stat().st_size > 0
        assert (tmp_path / id / figure["data"]).stat().st_size > 0
