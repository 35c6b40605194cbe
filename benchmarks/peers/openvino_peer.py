"""OpenVINO GenAI: continuous batching with prefix caching. Runs in the environment of `openvino.txt`.

python -m peers.openvino_peer FOLDER [TOKENS_A_STEP]
"""

import sys

import numpy as np
import openvino  # type: ignore[import-not-found]
import openvino_genai  # type: ignore[import-not-found]

from peers.pipe import Round, Tokens, first_alone, serve

TOKENS_A_STEP = 256
CACHE_GB = 4


class OpenVino:
    """A pipeline on the processor. The first prompt goes ahead: blocks are looked up when a request arrives."""

    def __init__(self, folder: str, tokens_a_step: int) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        scheduler.cache_size = CACHE_GB
        scheduler.max_num_seqs = 256
        scheduler.max_num_batched_tokens = tokens_a_step
        self.tokens_a_step = tokens_a_step
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(folder, scheduler, "CPU")

    def version(self) -> str:
        """See `Engine.version`."""
        return f"OpenVINO GenAI {openvino_genai.__version__}, {self.tokens_a_step} tokens a step"

    def forget(self) -> None:
        """Its cache can't be emptied; every round has a prefix of its own."""

    def run(self, work: Round) -> Tokens:
        """See `Engine.run`."""
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = work.new_tokens
        config.ignore_eos = True
        config.do_sample = False
        tokens: Tokens = []
        for group in first_alone(work.ids, shared=work.shared):
            tensors = [openvino.Tensor(np.array([ids], dtype=np.int64)) for ids in group]
            tokens += [
                list(done.m_generation_ids[0]) for done in self.pipeline.generate(tensors, [config] * len(group))
            ]
        return tokens


if __name__ == "__main__":
    serve(lambda: OpenVino(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else TOKENS_A_STEP))
