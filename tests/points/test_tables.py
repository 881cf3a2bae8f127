"""Tables: header detection, delimiters, text columns, and an error that names the line."""

import tracemalloc

import numpy as np
import pytest
import torch

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points import read

EXPECTED = torch.tensor([[1.5, -2.0, 3e-4], [4.0, 5.25, 6.0]], dtype=torch.float64)
BODY = "1.5,-2,3e-4\n4,5.25,6\n"


@pytest.fixture
def table(tmp_path):
    def save(content, suffix="csv"):
        path = tmp_path / f"cloud.{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return save


def refused(path, match, kind=FileFormatError, **options):
    with pytest.raises(kind, match=match) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


HEADERS = {
    "none": "",
    "names": "x,y,z\n",
    "two rows": "position,position,position\nx,y,z\n",
    "title of another width": "Measured positions\nx,y,z\n",
    "comment": "# x,y,z\n",
    "comment with numbers": "# from 2010, 3 sites\nx,y,z\n",
    "three comments and names": "# a\n# b 1\n# c\nLATITUDE,LONGITUDE,z\n",
    "blank lines": "\n\n  \nx,y,z\n\n",
    "percent": "% x y z 2010\n",
    "units": "x,y,z\n[m],[m],[m]\n",
    "quoted": '"x, first","y",z\n',
    "byte order mark": "\ufeffx,y,z\n",
    "byte order mark and comment": "\ufeff# made by hand\n",
}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_header_detection(table, header, ending):
    assert torch.equal(read(table((header + BODY).replace("\n", ending))), EXPECTED)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (BODY, "csv"),
        (BODY.replace(",", ";"), "csv"),
        (BODY.replace(",", "\t"), "csv"),
        (BODY.replace(",", " "), "csv"),
        (BODY.replace(",", ", "), "csv"),
        (BODY.replace(",", "\t"), "tsv"),
        (BODY.replace(",", " "), "tsv"),
        (BODY.replace(",", "   "), "xyz"),
        (BODY.replace(",", "\t"), "xyz"),
        (" " + BODY.replace(",", " ").replace("\n", "  \n  "), "xyz"),
        (BODY, "xyz"),
        (BODY.rstrip("\n"), "csv"),
        (BODY.replace("1.5", '"1.5"').replace("6", '"6"'), "csv"),
        (BODY.replace("\n4", "\n# a remark\n\n4"), "csv"),
        (BODY.replace("1.5", "+1.5").replace("3e-4", "3.0E-04"), "csv"),
    ],
)
def test_delimiters_and_numbers(table, content, suffix):
    assert torch.equal(read(table(content, suffix)), EXPECTED)


def test_suffix_in_capitals(tmp_path):
    (tmp_path / "CLOUD.CSV").write_text(BODY)
    assert torch.equal(read(tmp_path / "CLOUD.CSV"), EXPECTED)


def test_one_column_and_one_row(table):
    assert read(table("1\n2\n3\n")).shape == (3, 1)
    assert read(table("1,2,3\n")).shape == (1, 3)


def test_header_given(table):
    numeric = table("1,2,3\n" + BODY)
    assert len(read(numeric)) == 3 and len(read(numeric, header=False)) == 3
    assert torch.equal(read(numeric, header=True), EXPECTED)
    assert read(table("x,y,2010\n" + BODY), header=True, columns="2").shape == (2, 1)
    refused(table("x,y,z\n" + BODY), r"line 1: columns without a number: 0 \('x'\)", header=False)
    refused(table("x,y,2010\n" + BODY), "columns without a number: 0 .'x'., 1 .'y'.; choose numeric columns, like columns='2'")
    refused(table(BODY), "header: expected", InvalidInputError, header="first")


def test_columns_by_name_range_and_position(table):
    path = table("id,x,y,z\n" + "a1,1,2,3\nb2,4,5,6\n")
    expected = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    for columns in ("x,y,z", "1-3", "1,2,3", [1, "y", 3], ("x", "y", "z")):
        assert torch.equal(read(path, columns=columns), expected)
    assert torch.equal(read(path, columns="z,x"), expected[:, [2, 0]])
    assert torch.equal(read(table("# x y z\n1 2 3\n4 5 6\n", "xyz"), columns="z,x"), expected[:, [2, 0]])
    refused(path, r"columns without a number: 0 \('id'\); choose numeric columns, like columns='1,2,3'")
    refused(path, "columns without a number: 0", columns="0-2")
    refused(path, "no column called 'w'", InvalidInputError, columns="w")


def test_text_without_a_header(table):
    path = table("402d\tG\t-69.1\t173.9\n402d\tC\t-58.7\t168.5\n", "tsv")
    refused(path, r"columns without a number: 0 \('402d'\), 1 \('G'\); choose numeric columns, like columns='2,3'")
    assert read(path, columns="2-3").shape == (2, 2)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("x,y\n1,2\n3,4,5\n", "line 3 has 3 fields, line 2 has 2"),
        ("x,y\n1,2\n3\n", "line 3 has 1 fields"),
        ("x,y\n1,2\n\n3,four\n", "line 4: .*four"),
        ("x,y\n1,2\n3,\n", "line 3: "),
        ("1,2\n3,1_0\n", "line 2: "),
        ("1_0,2\n3,4\n", "columns without a number: 0"),
        ("1,,2\n3,4,5\n", "columns without a number: 1"),
        ("NA,NA\n1,2\n", "line 1: columns without a number"),
        (",\n1,2\n", "line 1: columns without a number"),
        ("x,y\n", "no row with a number"),
        ("# only\n# comments\n", "no row with a number"),
        ("\n\n", "no row with a number"),
        ("text\n" * 2000, "no row with a number"),
        ("1,5;2,5\n", "columns without a number"),
        ("1,2\n3,4\0\n", "binary data"),
        ("1,2\n" + "3" * 5_000_000 + ",4\n", "longer than"),
        ("1,2\n" * 11, "more points than the limit max_points=10"),
    ],
)
def test_refused_with_the_line(table, content, match):
    refused(table(content), match, max_points=10)


def test_ragged_rows_do_not_hide_behind_columns(table):
    refused(table("1,2,3\n4,5\n"), "line 2 has 2 fields", columns="0,1")
    refused(table('1,2,3\n"4",5\n'), "line 2 has 2 fields", columns="0,1")


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "1e999"])
def test_values_that_are_not_finite(table, value):
    refused(table(f"x,y\n1,2\n3,{value}\n"), "1 of 2 rows hold NaN or infinity, the first is row 1", InvalidInputError)


def test_latin_1_in_a_header_is_no_obstacle(table):
    assert torch.equal(read(table("größe,y,z\n".encode("latin-1") + BODY.encode())), EXPECTED)


def test_memory_stays_below_four_times_the_file(table):
    rows = np.random.default_rng(0).normal(size=(20_000, 3))
    path = table("\n".join(",".join(map(repr, row)) for row in rows.tolist()))
    read(path)
    tracemalloc.start()
    cloud = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert torch.equal(cloud, torch.from_numpy(rows)) and peak < 4 * path.stat().st_size
