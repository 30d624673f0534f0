"""Experiments that train: each runs in the quick profile, and its checks pass."""

from __future__ import annotations

import pytest
from experimenting import passing

IDS = ("ae-bottleneck-2", "imitate-hacks", "imitate-step-network", "init-activation-grid", "optimizer-grid",
       "seq2seq-transliteration")  # fmt: skip


@pytest.mark.parametrize("id", IDS)
def test_quick_profile_passes(id, tmp_path):
    assert passing(id, tmp_path, threads=1)["figures"]
