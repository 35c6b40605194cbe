"""The engines that take part: how each is started, and how many requests of a round it gets."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from peers.install import gguf_file, install, openvino_model, python_of

USUAL = (
    "handful",
    "handful-bfloat16",
    "openvino-fp16",
    "openvino-int8",
    "vllm",
    "llama.cpp",
    "transformers-prefix",
    "transformers",
    "transformers-float32",
)
ALL = (*USUAL, "handful-int8", "handful-float32")
# Fewer requests for engines that take them one by one: their rate does not depend on how many there are.
MOST_REQUESTS = {"llama.cpp": 32, "transformers-prefix": 64, "transformers": 4, "transformers-float32": 4}


@dataclass(frozen=True, slots=True)
class Launch:
    """A process that serves rounds."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


class CannotRun(Exception):
    """Why an engine does not run this model."""


def most_requests(name: str, count: int) -> int:
    """Of `count` requests of a round, those that this engine gets."""
    return min(count, MOST_REQUESTS.get(name, count))


def prepare(name: str, model: str, folder: Path) -> Launch:
    """Install an engine and convert the model for it where that is still to do. Raises CannotRun."""
    if name in ("vllm", "llama.cpp") and "gpt-neo" in model.lower():
        raise CannotRun("has no GPT-Neo")
    if name.startswith("handful"):
        return Launch(name, [sys.executable, "-m", "peers.handful_peer", model, name.partition("-")[2] or "auto"])
    if name.startswith("transformers"):
        dtype = "float32" if name.endswith("float32") else "auto"
        way = "prefix" if name.endswith("prefix") else "as-it-comes"
        return Launch(name, [sys.executable, "-m", "peers.transformers_worker", model, dtype, way])
    if name.startswith("openvino"):
        install("openvino", folder)
        exported = openvino_model(model, name.partition("-")[2], folder)
        return Launch(name, [str(python_of("openvino", folder)), "-m", "peers.openvino_peer", str(exported)])
    return _vllm(model, folder) if name == "vllm" else _llama_cpp(model, folder)


def _vllm(model: str, folder: Path) -> Launch:
    from handful.config import settings
    from handful.model.source import resolve

    install("vllm", folder)
    python, cores = python_of("vllm", folder), os.cpu_count() or 1
    environment = {
        "LD_PRELOAD": str(python.parent.parent / "lib" / "libiomp5.so"),
        "OMP_NUM_THREADS": str(cores),  # otherwise it serves with one thread
        "VLLM_CACHE_ROOT": str(folder.resolve() / "cache" / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder.resolve() / "cache" / "inductor"),
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{cores - 1}",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    source = resolve(model, settings=settings()).folder
    return Launch("vllm", [str(python), "-m", "peers.vllm_peer", str(source)], environment)


def _llama_cpp(model: str, folder: Path) -> Launch:
    if model != "default" and not model.endswith(".gguf"):
        raise CannotRun("reads GGUF files only, and this model is none")
    install("llama_cpp", folder)
    file = gguf_file(folder) if model == "default" else Path(model).resolve()
    command = [str(python_of("llama_cpp", folder)), "-m", "peers.llama_cpp_peer", str(file), str(os.cpu_count() or 1)]
    return Launch("llama.cpp", command)
