"""The kernels for AMX and AVX-VNNI on a processor that has neither: their own tests, over emulated instructions.

A copy of the sources is built in which `amx.h` is plain C++ and AVX-VNNI's one instruction is that of AVX-512 VNNI, in
256 bits. What remains is the kernels' own: what lies in which tile, how blocks are cut, what is finished when.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handful.model.ops.native.loading import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI, AVX_VNNI, INTERFACE, library

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
NATIVE = Path("handful/model/ops/native")
TESTS = (
    *("tests/unit/model/test_native_linear.py", "tests/unit/model/test_native_attention.py"),
    *("tests/unit/model/test_native_largest.py", "tests/unit/model/test_native_quantising.py"),
    *("tests/unit/model/test_ops_linear.py", "tests/unit/model/test_ops_rotary.py", "tests/parity/test_stack.py"),
)
COMPILED = ("-O1", "-std=c++20", "-pthread", "-fPIC", "-fvisibility=hidden", f"-DHANDFUL_INTERFACE={INTERFACE}", "-w")
COMPILER = shutil.which("g++")
NEEDED = AVX512 | AVX512_BF16 | AVX512_VNNI | AVX2


def _has(features: int) -> bool:
    found = library()
    return found is not None and found.has(features)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The package with the kernels built over the emulation."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("_kernels*", "__pycache__"))
    native = tmp_path / "src" / NATIVE
    for name in ("amx.h", "features.cpp"):
        shutil.copy(HERE / name, native)
    _replace(native / "handful.h", '"avx2,fma,avxvnni"', '"avx2,fma,avx512f,avx512vl,avx512vnni"')
    _replace(native / "linear_avx_vnni.cpp", "_mm256_dpbusd_avx_epi32", "_mm256_dpbusd_epi32")
    files = sorted(native.glob("*.cpp"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda file: _compile(*COMPILED, "-c", file, "-o", file.with_suffix(".o")), files))
    _compile("-shared", "-pthread", *(file.with_suffix(".o") for file in files), "-o", native / "_kernels.so")
    return tmp_path / "src"


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _compile(*arguments: str | Path) -> None:
    assert COMPILER is not None
    subprocess.run([COMPILER, *arguments], check=True)


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
@pytest.mark.skipif(not _has(NEEDED), reason="what is emulated is emulated with AVX-512")
@pytest.mark.skipif(_has(AMX | AVX_VNNI), reason="this processor has AMX and AVX-VNNI itself")
def test_the_kernels_for_amx_and_avx_vnni_pass_their_tests_over_emulated_instructions(sources: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(sources)}
    native = "from handful.model.ops.native.loading import library as of"
    found = f"import handful; {native}; print(handful.__file__, of().features)"
    told = subprocess.run([sys.executable, "-c", found], env=environment, capture_output=True, text=True, check=True)
    where, features = told.stdout.split()
    assert where.startswith(str(sources))
    assert int(features) == NEEDED | AMX | AVX_VNNI
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "skipped" not in ran.stdout.splitlines()[-1]
