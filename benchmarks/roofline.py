"""What this machine allows, and what share of it each workload reaches.

    python benchmarks/roofline.py --output benchmarks/results/roofline.json        (make roofline)

Measures arithmetic and reading with `limits.c`, compiled here (with large products in torch where there is no
compiler), then reads the results of `against_peers.py` that came from this kind of processor. A request's arithmetic is
counted from the model's shape: 2 operations a weight and token, 4 a head dimension, layer and token of context, the
prefix's shared by all requests of a round. A sequential request is bounded by reading the weights once for each step:
as many as `latency.py` counted for the model in this precision, else one for each token.

The last line printed is one JSON document.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from counted import Shape, operations, read_bytes, shape_of
from environment import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BYTES_A_NUMBER = {"int8": 1, "bfloat16": 2, "float32": 4}


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"workload": "roofline", "model": "none", **machine()}
    found["limits"] = limits()
    print(json.dumps(found["limits"]))
    found["shares"] = [
        share
        for path in sorted(arguments.results.glob("peers-*.json"))
        for share in shares(_with_steps(path, arguments.results), found["processor"], found["limits"])
    ]
    for share in found["shares"]:
        print(json.dumps(share))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(found) + "\n")
    print(json.dumps(found))


def _with_steps(path: Path, results: Path) -> dict[str, Any]:
    """A run's results, with the steps that `latency.py` counted for handful's engines, by precision."""
    found: dict[str, Any] = json.loads(path.read_text())
    counted = [json.loads(each.read_text()) for each in sorted(results.glob("latency-*.json"))]
    ours = [each for each in counted if each["model"] == Path(found["model"]).name and "passes" in each]
    return found | {"steps": {each["precision"]: each["passes"]["steps_a_request"] for each in ours}}


def limits() -> dict[str, float]:
    """The machine's limits on all cores, measured by `limits.c` or by torch."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return _limits_by_torch()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "limits"
        options = ["-O3", "-march=native", "-pthread", str(HERE / "limits.c"), "-o", str(program)]
        subprocess.run([compiler, *options], check=True)
        answer = subprocess.run([program, str(os.cpu_count() or 1)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def _limits_by_torch(size: int = 2048, tries: int = 5) -> dict[str, float]:
    """Large products and a large sum: below what the processor could do, but measured."""
    found: dict[str, float] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.ones(size, size, dtype=dtype)
        seconds = min(_seconds(lambda operand=matrix: operand @ operand) for _ in range(tries))
        found[f"torch_{name}_gflops"] = round(2 * size**3 / seconds / 1e9)
    numbers = torch.ones(1 << 28, dtype=torch.float32)
    found["memory_read_gb_per_s"] = round(4 * len(numbers) / min(_seconds(numbers.sum) for _ in range(tries)) / 1e9, 1)
    return found


def _seconds(run: Any) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def shares(found: dict[str, Any], where: str, measured: dict[str, float]) -> Iterator[dict[str, Any]]:
    """handful's share of the limits in each workload of a run on this kind of processor."""
    ours = {name: about for name, about in found["engines"].items() if name.startswith("handful")}
    if found["processor"] != where:
        return
    shape = shape_of(found["model"])
    for workload, result in found["results"].items():
        for engine, about in ours.items():
            precision = about["version"].rpartition(", ")[2]
            share = {"model": found["model"], "workload": workload, "engine": engine, "precision": precision}
            if engine in result.get("requests_per_s", {}):
                yield share | _of_arithmetic(shape, result, engine, precision, measured)
            elif engine in result.get("p50_ms", {}):
                num_steps = found.get("steps", {}).get(precision) if result["new_tokens"][engine] else None
                taken = {"steps": num_steps or max(1, result["new_tokens"][engine])}
                yield share | _of_reading(shape, result | taken, engine, precision, measured)


def _of_arithmetic(
    shape: Shape, result: dict[str, Any], engine: str, precision: str, measured: dict[str, float]
) -> dict[str, Any]:
    peak = next((measured[key] for key in _peaks(precision) if key in measured), None)
    each = operations(
        shape,
        result["prompt_tokens"],
        result["shared_tokens"],
        result["new_tokens"][engine],
        result["requests"][engine],
    )
    rate = result["requests_per_s"][engine] * each / 1e9
    counted = {"gflop_a_request": round(each / 1e9, 2), "gflops": round(rate, 1)}
    return counted | ({"limit_gflops": peak, "share": round(rate / peak, 4)} if peak else {})


def _peaks(precision: str) -> tuple[str, ...]:
    """The limits that bound a precision's products, the highest first."""
    wide = ("avx512_float32_gflops", "avx2_float32_gflops", "torch_float32_gflops")
    if precision == "int8":
        return ("amx_int8_gops", "avx512_vnni_int8_gops", *wide)
    return (
        ("amx_bfloat16_gflops", "avx512_bfloat16_gflops", "torch_bfloat16_gflops", *wide)
        if precision == "bfloat16"
        else wide
    )


def _of_reading(
    shape: Shape, result: dict[str, Any], engine: str, precision: str, measured: dict[str, float]
) -> dict[str, Any]:
    num_steps = result["steps"]
    is_greedy = result["new_tokens"][engine] > 0
    least = read_bytes(shape, result["prompt_tokens"], num_steps, BYTES_A_NUMBER[precision], is_greedy=is_greedy)
    least_ms = least / measured["memory_read_gb_per_s"] / 1e6
    took = result["p50_ms"][engine]
    return {"steps": num_steps, "least_ms_by_reading": round(least_ms, 1), "share": round(least_ms / took, 4)}


if __name__ == "__main__":
    main()
