"""Tiny random encoders and sequence-to-sequence models, made with Transformers and kept for the session.

`checkpoint(name)` gives a folder with weights, configuration and tokenizer; `files(name)` the same as `ModelFiles`.
Weights are large enough that outputs differ visibly between tokens and texts.
"""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from handful.model.source import ModelFiles

MAX_TOKENS = 64
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = ("my", "name", "is", "clara", "and", "i", "live", "in", "berkeley", "what", "s", "where", "do", "the", "a")
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
NER = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
NLI = {0: "contradiction", 1: "neutral", 2: "entailment"}
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": MAX_TOKENS,
    "initializer_range": 0.4,
}
PAIR: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": MAX_TOKENS,
    "init_std": 0.4,
}
BPE_TEXT = ("My name is Clara and I live in Berkeley. " * 3 + "The tower is tall; what's the answer? ") * 4

_HOME = Path(tempfile.mkdtemp(prefix="handful-nlp-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)


def files(name: str) -> ModelFiles:
    """The model as `resolve` would give it."""
    return ModelFiles(f"tiny/{name}", checkpoint(name), "test", "")


@cache
def checkpoint(name: str) -> Path:
    """The folder of a tiny model. Never changed: tests that need another copy it."""
    folder = _HOME / name
    torch.manual_seed(sum(name.encode()))
    model = _model(name)
    model.eval().save_pretrained(folder)
    _tokenizer(name).save_pretrained(folder)
    if name.startswith("sentence"):
        _write_sentence_files(folder)
    return folder


def _model(name: str) -> Any:
    import transformers as t

    vocab = len(word_pieces().get_vocab())
    bert = t.BertConfig(vocab_size=vocab, **SIZES)
    makers: dict[str, Any] = {
        "bert": lambda: t.BertModel(bert),
        "sentence-bert": lambda: t.BertModel(bert),
        "bert-mask": lambda: t.BertForMaskedLM(bert),
        "bert-classifier": lambda: t.BertForSequenceClassification(labelled(bert, {0: "NEGATIVE", 1: "POSITIVE"})),
        "bert-nli": lambda: t.BertForSequenceClassification(labelled(bert, NLI)),
        "bert-entities": lambda: t.BertForTokenClassification(labelled(bert, NER)),
        "bert-answers": lambda: t.BertForQuestionAnswering(bert),
        "distilbert-classifier": lambda: t.DistilBertForSequenceClassification(
            labelled(
                t.DistilBertConfig(
                    vocab_size=vocab,
                    dim=32,
                    n_layers=2,
                    n_heads=2,
                    hidden_dim=48,
                    max_position_embeddings=MAX_TOKENS,
                    initializer_range=0.4,
                    problem_type="multi_label_classification",
                ),
                {0: "toxic", 1: "insult", 2: "threat"},
            )
        ),
        "roberta-mask": lambda: t.RobertaForMaskedLM(_roberta()),
        "roberta-entities": lambda: t.RobertaForTokenClassification(labelled(_roberta(), NER)),
        "roberta-answers": lambda: t.RobertaForQuestionAnswering(_roberta()),
        "bart": lambda: t.BartForConditionalGeneration(_bart()),
        "bart-summary": lambda: t.BartForConditionalGeneration(_bart(task_specific_params={"summarization": SUMMARY})),
        "bart-base": lambda: t.BartModel(_bart()),
        "blenderbot": lambda: t.BlenderbotForConditionalGeneration(_blenderbot()),
        "t5": lambda: t.T5ForConditionalGeneration(_t5(vocab)),
        "nllb": lambda: t.M2M100ForConditionalGeneration(_m2m()),
        "tapas": lambda: t.TapasForQuestionAnswering(_tapas(vocab, aggregates=True)),
        "tapas-cells": lambda: t.TapasForQuestionAnswering(_tapas(vocab, aggregates=False)),
        "dialogue-gpt2": lambda: t.GPT2LMHeadModel(_gpt2()),
        "gpt2-classifier": lambda: t.GPT2ForSequenceClassification(labelled(_gpt2(), {0: "no", 1: "yes"})),
    }
    return makers[name]()


SUMMARY = {"max_length": 12, "min_length": 3, "num_beams": 2}
TRANSLATIONS = {
    "summarization": {"prefix": "summarize: ", "max_length": 10},
    "translation_en_to_de": {"prefix": "translate English to German: ", "max_length": 12},
    "translation_en_to_fr": {"prefix": "translate English to French: ", "max_length": 12},
}


def labelled(config: Any, labels: dict[int, str]) -> Any:
    """The configuration of a classifier with these labels."""
    config.id2label = dict(labels)
    config.label2id = {label: index for index, label in labels.items()}
    return config


def _roberta() -> Any:
    from transformers import RobertaConfig

    sizes = SIZES | {"max_position_embeddings": MAX_TOKENS + 2}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    return RobertaConfig(vocab_size=byte_pairs().get_vocab_size(), **ids, **sizes)


def _bart(**more: Any) -> Any:
    from transformers import BartConfig

    return BartConfig(vocab_size=byte_pairs().get_vocab_size(), forced_eos_token_id=None, **PAIR, **more)


def _blenderbot() -> Any:
    from transformers import BlenderbotConfig

    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}
    return BlenderbotConfig(vocab_size=byte_pairs().get_vocab_size(), forced_eos_token_id=None, **ids, **PAIR)


def _m2m() -> Any:
    from transformers import M2M100Config

    return M2M100Config(vocab_size=len(many_languages()), decoder_start_token_id=2, **PAIR)


def _t5(vocab: int) -> Any:
    from transformers import T5Config

    return T5Config(
        vocab_size=vocab,
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_heads=2,
        initializer_factor=3.0,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=3,
        task_specific_params=TRANSLATIONS,
    )


def _tapas(vocab: int, *, aggregates: bool) -> Any:
    from transformers import TapasConfig

    sizes = SIZES | {"max_position_embeddings": 256}
    labels = {0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"}
    more = {"num_aggregation_labels": 4, "aggregation_labels": labels} if aggregates else {}
    return TapasConfig(vocab_size=vocab, type_vocab_sizes=[3, 32, 32, 2, 32, 32, 10], **sizes, **more)


def _gpt2() -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=byte_pairs().get_vocab_size(),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=MAX_TOKENS,
        initializer_range=0.4,
        bos_token_id=2,
        eos_token_id=2,
        task_specific_params={"conversational": {"max_length": 1000}},
    )


@cache
def word_pieces() -> Any:
    """BERT's tokenizer over a few words, letters and signs."""
    pieces = [*SPECIAL.values(), "[EMPTY]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *".,;:'!?->$", *WORDS]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    marks = [(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return raw


@cache
def byte_pairs() -> Tokenizer:
    """RoBERTa's tokenizer, trained on a few sentences."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([BPE_TEXT], trainer)
    ends = ("</s>", 2), ("<s>", 0)
    raw.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    return raw


@cache
def many_languages() -> Any:
    """NLLB's tokenizer over letters, with languages as tokens."""
    from transformers import NllbTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *LETTERS, "."]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    languages = ["eng_Latn", "fra_Latn", "deu_Latn"]
    return NllbTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=languages, model_max_length=MAX_TOKENS)


