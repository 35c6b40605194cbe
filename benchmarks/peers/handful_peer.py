"""handful itself, as one of the engines that take turns. Runs in this project's environment.

python -m peers.handful_peer MODEL PRECISION
"""

import sys
from importlib.metadata import version

from environment import forget, open_model
from handful.types import GenerationParameters, Precision
from peers.pipe import Round, Tokens, serve


class Handful:
    """It gets the texts and not the token ids: its tokenising is within the time measured, its peers' is not."""

    def __init__(self, name: str, precision: Precision) -> None:
        self.model = open_model(name, precision)

    def version(self) -> str:
        """See `Engine.version`."""
        return f"handful {version('handful')}, {self.model.info.precision}"

    def forget(self) -> None:
        """See `Engine.forget`."""
        forget(self.model)

    def run(self, work: Round) -> Tokens:
        """See `Engine.run`."""
        if not work.new_tokens:
            self.model.score(work.texts, work.labels)
            return []
        parameters = GenerationParameters(max_new_tokens=work.new_tokens, ignore_eos=True)
        answers = self.model.generate(work.texts, parameters)
        return [[token.id for token in answer.completions[0].tokens] for answer in answers]


if __name__ == "__main__":
    serve(lambda: Handful(sys.argv[1], sys.argv[2]))  # type: ignore[arg-type]
