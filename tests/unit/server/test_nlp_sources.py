"""What a model is for, found out before it is loaded, and how either kind is loaded."""

import json
from pathlib import Path

import pytest

from handful.model.fingerprint import fingerprint
from handful.server.nlp_served import ServedNlpModel
from handful.server.nlp_sources import load_any, purpose_of
from handful.server.sources import registries
from tests.unit.model.tiny_models import checkpoint as language_model
from tests.unit.pipelines.tiny_nlp import checkpoint
from tests.unit.server.serving import FakeModel


def test_a_folder_says_what_its_model_is_for(tmp_path: Path) -> None:
    assert purpose_of(str(checkpoint("bert-mask"))) == "fill-mask"
    assert purpose_of(str(checkpoint("bert-nli"))) == "zero-shot-classification"
    assert purpose_of("default-embeddings") == "sentence-similarity"
    assert purpose_of("default") == "text-generation"
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert purpose_of(str(tmp_path / "model.gguf")) == "text-generation"


def test_what_is_not_here_yet_is_for_nobody_knows_what(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert purpose_of("nobody/has-such-a-model-here") is None


def test_a_damaged_folder_is_left_to_loading_which_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert purpose_of(str(tmp_path)) == "text-generation"
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["SomethingNew"]}))
    assert purpose_of(str(tmp_path)) == "text-generation"


def test_models_of_other_tasks_are_lazy() -> None:
    purposes = {"a": "text-generation", "b": "fill-mask", "c": None}
    models, _ = registries(["a", "b", "c"], [], lambda *_: FakeModel(), purposes.__getitem__)
    entries = [models.entry(name) for name in "abc"]
    assert [entry.source.is_lazy for entry in entries] == [False, True, False]
    assert [entry.task for entry in entries] == ["text-generation", "fill-mask", None]
    assert models.states() == {"a": "loading", "b": "unloaded", "c": "loading"}


def test_each_kind_is_loaded_as_what_it_is() -> None:
    encoder = load_any(str(checkpoint("bert-mask")), "float32", "cpu")
    assert isinstance(encoder, ServedNlpModel)
    assert (encoder.task, encoder.info.engine) == ("fill-mask", "transformers")
    assert encoder.info.num_parameters > 0
    encoder.close(timeout_s=10)
    model = load_any(str(language_model("gpt_neo")), "float32", "cpu")
    assert model.info.engine == "native"
    model.close(timeout_s=10)


def test_a_model_of_either_kind_says_which_files_it_is_of() -> None:
    for folder in (checkpoint("bert-mask"), language_model("gpt_neo")):
        model = load_any(str(folder), "float32", "cpu")
        assert model.info.details["files"] == fingerprint(folder)
        model.close()
