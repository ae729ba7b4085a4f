"""Rows of tables: quotation marks that are never closed, and cells that may well hold several lines."""

import csv
import io

import pytest

from engine.datasets.formats.csv_tables import open_table
from engine.datasets.tree import Tree
from engine.types import UserError


def rows(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return list(open_table(Tree(tmp_path), "t.csv").rows())


@pytest.mark.parametrize("text", [
    'image,labels\nx0.png,a\nx1.png,"b\nx2.png,a\nx3.png,b\n',  # to the end of the file
    'image,labels\nx0.png,a\nx1.png,"b\nx2.png,a\nx3.png,b"\nx4.png,a\n',  # to another mark, as a valid table would
    'image,labels\nx0.png,a\nx1.png,"b\nx2.png,"a"\nx3.png,b\n',
    'image,labels,note\nx0.png,a,\nx1.png,b,"see\nx2.png,a,\nx3.png,b,\n',
    'image,labels\nx0.png,a\nx1.png,"b',
    'id,labels\nx0,a\nx1,"b\nx2,a"\nx3,b\n'])
def test_a_quotation_mark_that_swallows_rows_is_named_with_its_line(tmp_path, text):
    with pytest.raises(UserError) as caught:
        rows(tmp_path, text)
    assert (caught.value.key, caught.value.values["where"]) == ("table_quote_open", "t.csv:3")


@pytest.mark.parametrize("text", [
    'image,labels,note\nx0.png,a,"first\nsecond, ""third"""\nx1.png,b,"\r\n"\n',
    'image,labels,note\nx0.png,a,"one\n\ntwo, three\nfour"\nx1.png,b,"end"',
    'image,note\nx0.png,"length 5" exactly"\nx1.png,b\n',
    'image,labels\nx0.png,5" pipe\nx1.png,b\n'])
def test_cells_of_several_lines_and_odd_marks_are_read_as_other_readers_do(tmp_path, text):
    wanted = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)]
    assert [cells for _, cells in rows(tmp_path, text)] == wanted


def test_the_line_that_names_the_separator_counts(tmp_path):
    assert rows(tmp_path, "sep=;\nimage;labels\nx0.png;a\n") == [(2, ["image", "labels"]), (3, ["x0.png", "a"])]
    with pytest.raises(UserError) as caught:
        rows(tmp_path, 'sep=;\nimage;labels\nx0.png;"a\nx1.png;b\n')
    assert caught.value.values["where"] == "t.csv:3"
