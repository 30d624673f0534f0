"""Elementary functions of the kernels (csrc/kernels/cpu/math.h): ulp bounds per instruction set, equal bits with FMA.

The header is compiled alone, with the flags of the kernels, by tests/native/math_accuracy.cpp; libm in a wider type is
the reference there. `math_accuracy --stride 1` does what is too slow here: every float.
"""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "native" / "math_accuracy.cpp"
FLAGS = ["-std=c++20", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
V2 = {"ssse3", "sse4_1", "sse4_2", "popcnt"}
V3 = V2 | {"avx", "avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
LEVELS = {
    "base": (V2, ["-march=x86-64-v2"]),
    "avx2": (V3, ["-march=x86-64-v3"]),
    "avx512": (V4, ["-march=x86-64-v4", "-mprefer-vector-width=512"]),
}
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def cpu_flags() -> set[str]:
    """Names of the CPU's features, as Linux lists them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """A function that builds and runs the program for one level (once) and returns its lines."""
    outputs: dict[str, list[str]] = {}

    def run_level(level: str) -> list[str]:
        if level in outputs:
            return outputs[level]
        if COMPILER is None:
            pytest.skip("no C++ compiler (c++, g++ or clang++) on PATH")
        if platform.machine() not in ("x86_64", "AMD64"):
            pytest.skip(f"the levels are those of x86-64, this is {platform.machine()}")
        needed, march = LEVELS[level]
        if missing := needed - cpu_flags():
            pytest.skip(f"this CPU lacks {', '.join(sorted(missing))}, needed for {level}")
        program = tmp_path_factory.mktemp("math") / f"math_accuracy_{level}"
        command = [COMPILER, *FLAGS, *march, f"-DPN_ISA={level}", str(SOURCE), "-o", str(program)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        result = subprocess.run([str(program)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        outputs[level] = result.stdout.splitlines()
        return outputs[level]

    return run_level


@pytest.mark.parametrize("level", LEVELS)
def test_bounds(run, level: str) -> None:
    lines = run(level)
    assert len(lines) == 52, lines  # 26 functions, two types
    assert not [line for line in lines if "EXCEEDED" in line or "depends" in line]


def test_same_bits_with_fused_multiply_add(run) -> None:
    for narrow, wide in zip(run("avx2"), run("avx512"), strict=True):
        assert narrow == wide  # the line ends with a hash of all output bits


@pytest.mark.skipif(platform.machine() not in ("aarch64", "arm64"), reason="Arm only")
def test_bounds_on_arm(tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("no C++ compiler (c++, g++ or clang++) on PATH")
    program = tmp_path / "math_accuracy"
    subprocess.run([COMPILER, *FLAGS, "-DPN_ISA=neon", str(SOURCE), "-o", str(program)], check=True)
    result = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
