"""Summarization, translation, text2text generation and conversations with sequence-to-sequence models.

    summarization           [{"summary_text": "..."}]
    translation             [{"translation_text": "..."}]
    text2text-generation    [{"generated_text": "..."}]
    conversational          {"generated_text": "...", "conversation": {...}, "warnings": []}

A list, also for one text. With `num_return_sequences` above 1 one text gets so many objects; each of several texts a
list of them. Parameters may also stand under `generate_parameters`.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, Field

from handful.errors import InvalidParameterError
from handful.nlp_types import Conversation, ConversationAnswer, NlpTask, SeqToSeqOptions, SeqToSeqTask
from handful.protocol.fields import Texts, as_tuple, null_is_unset
from handful.protocol.nlp_request import STRICT, Asked, NlpRequest, is_list, texts_of, truncates


class GenerateParameters(BaseModel):
    """How a text is made from another. Unset: as the model's own generation settings say."""

    model_config = STRICT

    max_new_tokens: int | None = Field(default=None, description="Most tokens of the answer.")
    min_length: int | None = Field(default=None, description="Fewest tokens of the answer, its start token included.")
    max_length: int | None = Field(default=None, description="Most tokens of the answer, its start token included.")
    do_sample: bool | None = Field(default=None, description="Draw tokens instead of taking the most probable.")
    temperature: float | None = Field(default=None, description="0 to 100; 0 takes the most probable token.")
    top_k: int | None = Field(default=None, description="Sample among this many most probable tokens.")
    top_p: float | None = Field(default=None, description="Sample among the fewest tokens of this total probability.")
    repetition_penalty: float | None = Field(default=None, description="Above 1 makes tokens used before less likely.")
    num_beams: int | None = Field(default=None, description="Beams of a beam search; 1 is none.")
    num_return_sequences: int | None = Field(default=None, description="Texts to return for each input.")
    max_time: float | None = Field(default=None, description="Seconds after which the text so far is returned.")
    seed: int | None = Field(default=None, description="Makes a sampled text reproducible.")


class SeqToSeqParameters(GenerateParameters):
    """The same, and how the text is read and written."""

    src_lang: str | None = Field(default=None, description="Language of the text, as the model names it.")
    tgt_lang: str | None = Field(default=None, description="Language of the answer, as the model names it.")
    clean_up_tokenization_spaces: bool | None = Field(default=None, description="Tidy spaces before punctuation.")
    truncation: bool | str = Field(
        default=False, description="Cut texts that are too long; otherwise they are an error."
    )
    generate_parameters: Annotated[GenerateParameters, BeforeValidator(null_is_unset)] = GenerateParameters()

    def task_options(self, task: NlpTask) -> SeqToSeqOptions:
        """What is asked of the model. Raises InvalidParameterError."""
        given = self.model_dump(exclude_none=True, exclude={"generate_parameters", "truncation"})
        for name, value in self.generate_parameters.model_dump(exclude_none=True).items():
            if given.setdefault(name, value) != value:
                raise InvalidParameterError(name, "is given twice.", fix="Send it once.")
        named: Any = task if task in get_args(SeqToSeqTask) else None
        return SeqToSeqOptions(truncation=truncates(self.truncation), task=named, **given)


class SeqToSeqRequest(NlpRequest):
    """Texts from texts."""

    inputs: Texts = Field(description="A text or a list of texts.")
    parameters: Annotated[SeqToSeqParameters, BeforeValidator(null_is_unset)] = SeqToSeqParameters()

    _key: ClassVar[str] = "generated_text"

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`. What a seed draws must not depend on who else is in the batch."""
        texts, options = texts_of(self.inputs), self.parameters.task_options(task)
        is_alone = options.seed is not None
        return Asked(
            task, texts, options, texts, is_alone, options.num_return_sequences, is_repeatable=_is_repeatable(options)
        )

    def answer(self, results: Sequence[Sequence[str]]) -> list[Any]:
        """The texts of each input."""
        told = [[{self._key: text} for text in texts] for texts in results]
        if not is_list(self.inputs):
            return told[0]
        return [each for texts in told for each in texts] if all(len(texts) == 1 for texts in told) else told


class SummarizationRequest(SeqToSeqRequest):
    """Summaries."""

    _key: ClassVar[str] = "summary_text"


class TranslationRequest(SeqToSeqRequest):
    """Translations."""

    _key: ClassVar[str] = "translation_text"


class ConversationInput(BaseModel):
    """What the user says, and the turns before it."""

    model_config = STRICT

    text: str = Field(description="What the user says now.")
    past_user_inputs: Texts | None = Field(default=None, description="What the user said before.")
    generated_responses: Texts | None = Field(default=None, description="What the model answered to each of these.")


class ConversationRequest(NlpRequest):
    """The next answer of a conversation."""

    bare_keys: ClassVar[frozenset[str]] = frozenset({"text", "past_user_inputs", "generated_responses"})

    inputs: Annotated[ConversationInput, BeforeValidator(null_is_unset)] = Field(description="The conversation.")
    parameters: Annotated[SeqToSeqParameters, BeforeValidator(null_is_unset)] = SeqToSeqParameters()

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        wire, options = self.inputs, self.parameters.task_options(task)
        if options.num_return_sequences > 1:
            raise InvalidParameterError("num_return_sequences", "must be 1: a conversation goes on in one way.")
        past, responses = as_tuple(wire.past_user_inputs), as_tuple(wire.generated_responses)
        texts = (*past, *responses, wire.text)
        item = Conversation(wire.text, past, responses)
        return Asked(task, (item,), options, texts, is_alone=True, is_repeatable=_is_repeatable(options))

    def answer(self, results: Sequence[ConversationAnswer]) -> dict[str, Any]:
        """The new turn, and the conversation with it."""
        made = results[0]
        conversation = {
            "past_user_inputs": list(made.past_user_inputs),
            "generated_responses": list(made.generated_responses),
        }
        return {"generated_text": made.generated_text, "conversation": conversation, "warnings": []}


def _is_repeatable(options: SeqToSeqOptions) -> bool:
    """Whether neither chance nor the clock has a part in the text, as far as the request says."""
    is_greedy = options.do_sample is False or options.temperature == 0.0
    return options.max_time is None and (is_greedy or options.seed is not None)
