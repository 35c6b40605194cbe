"""Texts from texts: what is asked for is what Transformers' own search is told, and nothing is left out silently."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError, UserError
from handful.model.source import ModelFiles
from handful.nlp_types import SeqToSeqOptions
from handful.pipelines.contract import NlpModel
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import checkpoint, files

TEXTS = ["My name is Clara.", "I live in Berkeley. The tower is tall; what's the answer?"]
SHORT = SeqToSeqOptions(max_new_tokens=8)


@pytest.fixture(scope="module")
def bart() -> NlpModel:
    return load_nlp_model(files("bart"), "cpu")


@pytest.fixture(scope="module")
def t5() -> NlpModel:
    return load_nlp_model(files("t5"), "cpu")


@pytest.fixture(scope="module")
def nllb() -> NlpModel:
    return load_nlp_model(files("nllb"), "cpu")


def by_transformers(name: str, text: str, *, seed: int | None = None, **arguments: Any) -> str:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(name))
    model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint(name)).eval()
    if seed is not None:
        torch.manual_seed(seed)
    found = model.generate(**tokenizer(text, return_tensors="pt", return_token_type_ids=False), **arguments)
    decoded: str = tokenizer.decode(found[0], skip_special_tokens=True)
    return decoded


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (SHORT, {"max_new_tokens": 8}),
        (SeqToSeqOptions(max_length=12, min_length=4), {"max_length": 12, "min_length": 4}),
        (SeqToSeqOptions(max_new_tokens=8, num_beams=3), {"max_new_tokens": 8, "num_beams": 3}),
        (SeqToSeqOptions(max_new_tokens=8, temperature=0.0), {"max_new_tokens": 8}),
        (SeqToSeqOptions(max_new_tokens=8, repetition_penalty=5.0), {"max_new_tokens": 8, "repetition_penalty": 5.0}),
    ],
)
def test_every_text_has_the_answer_of_transformers_search(
    bart: NlpModel, options: SeqToSeqOptions, arguments: dict[str, Any]
) -> None:
    expected = [by_transformers("bart", text, do_sample=False, **arguments) for text in TEXTS]
    assert bart.generate(TEXTS, options) == expected
    assert expected[0] != expected[1]


def test_drawing_with_a_seed_is_transformers_drawing_with_it(bart: NlpModel) -> None:
    options = SeqToSeqOptions(max_new_tokens=8, temperature=1.5, top_k=20, top_p=0.9, seed=7)
    drawn = {"do_sample": True, "temperature": 1.5, "top_k": 20, "top_p": 0.9}
    expected = by_transformers("bart", TEXTS[0], seed=7, max_new_tokens=8, **drawn)
    assert bart.generate(TEXTS[:1], options) == [expected]


def test_a_seed_draws_the_same_again_and_leaves_the_process_as_it_was(bart: NlpModel) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    options = [SeqToSeqOptions(max_new_tokens=12, do_sample=True, temperature=3.0, seed=seed) for seed in (5, 5, 6)]
    first, again, other = (bart.generate(TEXTS, one) for one in options)
    assert first == again != other
    assert torch.equal(torch.rand(3), expected)


def test_a_draw_without_top_k_is_among_all_tokens(bart: NlpModel) -> None:
    """Transformers' own default would be 50 of the 310."""
    options = SeqToSeqOptions(max_new_tokens=1, do_sample=True, temperature=100.0, num_return_sequences=10)
    assert len({text for _ in range(20) for text in bart.generate(["My name"], options)}) > 60


