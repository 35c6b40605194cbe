"""A model in this process: texts in, texts and log-probabilities out, through the engine's thread."""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handful.checks import check_is_list
from handful.config import Settings
from handful.engine.engine import Engine
from handful.engine.labels import LabelTrie
from handful.engine.loop import EngineLoop, LoopStats
from handful.engine.request import Embed, ScoreLabels, Warm
from handful.engine.segments import PUBLIC
from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.local.held import HeldPrefixes
from handful.local.jobs import EmbedJob, GenerationJob, Job, ScoreJob, WarmJob, make_request
from handful.model.source import ModelFiles
from handful.model.tokenizer import Tokenizer
from handful.types import (
    ChatTemplate,
    Generation,
    GenerationParameters,
    LabelledPrompt,
    ModelInfo,
    PrefixTuning,
    Prompt,
    Score,
    StreamEvent,
    TextSpan,
    TunedPrefix,
)

if TYPE_CHECKING:
    from handful.local.aio import AsyncModel


MOST_REMEMBERED = 1000  # characters of a prompt's last line and a continuation whose tokens are remembered


class LocalModel:
    """A `Backend` that runs its model here. Thread-safe; calls from many threads share batches and prefixes."""

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, info: ModelInfo, settings: Settings, kv_bytes: int = 0
    ) -> None:
        self._info = info
        self._kv_bytes = kv_bytes
        self._settings = settings
        self.files: ModelFiles | None = None  # what it was loaded from, where that can be tuned
        self.tokenizer = tokenizer
        self.context_length = info.context_length
        self.loop = EngineLoop(engine)
        self.held = HeldPrefixes(self.loop)
        self._continuation_ids = lru_cache(maxsize=4096)(self._encode_continuation)

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        return self._info

    @property
    def num_bytes(self) -> int:
        """Memory that it may take: its weights, and room for keys and values."""
        return self._info.weight_bytes + self._kv_bytes

    def stats(self) -> LoopStats:
        """What the engine is doing now."""
        return self.loop.stats()

    def asynchronous(self) -> "AsyncModel":
        """The same model for an event loop."""
        from handful.local.aio import AsyncModel

        return AsyncModel(self)

    def generate(self, prompts: Sequence[str], parameters: GenerationParameters) -> list[Generation]:
        """See `Backend.generate`."""
        encoded = self.encode_prompts(prompts)
        return self._run([partial(self.generation_job, ids, parameters) for ids in encoded])

    def stream(self, prompt: str, parameters: GenerationParameters) -> Iterator[StreamEvent]:
        """See `Backend.stream`."""
        if parameters.num_drawn > 1:
            raise InvalidParameterError("n", "must be 1 when a completion is streamed.")
        return self._stream(self.encode_prompts([prompt])[0], parameters)

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """See `Backend.score`."""
        check_is_list("prompts", prompts)
        return self._scores([self.plan_score(prompt, continuations) for prompt in prompts])

    def score_behind(self, prefix: TunedPrefix, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """See `PrefixBackend.score_behind`."""
        check_is_list("prompts", prompts)
        tokens = self.held.tokens_of(prefix)
        return self._scores([self.plan_score(prompt, continuations, behind=tokens) for prompt in prompts])

    def _scores(self, plans: "Sequence[ScorePlan]") -> list[Score]:
        answers = iter(self._run([make for plan in plans for make in plan.makers]))
        return [plan.read([next(answers) for _ in plan.makers]) for plan in plans]

    def embed(self, texts: Sequence[str], *, layer: int | None = None) -> NDArray[np.float32]:
        """See `Backend.embed`."""
        encoded = self.encode_prompts(texts)
        vectors = self._run([partial(self.embed_job, ids, layer) for ids in encoded])
        return np.stack(vectors) if vectors else np.zeros((0, self._info.hidden_size), dtype=np.float32)

    def check_tunable(self, asked: str, continuations: Sequence[str]) -> None:
        """See `PrefixTuner.check_tunable`."""
        from handful.local.tuning import check

        check(self, asked, continuations)

    def tuned_prefix(
        self,
        shown: Sequence[str],
        asked: Sequence[LabelledPrompt],
        continuations: Sequence[str],
        settings: PrefixTuning,
        advance: Callable[[int, int], None] | None = None,
    ) -> TunedPrefix:
        """See `PrefixBackend.tuned_prefix`."""
        from handful.local.tuning import tune

        return tune(self, (shown, asked, continuations), settings, advance)

    def count_tokens(self, text: str, owner: str = "") -> int:
        """See `Backend.count_tokens`."""
        return len(self.tokenizer.encode_prompts([text], owner)[0])

    @property
    def chat_template(self) -> ChatTemplate | None:
        """See `AsyncBackend.chat_template`."""
        source = self.tokenizer.chat_template
        return ChatTemplate(source, tuple(self.tokenizer.special_tokens.items())) if source else None

    def tokenize(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:
        """See `AsyncBackend.tokenize`."""
        self._check_text(text)
        return self.tokenizer.spans(text, add_special=add_special)

    def pin(self, prefix: str) -> None:
        """See `Backend.pin`."""
        self._run([partial(self.warm_job, prefix)])

    def unpin(self, prefix: str, owner: str = "") -> None:
        """See `Backend.unpin`; `owner` is the caller on whose behalf it was pinned, "" everybody's."""
        self.loop.unpin(tuple(self.tokenizer.encode(prefix)), owner or PUBLIC)

    def close(self, timeout_s: float | None = None) -> None:
        """See `Backend.close`; what isn't finished within `timeout_s` is aborted."""
        self.loop.close(timeout_s)

    def encode_prompts(self, prompts: Sequence[Prompt], owner: str = "") -> list[tuple[int, ...]]:
        """Token ids of prompts, none of them empty (InvalidInputError); a prompt of token ids stands as it is.

        What is remembered of the tokenising is remembered for the caller `owner` alone.
        """
        check_is_list("prompts", prompts)
        texts = [prompt for prompt in prompts if not isinstance(prompt, tuple)]
        for text in texts:
            self._check_text(text)
        encoded = iter(self.tokenizer.encode_prompts(texts, owner))
        found = [prompt if isinstance(prompt, tuple) else next(encoded) for prompt in prompts]
        for prompt, ids in zip(prompts, found, strict=True):
            self._check_ids(ids, lowest=min(ids) if ids is prompt and ids else 0)
        return found

    def _check_text(self, text: str) -> None:
        if not isinstance(text, str):
            raise InvalidInputError(f"A prompt must be text, not {type(text).__name__}.")
        if len(text) > self._settings.max_input_characters:
            limit = self._settings.max_input_characters
            raise InvalidInputError(f"A prompt has {len(text)} characters; at most {limit} are accepted.")

    def _check_ids(self, ids: tuple[int, ...], lowest: int) -> None:
        if not ids:
            raise InvalidInputError("A prompt is empty.", fix="Give at least one character.")
        # Ids may be a caller's own, or of a token that was added to the tokenizer and not to the model.
        for wrong in (lowest, max(ids)):
            if not 0 <= wrong < self._info.vocab_size:
                last = self._info.vocab_size - 1
                raise InvalidInputError(f"The prompt holds token {wrong}; the model's ids go from 0 to {last}.")

    def generation_job(
        self, ids: tuple[int, ...], parameters: GenerationParameters, done: Callable[[], None]
    ) -> GenerationJob:
        """A job that continues a prompt; PromptTooLongError when it can't fit the model's context."""
        self._check_length(len(ids), parameters.max_new_tokens, "new tokens")
        for token, _ in parameters.logit_bias:
            if token >= self._info.vocab_size:
                last = self._info.vocab_size - 1
                raise InvalidParameterError("logit_bias", f"names token {token}; the ids go from 0 to {last}.")
        return GenerationJob(ids, parameters, self.tokenizer, self._settings.request_timeout_s, done)

    def embed_job(self, ids: tuple[int, ...], layer: int | None, done: Callable[[], None]) -> EmbedJob:
        """A job for a text's hidden state."""
        self._check_length(len(ids), 0, "new tokens")
        if layer is not None and not 1 <= layer < self._info.num_layers:
            problem = f"must be from 1 to {self._info.num_layers - 1}, not {layer}."
            raise InvalidParameterError("layer", problem, fix="Leave it out for the final hidden state.")
        return EmbedJob([make_request(ids, Embed(layer), self._settings.request_timeout_s)], done)

    def warm_job(self, prefix: str, done: Callable[[], None]) -> WarmJob:
        """A job that computes a prefix and holds it."""
        ids = self.encode_prompts([prefix])[0]
        self._check_length(len(ids), 1, "new tokens")
        return WarmJob([make_request(ids, Warm(), self._settings.request_timeout_s)], done)

    def plan_score(
        self, prompt: str, continuations: Sequence[str], owner: str = "", behind: tuple[int, ...] = ()
    ) -> "ScorePlan":
        """The jobs that score continuations: one, or several where they change how the prompt's end is tokenised.

        What is remembered of the tokenising is remembered for the caller `owner` alone. The prompt stands `behind` a
        prefix that the engine holds, in place of the tokens that the tokenizer adds at its start.
        """
        check_is_list("continuations", continuations)
        if not continuations:
            raise InvalidInputError("There is nothing to score.", fix="Give at least one continuation.")
        ids = self.encode_prompts([prompt], owner)[0]
        split = [self._split(owner, prompt, ids, continuation) for continuation in continuations]
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (head, _) in enumerate(split):
            whole = behind + head[self.tokenizer.num_prefix_tokens :] if behind else head
            groups.setdefault(whole, []).append(i)
        self._check_length(max(len(h) for h in groups), max(len(t) for _, t in split), "tokens of a continuation")
        return ScorePlan([([split[i][1] for i in members], head, members) for head, members in groups.items()], self)

    def score_job(self, head: tuple[int, ...], tails: list[tuple[int, ...]], done: Callable[[], None]) -> ScoreJob:
        """A job that scores token sequences behind a prompt."""
        goal = ScoreLabels(LabelTrie.build(tails))
        return ScoreJob([make_request(head, goal, self._settings.request_timeout_s)], done)

    def _split(
        self, owner: str, prompt: str, ids: tuple[int, ...], continuation: str
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not continuation:
            raise InvalidInputError("A continuation is empty.", fix="Give each label at least one character.")
        # How the seam is tokenised depends on the last line only, so a long shared prefix is encoded once, not once a
        # label; the tokens of all but the last line are the prompt's own.
        line_start = prompt.rstrip().rfind("\n") + 1
        line = prompt[line_start:]
        is_short = len(line) + len(continuation) <= MOST_REMEMBERED
        encode = self._continuation_ids if is_short else self._encode_continuation
        line_ids, head, tail = encode(owner, line, continuation)
        if ids[len(ids) - len(line_ids) :] == line_ids:
            return ids[: len(ids) - len(line_ids)] + head, tail
        whole, rest = self.tokenizer.encode_continuation(prompt, continuation)
        return tuple(whole), tuple(rest)

    def _encode_continuation(
        self,
        owner: str,  # noqa: ARG002 - part of the key
        line: str,
        continuation: str,
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        head, tail = self.tokenizer.encode_continuation(line, continuation)
        num_added = self.tokenizer.num_prefix_tokens
        return tuple(self.tokenizer.encode(line)[num_added:]), tuple(head[num_added:]), tuple(tail)

    def _check_length(self, num_prompt_tokens: int, num_new: int, what: str) -> None:
        if num_prompt_tokens + num_new > self.context_length:
            raise PromptTooLongError(
                f"The prompt has {num_prompt_tokens} tokens and {num_new} {what} are asked for; "
                f"the model's context holds {self.context_length}.",
                fix="Shorten the prompt, use fewer examples, or ask for fewer new tokens.",
            )

    def _run(self, makers: "Sequence[Callable[[Callable[[], None]], Job[Any]]]") -> list[Any]:
        """Make the jobs, run them all, give their results in order. Where one can't be handed in, or the caller is
        interrupted, the others are aborted."""
        left = threading.Semaphore(0)
        jobs = [make(left.release) for make in makers]
        submitted: list[Job[Any]] = []
        try:
            for job in jobs:
                self.loop.submit(job.requests, job.on_event, wait=True)
                submitted.append(job)
            for _ in jobs:
                left.acquire()
        except BaseException:
            self.loop.abort([request for job in submitted for request in job.requests])
            raise
        return [job.result() for job in jobs]

    def _stream(self, ids: tuple[int, ...], parameters: GenerationParameters) -> Iterator[StreamEvent]:
        events: SimpleQueue[StreamEvent | None] = SimpleQueue()
        job = self.generation_job(ids, parameters, lambda: events.put(None))
        job.on_stream = events.put
        self.loop.submit(job.requests, job.on_event, wait=True)
        try:
            while (event := events.get()) is not None:
                yield event
            job.result()
        finally:
            if not job.is_done:
                self.loop.abort(job.requests)


class ScorePlan:
    """The jobs that score one prompt's continuations, and how their answers go together."""

    def __init__(
        self, groups: list[tuple[list[tuple[int, ...]], tuple[int, ...], list[int]]], model: LocalModel
    ) -> None:
        self._groups = groups
        self.makers: list[Callable[[Callable[[], None]], ScoreJob]] = [
            partial(model.score_job, head, tails) for tails, head, _ in groups
        ]

    def read(self, answers: Sequence[tuple[tuple[float, ...], int]]) -> Score:
        """The score from the jobs' answers, in the order of `makers`."""
        found: dict[int, tuple[float, int]] = {}
        for (tails, _, members), (logprobs, _) in zip(self._groups, answers, strict=True):
            for i, tail, value in zip(members, tails, logprobs, strict=True):
                found[i] = (value, len(tail))
        ordered = [found[i] for i in range(len(found))]
        return Score(
            logprobs=tuple(value for value, _ in ordered),
            num_tokens=tuple(count for _, count in ordered),
            num_prompt_tokens=max(len(head) for _, head, _ in self._groups),
            num_cached_tokens=min(num_cached for _, num_cached in answers),
        )