def _tokenizer(name: str) -> Any:
    from transformers import PreTrainedTokenizerFast, TapasTokenizer

    if name.startswith("tapas"):
        path = _HOME / "vocab.txt"
        vocabulary = word_pieces().get_vocab()
        path.write_text("\n".join(sorted(vocabulary, key=lambda piece: int(vocabulary[piece]))), encoding="utf-8")
        return TapasTokenizer(str(path), model_max_length=256)
    if name == "nllb":
        return many_languages()
    if name == "t5":
        raw = Tokenizer.from_str(word_pieces().to_str())
        raw.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
        return PreTrainedTokenizerFast(
            tokenizer_object=raw, pad_token="[PAD]", eos_token="[SEP]", unk_token="[UNK]", model_max_length=MAX_TOKENS
        )
    if name.startswith(("bert", "distilbert", "sentence")):
        return PreTrainedTokenizerFast(tokenizer_object=word_pieces(), model_max_length=MAX_TOKENS, **SPECIAL)
    marks: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if "gpt2" not in name:
        marks |= {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    raw = byte_pairs()
    if "gpt2" in name:
        raw = Tokenizer.from_str(raw.to_str())
        raw.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(tokenizer_object=raw, **marks)


def _write_sentence_files(folder: Path) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 40, "do_lower_case": False}))
    prompts = {"prompts": {"query": "what is "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
