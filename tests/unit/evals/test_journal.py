"""Records survive a kill, and a rerun goes on behind the last whole one."""

import json
from pathlib import Path
from typing import Any

import pytest

from handful.errors import HandfulError, InvalidInputError, NotFoundError, UserError
from handful.evals.journal import Journal, Run, check_kind, read_run


def run(**plan: Any) -> Run:
    return Run(kind="eval", coordinates=("cell",), plan={"data": "one", **plan}, context={"command": "handful eval"})


def records(*items: int, cell: str = "a") -> list[dict[str, Any]]:
    return [{"cell": cell, "item": item, "input": "é\n"} for item in items]


def test_what_was_written_is_counted_by_cell_when_it_is_opened_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "run", run()) as journal:
        journal.append(records(0, 1))
        journal.append(records(0, cell="b"))
        journal.finish({"cell": "a", "note": ""})
    with Journal(tmp_path / "run", run()) as journal:
        assert dict(journal.num_done) == {("a",): 2, ("b",): 1}
        assert journal.finished_cells == {("a",)}
        journal.append(records(1, cell="b"))
    found = read_run(tmp_path / "run")
    assert [(record["cell"], record["item"]) for record in found.records] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert found.run == run()


@pytest.mark.parametrize("name", ["records.jsonl", "cells.jsonl"])
def test_a_torn_line_is_cut_off(name: str, tmp_path: Path) -> None:
    with Journal(tmp_path, run()) as journal:
        journal.append(records(0, 1))
        journal.finish({"cell": "a"})
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole + b'{"cell": "b", "it')
    assert len(read_run(tmp_path).records) == 2  # reading alone leaves the file as it is
    with Journal(tmp_path, run()):
        assert (tmp_path / name).read_bytes() == whole


def test_a_rerun_that_asks_something_else_is_refused_by_name(tmp_path: Path) -> None:
    with Journal(tmp_path, run()) as journal:
        journal.append(records(0))
    with pytest.raises(InvalidInputError, match=r"another `data` and `shots`\. .*--overwrite"):
        Journal(tmp_path, run(data="two", shots=[1]))
    assert len(read_run(tmp_path).records) == 1


def test_overwrite_starts_afresh(tmp_path: Path) -> None:
    with Journal(tmp_path, run()) as journal:
        journal.append(records(0))
        journal.finish({"cell": "a"})
    with Journal(tmp_path, run(data="two"), overwrite=True) as journal:
        assert not journal.num_done
        assert not journal.finished_cells
    assert read_run(tmp_path).run.plan == {"data": "two"}


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, run()), pytest.raises(UserError, match="Another run is writing"):
        Journal(tmp_path, run())


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("mine\n")
    with pytest.raises(InvalidInputError, match="records of something else"):
        Journal(tmp_path, run())
    assert (tmp_path / "records.jsonl").read_text() == "mine\n"


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFoundError, match="can't be written"):
        Journal(tmp_path / "file" / "run", run())


def test_a_folder_without_a_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no evaluation.*--output"):
        read_run(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "kind": "eval"}'])
def test_a_damaged_manifest_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(HandfulError, match=r"run\.json"):
        read_run(tmp_path)


def test_a_damaged_record_in_the_middle_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, run()) as journal:
        journal.append(records(0))
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write("not json\n" + json.dumps({"cell": "a"}) + "\n")
    with pytest.raises(InvalidInputError, match="can't be read back"):
        Journal(tmp_path, run())


def test_a_run_of_another_kind_says_how_it_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path, run()):
        pass
    with pytest.raises(InvalidInputError, match=r"handful eval --from"):
        check_kind(read_run(tmp_path), "sweep", tmp_path)
