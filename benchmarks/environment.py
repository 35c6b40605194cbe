"""What every benchmark says about where it ran, and how it times."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from handful.config import Settings
from handful.local import LocalModel, load
from handful.types import Device, Precision

PRECISIONS = ("auto", "float32", "bfloat16", "int8")
DEVICES = ("auto", "cpu", "cuda")


def open_model(name: str, precision: Precision, device: Device = "auto", *, drafts: bool = True) -> LocalModel:
    """A model in this process, or one of the shapes; its buffers are set up by one small request."""
    from shapes import folder_of  # here, so that this file can be read by itself

    model = load(folder_of(name), precision=precision, device=device, configuration=Settings(drafts=drafts))
    model.score(["warm"], [" up"])
    return model


def forget(model: LocalModel) -> None:
    """Empty the cache: the next round computes its prefix again."""
    model.loop.call(lambda engine: engine.scheduler.cache.clear())


def seconds_of(run: Callable[..., Any], *arguments: Any) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def median_ms(seconds: list[float]) -> float:
    """Median in milliseconds."""
    return round(1000 * statistics.median(seconds), 1)


def describe(model: LocalModel, workload: str) -> dict[str, Any]:
    """The fields that each result begins with."""
    return {
        "workload": workload,
        "model": Path(model.info.name).name,
        "architecture": model.info.architecture,
        "precision": model.info.precision,
        **({"gpu": torch.cuda.get_device_name()} if model.info.device == "cuda" else {}),
        **machine(),
    }


def machine() -> dict[str, Any]:
    """Where and with what it ran."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's name as the system tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
