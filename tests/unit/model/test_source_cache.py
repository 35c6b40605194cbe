"""A folder in the cache is whole or isn't there."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from handful.errors import UserError
from handful.model.source_cache import is_made, made_folder, read_marker

MADE_FROM = {"source": "a test", "format": 1}


def write_one(folder: Path) -> None:
    (folder / "weights").write_bytes(b"12345")


def folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if path.is_dir())


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        write_one(folder)

    for _ in range(2):
        assert made_folder(tmp_path / "m", MADE_FROM, make) == tmp_path / "m"
    assert len(made) == 1
    assert read_marker(tmp_path / "m")["file_bytes"] == {"weights": 5}


def test_a_folder_made_from_something_else_is_made_again(tmp_path: Path) -> None:
    made_folder(tmp_path / "m", MADE_FROM, write_one)
    made_folder(tmp_path / "m", MADE_FROM | {"format": 2}, lambda folder: (folder / "new").touch())
    assert not (tmp_path / "m" / "weights").exists()


@pytest.mark.parametrize("damage", ["truncated", "removed", "marker"])
def test_a_damaged_folder_is_made_again(damage: str, tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "m", MADE_FROM, write_one)
    if damage == "truncated":
        (folder / "weights").write_bytes(b"123")
    elif damage == "removed":
        (folder / "weights").unlink()
    else:
        (folder / "handful.json").write_text("[]")
    assert not is_made(folder, MADE_FROM)
    made_folder(folder, MADE_FROM, write_one)
    assert (folder / "weights").read_bytes() == b"12345"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_one(folder)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        made_folder(tmp_path / "m", MADE_FROM, fail)
    assert folders(tmp_path) == []


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"is full.*HANDFUL_HOME"):
        made_folder(tmp_path / "m", MADE_FROM, fail)


def test_two_threads_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.05)
        write_one(folder)

    threads = [threading.Thread(target=made_folder, args=(tmp_path / "m", MADE_FROM, make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_killed_process_leaves_no_model_and_no_lock(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from handful.model.source_cache import made_folder\n"
        "def make(folder):\n"
        "    (folder / 'half').write_bytes(b'1'); print('started', flush=True); time.sleep(60)\n"
        f"made_folder(Path({str(tmp_path / 'm')!r}), {MADE_FROM!r}, make)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert folders(tmp_path) == [".m.partial"]
    made_folder(tmp_path / "m", MADE_FROM, write_one)
    assert folders(tmp_path) == ["m"]
    assert not (tmp_path / "m" / "half").exists()