def test_several_answers_come_one_input_after_another(bart: NlpModel) -> None:
    options = SeqToSeqOptions(max_new_tokens=6, num_beams=2, num_return_sequences=2)
    together = bart.generate(TEXTS, options)
    assert together == [*bart.generate(TEXTS[:1], options), *bart.generate(TEXTS[1:], options)]
    assert len(together) == 4


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"num_return_sequences": 2}, "num_return_sequences"),
        ({"temperature": 0.5, "do_sample": False}, "temperature"),
        ({"top_k": 5, "do_sample": False}, "top_k"),
        ({"top_p": 0.5, "temperature": 0.0}, "top_p"),
        ({"temperature": 0.0, "do_sample": True}, "temperature"),
        ({"max_new_tokens": 64}, "max_new_tokens"),
        ({"max_length": 64}, "max_length"),
        ({"max_new_tokens": 5, "min_length": 6}, "min_length"),
        ({"src_lang": "en"}, "src_lang"),
        ({"tgt_lang": "en"}, "tgt_lang"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(bart: NlpModel, asked: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        bart.generate(TEXTS, SeqToSeqOptions(**asked))
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"temperature": 101}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"min_length": 9, "max_length": 8}, "min_length"),
        ({"max_new_tokens": 9, "max_length": 8}, "max_length"),
        ({"max_time": float("nan")}, "max_time"),
        ({"do_sample": "yes"}, "do_sample"),
        ({"seed": -1}, "seed"),
        ({"task": "rhyme"}, "task"),
    ],
)
def test_values_out_of_range_are_refused_by_name(asked: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        SeqToSeqOptions(**asked)
    assert caught.value.parameter == parameter


def test_max_time_ends_an_answer_early(bart: NlpModel) -> None:
    short = bart.generate(TEXTS[:1], SeqToSeqOptions(max_new_tokens=60, min_length=60, max_time=0.0))
    whole = bart.generate(TEXTS[:1], SeqToSeqOptions(max_new_tokens=60, min_length=60))
    assert len(short[0]) < len(whole[0])
    assert whole[0].startswith(short[0].removesuffix("�"))


def test_a_summary_model_uses_its_own_settings_and_a_request_overrides_them() -> None:
    model = load_nlp_model(files("bart-summary"), "cpu")
    assert model.task == "summarization"
    own = {"max_length": 12, "min_length": 3, "num_beams": 2}
    assert model.generate(TEXTS[1:], SeqToSeqOptions()) == [by_transformers("bart-summary", TEXTS[1], **own)]
    shorter = by_transformers("bart-summary", TEXTS[1], max_length=6, min_length=3, num_beams=2)
    assert model.generate(TEXTS[1:], SeqToSeqOptions(max_length=6)) == [shorter]
    plain = by_transformers("bart-summary", TEXTS[1], max_new_tokens=8, num_beams=1)
    assert model.generate(TEXTS[1:], SeqToSeqOptions(max_new_tokens=8, task="text2text-generation")) == [plain]


def test_t5_is_told_its_task_by_a_prefix(t5: NlpModel) -> None:
    text = "the name is clara"
    arguments = {"max_length": 10, "do_sample": False}
    summary = by_transformers("t5", f"summarize: {text}", **arguments)
    assert t5.generate([text], SeqToSeqOptions(task="summarization")) == [summary]
    german = by_transformers("t5", f"translate English to German: {text}", max_length=12, do_sample=False)
    options = SeqToSeqOptions(task="translation", src_lang="en", tgt_lang="de")
    assert t5.generate([text], options) == [german]
    assert t5.generate([text], SHORT) == [by_transformers("t5", text, max_new_tokens=8, do_sample=False)]


@pytest.mark.parametrize("languages", [{}, {"tgt_lang": "de"}, {"src_lang": "en", "tgt_lang": "xx"}])
def test_t5_says_which_translations_it_knows(t5: NlpModel, languages: dict[str, str]) -> None:
    with pytest.raises(InvalidParameterError, match="en to de, en to fr"):
        t5.generate(["the name"], SeqToSeqOptions(task="translation", **languages))  # type: ignore[arg-type]


def test_a_language_token_leads_text_and_answer(nllb: NlpModel) -> None:
    assert nllb.task == "translation"
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("nllb"), src_lang="deu_Latn")
    model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint("nllb")).eval()
    first = tokenizer.convert_tokens_to_ids("fra_Latn")
    ids = model.generate(**tokenizer("my name", return_tensors="pt"), forced_bos_token_id=first, max_new_tokens=8)
    assert first in ids[0]
    expected = tokenizer.decode(ids[0], skip_special_tokens=True)
    options = SeqToSeqOptions(max_new_tokens=8, src_lang="deu_Latn", tgt_lang="fra_Latn")
    assert nllb.generate(["my name"], options) == [expected]
    other = SeqToSeqOptions(max_new_tokens=8, src_lang="eng_Latn", tgt_lang="deu_Latn")
    assert nllb.generate(["my name"], other) != [expected]


@pytest.mark.parametrize(
    ("languages", "parameter"),
    [({}, "tgt_lang"), ({"tgt_lang": "xx"}, "tgt_lang"), ({"src_lang": "name", "tgt_lang": "fra_Latn"}, "src_lang")],
)
def test_a_language_that_the_model_does_not_know_is_refused(
    nllb: NlpModel, languages: dict[str, str], parameter: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        nllb.generate(["my name"], SeqToSeqOptions(**languages))  # type: ignore[arg-type]
    assert caught.value.parameter == parameter


def test_a_source_language_holds_for_its_own_request_only(nllb: NlpModel) -> None:
    plain = SeqToSeqOptions(max_new_tokens=8, tgt_lang="fra_Latn")
    before = nllb.generate(["my name"], plain)
    nllb.generate(["my name"], SeqToSeqOptions(max_new_tokens=8, src_lang="deu_Latn", tgt_lang="fra_Latn"))
    assert nllb.generate(["my name"], plain) == before


def test_a_long_text_is_an_error_unless_it_may_be_cut(bart: NlpModel) -> None:
    long = "My name " * 100
    with pytest.raises(PromptTooLongError, match=r"\d+ tokens.*at most 64.*truncation"):
        bart.generate([long], SHORT)
    assert len(bart.generate([long], SeqToSeqOptions(max_new_tokens=8, truncation=True))) == 1


def test_an_empty_text_is_refused(bart: NlpModel) -> None:
    with pytest.raises(InvalidInputError, match="number 2 of 2"):
        bart.generate(["a", ""], SHORT)


def test_an_encoder_writes_nothing() -> None:
    model = load_nlp_model(files("bert-mask"), "cpu")
    with pytest.raises(UserError, match="is a model for fill-mask; it can't do summarization"):
        model.generate(TEXTS, SeqToSeqOptions(task="summarization"))


def test_code_beside_a_model_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("bart"), folder)
    (folder / "custom_generate").mkdir()
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef generate(**_): return None\n"
    for path in (folder / "custom_generate" / "generate.py", folder / "modeling_bart.py", folder / "own.py"):
        path.write_text(code)
    settings = '{"penalty_alpha": 0.6, "top_k": 4, "custom_generate": "own", "dola_layers": "low", "max_length": 9}'
    (folder / "generation_config.json").write_text(settings)
    model = load_nlp_model(ModelFiles("own", folder, "", ""), "cpu")
    assert len(model.generate(TEXTS, SHORT)) == 2
    assert not (tmp_path / "ran").exists()
