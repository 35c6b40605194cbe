"""What TGI's routes answer where it isn't generated text, with an example of each."""

from handful.protocol.shapes import Example, Shape
from handful.protocol.tgi import info_answer, tokenized
from handful.types import ModelInfo, TextSpan


class TokenizedToken(Shape):
    """A token and the characters `[start, stop)` of the text it stands for."""

    id: int
    text: str
    start: int
    stop: int


class InfoAnswer(Shape):
    """A model and the server's limits; those of tokens are there for models that generate text."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_device_type: str
    model_pipeline_tag: str | None
    max_best_of: int
    max_stop_sequences: int
    max_top_n_tokens: int
    max_input_tokens: int | None = None
    max_total_tokens: int | None = None
    max_client_batch_size: int
    max_input_characters: int
    router: str
    version: str
    sha: None
    docker_label: None
    handful: ModelInfo


_INFO = ModelInfo("default", "LlamaForCausalLM", "native", 134_515_008, 8192, 49_152, 576, 30, "bfloat16", "cpu")
INFO: Example = info_answer(_INFO, "default", "0.1.0", {"max_client_batch_size": 128, "max_input_characters": 1 << 20})
TOKENIZED: Example = tokenized((TextSpan(42, "A", 0, 1), TextSpan(1694, " text", 1, 6), TextSpan(30, ".", 6, 7)))
