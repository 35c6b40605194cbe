"""Translation models that come with SentencePiece files instead of a tokenizer.json, as most of them do."""

import json
from pathlib import Path

import pytest
import sentencepiece
import transformers
from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

from handful.errors import InvalidParameterError
from handful.model.source import ModelFiles
from handful.nlp_types import SeqToSeqOptions
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import MAX_TOKENS, PAIR

SENTENCES = ("my name is clara and i live in berkeley", "the tower is tall what is the answer", "where do you live now")
OWN = {"<s>", "</s>", "<unk>"}
TEXTS = ["my name is clara", "the tower"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model of about 60 pieces, and its vocabulary beside it."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_prefix=str(folder / "own"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "own.model"


def pieces(trained: Path) -> list[str]:
    lines = trained.with_suffix(".vocab").read_text(encoding="utf-8").splitlines()
    return [piece for line in lines if (piece := line.split("\t")[0]) not in OWN]


def marian(trained: Path, folder: Path) -> ModelFiles:
    """A model that translates into two languages, each with a mark that a text may begin with."""
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(trained.read_bytes())
    tokens = ["</s>", "<unk>", *pieces(trained), ">>fra<<", ">>deu<<", "<pad>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    declared = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "roa", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    config = transformers.MarianConfig(
        vocab_size=len(tokens),
        pad_token_id=vocabulary["<pad>"],
        eos_token_id=0,
        decoder_start_token_id=vocabulary["<pad>"],
        forced_eos_token_id=None,
        **PAIR,
    )
    transformers.MarianMTModel(config).save_pretrained(folder)
    return ModelFiles("tiny/marian", folder, "", "")


def m2m(trained: Path, folder: Path) -> ModelFiles:
    (folder / "sentencepiece.bpe.model").write_bytes(trained.read_bytes())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *pieces(trained)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    languages = [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]
    declared = {"tokenizer_class": "M2M100Tokenizer", "additional_special_tokens": languages}
    (folder / "tokenizer_config.json").write_text(json.dumps(declared | {"model_max_length": MAX_TOKENS}))
    config = transformers.M2M100Config(vocab_size=len(tokens) + 110, decoder_start_token_id=2, **PAIR)
    transformers.M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return ModelFiles("tiny/m2m", folder, "", "")


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_marian_is_told_the_language_by_a_mark_before_the_text(trained: Path, tmp_path: Path) -> None:
    model = load_nlp_model(marian(trained, tmp_path), "cpu")
    assert model.task == "translation"
    marked = model.generate([f">>deu<< {text}" for text in TEXTS], SeqToSeqOptions(max_new_tokens=8))
    assert model.generate(TEXTS, SeqToSeqOptions(max_new_tokens=8, tgt_lang="deu")) == marked
    for languages in ({"tgt_lang": "xxx"}, {"src_lang": "en"}, {"src_lang": "en", "tgt_lang": "deu"}):
        with pytest.raises(InvalidParameterError, match="can't choose"):
            model.generate(TEXTS, SeqToSeqOptions(**languages))  # type: ignore[arg-type]


def test_m2m_is_told_the_languages_by_their_codes(trained: Path, tmp_path: Path) -> None:
    model = load_nlp_model(m2m(trained, tmp_path), "cpu")
    options = SeqToSeqOptions(max_new_tokens=6, src_lang="de", tgt_lang="fr")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, src_lang="de")
    reference = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    inputs = tokenizer(TEXTS[0], return_tensors="pt")
    ids = reference.generate(**inputs, forced_bos_token_id=tokenizer.get_lang_id("fr"), max_new_tokens=6)
    assert tokenizer.get_lang_id("fr") in ids[0]
    assert model.generate(TEXTS[:1], options) == [tokenizer.decode(ids[0], skip_special_tokens=True)]
    for languages, parameter in (({}, "tgt_lang"), ({"tgt_lang": "xx"}, "tgt_lang")):
        with pytest.raises(InvalidParameterError) as caught:
            model.generate(TEXTS, SeqToSeqOptions(**languages))  # type: ignore[arg-type]
        assert caught.value.parameter == parameter
