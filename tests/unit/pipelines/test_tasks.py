"""What a model is for, from its files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from handful.errors import CheckpointError, NotFoundError
from handful.pipelines.tasks import is_causal, task_of, tasks_of
from tests.unit.pipelines.tiny_nlp import checkpoint

NLI = {"label2id": {"CONTRADICTION": 0, "NEUTRAL": 1, "Entailment": 2}}


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["BertModel"], "model_type": "bert"}, "feature-extraction"),
        ({"architectures": ["DistilBertForSequenceClassification"]}, "text-classification"),
        ({"architectures": ["BartForSequenceClassification"], **NLI}, "zero-shot-classification"),
        ({"architectures": ["BertForTokenClassification"]}, "token-classification"),
        ({"architectures": ["RobertaForQuestionAnswering"]}, "question-answering"),
        ({"architectures": ["TapasForQuestionAnswering"], "model_type": "tapas"}, "table-question-answering"),
        ({"architectures": ["RobertaForMaskedLM"]}, "fill-mask"),
        ({"architectures": ["BertForPreTraining"]}, "fill-mask"),
        ({"architectures": ["GPTNeoForCausalLM"]}, "text-generation"),
        ({"architectures": ["GPT2LMHeadModel"], "task_specific_params": {"text-generation": {}}}, "text-generation"),
        ({"architectures": ["GPT2LMHeadModel"], "task_specific_params": {"conversational": {}}}, "conversational"),
        ({"architectures": ["T5WithLMHeadModel"], "model_type": "t5"}, "text2text-generation"),
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, "text2text-generation"),
        (
            {
                "architectures": ["T5ForConditionalGeneration"],
                "model_type": "t5",
                "task_specific_params": {"summarization": {}, "translation_en_to_de": {}},
            },
            "text2text-generation",
        ),
        (
            {
                "architectures": ["BartForConditionalGeneration"],
                "model_type": "bart",
                "task_specific_params": {"summarization": {}},
            },
            "summarization",
        ),
        ({"architectures": ["MarianMTModel"], "model_type": "marian"}, "translation"),
        ({"architectures": ["PegasusForConditionalGeneration"], "model_type": "pegasus"}, "summarization"),
        ({"architectures": ["BlenderbotForConditionalGeneration"], "model_type": "blenderbot"}, "conversational"),
        ({"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}, None),
        ({"architectures": ["ViTForImageClassification"], "model_type": "vit"}, None),
        ({"architectures": ["ViTModel"], "model_type": "vit", "image_size": 224}, None),
        ({"architectures": ["CLIPModel"], "vision_config": {}, "text_config": {}}, None),
        ({"architectures": ["ElectraForPreTraining"], "model_type": "electra"}, "feature-extraction"),
        ({"architectures": ["ElectraForMaskedLM"], "model_type": "electra"}, "fill-mask"),
        ({"architectures": []}, None),
        ({"architectures": [5]}, None),
        ({"architectures": "BertModel"}, None),
        ({}, None),
    ],
)
def test_the_configuration_says_the_task(tmp_path: Path, config: dict[str, object], task: str | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert task_of(tmp_path) == task
    assert (task in tasks_of(tmp_path)) == (task is not None)


def test_a_list_of_modules_makes_a_sentence_model() -> None:
    assert task_of(checkpoint("sentence-bert")) == "sentence-similarity"
    assert tasks_of(checkpoint("sentence-bert")) == {"sentence-similarity", "feature-extraction"}


def test_a_broken_list_of_modules_makes_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    for content in ("{", "{}", "[" * 100_000):
        (tmp_path / "modules.json").write_text(content)
        assert task_of(tmp_path) == "feature-extraction"


def test_a_model_of_one_head_can_do_what_others_of_it_can() -> None:
    assert tasks_of(checkpoint("bert-nli")) == {"zero-shot-classification", "text-classification", "feature-extraction"}
    pair = {"summarization", "translation", "text2text-generation", "conversational", "feature-extraction"}
    assert tasks_of(checkpoint("bart")) == pair
    assert tasks_of(checkpoint("dialogue-gpt2")) == {"conversational"}


def test_a_causal_model_is_one_that_continues_a_text() -> None:
    assert is_causal(checkpoint("dialogue-gpt2"))
    assert not any(is_causal(checkpoint(name)) for name in ("bart", "bert", "t5"))


def test_a_folder_without_a_configuration_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        task_of(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError):
        task_of(tmp_path)


def test_telling_the_task_imports_nothing_heavy() -> None:
    modules = "handful.pipelines.tasks, handful.pipelines.contract, handful.pipelines.load, handful.pipelines.encoder"
    code = f"import sys, {modules}; print({{'torch', 'transformers'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
