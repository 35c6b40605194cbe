"""vLLM on the processor, bfloat16, prefix caching. Runs in the environment of `vllm.txt`.

python -m peers.vllm_peer FOLDER
"""

import sys

import vllm  # type: ignore[import-not-found]

from peers.pipe import Round, Tokens, first_alone, serve

MAX_LENGTH = 2048  # 64 shots are about 1,800 tokens


class Vllm:
    """Its engine in this process, on the token ids, texts left out."""

    def __init__(self, folder: str) -> None:
        self.engine = vllm.LLM(
            folder,
            dtype="bfloat16",
            max_model_len=MAX_LENGTH,
            max_num_seqs=256,
            enable_prefix_caching=True,
            disable_log_stats=True,
        )

    def version(self) -> str:
        """See `Engine.version`."""
        return f"vLLM {vllm.__version__} on the processor, bfloat16"

    def forget(self) -> None:
        """See `Engine.forget`."""
        self.engine.reset_prefix_cache()

    def run(self, work: Round) -> Tokens:
        """See `Engine.run`."""
        parameters = vllm.SamplingParams(temperature=0.0, max_tokens=work.new_tokens, ignore_eos=True, detokenize=False)
        tokens: Tokens = []
        for group in first_alone(work.ids, shared=work.shared):
            prompts = [{"prompt_token_ids": ids} for ids in group]
            answers = self.engine.generate(prompts, parameters, use_tqdm=False)
            tokens += [list(answer.outputs[0].token_ids) for answer in answers]
        return tokens


if __name__ == "__main__":
    serve(lambda: Vllm(sys.argv[1]))
