"""What a model is for, read from its folder's JSON files alone: nothing is imported, loaded or run to find out."""

from pathlib import Path
from typing import Any, Literal

from handful.errors import HandfulError, UserError
from handful.model.checkpoint import read_config, read_json
from handful.nlp_types import NlpTask

ModelTask = NlpTask | Literal["text-generation"]

MODULES_FILE = "modules.json"

_HEADS: tuple[tuple[str, ModelTask], ...] = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForMaskedLM", "fill-mask"),
    ("ForPreTraining", "fill-mask"),
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("Model", "feature-extraction"),
)

# Sequence-to-sequence families that read text, and what they were published for.
_SEQ_TO_SEQ: dict[str, NlpTask] = {
    **dict.fromkeys(("t5", "mt5", "umt5", "longt5", "switch_transformers", "bart", "led"), "text2text-generation"),
    **dict.fromkeys(("encoder-decoder", "prophetnet", "mvp", "t5gemma"), "text2text-generation"),
    **dict.fromkeys(("marian", "m2m_100", "mbart", "fsmt", "nllb-moe"), "translation"),
    **dict.fromkeys(("pegasus", "pegasus_x", "bigbird_pegasus"), "summarization"),
    **dict.fromkeys(("blenderbot", "blenderbot-small"), "conversational"),
}
TEXT_TO_TEXT: frozenset[NlpTask] = frozenset(("summarization", "translation", "text2text-generation", "conversational"))
_OTHER_SENSES = ("vision_config", "image_size", "audio_config", "num_mel_bins", "conv_dim")
_SEQ_TO_SEQ_HEADS = ("ForConditionalGeneration", "WithLMHeadModel", "EncoderDecoderModel", "MTModel")
_TEXT_TASKS: tuple[NlpTask, ...] = ("summarization", "translation", "conversational")


def task_of(folder: Path) -> ModelTask | None:
    """The task of the model in `folder`; None for one that isn't for text, or doesn't say.

    Raises NotFoundError without a config.json, CheckpointError when that is damaged.
    """
    config = read_config(folder)
    if read_modules(folder):
        return "sentence-similarity"
    name, family = _architecture(config), str(config.get("model_type"))
    if name.endswith(_SEQ_TO_SEQ_HEADS):
        return _seq_to_seq_task(family, config)
    if family == "electra" and name.endswith("ForPreTraining"):  # it tells true words from false ones
        return "feature-extraction"
    task = next((task for ending, task in _HEADS if name.endswith(ending)), None)
    if task == "feature-extraction" and any(key in config for key in _OTHER_SENSES):
        return None
    return None if task is None else _narrowed(task, family, config)


def tasks_of(folder: Path) -> frozenset[ModelTask]:
    """Every task that the model in `folder` can be loaded for: its own, those of the same head, and its representation.

    Raises as `task_of`.
    """
    own = task_of(folder)
    if own is None or own == "text-generation" or is_causal(folder):
        return frozenset() if own is None else frozenset({own})
    if own in TEXT_TO_TEXT:
        return TEXT_TO_TEXT | {"feature-extraction"}
    if own == "zero-shot-classification":
        return frozenset({own, "text-classification", "feature-extraction"})
    return frozenset({own, "feature-extraction"})


def is_causal(folder: Path) -> bool:
    """Whether the model continues a text (GPT-2) rather than answering one (T5)."""
    name = _architecture(read_config(folder))
    return name.endswith(("ForCausalLM", "LMHeadModel")) and not name.endswith(_SEQ_TO_SEQ_HEADS)


def read_modules(folder: Path) -> list[Any]:
    """The modules of a sentence-transformers folder, the encoder first; empty for a folder of another kind."""
    try:
        modules = read_json(folder / MODULES_FILE, max_bytes=1 << 20)
    except HandfulError:
        return []
    return modules if isinstance(modules, list) else []


def unfit(name: str, own: str, asked: str) -> UserError:
    """The error for a task that a model isn't for."""
    return UserError(f"{name} is a model for {own}; it can't do {asked}.", fix=f"Name a model for {asked}.")


def entailment_of(config: dict[str, Any]) -> int | None:
    """Which label of a classifier says that a hypothesis follows; None where it isn't one of language inference."""
    labels = config.get("label2id")
    if not isinstance(labels, dict) or len(labels) < 2:
        return None
    found = (index for label, index in labels.items() if str(label).lower().startswith("entail"))
    index = next(found, None)
    return index if isinstance(index, int) else None


def _architecture(config: dict[str, Any]) -> str:
    """The class that the weights were saved from; empty where the configuration doesn't say."""
    names = config.get("architectures")
    return next((name for name in names if isinstance(name, str)), "") if isinstance(names, list) else ""


def _narrowed(task: ModelTask, family: str, config: dict[str, Any]) -> ModelTask:
    """What a head is for more exactly, by the rest of the configuration."""
    if task == "question-answering" and family == "tapas":
        return "table-question-answering"
    if task == "text-classification" and entailment_of(config) is not None:
        return "zero-shot-classification"
    if task == "text-generation" and _settings_of(config).keys() == {"conversational"}:
        return "conversational"
    return task


def _seq_to_seq_task(family: str, config: dict[str, Any]) -> NlpTask | None:
    """A family's own task, or the one that the configuration has settings for where that is just one."""
    task = _SEQ_TO_SEQ.get(family)
    if task != "text2text-generation":
        return task
    named = {key.partition("_")[0] for key in _settings_of(config)}
    fitting = [wanted for wanted in _TEXT_TASKS if wanted in named]
    return fitting[0] if len(fitting) == 1 else task


def _settings_of(config: dict[str, Any]) -> dict[str, Any]:
    settings = config.get("task_specific_params")
    return settings if isinstance(settings, dict) else {}
