"""What `make wheel` made, in an environment of its own that has no compiler and doesn't see this repository's sources.

The environment has the packages that handful needs from the one that runs the tests: what is tested is our wheel.
"""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = sorted((ROOT / "dist").glob("handful-*.whl"))
pytestmark = pytest.mark.skipif(not WHEELS, reason="there is no wheel: make wheel")
KERNELS = "from handful.model.ops.native.loading import library; import handful; print(handful.__file__, library())"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    found = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(found), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(WHEELS[-1])], env=elsewhere(), check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return found


def elsewhere() -> dict[str, str]:
    """The environment without what leads to this repository's sources, or to a compiler by name."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CC", "CXX")}


def run(python: Path, code: str) -> str:
    """What a program says, run without a compiler to be found."""
    environment = elsewhere() | {"PATH": str(python.parent), "HANDFUL_THREADS": "1"}
    done = subprocess.run(
        [python, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_for_every_python_on_a_named_system() -> None:
    assert re.fullmatch(r"handful-[\d.]+-py3-none-(manylinux\w+_x86_64\.?)+\.whl", WHEELS[-1].name)
    with zipfile.ZipFile(WHEELS[-1]) as wheel:
        names = wheel.namelist()
    assert sum("_kernels" in name for name in names) == 1
    assert not any(name.endswith((".cpp", ".h", ".o")) for name in names)


def test_the_installed_package_has_its_kernels(python: Path) -> None:
    said = run(python, KERNELS)
    assert said.startswith(str(python.parent.parent))
    assert "Library(" in said


def test_the_first_lines_of_the_readme_work(python: Path) -> None:
    code = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)[0]
    assert run(python, code)
