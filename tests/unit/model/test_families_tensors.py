"""Which tensors are wanted of a checkpoint, what is refused by name, and old spellings of the same weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from handful.errors import CheckpointError
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from handful.model.spec import ModelSpec
from tests.unit.model.naive_attention import naive_logits
from tests.unit.model.tiny_models import FAMILIES, checkpoint, random_tokens

CPU = torch.device("cpu")


class Tensors:
    """A checkpoint in memory that can be altered."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.num_read = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def tensor(self, name: str) -> Tensor:
        self.num_read += 1
        return self.tensors[name]


def stored(variant: str) -> tuple[ModelSpec, Tensors]:
    folder = checkpoint(variant)
    with Checkpoint(folder) as opened:
        tensors = Tensors({name: opened.tensor(name) for name in opened.names})
    return spec_from_config(read_config(folder)), tensors


def load(spec: ModelSpec, tensors: Tensors) -> Decoder:
    return Decoder.load(spec, tensors, torch.float32, CPU)


def assert_same_model(spec: ModelSpec, found: Tensors, wanted: Tensors) -> None:
    tokens = random_tokens(20)
    assert torch.equal(naive_logits(load(spec, found), tokens), naive_logits(load(spec, wanted), tokens))


def renamed(tensors: Tensors, rename: Callable[[str], str]) -> Tensors:
    return Tensors({rename(name): tensor for name, tensor in tensors.tensors.items()})


@pytest.mark.parametrize(
    ("variant", "prefix"),
    [("gpt_neo", "transformer."), ("gpt2", "transformer."), ("llama-tied", "model."), ("gpt_neox", "gpt_neox.")],
)
def test_the_name_of_the_base_model_may_be_missing(variant: str, prefix: str) -> None:
    spec, tensors = stored(variant)
    assert_same_model(spec, renamed(tensors, lambda name: name.removeprefix(prefix)), tensors)


@pytest.mark.parametrize("prefix", ["decoder.", ""])
def test_opt_may_lack_its_outer_names(prefix: str) -> None:
    spec, tensors = stored("opt")
    assert_same_model(spec, renamed(tensors, lambda name: name.replace("model.decoder.", prefix)), tensors)


def test_neox_head_may_have_its_old_name() -> None:
    spec, tensors = stored("gpt_neox")
    old = renamed(tensors, lambda name: name.replace("lm_head", "embed_out"))
    assert "embed_out.weight" in old.tensors
    assert_same_model(spec, old, tensors)


@pytest.mark.parametrize(
    ("variant", "buffer"),
    [
        ("gpt2", "transformer.h.0.attn.bias"),
        ("gpt_neo", "transformer.h.0.attn.attention.masked_bias"),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
    ],
)
def test_old_buffers_are_ignored_without_a_warning(variant: str, buffer: str, caplog: pytest.LogCaptureFixture) -> None:
    spec, tensors = stored(variant)
    assert_same_model(spec, Tensors(tensors.tensors | {buffer: torch.zeros(1, 1)}), tensors)
    assert not caplog.records


def test_a_tensor_that_is_no_part_of_the_model_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    spec, tensors = stored("llama")
    load(spec, Tensors(tensors.tensors | {"model.layers.0.self_attn.q_proj.bias": torch.zeros(48)}))
    assert "q_proj.bias" in caplog.text


def test_a_head_stored_with_other_values_than_the_embedding_is_not_tied() -> None:
    spec, tensors = stored("llama-tied")
    embedding = tensors.tensors["model.embed_tokens.weight"]
    same = Tensors(tensors.tensors | {"lm_head.weight": embedding.clone()})
    assert_same_model(spec, same, tensors)
    other = load(spec, Tensors(tensors.tensors | {"lm_head.weight": 2 * embedding}))
    tokens = random_tokens(20)
    assert torch.allclose(naive_logits(other, tokens), 2 * naive_logits(load(spec, tensors), tokens), atol=1e-4)


@pytest.mark.parametrize("variant", FAMILIES)
def test_each_missing_tensor_is_refused_by_its_name(variant: str) -> None:
    spec, tensors = stored(variant)
    for name in tensors.names:
        if name == "lm_head.weight" and spec.tied_head:
            continue
        rest = Tensors({other: tensor for other, tensor in tensors.tensors.items() if other != name})
        with pytest.raises(CheckpointError) as caught:
            load(spec, rest)
        assert name.split(".", 1)[1] in str(caught.value)
        assert rest.num_read == 0


@pytest.mark.parametrize("variant", FAMILIES)
def test_each_wrong_shape_is_refused_with_both_shapes_before_anything_is_read(variant: str) -> None:
    spec, tensors = stored(variant)
    for name, tensor in tensors.tensors.items():
        if name == "lm_head.weight" and spec.tied_head:
            continue
        altered = Tensors(tensors.tensors | {name: torch.zeros(tensor.shape[0] + 1, *tensor.shape[1:])})
        with pytest.raises(CheckpointError) as caught:
            load(spec, altered)
        message = str(caught.value)
        assert name in message
        assert str([tensor.shape[0] + 1, *tensor.shape[1:]]) in message
        assert str(list(tensor.shape)) in message
        assert altered.num_read == 0


def test_a_tensor_of_whole_numbers_is_refused() -> None:
    spec, tensors = stored("llama")
    name = "model.norm.weight"
    integers = Tensors(tensors.tensors | {name: tensors.tensors[name].to(torch.int64)})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight holds torch\.int64"):
        load(spec, integers)


def test_weights_are_never_written_to() -> None:
    spec, tensors = stored("gptj")
    before = {name: tensor.clone() for name, tensor in tensors.tensors.items()}
    naive_logits(load(spec, tensors), random_tokens(20))
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors.tensors.items())
