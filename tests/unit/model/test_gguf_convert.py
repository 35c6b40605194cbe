"""GGUF files of each architecture become folders that compute what the model did before."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from handful.errors import CheckpointError
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.families import is_native
from handful.model.gguf_convert import convert_gguf
from handful.model.tokenizer import Tokenizer
from tests.unit.model.gguf_factory import write_gguf
from tests.unit.model.tiny_models import random_tokens, reference, reference_logits, write_checkpoint


def converted(folder: Path, gguf_path: Path) -> Path:
    folder = folder / "converted"
    folder.mkdir()
    convert_gguf(gguf_path, folder)
    return folder


@cache
def quantisable() -> Any:
    """A model whose rows are whole blocks of every quantisation."""
    from transformers import AutoModelForCausalLM

    values = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 1}
    folder = write_checkpoint("llama", values | {"intermediate_size": 256, "max_position_embeddings": 64})
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


VARIANTS = ["llama", "llama-tied", "llama-biases", "llama-linear-rope", "mistral", "qwen2-without-window", "qwen3"]
VARIANTS += ["gpt2", "gpt_neox"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_converted_model_answers_as_the_original(variant: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = converted(tmp_path, write_gguf(tmp_path / "m.gguf", reference(variant)))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokens = random_tokens(70)
    with torch.inference_mode():
        logits = model(tokens[None]).logits[0]
    assert torch.allclose(logits, reference_logits(variant, tokens), atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_converted_model_is_native(variant: str, tmp_path: Path) -> None:
    folder = converted(tmp_path, write_gguf(tmp_path / "m.gguf", reference(variant)))
    assert is_native(read_config(folder))


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "TQ1_0", "TQ2_0"])
def test_quantised_values_are_those_of_ggufs_own_functions(kind: str, tmp_path: Path) -> None:
    model = quantisable()
    folder = converted(tmp_path, write_gguf(tmp_path / "m.gguf", model, kind=kind))
    name = "model.layers.0.mlp.up_proj.weight"
    stored = gguf.GGMLQuantizationType[kind]
    original = model.state_dict()[name].numpy()
    expected = torch.from_numpy(gguf.dequantize(gguf.quantize(original, stored), stored))
    with Checkpoint(folder) as read:
        tensor = read.tensor(name)
        assert tensor.dtype == (torch.float16 if kind == "F16" else torch.bfloat16)
        assert torch.equal(tensor, expected.to(tensor.dtype))


def test_a_tied_head_is_stored_once(tmp_path: Path) -> None:
    folder = converted(tmp_path, write_gguf(tmp_path / "m.gguf", reference("llama-tied")))
    with Checkpoint(folder) as read:
        assert "lm_head.weight" not in read
    assert read_config(folder)["tie_word_embeddings"] is True


def test_a_head_of_its_own_is_kept(tmp_path: Path) -> None:
    folder = converted(tmp_path, write_gguf(tmp_path / "m.gguf", reference("llama")))
    with Checkpoint(folder) as read:
        assert "lm_head.weight" in read
    assert read_config(folder)["tie_word_embeddings"] is False


def test_the_end_tokens_are_the_declared_one_and_known_marks(tmp_path: Path) -> None:
    folder = converted(tmp_path, write_gguf(tmp_path / "m.gguf", reference("llama")))
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [1, 0]
    assert Tokenizer(folder).eos_token_ids == {0, 1}


def test_a_chat_template_is_kept_as_data(tmp_path: Path) -> None:
    template = "{{ cycler.__init__.__globals__.os.system('touch hacked') }}"
    path = write_gguf(tmp_path / "m.gguf", reference("llama"), tokenizer__chat_template=template)
    assert Tokenizer(converted(tmp_path, path)).chat_template == template


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_tensor("token_embd.weight", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=r"m\.gguf can't be read: .*'mamba'"):
        converted(tmp_path, tmp_path / "m.gguf")


def test_an_unknown_way_to_cut_words_is_refused_by_name(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", reference("llama"), pre="chatglm-bpe")
    with pytest.raises(CheckpointError, match="'chatglm-bpe'"):
        converted(tmp_path, path)


def test_a_tensor_that_the_architecture_does_not_have_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", reference("llama-biases"), llama__expert_count=4)
    with pytest.raises(CheckpointError, match="mixture of experts"):
        converted(tmp_path, path)


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", reference("llama"))
    content = bytearray(path.read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()  # the last value of the last tensor
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="aren't numbers"):
        converted(tmp_path, path)


def test_llama3s_table_of_positions_becomes_its_four_numbers(tmp_path: Path) -> None:
    model = quantisable()  # its heads are wide enough for the slowest frequency to be scaled by the whole factor
    half = model.config.head_dim // 2
    frequencies = model.config.rope_parameters["rope_theta"] ** (-np.arange(half) / half)
    lengths = 2 * np.pi / frequencies
    smooth = (8192 / lengths - 1) / 3
    factors = np.where(lengths < 2048, 1, np.where(lengths > 8192, 8, 1 / ((1 - smooth) / 8 + smooth)))
    path = write_with_factors(tmp_path / "m.gguf", model, factors.astype(np.float32))
    scaling = read_config(converted(tmp_path, path))["rope_scaling"]
    assert scaling["rope_type"] == "llama3"
    assert scaling["factor"] == 8


def test_another_table_of_positions_is_refused(tmp_path: Path) -> None:
    model = reference("llama")
    factors = np.linspace(1, 40, model.config.head_dim // 2).astype(np.float32)
    path = write_with_factors(tmp_path / "m.gguf", model, factors)
    with pytest.raises(CheckpointError, match="table that isn't Llama 3's"):
        converted(tmp_path, path)


def write_with_factors(path: Path, model: Any, factors: Any) -> Path:
    """A GGUF file with the tensor `rope_freqs.weight` that no Transformers model has."""
    added = {"rope_freqs.weight": factors}
    original = gguf.GGUFWriter.write_header_to_file

    def with_factors(writer: gguf.GGUFWriter) -> None:
        for name, values in added.items():
            writer.add_tensor(name, values)
        original(writer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "write_header_to_file", with_factors)
        return write_gguf(path, model)
