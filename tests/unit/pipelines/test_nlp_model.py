"""One loaded model behind the contract: the task fits or is refused, calls take turns, files are only data."""

import json
import math
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handful.errors import CheckpointError, InvalidParameterError, NotReadyError, UserError
from handful.model.checkpoint import Checkpoint
from handful.model.source import ModelFiles
from handful.nlp_types import (
    ClassificationOptions,
    Conversation,
    FeatureOptions,
    FillMaskOptions,
    Question,
    QuestionOptions,
    SeqToSeqOptions,
    TableOptions,
    TableQuestion,
    TokenOptions,
    ZeroShotOptions,
)
from handful.pipelines.contract import NlpModel
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import checkpoint, files

CALLS: dict[str, Callable[[NlpModel], object]] = {
    "feature-extraction": lambda m: m.feature_extraction(["a"], FeatureOptions()),
    "sentence-similarity": lambda m: m.sentence_similarity("a", ["a"]),
    "text-classification": lambda m: m.text_classification(["a"], ClassificationOptions()),
    "zero-shot-classification": lambda m: m.zero_shot(["a"], ZeroShotOptions(candidate_labels=("a",))),
    "token-classification": lambda m: m.token_classification(["a"], TokenOptions()),
    "question-answering": lambda m: m.question_answering([Question("a", "a")], QuestionOptions()),
    "table-question-answering": lambda m: m.table_question_answering(
        [TableQuestion("a", {"a": ("a",)})], TableOptions()
    ),
    "fill-mask": lambda m: m.fill_mask(["[MASK]"], FillMaskOptions()),
    "summarization": lambda m: m.generate(["a"], SeqToSeqOptions(max_new_tokens=2, task="summarization")),
    "translation": lambda m: m.generate(["a"], SeqToSeqOptions(max_new_tokens=2, task="translation")),
    "text2text-generation": lambda m: m.generate(["a"], SeqToSeqOptions(max_new_tokens=2, task="text2text-generation")),
    "conversational": lambda m: m.conversational(Conversation("a"), SeqToSeqOptions(max_new_tokens=2)),
}
KINDS = {
    "sentence-bert": {"sentence-similarity", "feature-extraction"},
    "bert": {"feature-extraction"},
    "bert-classifier": {"text-classification"},
    "bert-nli": {"text-classification", "zero-shot-classification"},
    "bert-entities": {"token-classification"},
    "bert-answers": {"question-answering"},
    "tapas": {"table-question-answering"},
    "bert-mask": {"fill-mask"},
    "bart": {"summarization", "translation", "text2text-generation", "conversational"},
    "dialogue-gpt2": {"conversational"},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_model_does_its_tasks_and_refuses_all_others_by_name(name: str) -> None:
    model = load_nlp_model(files(name), "cpu")
    assert model.tasks == KINDS[name]
    for task, call in CALLS.items():
        if task in KINDS[name]:
            call(model)
        else:
            with pytest.raises(UserError, match=f"tiny/{name} is a model for {model.task}; it can't do {task}"):
                call(model)


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"dialogue-gpt2", "tapas"}))
def test_any_encoder_can_be_loaded_for_its_representation(name: str) -> None:
    model = load_nlp_model(files(name), "cpu", task="feature-extraction")
    assert model.task == "feature-extraction"
    assert model.feature_extraction(["a"], FeatureOptions())[0].shape[-1] == 32


def test_a_task_that_the_model_is_not_for_is_refused_before_it_is_loaded() -> None:
    with pytest.raises(UserError, match="is a model for fill-mask; it can't do question-answering"):
        load_nlp_model(files("bert-mask"), "cpu", task="question-answering")


