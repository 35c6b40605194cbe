"""W8: W1 through the server, 64 connections, against the same prompts in process.

Starts `handful serve` on a free port, sends all requests, stops it, and does the same in this process. The first round
of both warms up, so what is timed is a server that has seen its prompts. The last line printed is one JSON document.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time

from environment import PRECISIONS, describe, open_model, seconds_of
from handful import AsyncClient
from handful.local import LocalModel
from handful.types import GenerationParameters
from shapes import folder_of
from workload import prompts as make_prompts

NUM_CONNECTIONS = 64


def main() -> None:
    """Time the server, then this process; they don't run at the same time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    prompts = make_prompts(arguments.requests, 32)
    served = over_http(arguments, prompts)
    model = open_model(arguments.model, arguments.precision)
    found = describe(model, "W8 HTTP")
    parameters = GenerationParameters(max_new_tokens=8)
    seconds = [seconds_of(in_groups, model, prompts, parameters) for _ in range(arguments.rounds + 1)]
    inside = len(prompts) / statistics.median(seconds[1:])
    found |= {"connections": NUM_CONNECTIONS, "requests": len(prompts)}
    found |= {"requests_per_s": {"http": round(served, 3), "in_process": round(inside, 3)}}
    print(json.dumps(found | {"http_share": round(served / inside, 3)}))
    model.close()


def in_groups(model: LocalModel, prompts: list[str], parameters: GenerationParameters) -> None:
    """At most as many requests side by side as there are connections."""
    for start in range(0, len(prompts), NUM_CONNECTIONS):
        model.generate(prompts[start : start + NUM_CONNECTIONS], parameters)


def over_http(arguments: argparse.Namespace, prompts: list[str]) -> float:
    """Requests a second through a server process; the first round warms up."""
    command = [sys.executable, "-m", "handful.cli", "serve", "--port", "0"]
    command += ["--model", f"bench={folder_of(arguments.model)}", "--precision", arguments.precision]
    computed = {**os.environ, "HANDFUL_RESPONSE_CACHE_MB": "0"}  # or the rounds after the first would be remembered
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=computed
    ) as process:
        url = address(process)
        try:
            seconds = [asyncio.run(ask_all(url, prompts)) for _ in range(arguments.rounds + 1)]
        finally:
            process.terminate()
    return len(prompts) / statistics.median(seconds[1:])


def address(process: "subprocess.Popen[str]") -> str:
    """Where the server says it listens."""
    if process.stdout is None:
        raise SystemExit("the server's output isn't read")
    for line in process.stdout:
        found = re.search(r"http://[\w.:\[\]-]+", line)
        if found:  # from here on somebody must read the log, or the server waits for its pipe to empty
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found[0].rstrip(".")
    raise SystemExit("the server did not start")


async def ask_all(url: str, prompts: list[str]) -> float:
    """Seconds for all prompts over `NUM_CONNECTIONS` connections."""
    gate = asyncio.Semaphore(NUM_CONNECTIONS)
    async with AsyncClient(url) as client:

        async def ask(prompt: str) -> None:
            async with gate:
                await client.text_generation(prompt, model="bench", max_new_tokens=8)

        start = time.perf_counter()
        await asyncio.gather(*(ask(prompt) for prompt in prompts))
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
