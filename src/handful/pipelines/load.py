"""From a model's files to something that answers: which Transformers class, on which device, for which task."""

from typing import TYPE_CHECKING

from handful.errors import CheckpointError, InvalidParameterError
from handful.model.checkpoint import read_config
from handful.model.source import ModelFiles
from handful.nlp_types import NlpTask
from handful.pipelines.contract import NlpModel
from handful.pipelines.tasks import TEXT_TO_TEXT, is_causal, read_modules, task_of, tasks_of, unfit
from handful.types import Device, Precision

if TYPE_CHECKING:  # both import torch, which takes seconds
    from handful.pipelines.network import Network
    from handful.pipelines.sentences import SentenceFiles

_VECTORS: frozenset[NlpTask] = frozenset(("feature-extraction", "sentence-similarity"))
_HEADS: dict[NlpTask, tuple[str, str]] = {
    **dict.fromkeys(_VECTORS, ("AutoModel", "an encoder")),
    "text-classification": ("AutoModelForSequenceClassification", "a text classifier"),
    "zero-shot-classification": ("AutoModelForSequenceClassification", "a text classifier"),
    "token-classification": ("AutoModelForTokenClassification", "a token classifier"),
    "question-answering": ("AutoModelForQuestionAnswering", "a model that answers questions"),
    "table-question-answering": ("AutoModelForTableQuestionAnswering", "a model that answers questions about tables"),
    "fill-mask": ("AutoModelForMaskedLM", "a masked language model"),
    **dict.fromkeys(TEXT_TO_TEXT, ("AutoModelForSeq2SeqLM", "a sequence-to-sequence model")),
}
_ENCODER_OF_TWO = ("t5", "mt5", "umt5")  # whose decoder wants inputs of its own: the encoder is the representation


def load_nlp_model(
    files: ModelFiles, device: Device = "auto", precision: Precision = "auto", *, task: NlpTask | None = None
) -> NlpModel:
    """Load a model into memory: `task` says for what, None for what its files say (`task_of`).

    `auto` is float32 here: nobody has measured what less does to such a model's scores. Raises InvalidParameterError
    for int8, UserError for a task that the model isn't for (`tasks_of` says beforehand), CheckpointError for a model
    that isn't for text or whose files are damaged, NotFoundError.
    """
    own = task_of(files.folder)
    if own is None:
        raise CheckpointError(f"{files.name} is not of a kind for text that handful knows.", fix="Take another model.")
    wanted = task or own
    fitting = tasks_of(files.folder)
    if wanted == "text-generation" or wanted not in fitting:
        raise unfit(files.name, own, wanted)
    from handful.pipelines.nlp_model import LoadedModel

    network, sentences = load_network(files, device, wanted, precision)
    same_head = frozenset(other for other in _HEADS if other in fitting and _HEADS[other] == _HEADS[wanted])
    return LoadedModel(files, network, sentences, task=wanted, tasks=same_head)


def load_network(
    files: ModelFiles, device: Device, task: NlpTask, precision: Precision = "auto"
) -> "tuple[Network, SentenceFiles | None]":
    """The network for a task on its device; with it, for a sentence-transformers model, how it makes vectors."""
    import torch

    from handful.model.precision import resolve_device, resolve_precision
    from handful.pipelines.generate import take_settings
    from handful.pipelines.network import Network
    from handful.pipelines.pretrained import load_pretrained, load_tokenizer
    from handful.pipelines.sentences import read_sentence_files

    check_precision(files.name, precision)
    place = resolve_device(device)
    dtype = torch.float32 if precision == "auto" else resolve_precision(precision, place)
    is_vector = task in _VECTORS
    sentences = read_sentence_files(files.folder) if is_vector and read_modules(files.folder) else None
    class_name, purpose = _head(files, task)
    tokenizer = load_tokenizer(files)
    model = load_pretrained(class_name, files, dtype, purpose).to(place)
    network = Network(files.name, model, tokenizer, sentences.max_tokens if sentences else None)
    if task in TEXT_TO_TEXT:
        take_settings(network)
    return network, sentences


def check_precision(name: str, precision: Precision | None) -> None:
    """Refuse what no model here runs in, before anything is loaded (InvalidParameterError)."""
    if precision == "int8":
        problem = f"is int8, and {name} runs through Transformers, which doesn't compute in it."
        raise InvalidParameterError("precision", problem, fix="Give it another: --precision NAME=float32.")


def _head(files: ModelFiles, task: NlpTask) -> tuple[str, str]:
    """The Transformers class for a task, and what it makes."""
    if task in _VECTORS and read_config(files.folder).get("model_type") in _ENCODER_OF_TWO:
        return "AutoModelForTextEncoding", "an encoder"
    if task == "conversational" and is_causal(files.folder):
        return "AutoModelForCausalLM", "a causal language model"
    if task == "table-question-answering":
        from handful.pipelines.tables import require_pandas

        require_pandas(files.name)
    return _HEADS[task]
