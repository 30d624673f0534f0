"""Every error message of the package is held to its text by a test: see error_sites.py."""

from __future__ import annotations

import error_sites
import pytest

import pyneural as pn


def test_every_error_message_is_tested_by_its_text(request):
    """The last test of a run of all; ``pytest --error-texts`` runs only those that expect errors, and this one."""
    if not request.config.stash[error_sites.WHOLE]:
        pytest.skip("looks back on the tests of all files; pytest --error-texts runs what it needs")
    missing = error_sites.untested()
    assert not missing, f"{len(missing)} messages are held to their text by no test:\n" + "\n".join(map(str, missing))


def test_what_was_not_seen_is_found(monkeypatch):
    """The search itself: each kind of place, seen and not seen."""
    found = {site.file for site in (*error_sites.in_python(), *error_sites.in_cython(), *error_sites.in_cpp())}
    assert {"pyneural/callbacks.py", "bindings/engine.pyx", "bindings/tape.pxi", "csrc/ops/matmul.cpp"} <= found
    monkeypatch.setattr(error_sites, "lines", set())
    monkeypatch.setattr(error_sites, "messages", set())
    places = len(error_sites.untested())
    assert places > 800
    with pytest.raises(ValueError, match="linear: x has 3 columns but weight expects 4"):
        pn.linear(pn.ones(2, 3), pn.ones(5, 4))
    assert len(error_sites.untested()) == places - 1
    with pytest.raises(ValueError, match="EarlyStopping: mode must be"):
        pn.EarlyStopping(mode="least")
    with pytest.raises(ValueError):  # noqa: PT011 (a test without a text does not count)
        pn.EarlyStopping(patience=0)
    assert len(error_sites.untested()) == places - 2
