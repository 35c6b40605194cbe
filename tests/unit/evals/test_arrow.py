"""Parquet and saved data sets, as pyarrow writes them and the `datasets` library lays them out."""

import json
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import ipc, parquet

from handful.errors import InvalidInputError, UserError
from handful.evals import extras
from handful.evals.rows import read_rows

FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["negative", "positive"], "_type": "ClassLabel"},
}


def table(**columns: list[object]) -> pyarrow.Table:
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return pyarrow.table(columns).replace_schema_metadata(metadata)


def save(folder: Path, *parts: pyarrow.Table) -> Path:
    """As `Dataset.save_to_disk` does: Arrow streams, and state.json that lists them."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{len(parts):05d}.arrow" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        with ipc.new_stream(str(folder / name), part.schema) as writer:
            writer.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


def test_a_saved_data_set_is_read_part_by_part_with_the_labels_names(tmp_path: Path) -> None:
    folder = save(tmp_path / "d", table(text=["a", "b"], label=[1, 0]), table(text=["c"], label=[1]))
    assert [(row.place, row.cells) for row in read_rows(folder)] == [
        ("row 1", {"text": "a", "label": "positive"}),
        ("row 2", {"text": "b", "label": "negative"}),
        ("row 3", {"text": "c", "label": "positive"}),
    ]


def test_what_the_datasets_library_saves_is_read_whatever_was_chosen_and_in_whatever_order(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["negative", "positive"])}
    )
    whole = datasets.Dataset.from_dict({"text": list("abcd"), "label": [1, 0, 1, 0]}, features=features)
    datasets.DatasetDict({"train": whole, "test": whole.select([3, 0, 1])}).save_to_disk(tmp_path / "parts")
    whole.shuffle(seed=1).save_to_disk(tmp_path / "files", num_shards=2)
    read = [tuple(row.cells.values()) for row in read_rows(tmp_path / "parts" / "test")]
    assert read == [("d", "negative"), ("a", "positive"), ("b", "negative")]
    assert {row.cells["text"]: row.cells["label"] for row in read_rows(tmp_path / "files")} == {
        "a": "positive",
        "b": "negative",
        "c": "positive",
        "d": "negative",
    }


def test_a_label_that_is_hidden_stays_a_number(tmp_path: Path) -> None:
    folder = save(tmp_path / "d", table(text=["a"], label=[-1]))
    assert read_rows(folder)[0].cells["label"] == -1


def test_parquet_is_read_with_the_labels_names(tmp_path: Path) -> None:
    parquet.write_table(table(text=["a"], label=[0]), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet")[0].cells == {"text": "a", "label": "negative"}


def test_parquet_without_any_metadata_is_read(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["a"], "label": ["x"]}), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet")[0].cells == {"text": "a", "label": "x"}


def test_a_folder_of_several_parts_says_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InvalidInputError, match=r"several parts.*train.*test"):
        read_rows(tmp_path)


def test_any_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no saved data set.*save_to_disk"):
        read_rows(tmp_path)


@pytest.mark.parametrize("name", ["../outside.arrow", "/etc/passwd", 3, None])
def test_a_state_that_leaves_the_folder_is_refused(name: object, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(InvalidInputError, match="isn't in the folder"):
        read_rows(tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "d", table(text=["a"], label=[1]))
    part = next(folder.glob("*.arrow"))
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(InvalidInputError, match=part.name):
        read_rows(folder)


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "d", table(text=["a"], label=[1]))
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs pyarrow.*pip install 'handful\[evals\]'"):
        read_rows(folder)
