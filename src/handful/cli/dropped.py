"""Examples that didn't fit the model's context, told of in one line at the end.

Python would show the warning each time anew, and with lines of handful's own files.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def tell_of_dropped(*, is_quiet: bool) -> Iterator[None]:
    """Tell once, at the end, where prompts did without examples; other warnings are shown as ever."""
    from handful.cli.output import tell
    from handful.task.fit import ExamplesDroppedWarning

    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", ExamplesDroppedWarning)
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, ExamplesDroppedWarning):
                found.append(str(message))
            else:
                show_others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
    if found and not is_quiet:
        tell("warning: some prompts were made without all of their examples, which didn't fit the model's context.")