def test_a_model_that_generates_text_or_is_not_for_text_is_refused(tmp_path: Path) -> None:
    for config, problem in (
        ({"architectures": ["GPT2LMHeadModel"]}, "a model for text-generation"),
        ({"architectures": ["ViTForImageClassification"]}, "not of a kind for text"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=problem):
            load_nlp_model(ModelFiles("other", tmp_path, "", ""), "cpu")


def test_it_says_how_large_it_is() -> None:
    model = load_nlp_model(files("bert-classifier"), "cpu")
    with Checkpoint(checkpoint("bert-classifier")) as stored:
        num_stored = sum(math.prod(stored.shape(name)) for name in stored.names)
    assert model.num_parameters == num_stored
    assert model.bytes_in_memory >= 4 * model.num_parameters
    assert (model.name, model.revision, model.task) == ("tiny/bert-classifier", "", "text-classification")


def test_tokens_are_counted_with_the_special_ones() -> None:
    model = load_nlp_model(files("bert"), "cpu")
    assert model.count_tokens(["my name", "the"]) == 7
    assert model.count_tokens([]) == 0
    assert load_nlp_model(files("tapas"), "cpu").count_tokens(["my name", "the"]) >= 7


def test_calls_from_many_threads_have_the_same_answers() -> None:
    model = load_nlp_model(files("sentence-bert"), "cpu")
    texts = [f"my name is {number}" for number in range(12)]
    expected = [model.feature_extraction([text], FeatureOptions())[0] for text in texts]
    found: dict[int, NDArray[np.float32]] = {}

    def ask(place: int) -> None:
        options = FeatureOptions(truncate=place % 2 == 0)
        found[place] = model.feature_extraction([texts[place]], options)[0]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, vector in enumerate(expected):
        np.testing.assert_allclose(found[place], vector, atol=1e-6)


def test_a_closed_model_answers_no_more() -> None:
    model = load_nlp_model(files("bert"), "cpu")
    model.close()
    model.close()
    with pytest.raises(NotReadyError, match="unloaded"):
        model.feature_extraction(["a"], FeatureOptions())


class Mark:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def copied(tmp_path: Path, name: str) -> ModelFiles:
    shutil.copytree(checkpoint(name), tmp_path / "model")
    return ModelFiles("copied", tmp_path / "model", "", "")


def test_a_pickle_in_the_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    found = copied(tmp_path, "bert-mask")
    (found.folder / "model.safetensors").unlink()
    (found.folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Mark(tmp_path / "ran")}))
    with pytest.raises(CheckpointError, match="can't load copied"):
        load_nlp_model(found, "cpu")
    assert not (tmp_path / "ran").exists()


def test_code_that_the_configuration_names_is_not_run(tmp_path: Path) -> None:
    found = copied(tmp_path, "bert-mask")
    (found.folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Own: pass\n")
    own = {"AutoModelForMaskedLM": "own.Own", "AutoConfig": "own.Own", "AutoTokenizer": ["own.Own", "own.Own"]}
    for name in ("config.json", "tokenizer_config.json"):
        path = found.folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": own}))
    load_nlp_model(found, "cpu").fill_mask(["[MASK]"], FillMaskOptions())
    config = json.loads((found.folder / "config.json").read_text()) | {"model_type": "own"}
    (found.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="can't load copied"):
        load_nlp_model(found, "cpu")
    assert not (tmp_path / "ran").exists()


def test_a_head_without_weights_is_an_error_that_names_some(tmp_path: Path) -> None:
    found = copied(tmp_path, "bert")
    config = json.loads((found.folder / "config.json").read_text())
    (found.folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForQuestionAnswering"]}))
    with pytest.raises(CheckpointError, match=r"lacks weights that a model that answers questions needs: qa_outputs"):
        load_nlp_model(found, "cpu")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_an_error_that_names_the_model(tmp_path: Path, name: str) -> None:
    found = copied(tmp_path, "bert-mask")
    (found.folder / name).write_bytes(b'{"a": 1')
    with pytest.raises(CheckpointError):
        load_nlp_model(found, "cpu")


def test_the_contract_is_what_is_made() -> None:
    model: NlpModel = load_nlp_model(files("bert"), "cpu")
    assert {name for name in dir(NlpModel) if not name.startswith("_")} <= set(dir(model))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_runs_in_bfloat16_and_says_so(kind: str) -> None:
    model = load_nlp_model(files(kind), "cpu", "bfloat16")
    full = load_nlp_model(files(kind), "cpu")
    assert (model.precision, full.precision) == ("bfloat16", "float32")
    assert model.bytes_in_memory < full.bytes_in_memory
    for task in model.tasks:
        assert CALLS[task](model)


def test_vectors_in_bfloat16_are_near_those_in_float32() -> None:
    texts = ["my name is clara", "i live in berkeley"]
    exact, near = (
        np.stack(load_nlp_model(files("sentence-bert"), "cpu", each).feature_extraction(texts, FeatureOptions()))
        for each in ("float32", "bfloat16")
    )
    assert near.dtype == np.float32
    assert 0 < np.abs(exact - near).max() < 0.05


def test_int8_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidParameterError, match=r"int8.*through Transformers"):
        load_nlp_model(files("bert"), "cpu", "int8")
