"""From `--model` and `--task` to names and models."""

from pathlib import Path

import pytest

from handful.errors import InvalidInputError, InvalidParameterError, NotFoundError
from handful.server.precisions import Precisions
from handful.server.sources import check_precisions, registries, size_bytes, split_name
from handful.types import Precision
from tests.unit.server.serving import SENTIMENT, UPPER, FakeModel


@pytest.mark.parametrize("spec", ["default", "EleutherAI/gpt-neo-125m"])
def test_a_name_is_its_own_name(spec: str) -> None:
    assert split_name(spec) == (spec, spec)


def test_a_folder_is_served_under_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert split_name(f"{folder}/") == ("my-model", f"{folder}/")
    assert split_name(f"other={folder}") == ("other", str(folder))


def test_a_file_is_served_under_its_name_without_the_ending(tmp_path: Path) -> None:
    file = tmp_path / "tiny.Q4_1.gguf"
    file.write_bytes(b"12345")
    assert split_name(str(file)) == ("tiny.Q4_1", str(file))
    assert size_bytes(str(file)) == 5


@pytest.mark.parametrize("spec", ["./missing", "/missing/model", "~/missing-model"])
def test_a_path_where_nothing_is_is_told(spec: str) -> None:
    with pytest.raises(NotFoundError, match="no model at"):
        split_name(spec)


def test_language_models_take_room_for_keys_and_values_and_others_none() -> None:
    purposes = {"x/writer": "text-generation", "x/unknown": None, "x/encoder": "feature-extraction"}
    models, _ = registries(list(purposes), [], lambda *_: FakeModel(), purposes.__getitem__, 100)
    assert [models.entry(name).num_bytes for name in purposes] == [100, 100, 0]


def test_the_size_of_a_folder_is_that_of_its_weights(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"123")
    (tmp_path / "tokenizer.json").write_bytes(b"12345")
    assert size_bytes(str(tmp_path)) == 3
    assert size_bytes("default") == 0


def test_tasks_bring_their_models_and_others_run_on_the_first() -> None:
    tasks = [SENTIMENT, UPPER.replace(model="org/other")]
    models, served = registries(["default", "second"], tasks, lambda *_: FakeModel())
    assert models.names == ("default", "second", "org/other")
    assert [task.model for task in served] == ["default", "org/other"]


def test_a_task_on_a_model_that_is_not_for_text_is_refused() -> None:
    purposes = {"default": "text-generation", "cls": "text-classification"}
    with pytest.raises(InvalidInputError, match="Model cls can't run a task: it is for text-classification"):
        registries(["default"], [UPPER.replace(model="cls")], lambda *_: FakeModel(), purposes.__getitem__)


def test_the_same_name_for_two_models_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Two models"):
        registries(["a=x", "a=y"], [], lambda *_: FakeModel())


def precisions_for(*given: str, default: Precision = "auto") -> Precisions:
    """What is left of the values beside a language model and an encoder; raises what is wrong with them."""
    purposes = {"writer": "text-generation", "encoder": "feature-extraction", "late": None}
    models, _ = registries(list(purposes), [], lambda *_: FakeModel(), purposes.__getitem__)
    read = Precisions.read(given)
    check_precisions(read, models, default)
    return read


def test_a_precision_is_for_all_models_or_for_one() -> None:
    read = precisions_for("int8", "encoder=float32")
    assert [read.of(name) for name in ("writer", "late", "encoder")] == ["int8", "int8", "float32"]
    assert precisions_for().of("writer") is None
    assert precisions_for("bfloat16").of("encoder") == "bfloat16"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["int8"], "encoder runs through Transformers"),
        (["writer=float32", "encoder=int8"], "encoder runs through Transformers"),
        (["nobody=int8"], "nobody"),
        (["int4"], "int4"),
        (["writer=fast"], "fast"),
        (["int8", "float32"], "twice for all models"),
        (["writer=int8", "writer=auto"], "twice for writer"),
    ],
)
def test_a_precision_that_a_model_can_not_run_in_is_refused_by_name(given: list[str], says: str) -> None:
    with pytest.raises(InvalidParameterError, match=says):
        precisions_for(*given)


def test_so_is_that_of_the_settings() -> None:
    with pytest.raises(InvalidParameterError, match="encoder runs through Transformers"):
        precisions_for(default="int8")
    precisions_for("encoder=auto", default="int8")


@pytest.mark.parametrize(
    ("given", "default", "loaded_in"),
    [
        ([], "auto", None),
        (["bfloat16"], "auto", "bfloat16"),
        (["int8"], "auto", "float32"),
        ([], "int8", "float32"),
        (["int8", "encoder=bfloat16"], "auto", "bfloat16"),
    ],
)
def test_a_model_that_nobody_named_stands_against_no_precision(
    given: list[str], default: Precision, loaded_in: Precision | None
) -> None:
    read = Precisions.read(given).but_not_int8("encoder", default)
    assert read.of("encoder") == loaded_in
    assert read.of("default") == Precisions.read(given).of("default")
