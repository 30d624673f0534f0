"""The OpenMP runtime is loaded with a spin of our choice, and nobody else sees the variable that says so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# OMP_DISPLAY_ENV=verbose makes GNU's runtime write the settings that it read when it was loaded.
CODE = "import os, pyneural; print(os.environ.get('GOMP_SPINCOUNT'))"


def load(**environment: str) -> tuple[str, str]:
    """(what GOMP_SPINCOUNT is after the import, the spin count in the runtime)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**kept, "OMP_DISPLAY_ENV": "verbose", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not lines:
        pytest.skip("the OpenMP runtime is not GNU's")
    return done.stdout.strip(), lines[0].split("'")[1]


def test_the_spin_is_ours_and_the_environment_as_before():
    assert load() == ("None", "20000")


def test_a_setting_of_the_user_is_kept():
    assert load(GOMP_SPINCOUNT="77") == ("77", "77")
    assert load(OMP_WAIT_POLICY="passive") == ("None", "0")
