"""Every kernel on odd sizes against scalar code, and the same bits on every instruction set with fused multiply-add.

The program tests/native/kernels_bits*.cpp does the work, linked with the library that pyneural itself uses. Where a
cross compiler and an emulator for 64-bit Arm are installed (on Debian g++-aarch64-linux-gnu and qemu-user), NEON is
compared too.
"""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from native_programs import FLAGS, ROOT, compile_all, linked_program

SOURCES = sorted((ROOT / "tests" / "native").glob("kernels_bits*.cpp"))
CROSS_COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")

Hashes = dict[str, dict[str, str]]  # instruction set -> kernel and type -> hash


def hashes_of(command: list[str]) -> Hashes:
    """Runs the program, which must find nothing wrong, and reads its lines."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
    hashes: Hashes = {}
    for line in result.stdout.splitlines():
        isa, rest = line.split(" ", 1)
        name, value = rest.rsplit(" ", 1)
        hashes.setdefault(isa, {})[name] = value
    return hashes


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Hashes:
    """The hashes of every instruction set of this CPU."""
    program = linked_program(SOURCES, tmp_path_factory.mktemp("bits"))
    return hashes_of([program])


def fused(hashes: Hashes) -> Hashes:
    return {isa: of for isa, of in hashes.items() if isa != "base"}


def differing(a: dict[str, str], b: dict[str, str]) -> list[str]:
    assert a.keys() == b.keys()
    return [name for name in a if a[name] != b[name]]


def test_this_cpu(native: Hashes) -> None:
    sets = fused(native)
    for isa in sets:
        assert len(sets[isa]) > 200
        assert differing(sets[isa], next(iter(sets.values()))) == [], isa


@pytest.mark.skipif(
    CROSS_COMPILER is None or EMULATOR is None or platform.machine() in ("aarch64", "arm64"),
    reason="compares with an emulated Arm CPU: needs aarch64-linux-gnu-g++ and qemu-aarch64 on another machine",
)
def test_neon_has_the_same_bits(native: Hashes, tmp_path: Path) -> None:
    assert CROSS_COMPILER is not None
    assert EMULATOR is not None
    row = re.search(r'^PN_ISA\(neon, *arm, *"(.*?)"', (ROOT / "csrc/kernels/isa.def").read_text(), re.MULTILINE)
    assert row is not None
    kernel_flags = ["-O3", *row[1].split(), "-DPN_ISA_NAME=neon", "-fno-math-errno", "-fno-trapping-math"]
    units = {
        "csrc/kernels/cpu/isa_unit.cpp": kernel_flags,
        "csrc/core/cpu.cpp": ["-O1"],
        "csrc/core/threads.cpp": ["-O1", "-fopenmp"],
        **{str(source.relative_to(ROOT)): ["-O1"] for source in SOURCES},
    }
    objects = {source: str(tmp_path / Path(source).with_suffix(".o").name) for source in units}
    compile_all([[CROSS_COMPILER, *FLAGS, *units[s], "-c", str(ROOT / s), "-o", objects[s]] for s in units])
    program = tmp_path / "kernels_bits"
    compile_all([[CROSS_COMPILER, "-static", "-fopenmp", *objects.values(), "-o", str(program)]])
    neon = hashes_of([EMULATOR, str(program)])["neon"]
    assert len(neon) > 200
    for isa, hashes in fused(native).items():
        assert differing(neon, hashes) == [], isa
