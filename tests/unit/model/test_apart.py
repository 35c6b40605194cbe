"""Files that their readers can't stand end a process of their own, and are one error here."""

import base64
import json
import random
import shutil
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handful.errors import CheckpointError, EngineError, NotFoundError
from handful.model import apart
from handful.model.apart import Examination, examine
from tests.unit.model.gguf_factory import write_gguf
from tests.unit.model.tiny_models import checkpoint, reference

PLANTED = "tests.unit.model.planted_examiner"
Damage = Callable[[bytes], bytes]


def found_in(path: Path) -> str:
    """What is wrong with a model's files, or nothing."""
    try:
        Examination(path, "ada/mine").wait()
    except (CheckpointError, NotFoundError) as error:
        return error.message if error.fix else "there is no way out"
    return ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint("gpt2"), tmp_path / "mine"))


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", reference("llama-tied"))


def changed(folder: Path, **steps: Any) -> Path:
    """The folder with another step or model in its tokenizer."""
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | steps))
    return folder


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neo", "llama-tied"])
def test_a_good_model_passes(name: str) -> None:
    assert found_in(checkpoint(name)) == ""


def test_a_good_gguf_file_passes(gguf: Path) -> None:
    assert found_in(gguf) == ""


def test_a_good_checkpoint_of_torch_passes_and_one_with_code_does_not(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert found_in(folder) == ""
    torch.save({"a": threading.Thread}, folder / "pytorch_model.bin")
    assert "may be code" in found_in(folder)


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 3]


def _huge_header(content: bytes) -> bytes:
    return (1 << 62).to_bytes(8, "little") + content[8:]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("config.json", _truncated),
        ("config.json", lambda _: b"[" * 200_000),
        ("config.json", lambda _: b"{}" + b" " * (5 << 20)),
        ("generation_config.json", _truncated),
        ("tokenizer_config.json", lambda _: b"[]"),
        ("model.safetensors", _truncated),
        ("model.safetensors", _huge_header),
        ("model.safetensors", lambda _: b""),
        ("model.safetensors", lambda content: content[:-1]),
        ("tokenizer.json", _truncated),
        ("tokenizer.json", lambda _: b"{}"),
        ("tokenizer.json", lambda _: b'{"model": ' * 100_000),
    ],
)
def test_a_damaged_file_is_named(folder: Path, file: str, damage: Damage) -> None:
    (folder / file).write_bytes(damage((folder / file).read_bytes()))
    assert file in found_in(folder)


@pytest.mark.parametrize("damage", [_truncated, lambda content: content[:8] + b"\xff" * 16 + content[24:]])
def test_a_damaged_gguf_file_is_named(gguf: Path, damage: Damage) -> None:
    gguf.write_bytes(damage(gguf.read_bytes()))
    assert "tiny.gguf" in found_in(gguf)


@pytest.mark.parametrize("kind", ["model.safetensors", "tokenizer.json", "gguf"])
def test_flipped_bits_end_in_a_model_or_one_error(folder: Path, gguf: Path, kind: str) -> None:
    file = gguf if kind == "gguf" else folder / kind
    good, chance = file.read_bytes(), random.Random(kind)
    num_refused = 0
    for _ in range(12):
        damaged = bytearray(good)
        for _ in range(4):
            damaged[chance.randrange(min(len(good), 3000))] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        num_refused += bool(found_in(gguf if kind == "gguf" else folder))
    assert num_refused > 3


@pytest.mark.parametrize(
    "steps",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}},
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            }
        },
    ],
)
def test_a_tokenizer_that_makes_its_reader_panic_is_one_error(folder: Path, steps: dict[str, Any]) -> None:
    found = found_in(changed(folder, **steps))
    assert found.startswith("ada/mine can't be read: tokenizer.json makes its reader fail (PanicException: ")


def test_a_tokenizer_that_claims_gigabytes_aborts_its_reader_and_is_one_error(folder: Path) -> None:
    claim = base64.b64encode(struct.pack("<I", 0xFFFFFFFC) + b"\0").decode()  # as many bytes of a table to come
    found = found_in(changed(folder, normalizer={"type": "Precompiled", "precompiled_charsmap": claim}))
    assert "tokenizer.json" in found


def test_a_tokenizer_that_grows_a_text_without_end_is_one_error(folder: Path) -> None:
    grow = [
        {"type": "Replace", "pattern": {"Regex": "a|b"}, "content": "b" * 100_000},
        {"type": "Replace", "pattern": {"String": "b"}, "content": "b" * 1_000_000},
    ]
    found = found_in(changed(folder, normalizer={"type": "Sequence", "normalizers": grow}))
    assert "tokenizer.json" in found


def test_a_sentencepiece_model_is_read_where_there_is_nothing_else(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"\x0a\xff\xff\xff\xff\x7f")
    assert "spiece.model" in found_in(folder)


def test_modules_of_a_sentence_encoder_are_examined(folder: Path) -> None:
    dense = folder / "2_Dense"
    dense.mkdir()
    (dense / "config.json").write_text("{}")
    assert found_in(folder) == ""
    (dense / "model.safetensors").write_bytes(b"x")
    assert "model.safetensors" in found_in(folder)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("aborts", "tokenizer.json ended the process that read it (SIGABRT)"),
        ("computes", "tokenizer.json takes more than 30 seconds of the processor to read"),
        ("sleeps", "takes more than 0.5 seconds to read"),
        ("talks", "takes more than 0.5 seconds to read"),
        ("exits", "tokenizer.json ended the process that read it (status 3)"),
        ("lies", "tokenizer.json ended the process that read it (status 0)"),
    ],
)
def test_a_process_that_does_not_answer_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, says: str
) -> None:
    monkeypatch.setattr(apart, "_MODULE", PLANTED)
    if what in ("sleeps", "talks"):
        monkeypatch.setattr(apart, "WALL_S", 0.5)
        monkeypatch.setattr(apart, "_PATIENCE_S", 0.0)
    found = found_in(tmp_path / what)
    assert found.startswith("ada/mine ")
    assert says in found


def test_a_process_that_does_not_start_is_the_servers_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_MODULE", "handful.no_such_module")
    with pytest.raises(EngineError, match="did not start"):
        Examination(tmp_path, "x").wait()


def test_it_can_be_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_MODULE", PLANTED)
    examination = Examination(tmp_path / "sleeps", "x")
    threading.Timer(0.3, examination.give_up).start()
    started = time.monotonic()
    with pytest.raises((CheckpointError, EngineError)):
        examination.wait()
    assert time.monotonic() - started < 20


def test_what_passed_is_examined_again_only_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_MODULE", PLANTED)
    (tmp_path / "mine" / "1_Pooling").mkdir(parents=True)
    planted = tmp_path / "mine"
    counted: list[Path] = []

    class Counted(Examination):
        def __init__(self, path: Path, name: str) -> None:
            counted.append(path)
            super().__init__(path, name)

    monkeypatch.setattr(apart, "Examination", Counted)
    for content, count in (("{}", 1), ("{}", 1), ("[]", 2)):
        (planted / "config.json").write_text(content)
        examine(planted, "x")
        assert len(counted) == count
    (planted / "1_Pooling" / "config.json").write_text("{}")
    examine(planted, "x")
    assert len(counted) == 3
