"""Many connections for minutes, with callers that hang up: every request must get an answer, memory must stay.

    python benchmarks/load.py [--connections 200] [--seconds 120] [--warm-up 30] [--model default]

A server is started on a free port. Each connection asks again and again: completions and chats, whole and streamed,
and texts' log-probabilities. A share of the callers hangs up at a random moment. 429 and 503 are answers: the caller
waits and asks again. The exit status is 1 if a request that its caller waited for was not answered, if the memory of
the server after the warm-up grew, or if requests are still running when all callers are gone. Needs Linux's /proc.

The last line printed is one JSON document.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from environment import machine
from over_http import address
from shapes import folder_of

# Small enough that the warm-up fills them: what grows later is not a cache on its way to its limit.
ROOM = {"HANDFUL_KV_MEMORY_MB": "16", "HANDFUL_RESPONSE_CACHE_MB": "1"}
ANSWERED, REFUSED = (200,), (429, 503)
MOST_WAIT_S = 180  # a request without an answer for this long has none
IDLE_WAIT_S = 30
MOST_GROWTH = 0.03  # of the memory after the warm-up
WORDS = ("fine", "dull", "lovely", "broken", "slow", "clever", "sad", "warm", "noisy", "brave", "film", "meal", "phone")


@dataclass
class Load:
    """What is asked of which server, until when, and what came of it."""

    client: httpx.AsyncClient
    hang_up_share: float
    ends: float
    counted: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    async def connection(self, number: int) -> None:
        """One caller after the other, until it is time."""
        draw = random.Random(number)
        while time.monotonic() < self.ends:
            if draw.random() < self.hang_up_share:
                await self.hang_up(draw)
            else:
                await self.wait_for(draw)

    async def hang_up(self, draw: random.Random) -> None:
        """A caller that leaves in the middle, if the answer isn't there by then."""
        try:
            async with asyncio.timeout(draw.uniform(0.0, 2.0)):
                await self.ask(draw)
        except TimeoutError:
            self.counted["hung_up"] += 1
        except httpx.HTTPError as error:
            self.failed(error)

    async def wait_for(self, draw: random.Random) -> None:
        """A caller that waits: no answer is a failure."""
        try:
            async with asyncio.timeout(MOST_WAIT_S):
                await self.ask(draw)
        except (TimeoutError, httpx.HTTPError) as error:
            self.failed(error)

    async def ask(self, draw: random.Random) -> None:
        """One request; an answer is whole, or a refusal that says so."""
        path, body = request(draw)
        async with self.client.stream("POST", path, json=body) as response:
            text = (await response.aread()).decode()
        if response.status_code in REFUSED:
            self.counted["refused"] += 1
            await asyncio.sleep(draw.uniform(0.5, 1.5))
        elif response.status_code not in ANSWERED or not is_whole(body, text):
            self.failed(f"{response.status_code} {path}: {text[-200:]}")
        else:
            self.counted["answered"] += 1

    def failed(self, why: object) -> None:
        """Count, and keep the first few for the report."""
        self.counted["failed"] += 1
        if len(self.problems) < 5:
            self.problems.append(f"{type(why).__name__}: {why}")


def request(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A route and its body, of texts that are hardly ever the same."""
    text = f"Review {draw.randrange(10**6)}: {' '.join(draw.choices(WORDS, k=draw.randint(3, 40)))}.\nSentiment:"
    common = {"model": "bench", "max_tokens": draw.randint(1, 16), "temperature": draw.choice((0, 1))}
    kind = draw.choice(("completion", "chat", "score"))
    if kind == "score":
        return "/v1/completions", {"model": "bench", "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 0}
    body = common | {"stream": draw.random() < 0.5}
    if kind == "chat":
        return "/v1/chat/completions", body | {"messages": [{"role": "user", "content": text}]}
    return "/v1/completions", body | {"prompt": text}


def is_whole(body: dict[str, Any], text: str) -> bool:
    """Whether the answer is there to its end."""
    return text.rstrip().endswith("data: [DONE]") if body.get("stream") else "choices" in json.loads(text)


def main() -> int:
    """Start a server, load it, stop it."""
    arguments = parse()
    command = [sys.executable, "-m", "handful.cli", "serve", "--port", "0"]
    command += ["--model", f"bench={folder_of(arguments.model)}"]
    where = machine()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | ROOM
    ) as process:
        try:
            found = asyncio.run(run(address(process), process.pid, arguments))
        finally:
            process.terminate()
    failures = found["failures"]
    print(json.dumps({"workload": "load", "model": arguments.model, **found, **where}))
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--warm-up", type=float, default=30, help="seconds before memory is compared")
    parser.add_argument("--hang-up-share", type=float, default=0.3, help="callers that leave in the middle")
    parser.add_argument("--model", default="default")
    return parser.parse_args()


async def run(url: str, server: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Load the server, its memory looked at each second, and then see that it is idle again."""
    limits = httpx.Limits(max_connections=arguments.connections, max_keepalive_connections=arguments.connections)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=MOST_WAIT_S) as client:
        await ready(client)
        start = time.monotonic()
        load = Load(client, arguments.hang_up_share, start + arguments.warm_up + arguments.seconds)
        watching = asyncio.create_task(watched(server))
        await asyncio.gather(*(load.connection(number) for number in range(arguments.connections)))
        left = await still_running(client)
        watching.cancel()
        memory = [mb for moment, mb in await watching if moment >= start + arguments.warm_up]
    before, after = part(memory, 0), part(memory, 2)
    return {
        "connections": arguments.connections,
        "seconds": arguments.seconds,
        "requests": dict(load.counted),
        "memory_mb": {"after_warm_up": before, "at_the_end": after},
        "left_running": left,
        "failures": failures(load, (before, after), left),
    }


def failures(load: Load, memory: tuple[float, float], left: float) -> list[str]:
    """What must not be, in words."""
    found = list(load.problems)
    if not load.counted["answered"]:
        found.append("nothing was answered")
    if memory[1] > memory[0] * (1 + MOST_GROWTH):
        found.append(f"memory grew from {memory[0]} to {memory[1]} MB")
    if left:
        found.append(f"{left:.0f} requests still run or wait without a caller")
    return found


def part(memory: list[float], third: int) -> float:
    """The median of one third of what was seen, in MB."""
    size = max(1, len(memory) // 3)
    return round(median(memory[third * size : (third + 1) * size] or memory[-1:]), 1)


async def ready(client: httpx.AsyncClient) -> None:
    """Wait until the model is loaded."""
    while (await client.get("/ready")).status_code != 200:
        await asyncio.sleep(0.2)


async def still_running(client: httpx.AsyncClient) -> float:
    """Requests that the server still computes or holds, once it had time to end them."""
    deadline = time.monotonic() + IDLE_WAIT_S
    while True:
        lines = (await client.get("/metrics")).text.split("\n")
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        count = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))
        if not count or time.monotonic() > deadline:
            return count
        await asyncio.sleep(0.2)


async def watched(server: int) -> list[tuple[float, float]]:
    """Moments and the server's memory in MB, until cancelled."""
    seen: list[tuple[float, float]] = []
    try:
        while True:
            seen.append((time.monotonic(), resident_mb(server)))
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        return seen


def resident_mb(process: int) -> float:
    """Resident memory of a process and of those it started."""
    folder = Path(f"/proc/{process}")
    pages = int((folder / "statm").read_text().split()[1])
    children = [int(child) for file in folder.glob("task/*/children") for child in file.read_text().split()]
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(map(resident_mb, children))


if __name__ == "__main__":
    sys.exit(main())
