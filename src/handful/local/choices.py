"""The `choices` of a request as tokens of the model that is asked."""

from handful.engine.choices import Choices
from handful.errors import InvalidParameterError
from handful.model.tokenizer import Tokenizer
from handful.types import GenerationParameters


def choices_of(parameters: GenerationParameters, tokenizer: Tokenizer) -> Choices | None:
    """The trie of the choices, None where the text is free.

    Raises InvalidParameterError where a choice has more tokens than may be generated, where the model's tokens don't
    spell it, or where one begins another and the model has no token that ends a text.
    """
    if not parameters.choices:
        return None
    tokens = [tokenizer.encode_behind(text) for text in parameters.choices]
    for text, ids in zip(parameters.choices, tokens, strict=True):
        if len(ids) > parameters.max_new_tokens:
            problem = f"hold {text!r}, which has {len(ids)} tokens; at most {parameters.max_new_tokens} are generated."
            raise InvalidParameterError("choices", problem, fix="Raise `max_new_tokens`.")
        if tokenizer.decode_continuation(ids) != text:
            raise InvalidParameterError("choices", f"hold {text!r}, which this model's tokens don't spell.")
    found = Choices(tokens)
    if found.needs_end and not tokenizer.eos_token_ids:
        problem = "hold a text that begins another, and this model has no token that says where a text ends."
        raise InvalidParameterError("choices", problem, fix='End each with the same character, such as "\\n".')
    return found
