from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from workers.evaluation.systems.journal import Journal


class Row(msgspec.Struct):
    number: int


def test_rows_outlive_the_process_and_a_torn_line_does_not(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    Journal(path, Row).append([Row(1), Row(2)])
    with path.open("ab") as file:
        file.write(b'{"numb')
    again = Journal(path, Row)
    assert again.rows == [Row(1), Row(2)]
    again.append([Row(3)])
    assert Journal(path, Row).rows == [Row(1), Row(2), Row(3)]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"other": 1}\n')
    with pytest.raises(ValueError, match=r"rows\.jsonl: not a file of intermediate results"):
        Journal(path, Row)


def test_without_a_file_rows_live_in_memory() -> None:
    journal = Journal(None, Row)
    journal.append([Row(1)])
    assert journal.rows == [Row(1)]
