"""What is written from records: tables, figures, and a page that holds everything and fetches nothing."""

import csv
import json
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from handful.errors import InvalidInputError, UserError
from handful.evals import extras
from handful.evals.journal import read_run
from handful.evals.report import render
from handful.evals.summary import summarise
from handful.evals.tables import result_table, text_of
from tests.unit.evals.written import OPEN, cell, right, write, wrong

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'too' \x1b[31m \x00"


def answer(one: dict[str, Any], item: int) -> dict[str, Any]:
    if item == 9:
        return {"prediction": None, "error": "The prompt is too long."}
    return right(0.8) if item < 5 + one["set"] else wrong(0.6 + item / 100)


CELLS = [cell(0), *(cell(shots, number) for shots in (2, 4) for number in range(3))]
CELLS += [cell(shots, number, predictor="auto") for shots in (2, 4) for number in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write(tmp_path_factory.mktemp("run"), CELLS, answer)
    render(made)
    return made


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def check_png(path: Path) -> None:
    """A whole PNG: every chunk's checksum is right, and the pixels unpack."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, pixels, names = 8, b"", []
    while at < len(content):
        (size,), name = struct.unpack(">I", content[at : at + 4]), content[at + 4 : at + 8]
        body = content[at + 8 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + body)
        pixels += body if name == b"IDAT" else b""
        names.append(name)
        at += 12 + size
    assert (names[0], names[-1]) == (b"IHDR", b"IEND")
    assert len(zlib.decompress(pixels)) > 10_000


def test_every_figure_is_a_whole_png_and_svg(folder: Path) -> None:
    names = {path.stem for path in (folder / "figures").iterdir()}
    metrics = ("accuracy", "macro_f1", "log_loss", "ece")
    assert names == {"stability", "reliability", *(f"{metric}-by-examples" for metric in metrics)}
    for name in names:
        check_png(folder / "figures" / f"{name}.png")
        assert ElementTree.parse(folder / "figures" / f"{name}.svg").getroot().tag.endswith("svg")  # noqa: S314


def test_the_same_records_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "run", CELLS, answer)
    render(again)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes(), path.name


def test_the_page_is_well_formed_and_fetches_nothing(folder: Path) -> None:
    found = page(folder)
    assert found.open == []
    assert not {"script", "link", "iframe", "object", "embed", "base", "form", "a"} & {tag for tag, _ in found.tags}
    for image in found.named("img"):
        assert (image["src"] or "").startswith("data:image/svg+xml;base64,")
    assert "url(" not in (folder / "report.html").read_text()
    policy = next(meta for meta in found.named("meta") if "http-equiv" in meta)
    assert (policy["content"] or "").startswith("default-src 'none'; img-src data:")


def test_the_page_can_be_read_without_seeing_it(folder: Path) -> None:
    found = page(folder)
    assert found.named("html")[0]["lang"] == "en"
    assert len(found.named("h1")) == len(found.named("main")) == len(found.named("title")) == 1
    assert len(found.named("img")) == 6
    assert all(image["alt"] for image in found.named("img"))
    assert len(found.named("caption")) == len(found.named("table"))
    assert all(header.get("scope") in ("col", "row") for header in found.named("th"))


def test_the_page_holds_results_prompt_mistakes_versions_and_the_command(folder: Path) -> None:
    text = page(folder).text
    for part in ("Best: ", "Review: a\nMood:", "text 8", "error: The prompt is too long.", "handful eval mood.yaml"):
        assert part in text
    assert "Few-shot is worse than zero-shot" not in text
    assert "python" in text


def test_texts_of_others_are_shown_and_never_mean_anything(tmp_path: Path) -> None:
    made = write(
        tmp_path,
        [cell(0, predictor="generate")],
        lambda one, item: {"prediction": HOSTILE, "finish_reason": "length"},
        task=OPEN,
        expected=lambda item: HOSTILE + "!",
        num_queries=3,
    )
    render(made)
    content = (made / "report.html").read_text()
    assert "<script" not in content
    assert not any(control in content for control in ("\x1b", "\x00"))
    assert "<script>alert(1)</script> & \"quoted\" 'too' \ufffd[31m \ufffd!" in page(made).text


def test_the_csv_and_json_hold_every_row(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))
    found = json.loads((folder / "summary.json").read_text())
    assert found["schema"] == 1
    assert len(rows) == len(found["rows"]) == 5
    for row, plain in zip(rows, found["rows"], strict=True):
        assert float(row["accuracy"]) == plain["metrics"]["accuracy"]["mean"]
        assert float(row["ece_high"]) == plain["metrics"]["ece"]["high"]
    assert found["best"]["mean"] == max(plain["metrics"]["accuracy"]["mean"] for plain in found["rows"])


def test_an_open_task_is_reported_with_signatures(tmp_path: Path) -> None:
    made = write(
        tmp_path,
        [cell(0, predictor="generate")],
        lambda one, item: {"prediction": "good", "finish_reason": "stop_sequence"},
        task=OPEN,
    )
    render(made)
    assert "nrefs:1" in page(made).text
    assert "There are none." in page(made).text  # mistakes
    assert json.loads((made / "summary.json").read_text())["signatures"]["bleu"].startswith("nrefs:1")


def test_the_table_leaves_out_what_is_the_same_everywhere(folder: Path) -> None:
    table = result_table(summarise(read_run(folder)))
    assert table.header[:3] == ("predictor", "shots", "accuracy")
    lines = text_of(table).splitlines()
    assert len(lines) == 2 + len(table.rows)
    assert "Student's t" in table.caption
    assert "bootstrap" in table.caption


def test_records_of_another_command_are_refused(tmp_path: Path) -> None:
    made = write(tmp_path, [cell(0)], lambda one, item: right())
    (made / "run.json").write_text((made / "run.json").read_text().replace('"eval"', '"sweep"'))
    with pytest.raises(InvalidInputError, match="handful sweep --from"):
        render(made)


def test_without_matplotlib_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Drawing figures needs matplotlib.*pip install 'handful\[evals\]'"):
        render(folder)
