"""A damaged or hostile GGUF file ends in one error, whatever byte is wrong, without taking memory."""

import random
import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest

from handful.errors import CheckpointError, NotFoundError
from handful.model.gguf_convert import convert_gguf
from handful.model.gguf_file import GgufFile
from tests.unit.model.gguf_factory import write_gguf
from tests.unit.model.tiny_models import reference

NUM_FLIPS = 150


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "good.gguf", reference("llama-tied")).read_bytes()


def header_bytes(content: bytes, folder: Path) -> int:
    (folder / "whole.gguf").write_bytes(content)
    with GgufFile(folder / "whole.gguf") as file:
        return min(tensor.start for tensor in file.tensors.values())


def read(path: Path, content: bytes) -> GgufFile:
    path.write_bytes(content)
    with GgufFile(path) as file:
        return file


def test_names_shapes_and_bytes_are_those_written(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    writer.add_tensor("token_embd.weight", values)
    writer.add_array("llama.numbers", [1, 2, 3])
    writer.add_bool("llama.flag", True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GgufFile(tmp_path / "m.gguf") as file:
        tensor = file.tensors["token_embd.weight"]
        assert (tensor.shape, tensor.kind) == ((3, 4), "F32")
        assert np.array_equal(np.array(file.rows(tensor)).view(np.float32), values)
        assert (file.metadata["llama.numbers"], file.metadata["llama.flag"]) == ([1, 2, 3], True)


def test_ggufs_own_reader_agrees(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(good)
    theirs = gguf.GGUFReader(tmp_path / "m.gguf")
    with GgufFile(tmp_path / "m.gguf") as ours:
        assert {t.name: (t.data_offset, t.n_bytes) for t in theirs.tensors} == {
            t.name: (t.start, t.num_bytes) for t in ours.tensors.values()
        }
        for key, value in ours.metadata.items():
            assert theirs.fields[key].contents() == pytest.approx(value), key


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"m\.gguf"):
        GgufFile(tmp_path / "m.gguf")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is empty"):
        read(tmp_path / "m.gguf", b"")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="isn't a GGUF file"):
        read(tmp_path / "m.gguf", b"PK\x03\x04" * 100)


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24])
def test_another_version_is_refused_by_number(good: bytes, version: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"version {version}"):
        read(tmp_path / "m.gguf", good[:4] + struct.pack("<I", version) + good[8:])


def test_each_truncation_is_refused(good: bytes, tmp_path: Path) -> None:
    header = header_bytes(good, tmp_path)
    cuts = [*range(200), *range(200, header, 97), header - 1, header, len(good) // 2, len(good) - 1]
    for cut in cuts:
        with pytest.raises(CheckpointError):
            read(tmp_path / "m.gguf", good[:cut])


def test_flipped_bits_in_the_header_end_in_a_model_or_one_error(good: bytes, tmp_path: Path) -> None:
    header = header_bytes(good, tmp_path)
    chance = random.Random(7)
    refusals = []
    for number in range(NUM_FLIPS):
        content = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(header)] ^= 1 << chance.randrange(8)
        (tmp_path / "m.gguf").write_bytes(content)
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            convert_gguf(tmp_path / "m.gguf", folder)
        except CheckpointError as error:
            refusals.append(error.message)
    assert len(refusals) > NUM_FLIPS // 4
    assert all("m.gguf" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("at", "what"), [(8, "tensors"), (16, "keys"), (24, "bytes of text")], ids=["tensors", "keys", "name"]
)
@pytest.mark.parametrize("count", [2**63, 2**64 - 1, 2**40])
def test_a_huge_count_takes_no_memory(good: bytes, at: int, what: str, count: int, tmp_path: Path) -> None:
    content = good[:at] + struct.pack("<Q", count) + good[at + 8 :]
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=what):
            read(tmp_path / "m.gguf", content)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def hostile(key_value: bytes = b"", tensors: bytes = b"", num_tensors: int = 0, padding: int = 4096) -> bytes:
    num_keys = 1 if key_value else 0
    return b"GGUF" + struct.pack("<IQQ", 3, num_tensors, num_keys) + key_value + tensors + b"\0" * padding


def tensor_info(name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return struct.pack("<Q", len(name)) + name + sizes + struct.pack("<IQ", kind, offset)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (hostile(struct.pack("<Q1sI", 1, b"k", 99)), "unknown type 99"),
        (hostile(struct.pack("<Q1sIIQ", 1, b"k", 9, 9, 1)), "array of the type 9"),
        (hostile(struct.pack("<Q1sIIQ", 1, b"k", 9, 4, 2**61)), "items"),
        (hostile(struct.pack("<Q1sIQ2s", 1, b"k", 8, 2, b"\xff\xfe")), "damaged"),
        (hostile(struct.pack("<Q17sII", 17, b"general.alignment", 4, 48)), "alignment"),
        (hostile(struct.pack("<Q11sII", 11, b"split.count", 4, 3)), "one of 3 parts"),
        (hostile(tensors=tensor_info(b"t", (2**32, 2**32)), num_tensors=1), "ends at byte"),
        (hostile(tensors=tensor_info(b"t", (2**63, 2**63, 2**63, 2**63)), num_tensors=1), "ends at byte"),
        (hostile(tensors=tensor_info(b"t", (0, 4)), num_tensors=1), "shape"),
        (hostile(tensors=tensor_info(b"t", (1,) * 5), num_tensors=1), "5 dimensions"),
        (hostile(tensors=tensor_info(b"t", (33,), kind=2), num_tensors=1), "whole blocks of 32"),
        (hostile(tensors=tensor_info(b"t", (4,), kind=250), num_tensors=1), "damaged"),
        (hostile(tensors=tensor_info(b"t", (4,), offset=2**64 - 32), num_tensors=1), "ends at byte"),
        (hostile(tensors=tensor_info(b"t", (4,), offset=8), num_tensors=1), "ends at byte"),
        (hostile(tensors=tensor_info(b"t", (4,)) * 2, num_tensors=2), "twice"),
        (hostile(tensors=tensor_info(b"t", (64,)) + tensor_info(b"u", (4,), offset=32), num_tensors=2), "overlaps"),
    ],
)
def test_a_hostile_header_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=problem):
        read(tmp_path / "m.gguf", content)
