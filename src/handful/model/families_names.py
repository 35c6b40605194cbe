"""Under which names each family stores its tensors: one table a family."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Stems of a family's tensors (without `.weight`, `.bias`). Several stems are stacked in this order.

    prefixes         tried in turn: with and without the name of the base model
    transposed       linears are stored `[in, out]` (GPT-2's Conv1D)
    qkv_by_head      the rows of the fused q, k, v lie head by head (GPT-NeoX), not q above k above v
    """

    prefixes: tuple[str, ...]
    layer: str
    embedding: str
    attention_norm: str
    qkv: tuple[str, ...]
    attention_out: str
    mlp_norm: str
    mlp_up: tuple[str, ...]
    mlp_down: str
    final_norm: str
    positions: str = ""
    transposed: bool = False
    qkv_by_head: bool = False


_LLAMA = Names(
    prefixes=("model.", ""),
    layer="layers.{}.",
    embedding="embed_tokens",
    attention_norm="input_layernorm",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    attention_out="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    mlp_up=("mlp.gate_proj", "mlp.up_proj"),
    mlp_down="mlp.down_proj",
    final_norm="norm",
)

NAMES: dict[str, Names] = {
    "gpt_neo": Names(
        prefixes=("transformer.", ""),
        layer="h.{}.",
        embedding="wte",
        positions="wpe",
        attention_norm="ln_1",
        qkv=("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
        attention_out="attn.attention.out_proj",
        mlp_norm="ln_2",
        mlp_up=("mlp.c_fc",),
        mlp_down="mlp.c_proj",
        final_norm="ln_f",
    ),
    "gpt2": Names(
        prefixes=("transformer.", ""),
        layer="h.{}.",
        embedding="wte",
        positions="wpe",
        attention_norm="ln_1",
        qkv=("attn.c_attn",),
        attention_out="attn.c_proj",
        mlp_norm="ln_2",
        mlp_up=("mlp.c_fc",),
        mlp_down="mlp.c_proj",
        final_norm="ln_f",
        transposed=True,
    ),
    "gptj": Names(
        prefixes=("transformer.", ""),
        layer="h.{}.",
        embedding="wte",
        attention_norm="ln_1",
        qkv=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
        attention_out="attn.out_proj",
        mlp_norm="",
        mlp_up=("mlp.fc_in",),
        mlp_down="mlp.fc_out",
        final_norm="ln_f",
    ),
    "gpt_neox": Names(
        prefixes=("gpt_neox.", ""),
        layer="layers.{}.",
        embedding="embed_in",
        attention_norm="input_layernorm",
        qkv=("attention.query_key_value",),
        attention_out="attention.dense",
        mlp_norm="post_attention_layernorm",
        mlp_up=("mlp.dense_h_to_4h",),
        mlp_down="mlp.dense_4h_to_h",
        final_norm="final_layer_norm",
        qkv_by_head=True,
    ),
    "opt": Names(
        prefixes=("model.decoder.", "decoder.", ""),
        layer="layers.{}.",
        embedding="embed_tokens",
        positions="embed_positions",
        attention_norm="self_attn_layer_norm",
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention_out="self_attn.out_proj",
        mlp_norm="final_layer_norm",
        mlp_up=("fc1",),
        mlp_down="fc2",
        final_norm="final_layer_norm",
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
}
