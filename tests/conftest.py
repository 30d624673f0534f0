"""What holds for all tests."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

# A shell starts what it puts in the background with SIGINT ignored; the tests press Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests run in an empty folder: a Python started in the checkout would import the sources, which are not built."""
    before = pathlib.Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)
