"""The next turn of a conversation, from models that were trained on conversations: Blenderbot, DialoGPT."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from handful.errors import InvalidParameterError
from handful.nlp_types import Conversation, ConversationAnswer, SeqToSeqOptions
from handful.pipelines.generate import DEFAULT_NEW_TOKENS, drawing, generate, search
from handful.pipelines.languages import Direction, own_settings
from handful.pipelines.network import Network, too_long

_TASK = "conversational"
_FIX = "Send fewer turns, or set `truncation` to true to leave out the oldest words."


def converse(network: Network, conversation: Conversation, options: SeqToSeqOptions) -> ConversationAnswer:
    """See `NlpModel.conversational`."""
    if options.num_return_sequences > 1:
        raise InvalidParameterError("num_return_sequences", "must be 1: a conversation has one next turn.")
    if network.model.config.is_encoder_decoder:
        text = "  ".join(f" {turn}" if by_user else turn for turn, by_user in _turns(conversation))
        said = generate(network, [text], options, _TASK, cut_side="left", fix=_FIX)[0].strip()
    else:
        said = _continuation(network, conversation, options).strip()
    past_user_inputs = (*conversation.past_user_inputs, conversation.text)
    return ConversationAnswer(said, past_user_inputs, (*conversation.generated_responses, said))


def _turns(conversation: Conversation) -> Iterator[tuple[str, bool]]:
    """Each turn, and whether it is the user's."""
    for asked, answered in zip(conversation.past_user_inputs, conversation.generated_responses, strict=True):
        yield asked, True
        yield answered, False
    yield conversation.text, True


@torch.inference_mode()
def _continuation(network: Network, conversation: Conversation, options: SeqToSeqOptions) -> str:
    """What a causal model writes behind the turns, each of which ends as a text does."""
    ids = _turn_ids(network, conversation)
    asked = options.max_new_tokens or options.max_length
    room = network.max_tokens - (asked or 1)
    if len(ids) > room and not options.truncation:
        raise too_long(f"{network.name}, which is asked for {asked or 1} more,", len(ids), max(room, 0), _FIX)
    ids = ids[-max(room, 1) :]
    num_new = min(asked or DEFAULT_NEW_TOKENS, network.max_tokens - len(ids))
    settings = {
        name: value for name, value in own_settings(network.model.config, _TASK).items() if name != "max_length"
    }
    asked_for = replace(options, max_length=None, max_new_tokens=num_new)
    wanted = search(network, asked_for, settings, Direction())
    wanted.min_length += len(ids)  # which counts the prompt here
    prompt = torch.tensor([ids], device=network.device)
    with drawing(wanted, options.seed, network.device):
        found = network.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=wanted,
            pad_token_id=network.tokenizer.eos_token_id,
        )
    text: str = network.tokenizer.decode(found[0, len(ids) :], skip_special_tokens=True)
    return text


def _turn_ids(network: Network, conversation: Conversation) -> list[int]:
    tokenizer = network.tokenizer
    ids: list[int] = []
    for turn, _ in _turns(conversation):
        ids += [*tokenizer(turn, add_special_tokens=False, verbose=False)["input_ids"], tokenizer.eos_token_id]
    return ids
