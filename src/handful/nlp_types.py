"""Frozen values of the language tasks other than generating text: options in, answers out. No behaviour but validation.

Every option is checked when it is made; a bad one raises `InvalidParameterError` with the option's name, which is the
name of the wire's parameter too. Sequences are tuples, scores are probabilities unless something else is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from handful.checks import check_integer, check_number, check_one_of, check_strings, check_switch
from handful.errors import InvalidInputError, InvalidParameterError

NlpTask = Literal[
    "feature-extraction",
    "sentence-similarity",
    "text-classification",
    "zero-shot-classification",
    "token-classification",
    "question-answering",
    "table-question-answering",
    "fill-mask",
    "summarization",
    "translation",
    "text2text-generation",
    "conversational",
]
SeqToSeqTask = Literal["summarization", "translation", "text2text-generation"]
FunctionToApply = Literal["sigmoid", "softmax", "none"]
AggregationStrategy = Literal["none", "simple", "first", "average", "max"]
TruncationDirection = Literal["left", "right"]

MAX_TOP_K = 2**31 - 1
MAX_ANSWERS = 1_000
MAX_LENGTH_TOKENS = 1_000_000
MAX_RETURN_SEQUENCES = 10
MAX_BEAMS = 64


def _texts(name: str, *texts: str) -> None:
    """Refuse an input that is not text or has nothing in it."""
    for text in texts:
        if not isinstance(text, str):
            raise InvalidInputError(f"`{name}` must be text, not {type(text).__name__}.")
        if not text.strip():
            raise InvalidInputError(f"`{name}` is empty.", fix="Send some text.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureOptions:
    """How to embed texts.

    normalize             whether each text's vector is scaled to length 1; None: as the model's own files say
    prompt_name           one of the prompts that the model's files name; it is put in front of each text
    truncate              cut what is longer than the model takes (otherwise an error), at the end that
    truncation_direction  names ("right" drops the end of the text)
    """

    normalize: bool | None = None
    prompt_name: str | None = None
    truncate: bool = False
    truncation_direction: TruncationDirection = "right"

    def __post_init__(self) -> None:
        if self.normalize is not None:
            check_switch("normalize", self.normalize)
        check_switch("truncate", self.truncate)
        check_one_of("truncation_direction", self.truncation_direction, get_args(TruncationDirection))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationOptions:
    """How to classify texts. `function_to_apply` None: sigmoid for one label or a multi-label model, else softmax.

    `top_k` None returns all labels. With "none" a score is the model's raw output.
    """

    function_to_apply: FunctionToApply | None = None
    top_k: int | None = None
    truncation: bool = False

    def __post_init__(self) -> None:
        if self.function_to_apply is not None:
            check_one_of("function_to_apply", self.function_to_apply, get_args(FunctionToApply))
        check_integer("top_k", self.top_k, 1, MAX_TOP_K)
        check_switch("truncation", self.truncation)


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and how probable it is."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotOptions:
    """Labels to choose from and the hypothesis `{}` stands for one in. `multi_label`: each is judged by itself."""

    candidate_labels: tuple[str, ...]
    multi_label: bool = False
    hypothesis_template: str = "This example is {}."
    truncation: bool = False

    def __post_init__(self) -> None:
        check_strings("candidate_labels", self.candidate_labels, 1)
        if len(set(self.candidate_labels)) < len(self.candidate_labels):
            raise InvalidParameterError("candidate_labels", "must be different from each other.")
        check_switch("multi_label", self.multi_label)
        check_switch("truncation", self.truncation)
        if not isinstance(self.hypothesis_template, str) or self.hypothesis_template.count("{}") != 1:
            raise InvalidParameterError("hypothesis_template", "must hold {} once, where a label goes.")


@dataclass(frozen=True, slots=True)
class ZeroShotAnswer:
    """The labels of a text, the most probable first, and their scores in the same order."""

    sequence: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """How tokens become entities.

    aggregation_strategy  none: each token by itself; simple: neighbours of one group are joined; first, average, max:
                          a word has one label (of its first token, its tokens' mean, its most certain token), then join
    ignore_labels         labels that are left out
    stride                tokens that two windows share when a text is longer than the model takes; None: such a text is
                          an error
    """

    aggregation_strategy: AggregationStrategy = "simple"
    ignore_labels: tuple[str, ...] = ("O",)
    stride: int | None = None

    def __post_init__(self) -> None:
        check_one_of("aggregation_strategy", self.aggregation_strategy, get_args(AggregationStrategy))
        check_strings("ignore_labels", self.ignore_labels, 0)
        check_integer("stride", self.stride, 0, MAX_TOP_K)
        if self.stride is not None and self.aggregation_strategy == "none":
            raise InvalidParameterError("stride", "needs an aggregation_strategy other than none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEntity:
    """A token or a group of them. `text[start:end]` is what it covers; `is_group` is False with strategy `none`.

    `label` is what the wire calls `entity_group` (`entity` for a single token, whose `index` it has).
    """

    label: str
    score: float
    word: str
    start: int
    end: int
    is_group: bool = True
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the text that holds the answer. Neither may be empty (InvalidInputError)."""

    question: str
    context: str

    def __post_init__(self) -> None:
        _texts("question", self.question)
        _texts("context", self.context)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOptions:
    """How answers are looked for.

    top_k                     answers returned, the most probable first
    doc_stride                tokens that two windows of a long context share; None: 128 or half a window, if less
    max_answer_len            tokens of the longest answer
    max_seq_len               tokens of a window, question included; None: 384, or what the model takes
    max_question_len          a longer question is an error
    handle_impossible_answer  whether "there is none" (an empty answer at 0, 0) may be the answer
    align_to_words            an answer is widened to whole words
    """

    top_k: int = 1
    doc_stride: int | None = None
    max_answer_len: int = 15
    max_seq_len: int | None = None
    max_question_len: int = 64
    handle_impossible_answer: bool = False
    align_to_words: bool = True

    def __post_init__(self) -> None:
        check_integer("top_k", self.top_k, 1, MAX_ANSWERS)
        check_integer("doc_stride", self.doc_stride, 0, MAX_TOP_K)
        check_integer("max_answer_len", self.max_answer_len, 1, MAX_TOP_K)
        check_integer("max_seq_len", self.max_seq_len, 1, MAX_TOP_K)
        check_integer("max_question_len", self.max_question_len, 1, MAX_TOP_K)
        check_switch("handle_impossible_answer", self.handle_impossible_answer)
        check_switch("align_to_words", self.align_to_words)


@dataclass(frozen=True, slots=True)
class Answer:
    """A stretch of the context: `context[start:end] == answer`."""

    score: float
    start: int
    end: int
    answer: str


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """A question about a table: column names and their cells, all columns equally long (InvalidInputError)."""

    query: str
    table: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        _texts("query", self.query)
        if not self.table:
            raise InvalidInputError("`table` has no columns.", fix="Send a column's name with its cells.")
        lengths = {name: len(cells) for name, cells in self.table.items()}
        if 0 in lengths.values():
            raise InvalidInputError("`table` has no rows.", fix="Send at least one cell in every column.")
        if len(set(lengths.values())) > 1:
            raise InvalidInputError(
                f"The columns of `table` differ in length: {lengths}.", fix="Fill the missing cells."
            )
        for name, cells in self.table.items():
            if not isinstance(name, str) or not all(isinstance(cell, str) for cell in cells):
                raise InvalidInputError(f"The column {name!r} of `table` holds something that isn't text.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """`truncation` cuts a table that is longer than the model takes: first long cells, then rows (otherwise an error).

    `sequential`: the questions about one table follow from each other, each seeing the answers before it.
    """

    sequential: bool = False
    truncation: bool = False

    def __post_init__(self) -> None:
        check_switch("sequential", self.sequential)
        check_switch("truncation", self.truncation)


@dataclass(frozen=True, slots=True)
class TableAnswer:
    """Cells by (row, column) and how they are put together; `aggregator` is None for a model that only picks cells."""

    answer: str
    coordinates: tuple[tuple[int, int], ...]
    cells: tuple[str, ...]
    aggregator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillMaskOptions:
    """At most `top_k` answers; `targets` are the only ones to consider, each one token of the model."""

    top_k: int = 5
    targets: tuple[str, ...] | None = None
    truncation: bool = False

    def __post_init__(self) -> None:
        check_integer("top_k", self.top_k, 1, MAX_TOP_K)
        if self.targets is not None:
            check_strings("targets", self.targets, 1)
        check_switch("truncation", self.truncation)


@dataclass(frozen=True, slots=True)
class Filled:
    """A token for the mask: the text with it, its probability, its id and its text."""

    sequence: str
    score: float
    token: int
    token_str: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeqToSeqOptions:
    """How a text is generated from another. None: as the model's own generation settings say.

    Lengths are in tokens of the answer; `min_length` and `max_length` count its start token too, as Transformers does.
    `temperature` 0 takes the most probable token. `seed` makes a sampled text reproducible. `max_time` (seconds) ends
    it early. `truncation` cuts an input that is longer than the model takes (otherwise an error). `task` chooses the
    model's own settings for that task where it has several (T5); None: the task that the model is for. `src_lang` and
    `tgt_lang` are as the model names its languages.
    """

    max_new_tokens: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    num_beams: int | None = None
    num_return_sequences: int = 1
    max_time: float | None = None
    seed: int | None = None
    src_lang: str | None = None
    tgt_lang: str | None = None
    clean_up_tokenization_spaces: bool | None = None
    truncation: bool = False
    task: SeqToSeqTask | None = None

    def __post_init__(self) -> None:
        check_integer("max_new_tokens", self.max_new_tokens, 1, MAX_LENGTH_TOKENS)
        check_integer("min_length", self.min_length, 0, MAX_LENGTH_TOKENS)
        check_integer("max_length", self.max_length, 1, MAX_LENGTH_TOKENS)
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            raise InvalidParameterError("min_length", "cannot be larger than max_length.")
        if self.max_length is not None and self.max_new_tokens is not None:
            raise InvalidParameterError("max_length", "and max_new_tokens set the same limit.", fix="Send one of them.")
        check_number("temperature", self.temperature, 0.0, 100.0)
        check_integer("top_k", self.top_k, 1, MAX_TOP_K)
        check_number("top_p", self.top_p, 0.0, 1.0)
        check_number("repetition_penalty", self.repetition_penalty, 0.0, 100.0, above=True)
        check_integer("num_beams", self.num_beams, 1, MAX_BEAMS)
        check_integer("num_return_sequences", self.num_return_sequences, 1, MAX_RETURN_SEQUENCES)
        check_number("max_time", self.max_time, 0.0, 86_400.0)
        check_integer("seed", self.seed, 0, 2**64 - 1)
        for name in ("do_sample", "clean_up_tokenization_spaces"):
            if getattr(self, name) is not None:
                check_switch(name, getattr(self, name))
        check_switch("truncation", self.truncation)
        if self.task is not None:
            check_one_of("task", self.task, get_args(SeqToSeqTask))


@dataclass(frozen=True, slots=True)
class Conversation:
    """The newest thing that the user said, and the turns before it: as many answers as there were inputs."""

    text: str
    past_user_inputs: tuple[str, ...] = field(default=())
    generated_responses: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        _texts("text", self.text)
        _texts("past_user_inputs", *self.past_user_inputs)
        _texts("generated_responses", *self.generated_responses)
        if len(self.past_user_inputs) != len(self.generated_responses):
            raise InvalidInputError(
                f"`past_user_inputs` has {len(self.past_user_inputs)} turns and `generated_responses` "
                f"{len(self.generated_responses)}.",
                fix="Send one response for each past input.",
            )


@dataclass(frozen=True, slots=True)
class ConversationAnswer:
    """The model's answer, and the conversation with it: both tuples have the new turn at their end."""

    generated_text: str
    past_user_inputs: tuple[str, ...]
    generated_responses: tuple[str, ...]
