"""The real default model, converted: facts known of SmolLM2-135M-Instruct. Downloads it (93 MB) on the first run."""

from pathlib import Path

import pytest
import torch

from handful.config import settings
from handful.model.catalog import describe
from handful.model.checkpoint import Checkpoint
from handful.model.source import ModelFiles, resolve
from handful.model.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    return resolve("default", settings=settings())


@pytest.fixture(scope="module")
def tokenizer(files: ModelFiles) -> Tokenizer:
    return Tokenizer(files.folder)


def test_it_has_the_published_sizes(files: ModelFiles) -> None:
    described = describe(files)
    assert described.num_parameters == 134_515_008
    assert (described.num_layers, described.hidden_size, described.vocab_size) == (30, 576, 49152)
    assert (described.context_length, described.engine) == (8192, "native")


def test_its_head_is_not_stored_twice(files: ModelFiles) -> None:
    with Checkpoint(files.folder) as checkpoint:
        assert len(checkpoint.names) == 272
        assert checkpoint.tensor("model.embed_tokens.weight").dtype == torch.bfloat16
    assert (files.folder / "model.safetensors").stat().st_size < 270_000_000


def test_it_starts_prompts_with_nothing_and_ends_with_either_mark(tokenizer: Tokenizer) -> None:
    assert tokenizer.num_prefix_tokens == 0
    assert tokenizer.eos_token_ids == {0, 2}
    assert (tokenizer.bos_token_id, tokenizer.vocab_size) == (1, 49152)
    assert [tokenizer.token_text(i) for i in (0, 1, 2)] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world", [19556, 905]),
        (" France", [4649]),
        ("1234", [33, 34, 35, 36]),
        ("<|im_start|>user\n", [1, 4093, 198]),
    ],
)
def test_known_texts_have_their_known_tokens(text: str, ids: list[int], tokenizer: Tokenizer) -> None:
    assert tokenizer.encode(text) == ids


def test_this_projects_own_texts_come_back(tokenizer: Tokenizer) -> None:
    for path in Path(__file__).parent.glob("*.py"):
        text = path.read_text()
        assert tokenizer.decode(tokenizer.encode(text), skip_special=False) == text


def test_it_knows_a_capital(files: ModelFiles, tokenizer: Tokenizer) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(files.folder, dtype=torch.bfloat16, local_files_only=True)
    with torch.inference_mode():
        logits = model(torch.tensor([tokenizer.encode("The capital of France is")])).logits[0, -1]
    assert tokenizer.token_text(int(logits.argmax())) == " Paris"
