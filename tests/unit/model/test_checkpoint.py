"""Reading tensors: each format, each kind of damage, and code that must not run."""

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from handful.errors import CheckpointError, NotFoundError
from handful.model.checkpoint import Checkpoint, read_config

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(4, dtype=torch.bfloat16)}


def single(folder: Path) -> Path:
    save_file(TENSORS, folder / "model.safetensors")
    return folder


def sharded(folder: Path, **changes: str) -> Path:
    shards = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    for name, shard in shards.items():
        save_file({name: TENSORS[name]}, folder / shard)
    index = {"metadata": {}, "weight_map": shards | changes}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def pickled(folder: Path, *, legacy: bool = False) -> Path:
    torch.save(TENSORS, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    return folder


def sharded_pickles(folder: Path) -> Path:
    for name, tensor in TENSORS.items():
        torch.save({name: tensor}, folder / f"pytorch_model-{name}.bin")
    index = {"weight_map": {name: f"pytorch_model-{name}.bin" for name in TENSORS}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def pickled_legacy(folder: Path) -> Path:
    return pickled(folder, legacy=True)


@pytest.mark.parametrize("write", [single, sharded, pickled, pickled_legacy, sharded_pickles])
def test_each_format_gives_the_same_tensors(write: object, tmp_path: Path) -> None:
    assert callable(write)
    with Checkpoint(write(tmp_path)) as checkpoint:
        assert checkpoint.names == ("a.weight", "b.weight")
        assert checkpoint.shape("a.weight") == (2, 3)
        for name, tensor in TENSORS.items():
            assert checkpoint.tensor(name).dtype == tensor.dtype
            assert torch.equal(checkpoint.tensor(name), tensor)


def test_a_tensor_outlives_its_checkpoint(tmp_path: Path) -> None:
    with Checkpoint(single(tmp_path)) as checkpoint:
        tensor = checkpoint.tensor("a.weight")
    assert torch.equal(tensor, TENSORS["a.weight"])


def test_safetensors_are_taken_before_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    with Checkpoint(single(tmp_path)) as checkpoint:
        assert "a.weight" in checkpoint


def test_opening_reads_no_weights(tmp_path: Path) -> None:
    save_file({"big": torch.zeros(64 << 20, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    before = resident_bytes()
    with Checkpoint(tmp_path) as checkpoint:
        _ = checkpoint.shape("big"), checkpoint.tensor("big")
        assert resident_bytes() - before < 32 << 20


def many(folder: Path, num_tensors: int = 16) -> Path:
    """16 MiB a tensor."""
    made = {f"t{number}": torch.full((16 << 20,), number, dtype=torch.uint8) for number in range(num_tensors)}
    save_file(made, folder / "model.safetensors")
    return folder


def test_what_has_been_read_and_let_go_leaves_memory(tmp_path: Path) -> None:
    with Checkpoint(many(tmp_path)) as checkpoint:
        before = resident_bytes()
        for number in range(16):
            assert int(checkpoint.tensor(f"t{number}").float().mean()) == number
            assert resident_bytes() - before < 192 << 20  # 64 MiB of the file, and a tensor of floats


def test_a_tensor_stays_as_it_is_while_the_rest_is_read(tmp_path: Path) -> None:
    with Checkpoint(many(tmp_path)) as checkpoint:
        first = checkpoint.tensor("t3")
        for number in range(16):
            checkpoint.tensor(f"t{number}")
        assert torch.equal(first, torch.full((16 << 20,), 3, dtype=torch.uint8))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    with Checkpoint(many(tmp_path, 6)) as checkpoint:
        for number in range(4):
            checkpoint.tensor(f"t{number}")
        save_file({"t5": torch.ones(3)}, tmp_path / "other")
        (tmp_path / "other").replace(tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"model\.safetensors changed while it was read"):
            checkpoint.tensor("t5")


def test_a_file_that_goes_away_while_it_is_read_is_missed(tmp_path: Path) -> None:
    with Checkpoint(many(tmp_path, 6)) as checkpoint:
        for number in range(4):
            checkpoint.tensor(f"t{number}")
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
            checkpoint.tensor("t5")


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_tensor_that_is_not_there_is_named(tmp_path: Path) -> None:
    with Checkpoint(single(tmp_path)) as checkpoint, pytest.raises(CheckpointError, match=r"'c\.weight'"):
        checkpoint.tensor("c.weight")


def test_a_folder_without_weights_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no weights"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("cut", [0, 4, 8, 20, 60, -1])
def test_a_truncated_safetensors_file_is_named(cut: int, tmp_path: Path) -> None:
    path = single(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged") as caught:
        Checkpoint(tmp_path)
    assert caught.value.fix


@pytest.mark.parametrize("length", [2**63, 2**40, 10**8])
def test_a_huge_header_is_refused(length: int, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", length) + b"{}" * 50)
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_pickle_is_named(keep: float, legacy: bool, tmp_path: Path) -> None:
    path = pickled(tmp_path, legacy=legacy) / "pytorch_model.bin"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        Checkpoint(tmp_path)


class Malicious:
    """Unpickled by an ordinary loader it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("write", ["zip", "legacy", "bare"])
def test_code_in_a_pickle_never_runs(write: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "pytorch_model.bin", tmp_path / "ran"
    if write == "bare":
        path.write_bytes(pickle.dumps(Malicious(marker)))
    else:
        torch.save({"a": Malicious(marker)}, path, _use_new_zipfile_serialization=write == "zip")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        Checkpoint(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {1: torch.ones(1)}])
def test_a_pickle_of_other_things_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="mapping from names to tensors"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "/etc/passwd", "sub/x.safetensors", "..\\x.safetensors", "x.bin", ""]
)
def test_an_index_that_leaves_the_folder_is_refused(shard: str, tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    save_file({"b.weight": TENSORS["b.weight"]}, tmp_path / "outside.safetensors")
    with pytest.raises(CheckpointError, match=r"not a \.safetensors file beside it"):
        Checkpoint(sharded(inside, **{"b.weight": shard}))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (sharded(tmp_path) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is missing"):
        Checkpoint(tmp_path)


def test_a_shard_without_its_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks the tensor 'b\.weight'"):
        Checkpoint(sharded(tmp_path, **{"b.weight": "model-00001-of-00002.safetensors"}))


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{}"])
def test_a_damaged_index_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        Checkpoint(tmp_path)


def test_a_config_is_read_as_data_whatever_code_it_names(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "auto_map": {"AutoConfig": "evil.Config"}, "nested": {"auto_map": {"x": "y.z"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('code of a checkpoint ran')")
    assert read_config(tmp_path) == config


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "[" * 100_000])
def test_a_damaged_config_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_config_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(CheckpointError, match=r"config\.json is not JSON"):
        read_config(tmp_path)


def test_a_huge_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": "' + "x" * (5 << 20) + '"}')
    with pytest.raises(CheckpointError, match="larger than 4 MiB"):
        read_config(tmp_path)


def test_a_missing_config_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"config\.json"):
        read_config(tmp_path)
