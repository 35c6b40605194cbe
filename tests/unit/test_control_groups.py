"""What control groups allow, read from a made-up machine: folders as Linux, Docker and systemd lay them out."""

from pathlib import Path

import pytest

from handful.control_groups import usable_cores, usable_memory

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {inside} /sys/fs/cgroup/cpu,cpuacct rw,nosuid master:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 {inside} /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
)
GIB = 2**30


def machine(root: Path, own: str, mounts: str, files: dict[str, str]) -> Path:
    """A file system with this process's groups, what is mounted, and files below /sys/fs/cgroup."""
    texts = {"proc/self/cgroup": own, "proc/self/mountinfo": "20 1 8:1 / / rw - ext4 /dev/vda rw\n" + mounts}
    for name, text in (texts | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_container_of_version_2_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    files = {"cpu.max": "200000 100000\n", "memory.max": f"{4 * GIB}\n"}
    root = machine(tmp_path, "0::/\n", V2, files)
    assert (usable_cores(root), usable_memory(root)) == (2, 4 * GIB)


def test_the_least_of_a_services_group_and_those_above_it_counts(tmp_path: Path) -> None:
    files = {
        "a.slice/cpu.max": "150000 50000",
        "a.slice/b.service/cpu.max": "max 100000",
        "a.slice/memory.max": "max",
        "a.slice/b.service/memory.max": str(GIB),
    }
    root = machine(tmp_path, "0::/a.slice/b.service\n", V2, files)
    assert (usable_cores(root), usable_memory(root)) == (3, GIB)


@pytest.mark.parametrize("inside", ["/docker/3f2a", "/"])
def test_a_container_of_version_1_is_found_with_and_without_a_namespace(inside: str, tmp_path: Path) -> None:
    path = "/docker/3f2a" if inside != "/" else "/"
    own = f"5:memory:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::/\n"
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "400000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(2 * GIB),
    }
    root = machine(tmp_path, own, V1.format(inside=inside), files)
    assert (usable_cores(root), usable_memory(root)) == (4, 2 * GIB)


def test_without_limits_there_are_none(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }
    first = machine(tmp_path / "1", "4:cpu,cpuacct:/\n5:memory:/\n", V1.format(inside="/"), files)
    second = machine(tmp_path / "2", "0::/\n", V2, {"cpu.max": "max 100000", "memory.max": "max"})
    third = tmp_path / "no Linux"
    for root in (first, second, third):
        assert (usable_cores(root), usable_memory(root)) == (None, None)


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("190000", 1), ("250000", 2), ("6400000", 64)])
def test_no_thread_is_counted_that_would_be_stopped_part_of_the_time(quota: str, cores: int, tmp_path: Path) -> None:
    assert usable_cores(machine(tmp_path, "0::/\n", V2, {"cpu.max": f"{quota} 100000"})) == cores


@pytest.mark.parametrize("path", ["/../other", "/docker/3f2a9", "/else"])
def test_a_path_that_leads_out_of_what_is_mounted_is_not_followed(path: str, tmp_path: Path) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    root = machine(tmp_path, f"4:cpu,cpuacct:{path}\n", V1.format(inside="/docker/3f2a"), files)
    assert usable_cores(root) == 2


def test_a_file_that_holds_something_else_is_no_limit(tmp_path: Path) -> None:
    assert usable_cores(machine(tmp_path, "0::/\n", V2, {"cpu.max": "lots\n"})) is None


def test_no_more_memory_is_there_than_is_installed(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", V2, {"memory.max": "max"})
    (root / "proc" / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree:  12 kB\n")
    assert usable_memory(root) == 8 * GIB
