"""What holds for all tests."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator

import error_sites
import pytest

import pyneural as pn

pytest.raises = error_sites.raises  # notes what it catches, for test_error_texts.py

# A shell starts what it puts in the background with SIGINT ignored; the tests press Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests run in an empty folder: a Python started in the checkout would import the sources, which are not built."""
    before = pathlib.Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _restored_settings() -> Iterator[None]:
    """A test may change the instruction set and the number of threads: they are put back."""
    isa, threads = pn.current_isa(), pn.get_num_threads()
    yield
    pn.set_isa(isa)
    pn.set_num_threads(threads)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--error-texts", action="store_true", help="run the tests that expect errors, then test_error_texts.py"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """test_error_texts.py comes last, since it looks back on what the others have caught."""
    files = {item.path for item in items}
    config.stash[error_sites.WHOLE] = files.issuperset(pathlib.Path(__file__).parent.glob("test_*.py"))
    if config.getoption("--error-texts"):
        wanted = {file: error_sites.expecting(file) for file in files}
        items[:] = [item for item in items if getattr(item, "originalname", "") in wanted[item.path]]
    items.sort(key=lambda item: item.path.name == "test_error_texts.py")
