"""A text that is one of some choices: what the model prefers of them, in as few steps as there are questions."""

from collections.abc import Iterator
from dataclasses import replace
from math import exp

import pytest

from handful.config import Settings
from handful.errors import InvalidParameterError
from handful.local import LocalModel, load
from handful.types import GenerationParameters
from tests.unit.model.tiny_models import checkpoint

PROMPT = "the review is"
LABELS = (" positive", " negative", " a good film", " a good day")
GREEDY = GenerationParameters(max_new_tokens=30, choices=LABELS)


@pytest.fixture(scope="module", params=[True, False], ids=["drafts", "no drafts"])
def model(request: pytest.FixtureRequest) -> Iterator[LocalModel]:
    made = load(
        str(checkpoint("llama")),
        configuration=Settings(precision="float32", kv_memory_mb=16, drafts=request.param),
    )
    yield made
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


def text_of(model: LocalModel, parameters: GenerationParameters, prompt: str = PROMPT) -> str:
    return model.generate([prompt], parameters)[0].completions[0].text


def test_a_text_is_one_of_the_choices_and_ends_there(model: LocalModel) -> None:
    for prompt in (PROMPT, "a bad film", "the"):
        completion = model.generate([prompt], GREEDY)[0].completions[0]
        assert completion.text in LABELS
        assert completion.finish_reason == "eos_token"


def test_every_choice_can_be_drawn_by_its_probability(model: LocalModel) -> None:
    labels = (" positive", " negative")  # their first tokens differ, and what follows must
    parameters = GenerationParameters(max_new_tokens=30, choices=labels, temperature=1.0, logprobs=0, seed=0)
    first = {model.generate([PROMPT], replace(parameters, seed=s))[0].completions[0].tokens[0] for s in range(200)}
    (one, p), (other, q) = ((token.id, exp(token.logprob or 0.0)) for token in sorted(first, key=lambda t: t.id))
    assert one != other
    drawn = [model.generate([PROMPT], replace(parameters, seed=s))[0].completions[0].tokens[0].id for s in range(200)]
    assert abs(drawn.count(one) / 200 - p / (p + q)) < 0.1


def test_one_choice_needs_one_step_however_long_it_is(model: LocalModel) -> None:
    only = (" a wonderful and very long answer",)
    model.generate([PROMPT], GREEDY)
    before = model.stats().num_steps
    assert text_of(model, GenerationParameters(max_new_tokens=60, choices=only)) == only[0]
    assert model.stats().num_steps - before == 1


def test_a_text_takes_a_step_for_each_question(model: LocalModel) -> None:
    labels = (" a good film that is long", " a good day that is longer")
    model.generate([PROMPT], GREEDY)
    before = model.stats().num_steps
    assert text_of(model, GenerationParameters(max_new_tokens=60, choices=labels)) in labels
    assert model.stats().num_steps - before == 2


def test_what_is_told_of_forced_tokens_does_not_change_the_text(model: LocalModel) -> None:
    for seed in range(12):
        sampled = replace(GREEDY, temperature=1.5, seed=seed)
        plain = model.generate([PROMPT], sampled)[0].completions[0]
        told = model.generate([PROMPT], replace(sampled, logprobs=1))[0].completions[0]
        assert [token.id for token in told.tokens] == [token.id for token in plain.tokens]
        assert all(token.logprob is not None for token in told.tokens)


def test_the_probability_of_a_chosen_text_is_its_score(model: LocalModel) -> None:
    told = model.generate([PROMPT], replace(GREEDY, logprobs=0))[0].completions[0]
    assert told.cumulative_logprob == pytest.approx(model.score([PROMPT], [told.text])[0].logprobs[0], abs=1e-4)


def test_of_a_text_and_a_longer_one_the_model_says_where_it_ends(model: LocalModel) -> None:
    labels = (" good", " good film")
    found = {
        text_of(model, GenerationParameters(max_new_tokens=30, choices=labels, temperature=3.0, seed=seed))
        for seed in range(80)
    }
    assert found == set(labels)


def test_the_joined_stream_is_the_choice(model: LocalModel) -> None:
    events = list(model.stream(PROMPT, GREEDY))
    assert "".join(event.text for event in events) == text_of(model, GREEDY)
    assert len([event for event in events if event.token]) == len(events) - 1


def test_an_end_sequence_cuts_a_choice(model: LocalModel) -> None:
    cut = model.generate([PROMPT], replace(GREEDY, choices=(" a good film",), stop=(" good",)))[0].completions[0]
    assert (cut.text, cut.finish_reason) == (" a", "stop_sequence")


def test_a_choice_for_which_there_is_no_room_is_refused(model: LocalModel) -> None:
    with pytest.raises(InvalidParameterError, match=r"choices.* a good film.*at most 2"):
        model.generate([PROMPT], replace(GREEDY, max_new_tokens=2))


def test_a_choice_that_tokens_do_not_spell_is_refused(model: LocalModel) -> None:
    with pytest.raises(InvalidParameterError, match="spell"):
        model.generate([PROMPT], replace(GREEDY, choices=("<|endoftext|>",)))
