"""What a server holds, seen from outside: memory, files, threads, keys and values; and whether that grew.

Needs Linux's /proc. All figures are of a process and those it started.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

MOST_GROWTH = 0.03  # of the memory after the warm-up
MOST_MORE = {"files": 2, "threads": 2, "kv_tokens": 0}
"""What an idle server may hold more of at the end of a run than in its middle: a connection of our own, a thread of a
pool that was not needed before. Of keys and values that are in use, nothing."""


@dataclass(frozen=True, slots=True)
class Held:
    """Open files (sockets among them), threads, and tokens whose keys and values are in use rather than kept."""

    files: int
    threads: int
    kv_tokens: int

    def least(self, other: "Held") -> "Held":
        """The smaller figure of each kind."""
        ours, theirs = asdict(self), asdict(other)
        return Held(**{name: min(ours[name], theirs[name]) for name in ours})


def held_by(process: int, metrics: str) -> Held:
    """What a server holds; `metrics` is what it answers to GET /metrics."""
    folders = list(_folders(process))
    return Held(
        files=sum(sum(1 for _ in (folder / "fd").iterdir()) for folder in folders),
        threads=sum(sum(1 for _ in (folder / "task").iterdir()) for folder in folders),
        kv_tokens=int(metric(metrics, "handful_kv_slots_held")),
    )


def memory_mb(process: int) -> float:
    """Anonymous memory, and what of it was swapped out."""
    names = ("RssAnon:", "VmSwap:")
    lines = [line.split() for folder in _folders(process) for line in (folder / "status").read_text().splitlines()]
    return sum(int(line[1]) for line in lines if line and line[0] in names) * 1024 / 1e6


def metric(metrics: str, *names: str) -> float:
    """The sum of figures without labels in Prometheus' text format. KeyError where one isn't there."""
    found = {name: value for name, _, value in (line.partition(" ") for line in metrics.splitlines())}
    return sum(float(found[name]) for name in names)


def grown(before: Held, after: Held) -> list[str]:
    """What there is too much more of, in words."""
    pairs = [(each.name, getattr(before, each.name), getattr(after, each.name)) for each in fields(Held)]
    return [f"{name} grew from {was} to {is_now}" for name, was, is_now in pairs if is_now > was + MOST_MORE[name]]


def grown_memory(seen: list[float]) -> tuple[dict[str, float], list[str]]:
    """Memory in the first and the last third of what was seen, medians in MB; and what is wrong with it, in words."""
    before, after = part(seen, 0), part(seen, 2)
    is_too_much = after > before * (1 + MOST_GROWTH)
    told = [f"memory grew from {before} to {after} MB"] if is_too_much else []
    return {"after_warm_up": before, "at_the_end": after}, told


def part(seen: list[float], third: int) -> float:
    """The median of one third."""
    size = max(1, len(seen) // 3)
    return round(median(seen[third * size : (third + 1) * size] or seen[-1:]), 1)


def _folders(process: int) -> Iterator[Path]:
    """Those of /proc for a process and all that it started and that started."""
    folder = Path(f"/proc/{process}")
    yield folder
    for file in folder.glob("task/*/children"):
        for child in file.read_text().split():
            yield from _folders(int(child))
