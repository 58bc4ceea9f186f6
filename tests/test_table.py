"""A table says what is meant, or is refused with its name and the line."""

import re
from pathlib import Path

import pytest

from pictures import folder
from vit.data import listing, table


@pytest.fixture
def root(tmp_path) -> Path:
    return folder(tmp_path / "root", {"": 2, "a": 2})


def read(root: Path, text: str | bytes) -> list[dict[str, str]]:
    data = text if isinstance(text, bytes) else text.encode()
    (root / "labels.csv").write_bytes(data)
    return table.rows_of(root, root / "labels.csv")


ROW = {"file": "0000.jpg", "label": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "file,label\n0000.jpg,x\n",
        "file,label\n0000.jpg,x",
        "file,label\r\n0000.jpg,x\r\n",
        "file,label\r0000.jpg,x\r",
        "\ufefffile,label\n0000.jpg,x\n",
        "file, label\n0000.jpg, x\n",
        " file ,\tlabel \n 0000.jpg ,\tx \n",
        '"file","label"\n"0000.jpg","x"\n',
        "\n\nfile,label\n\n0000.jpg,x\n\n",
        "label,note,file,note\nx,1,./0000.jpg,2\n",
        "file,label,,\n0000.jpg,x,,\n",
        'note,file,label\n"two\nlines",a/../0000.jpg,x\n',
        "file,label\n0000.jpg,x,,\n",
    ],
)
def test_a_table_may_be_written_as_programs_write_it(root, text):
    assert read(root, text) == [ROW]


def test_a_row_that_ends_early_has_empty_cells(root):
    assert read(root, "file,label\n0000.jpg\n") == [{"file": "0000.jpg", "label": ""}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,label\n0000.jpg,x\n../x.jpg,x\n", "line 3: ../x.jpg lies outside .*root; name"),
        ("file,label\na/../../x.jpg,x\n", "line 2: ../x.jpg lies outside"),
        ("file,label\n..,x\n", "line 2: .. lies outside"),
        ("file,label\n/etc/passwd,x\n", "line 2: /etc/passwd lies outside"),
        ("file,label\n//etc/passwd,x\n", "line 2: //etc/passwd lies outside"),
        ("file,label\n.,x\n", "line 2: .* is not there"),
        ("file,label\na,x\n", "line 2: .*root/a is not there"),
        ("file,label,label\n0000.jpg,x,y\n", ": 2 columns are called label; keep one"),
        ("file,label, label\n0000.jpg,x,x\n", ": 2 columns are called label; keep one"),
        ("file,file,label\n0000.jpg,0001.jpg,x\n", ": 2 columns are called file; keep one"),
        ("file,label,split,split\n0000.jpg,x,test,train\n", ": 2 columns are called split"),
        ("", ": needs columns file and label .or labels., holds nothing"),
        ("\n\n\n", ": needs columns file and label .or labels., holds nothing"),
        ("file,label\n", ": no row below the header; write one a picture"),
        ("file;label\n0000.jpg;x\n", ": needs columns file and label .*, holds file;label"),
        ("file,label\n0000.jpg,cat, black\n", "line 2: 3 cells below 2 columns; put quotes"),
        ("file,label\n\n\n0009.jpg,x\n", "line 4: .*0009.jpg is not there"),
        ('note,file,label\n"a\nb",0000.jpg,x\n,0009.jpg,x\n', "line 4: .*0009.jpg is not there"),
        ('file,label\n0000.jpg,"x\n0001.jpg,x\n', "line 2: unexpected end of data; close each"),
        ('file,label\n0000.jpg,"x\n0001.jpg,"y\n', "line 2: .* expected after"),
        ('file,label\n0000.jpg,"x\n0001.jpg,y"\n', "line 2: the column label holds a line break"),
        ('file,label,n\n0000.jpg,x,"\n0001.jpg,y,z\n', "line 2: unexpected end of data"),
        ("file,label\n0000.jpg,x\n0001.jpg," + "y" * 140_000, "line 3: field larger than field"),
        ('file,label\n0000.jpg,"x\n' + "0001.jpg,y\n" * 20_000, "line 2: field larger than"),
        (b"file,label\n0000.jpg,x\0y\n", r"line 2: the column label holds .* a NUL byte \('x"),
        (b"file,label\n00\x0000.jpg,x\n", "line 2: the column file holds a line break or a NUL"),
        ("file,label\n0000.jpg,x\n".encode("utf-16-le"), r": needs columns .*, holds 'f\\x00i"),
        ("file,label\n0000.jpg,x\n".encode("utf-16"), ": is not UTF-8; save it as CSV UTF-8"),
        (b"file,label\n0000.jpg,caf\xe9\n", ": is not UTF-8; save it as CSV UTF-8"),
        (b"\x00" * 5000, ": needs columns file and label"),
    ],
)
def test_a_table_that_cannot_be_used_names_its_line(root, text, told):
    place = re.escape(str(root / "labels.csv"))
    with pytest.raises((ValueError, FileNotFoundError), match=f"^{place}(, )?{told}") as caught:
        read(root, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + 2 * len(place)


def test_a_million_columns_are_neither_kept_nor_repeated(root):
    names = ",".join(f"c{i}" for i in range(1_000_000))
    row = read(root, f"{names},file,label\n{',' * 1_000_000}0000.jpg,x\n")
    assert row == [ROW]
    with pytest.raises(ValueError, match=r"holds c0, c1, c2, c3, c4, c5, c6, c7, c8, c9$"):
        read(root, f"{names}\n{names}\n")


def test_a_table_that_cannot_be_read_is_named(root, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"^data.labels: .*nowhere.csv is no file; give a"):
        listing.survey(root, root / "nowhere.csv")
    (root / "labels.csv").write_text("file,label\n0000.jpg,x\n")

    def torn(*how, **more):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", torn)
    with pytest.raises(ValueError, match=r"labels.csv: cannot be read .Input/output error.; copy"):
        table.rows_of(root, root / "labels.csv")
