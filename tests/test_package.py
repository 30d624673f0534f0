"""The package as it is installed: size, import, what it may be imported beside, and the environment's variables."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import error_sites
import numpy as np
import pytest

import pyneural as pn
from pyneural import _engine, _kernels

HEAVY = (
    "matplotlib rich jinja2 safetensors sklearn torch scipy pandas PIL urllib.request multiprocessing asyncio".split()
)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a new interpreter, with none of the variables that could change what is measured but those given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYNEURAL_", "OMP_", "PYTHONDONTWRITE"))}
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def output(code: str, **environment: str) -> str:
    done = python(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- installed files ----


def test_package_is_small() -> None:
    source = pathlib.Path(pn.__file__).parent
    files = [f for f in source.rglob("*") if f.is_file() and f.suffix not in (".pyc", ".so")]
    files += pathlib.Path(_engine.__file__).parent.glob("*.so")  # beside the sources, unless the install is editable
    assert len({f.name for f in files if f.suffix == ".so"}) == 3
    size = sum(f.stat().st_size for f in files if f.parent.name not in ("experiments", "benchmarks"))
    assert size <= 5_000_000, f"the library without experiments and benchmarks takes {size / 1e6:.1f} MB"


def test_package_is_typed_and_whole() -> None:
    source = pathlib.Path(pn.__file__).parent
    for name in (
        "py.typed",
        "_engine.pyi",
        "_kernels.pyi",
        "_methods.pyi",
        "ops/__init__.pyi",
        "report/templates/base.html",
    ):
        assert (source / name).exists(), f"{name} was not installed"


# ---- import ----


def test_import_costs_little_more_than_numpy() -> None:
    # The thread's own time: neither what else runs on the machine counts nor the threads that NumPy has just started.
    code = "import numpy, time; t = time.thread_time(); import pyneural; print(time.thread_time() - t)"
    python(code)  # compiles the sources
    seconds = min(float(output(code)) for _ in range(9))
    assert seconds <= 0.030, f"import pyneural takes {1e3 * seconds:.0f} ms above NumPy"


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, numpy, pyneural; print([m for m in {HEAVY} if m in sys.modules])"
    assert output(code) == "[]"


def test_training_loads_no_drawing() -> None:
    code = (
        "import sys, numpy as np, pyneural as pn\nfrom pyneural import nn, optim, functional as F\n"
        "m = nn.Linear(3, 2); o = optim.Adam(m.parameters())\n"
        "F.cross_entropy(m(pn.zeros(4, 3)), pn.tensor([0, 1, 0, 1])).backward(); o.step()\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert output(code) == "[]"


def test_sources_that_are_not_built_say_so(tmp_path: pathlib.Path) -> None:
    source = pathlib.Path(pn.__file__).parent
    shutil.copytree(source, tmp_path / "pyneural", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    # An editable install has a finder that knows where the built parts are.
    code = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if not type(f).__module__.startswith("_editable")]
import pyneural
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "holds the sources, which are not built. Install them (pip install .)" in done.stderr
    error_sites.printed(done.stderr)


def test_every_name_is_there() -> None:
    for name in (*pn.__all__, *dir(pn)):
        assert getattr(pn, name) is not None
    assert pn.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pn.nothing


@pytest.mark.parametrize("other", ["torch", "sklearn", "scipy", "matplotlib"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_import_beside(other: str, ours_first: bool) -> None:
    """Two OpenMP runtimes in one process are where crashes and hangs come from; both orders compute, both on several
    threads.
    """
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    use = {
        "torch": "torch.set_num_threads(2); torch.ones(512, 512) @ torch.ones(512, 512)",
        "sklearn": "from sklearn.cluster import KMeans; KMeans(2, n_init=1, random_state=0).fit(np.eye(300))",
        "scipy": "import scipy.linalg; scipy.linalg.svd(np.eye(50))",
        "matplotlib": "matplotlib.use('agg')",
    }[other]
    imports = ["import pyneural as pn", f"import {other}"]
    ours = "pn.set_num_threads(3); assert (pn.ones(600, 600) @ pn.ones(600, 600)).sum().item() == 600.0**3"
    order = imports if ours_first else imports[::-1]
    code = "\n".join(
        [
            "import warnings; warnings.simplefilter('ignore')",
            "import numpy as np",
            *order,
            ours,
            use,
            ours,
            use,
            "print('ok')",
        ]
    )
    assert output(code) == "ok"


def test_works_without_the_optional_parts() -> None:
    blocked = ["matplotlib", "rich", "jinja2", "safetensors", "sklearn", "torch", "scipy", "mpmath"]
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
import numpy as np, pyneural as pn
from pyneural import nn, optim
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
x, y = np.random.default_rng(0).normal(size=(64, 4)).astype("f4"), np.arange(64) % 2
print(len(trainer.fit(x, y, epochs=2, batch_size=16, progress=False)["loss"]))
"""
    assert output(code) == "2"


