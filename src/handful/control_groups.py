"""What Linux lets this process take of its machine: control groups limit processors and memory.

A container with `--cpus 2 --memory 4g` sees every core and all the memory of its machine, and so do torch and Python
(`os.cpu_count`, `os.sched_getaffinity`): only its control group knows. A group's limit holds for all below it, so the
least from this process's group up to the root counts. Both versions are read: kernel.org, "Control Group v2"
(`cpu.max`, `memory.max`), and v1's "CFS Bandwidth Control" and "Memory Resource Controller". Without control groups
there is no limit but the memory that is installed.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

_Reader = Callable[[Path], float | None]

_ROOT = Path("/")


@cache
def usable_cores(root: Path = _ROOT) -> int | None:
    """Threads that can compute all the time without being stopped; None where nothing limits them. At least 1.

    A quota of 2.5 is 2: a third thread would be stopped half of the time, and each step waits for its slowest thread.
    """
    quota = _least(root, "cpu", _cpus_v2, _cpus_v1)
    return None if quota is None else max(1, int(quota))


@cache
def usable_memory(root: Path = _ROOT) -> int | None:
    """Bytes that this process and those beside it may take before the system ends one; None where that isn't known."""
    limits = (_least(root, "memory", _memory_v2, _memory_v1), _installed_memory(root))
    return min((int(limit) for limit in limits if limit is not None), default=None)


def _least(root: Path, controller: str, read_v2: _Reader, read_v1: _Reader) -> float | None:
    found = []
    for folder, is_v2 in _groups(root, controller):
        try:
            limit = (read_v2 if is_v2 else read_v1)(folder)
        except (OSError, ValueError, IndexError):  # a root group has no limits; a controller may be off
            continue
        if limit is not None:
            found.append(limit)
    return min(found, default=None)


def _cpus_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / max(1, int(period))


def _cpus_v1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return None if quota <= 0 else quota / max(1, int((folder / "cpu.cfs_period_us").read_text()))


def _memory_v2(folder: Path) -> float | None:
    limit = (folder / "memory.max").read_text().strip()
    return None if limit == "max" else int(limit)


def _memory_v1(folder: Path) -> float | None:
    limit = int((folder / "memory.limit_in_bytes").read_text())
    return None if limit >= 1 << 62 else limit  # the largest number of whole pages: none was set


def _installed_memory(root: Path) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) << 10
    return None


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """The folders of the groups that this process is in, and whether each is of version 2."""
    paths = _own_paths(root)
    for fields in _mounts(root):
        inside, mounted = fields[3], root / fields[4].lstrip("/")
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        is_v2 = kind == "cgroup2"
        own = paths.get("" if is_v2 else controller)
        if own is None or not (is_v2 or (kind == "cgroup" and controller in options)):
            continue
        # What is mounted may begin at a group (a container's own), and the path may lead out of it.
        is_inside = ".." not in own.parts and own.is_relative_to(inside)
        parts = own.relative_to(inside).parts if is_inside else ()
        for depth in range(len(parts), -1, -1):
            yield mounted.joinpath(*parts[:depth]), is_v2


def _own_paths(root: Path) -> dict[str, PurePosixPath]:
    """Controller -> the path of this process's group; version 2 is the controller without a name (cgroups(7))."""
    paths: dict[str, PurePosixPath] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), PurePosixPath(path)))
    return paths


def _mounts(root: Path) -> Iterator[list[str]]:
    """Fields of each mounted hierarchy (proc(5), mountinfo)."""
    for line in _lines(root / "proc/self/mountinfo"):
        if " - cgroup" in line:
            yield line.split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # no Linux
        return []
