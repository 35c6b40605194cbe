"""Transformers as one of the engines that take turns. Runs in this project's environment.

python -m peers.transformers_worker MODEL DTYPE as-it-comes
python -m peers.transformers_worker MODEL DTYPE prefix
"""

import sys

import transformers

from peers.pipe import Round, Tokens, serve
from transformers_peer import Transformers


class TransformersEngine:
    """One request at a time and nothing reused; or the prefix computed once by hand and the queries batched."""

    def __init__(self, name: str, dtype: str, way: str) -> None:
        self.peer = Transformers(name, dtype)
        self.way = way

    def version(self) -> str:
        """See `Engine.version`."""
        return f"Transformers {transformers.__version__}, {self.peer.dtype}, {self.way}"

    def forget(self) -> None:
        """Nothing outlives a call."""

    def run(self, work: Round) -> Tokens:
        """See `Engine.run`."""
        if not work.new_tokens:
            self.peer.label(work.texts, work.labels)
            return []
        if self.way == "prefix" and work.shared:
            return self.peer.generate_with_prefix(work.ids, work.new_tokens)
        return self.peer.generate_ids(work.ids, work.new_tokens)


if __name__ == "__main__":
    serve(lambda: TransformersEngine(*sys.argv[1:4]))
