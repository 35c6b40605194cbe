"""A model's files have a checksum that other files don't have."""

import os
from pathlib import Path

from handful.model.fingerprint import MAX_READ_BYTES, fingerprint


def test_the_same_files_have_the_same(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    assert fingerprint(tmp_path) == fingerprint(tmp_path)


def test_a_small_file_counts_with_its_content_whatever_its_time(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    seen = set()
    for content in ("{}", "[]", "{}"):
        file.write_text(content)
        os.utime(file, (1, 1))
        seen.add(fingerprint(tmp_path))
    assert len(seen) == 2


def test_a_large_file_counts_with_its_time_and_size(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    seen = set()
    for size, changed_at in ((MAX_READ_BYTES + 1, 1), (MAX_READ_BYTES + 1, 2), (MAX_READ_BYTES + 2, 2)):
        file.write_bytes(bytes(size))
        os.utime(file, (changed_at, changed_at))
        seen.add(fingerprint(tmp_path))
    assert len(seen) == 3


def test_names_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    before = fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprint(tmp_path) != before