# ---- the environment's variables ----

STEP = "import pyneural as pn; pn.exp(pn.ones(3)).sum(); "


@pytest.mark.parametrize("isa", pn.available_isas())
def test_isa_variable_is_obeyed(isa: str) -> None:
    assert output(STEP + "print(pn.current_isa())", PYNEURAL_ISA=isa) == isa


def test_unknown_isa_is_refused() -> None:
    done = python(STEP, PYNEURAL_ISA="avx1024")
    assert done.returncode == 1
    error_sites.printed(done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ValueError: PYNEURAL_ISA: instruction set 'avx1024' is not known; this build has base, avx2"
    )


def test_isa_that_the_cpu_lacks_is_refused() -> None:
    lacking = [i for i in ("base", "avx2", "avx512", "neon") if i not in pn.available_isas()]
    refused = 0
    for isa in lacking:
        with pytest.raises(ValueError, match=r"this CPU lacks|is not known") as caught:
            pn.set_isa(isa)
        refused += "this CPU lacks" in str(caught.value)
    if not refused:
        pytest.skip("this CPU has every instruction set of this build")


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({"PYNEURAL_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"PYNEURAL_NUM_THREADS": "2", "OMP_NUM_THREADS": "5"}, 2),
    ],
)
def test_thread_variables(variables: dict[str, str], threads: int) -> None:
    assert output("import pyneural as pn; print(pn.get_num_threads())", **variables) == str(threads)


@pytest.mark.parametrize("value", ["", "0", "-1", "many"])
def test_thread_variable_that_makes_no_sense_is_no_count(value: str) -> None:
    count = int(output("import pyneural as pn; print(pn.get_num_threads())", PYNEURAL_NUM_THREADS=value))
    assert 1 <= count <= (os.cpu_count() or 1)


# ---- processes and threads ----


def work(seed: int) -> float:
    """Enough for several threads: a product, elementwise ops and a backward pass."""
    rng = np.random.default_rng(seed)
    a = pn.tensor(rng.normal(size=(300, 400)).astype("f4"), requires_grad=True)
    loss = pn.tanh(a @ a.T).square().sum()
    loss.backward()
    assert a.grad is not None
    return float(loss.item()) + float(a.grad.sum().item())


@pytest.fixture
def several_threads() -> Any:
    before = pn.get_num_threads()
    pn.set_num_threads(3)
    work(0)  # the team of threads is there before anything forks
    yield
    pn.set_num_threads(before)


@pytest.fixture
def _quiet_fork() -> Any:
    with warnings.catch_warnings():  # Python 3.12 warns of forking with threads alive: this is what is tried here
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
        yield


@needs_fork
@pytest.mark.usefixtures("several_threads", "_quiet_fork")
def test_child_of_a_fork_computes_on() -> None:
    expected = work(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, repr(work(1)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert float(pipe.read()) == expected
    assert os.waitpid(child, 0)[1] == 0
    assert work(1) == expected  # and so does the parent


@pytest.mark.parametrize(
    "method", [m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods()]
)
@pytest.mark.usefixtures("several_threads", "_quiet_fork")
def test_pools_of_processes_compute(method: str) -> None:
    expected = [work(seed) for seed in (1, 2)]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(work, (1, 2), timeout=300)) == expected


@pytest.mark.usefixtures("several_threads")
def test_python_threads_compute_at_once() -> None:
    expected = {seed: work(seed) for seed in range(6)}
    results: dict[int, list[float]] = {seed: [] for seed in expected}

    def repeat(seed: int) -> None:
        for _ in range(5):
            results[seed].append(work(seed))

    threads = [threading.Thread(target=repeat, args=(seed,)) for seed in expected]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert results == {seed: [value] * 5 for seed, value in expected.items()}


def test_recording_is_switched_per_thread() -> None:
    seen = []
    with pn.no_grad():
        t = threading.Thread(target=lambda: seen.append(pn.is_grad_enabled()))
        t.start()
        t.join()
        assert not pn.is_grad_enabled()
    assert seen == [True]


def test_kernels_module_and_package_agree() -> None:
    assert _kernels.current_isa() == pn.current_isa()
    assert _kernels.num_threads() == pn.get_num_threads()
