"""Frozen values that every layer shares: what is asked of a model and what comes back. No behaviour but validation."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from handful.checks import check_integer, check_number, check_switch
from handful.errors import InvalidParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FinishReason = Literal["length", "eos_token", "stop_sequence", "max_time"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
Device = Literal["auto", "cpu", "cuda"]
Instructions = Literal["all", "avx512", "avx-vnni", "avx2", "none"]
Calibration = Literal["auto", "none", "contextual", "domain"]

Prompt = str | tuple[int, ...]
"""A text, or the token ids of one (which stand as they are: nothing is added at their start)."""

MAX_NEW_TOKENS = 1_000_000
MAX_TEMPERATURE = 100.0
MAX_COMPLETIONS = 64
MAX_STOP_SEQUENCES = 16
MAX_STOP_CHARACTERS = 256
MAX_TOP_LOGPROBS = 100
MAX_LOGIT_BIAS = 1_000
MAX_CHOICES = 256
MAX_CHOICE_CHARACTERS = 4_096


def _check_stop(stop: tuple[str, ...]) -> None:
    if not isinstance(stop, tuple) or not all(isinstance(text, str) for text in stop):
        raise InvalidParameterError("stop", "must be a tuple of strings.")
    if len(stop) > MAX_STOP_SEQUENCES:
        raise InvalidParameterError("stop", f"takes at most {MAX_STOP_SEQUENCES} strings, not {len(stop)}.")
    if any(not text for text in stop):
        raise InvalidParameterError("stop", "must not hold an empty string: it would stop before the first token.")
    if any(len(text) > MAX_STOP_CHARACTERS for text in stop):
        raise InvalidParameterError("stop", f"strings have at most {MAX_STOP_CHARACTERS} characters.")


def _check_choices(choices: tuple[str, ...]) -> None:
    if not isinstance(choices, tuple) or not all(isinstance(text, str) for text in choices):
        raise InvalidParameterError("choices", "must be a tuple of strings.")
    if len(choices) > MAX_CHOICES:
        raise InvalidParameterError("choices", f"takes at most {MAX_CHOICES} texts, not {len(choices)}.")
    if any(not 0 < len(text) <= MAX_CHOICE_CHARACTERS for text in choices):
        raise InvalidParameterError("choices", f"have 1 to {MAX_CHOICE_CHARACTERS} characters each.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationParameters:
    """How to continue a prompt. Every value is checked when it is made; a bad one raises `InvalidParameterError`.

    temperature      0 takes the most probable token (greedy); the default
    choices          the text is one of these, as they stand behind the prompt (leading space included); () is any
    stop             end sequences, matched on decoded text wherever the token boundary falls
    seed             with it a sampled text is reproducible; without it one is drawn and reported
    n, best_of       completions returned, completions drawn (the n of highest mean log-probability are returned)
    logprobs         None: none; k >= 0: each generated token's log-probability and those of the k best alternatives
    echo             also return the prompt's tokens (with log-probabilities when `logprobs` is set)
    max_time         seconds after which the text generated so far is returned
    """

    max_new_tokens: int = 100
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    n: int = 1
    best_of: int | None = None
    max_time: float | None = None
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    logprobs: int | None = None
    echo: bool = False
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        check_integer("max_new_tokens", self.max_new_tokens, 0, MAX_NEW_TOKENS)
        check_integer("min_new_tokens", self.min_new_tokens, 0, self.max_new_tokens)
        check_number("temperature", self.temperature, 0.0, MAX_TEMPERATURE)
        check_integer("top_k", self.top_k, 1, 2**31 - 1)
        check_number("top_p", self.top_p, 0.0, 1.0, above=True)
        check_number("typical_p", self.typical_p, 0.0, 1.0, above=True)
        check_number("repetition_penalty", self.repetition_penalty, 0.0, 100.0, above=True)
        check_number("presence_penalty", self.presence_penalty, -2.0, 2.0)
        check_number("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        check_integer("seed", self.seed, 0, 2**64 - 1)
        check_integer("n", self.n, 1, MAX_COMPLETIONS)
        check_integer("best_of", self.best_of, self.n, MAX_COMPLETIONS)
        check_number("max_time", self.max_time, 0.0, 86_400.0, above=True)
        check_integer("logprobs", self.logprobs, 0, MAX_TOP_LOGPROBS)
        _check_stop(self.stop)
        _check_choices(self.choices)
        check_switch("echo", self.echo)
        check_switch("ignore_eos", self.ignore_eos)
        if len(self.logit_bias) > MAX_LOGIT_BIAS:
            raise InvalidParameterError("logit_bias", f"takes at most {MAX_LOGIT_BIAS} tokens.")
        for token, bias in self.logit_bias:
            check_integer("logit_bias", token, 0, 2**31 - 1)
            check_number("logit_bias", bias, -100.0, 100.0)
        for name in ("min_new_tokens", "ignore_eos"):
            if self.choices and getattr(self, name):
                raise InvalidParameterError(name, "can't be had with `choices`: a text ends where its choice does.")
        if self.num_drawn > 1 and self.temperature == 0.0:
            name = "n" if self.n > 1 else "best_of"
            raise InvalidParameterError(
                name, "above 1 needs sampling: greedy completions are all the same.", fix="Set temperature above 0."
            )

    @property
    def num_drawn(self) -> int:
        """Completions drawn for each prompt: `best_of`, or `n` where that is unset."""
        return self.n if self.best_of is None else self.best_of


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have stood at a position, with its log-probability there."""

    id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a prompt or completion. `logprob` is None where it wasn't asked for or doesn't exist (the first)."""

    id: int
    text: str
    logprob: float | None = None
    special: bool = False
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """One generated text.

    `text` never contains the end sequence; `stop` is the end sequence that was matched, or "". A surface that keeps
    the stop text (Hugging Face, TGI) answers `text + stop`. `tokens` are all generated tokens, those of the stop too.
    """

    text: str
    finish_reason: FinishReason
    stop: str = ""
    tokens: tuple[Token, ...] = ()
    cumulative_logprob: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """The answer to one prompt: `n` completions and what the prompt cost.

    `prompt_tokens` and `prompt_text` (those tokens decoded) are empty unless `echo` was asked for.
    `num_cached_tokens` of the `num_prompt_tokens` were read from the cache instead of being computed.
    """

    completions: tuple[Completion, ...]
    num_prompt_tokens: int
    num_cached_tokens: int = 0
    prompt_tokens: tuple[Token, ...] = ()
    prompt_text: str = ""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One step of a streamed completion.

    `text` is text that can no longer become part of an end sequence; it may be empty while a token is held back.
    The joined `text` of all events is the completion's text. `token` is the token that was generated in this step.
    The last event of each stream carries the whole `generation`; every stream ends with one such event or raises.
    """

    text: str
    token: Token | None = None
    generation: Generation | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probabilities of given continuations behind one prompt, in the order they were given.

    `logprobs[i]` is the natural log of the probability of the whole continuation i (the sum over its
    `num_tokens[i]` tokens).
    """

    logprobs: tuple[float, ...]
    num_tokens: tuple[int, ...]
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A token of a text and the characters `[start, stop)` it stands for; an added mark (BOS) stands for none."""

    id: int
    text: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A model's chat template: its source, which is data from a checkpoint, and its special tokens by name."""

    source: str
    special_tokens: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is and how it runs. `engine` is "native" or "transformers"; sizes in bytes."""

    name: str
    architecture: str
    engine: str
    num_parameters: int
    context_length: int
    vocab_size: int
    hidden_size: int
    num_layers: int
    precision: str
    device: str
    source: str = ""
    revision: str = ""
    weight_bytes: int = 0
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class TunedPrefix:
    """The start of a prompt that no text has: what every layer keeps of it, `[layers, tokens, kv heads, head size]`.

    Keys are turned by their positions, 0 to tokens - 1.
    """

    keys: "NDArray[np.float32]"
    values: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class LabelledPrompt:
    """What is asked behind a prefix that is tuned, which of the continuations is right, and which of the prefix's
    examples tells that, if any."""

    text: str
    label: int
    shown_as: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixTuning:
    """How the start of a prompt is tuned with labelled examples.

    num_epochs     how often each example is asked
    batch_size     examples a step
    learning_rate  of AdamW, at its highest
    dropout        how much of the prefix an example doesn't see, drawn anew each time
    """

    num_epochs: int = 5
    batch_size: int = 16
    learning_rate: float = 2e-3
    dropout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("num_epochs", self.num_epochs, 1, 1_000)
        check_integer("batch_size", self.batch_size, 1, 1_024)
        check_number("learning_rate", self.learning_rate, 0.0, 1.0, above=True)
        check_number("dropout", self.dropout, 0.0, 0.9)
        check_integer("seed", self.seed, 0, 2**63 - 1)

    def num_steps(self, num_rows: int) -> int:
        """Steps of the optimizer with so many examples."""
        return -(-num_rows // self.batch_size) * self.num_epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderTuning:
    """How an encoder is tuned with labelled texts.

    num_steps      steps of the optimizer; each reads `batch_size` texts and compares all pairs among them
    batch_size     texts a step, spread evenly over the classes, two of a class at least
    learning_rate  of AdamW, at its highest
    """

    num_steps: int = 40
    batch_size: int = 16
    learning_rate: float = 2e-5
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("num_steps", self.num_steps, 1, 100_000)
        check_integer("batch_size", self.batch_size, 4, 1_024)
        check_number("learning_rate", self.learning_rate, 0.0, 1.0, above=True)
        check_integer("seed", self.seed, 0, 2**63 - 1)
