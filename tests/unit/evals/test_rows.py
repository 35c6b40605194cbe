"""Reading data files: every format gives the same rows, and what can't be read is named with its line."""

import json
from pathlib import Path

import pytest

from handful.errors import InvalidInputError, NotFoundError
from handful.evals.rows import read_rows

ROWS = [{"text": "It's good, really", "label": "1"}, {"text": "bad", "label": "0"}]
CONTENTS = {
    "rows.csv": 'text,label\n"It\'s good, really",1\nbad,0\n',
    "rows.tsv": "text\tlabel\nIt's good, really\t1\nbad\t0\n",
    "rows.jsonl": "".join(json.dumps(row) + "\n\n" for row in ROWS),
    "rows.json": json.dumps(ROWS),
}


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", CONTENTS)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    assert [row.cells for row in read_rows(write(tmp_path, name, CONTENTS[name]))] == ROWS


def test_the_byte_order_mark_of_a_spreadsheet_is_no_part_of_a_name(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "a.csv", b"\xef\xbb\xbftext,label\r\nhello,x\r\n"))
    assert rows[0].cells == {"text": "hello", "label": "x"}


def test_a_cell_with_line_breaks_is_one_row_and_places_count_lines(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "a.csv", 'text,label\n"two\nlines",x\nlast,y\n'))
    assert [(row.place, row.cells["text"]) for row in rows] == [("line 2", "two\nlines"), ("line 4", "last")]


def test_a_quote_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "a.tsv", 'text\tlabel\n"open\tx\nnext\ty\n'))
    assert [row.cells["text"] for row in rows] == ['"open', "next"]


def test_an_unusual_line_separator_ends_no_row(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "a.jsonl", '{"text": "a\u2028b"}\n'))
    assert rows[0].cells == {"text": "a\u2028b"}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "text,label\na,b,c\n", r"line 2: 3 cells where the header has 2.*quotes"),
        ("a.csv", 'text,label\n"never closed,b\n', r"line 2: not CSV"),
        ("a.csv", "text,text\na,b\n", r"two columns `text`"),
        ("a.csv", b"text,label\nok,a\n\xff\xfe,b\n", r"line 3: not UTF-8"),
        ("a.tsv", "text\tlabel\na\n", r"line 2: 1 cells where the header has 2"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', r"line 2: not JSON"),
        ("a.jsonl", "[1]\n", r"line 1: not a JSON object"),
        ("a.jsonl", "[" * 100_000 + "\n", r"line 1: not JSON"),
        ("a.json", '{"rows": []}', r"must hold a list of objects"),
        ("a.json", "[3]", r"row 1: not a JSON object"),
        ("a.xlsx", "x", r"no extension that is known.*\.csv"),
        ("a.parquet", "no parquet", r"no Parquet file"),
    ],
)
def test_what_can_not_be_read_is_named(name: str, content: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=told):
        read_rows(write(tmp_path, name, content))


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no data file"):
        read_rows(tmp_path / "none.csv")


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_a_file_without_rows_has_none(content: str, tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, "a.csv", content)) == []
