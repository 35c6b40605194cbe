"""llama.cpp through its Python bindings, one request after the other; the longest common prefix of the last prompt is
kept. Runs in the environment of `llama_cpp.txt`.

    python -m peers.llama_cpp_peer FILE.gguf THREADS
"""

import sys
from itertools import islice

import llama_cpp  # type: ignore[import-not-found]

from peers.pipe import Round, Tokens, serve

CONTEXT = 2048  # 64 shots are about 1,800 tokens
BATCH = 512


class LlamaCpp:
    """One sequence; a new prompt keeps what it has in common with the last."""

    def __init__(self, file: str, threads: int) -> None:
        self.model = llama_cpp.Llama(
            file, n_ctx=CONTEXT, n_batch=BATCH, n_threads=threads, n_threads_batch=threads, verbose=False
        )

    def version(self) -> str:
        """See `Engine.version`."""
        return f"llama-cpp-python {llama_cpp.__version__}, Q4_1, batch {BATCH}"

    def forget(self) -> None:
        """See `Engine.forget`."""
        self.model.reset()

    def run(self, work: Round) -> Tokens:
        """See `Engine.run`."""
        return [list(islice(self.model.generate(ids, temp=0.0), work.new_tokens)) for ids in work.ids]


if __name__ == "__main__":
    serve(lambda: LlamaCpp(sys.argv[1], int(sys.argv[2])))
