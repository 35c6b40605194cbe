"""A conversation with a language model: the turns through its chat template, the next one from its engine."""

from dataclasses import fields

from handful.backend import AsyncBackend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.nlp_types import Conversation, ConversationAnswer, SeqToSeqOptions
from handful.server.openai_chat_renderer import ChatRenderer
from handful.types import GenerationParameters

_SAMPLING = ("temperature", "top_k", "top_p")
_HONOURED = frozenset(
    {*_SAMPLING, "max_new_tokens", "do_sample", "repetition_penalty", "seed", "max_time", "num_return_sequences"}
)


async def next_turn(
    backend: AsyncBackend, renderer: ChatRenderer, conversation: Conversation, options: SeqToSeqOptions
) -> ConversationAnswer:
    """The model's answer to the newest turn. Raises InvalidInputError for a model without a chat template."""
    parameters = _parameters(options)
    if backend.chat_template is None:
        fix = "Ask for text-generation with a prompt of your own."
        raise InvalidInputError("This model has no chat template: it wasn't made for conversations.", fix=fix)
    text = await renderer.render(backend.chat_template, _messages(conversation))
    # Nothing is added at the start: the template says what begins a chat.
    prompt = tuple(span.id for span in await backend.tokenize(text, add_special=False))
    said = (await backend.generate(prompt, parameters)).completions[0].text.strip()
    return ConversationAnswer(
        said, (*conversation.past_user_inputs, conversation.text), (*conversation.generated_responses, said)
    )


def _messages(conversation: Conversation) -> list[dict[str, str]]:
    turns = zip(conversation.past_user_inputs, conversation.generated_responses, strict=True)
    past = [[("user", asked), ("assistant", answered)] for asked, answered in turns]
    spoken = [*(each for turn in past for each in turn), ("user", conversation.text)]
    return [{"role": role, "content": content} for role, content in spoken]


def _parameters(options: SeqToSeqOptions) -> GenerationParameters:
    """The options for the engine. Raises InvalidParameterError for those that only other models have."""
    for field in fields(options):
        if field.name not in _HONOURED and getattr(options, field.name) not in (None, False):
            instead = "Use max_new_tokens." if field.name == "max_length" else "Leave it out."
            raise InvalidParameterError(field.name, "isn't supported by a language model.", fix=instead)
    given = {name: getattr(options, name) for name in _HONOURED - {"do_sample", "num_return_sequences"}}
    chosen = {name: value for name, value in given.items() if value is not None}
    samples = any(name in chosen for name in _SAMPLING) if options.do_sample is None else options.do_sample
    return GenerationParameters(**{"temperature": 1.0, **chosen} if samples else {**chosen, "temperature": 0.0})
