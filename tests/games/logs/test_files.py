"""Files of logs are told apart by what is in them; what is none is refused by a message that names the formats."""

import bz2
import gzip
import io
import zipfile

import numpy as np
import pytest

import altmarl_torch as am
from altmarl_torch.errors import FileFormatError, LogError
from altmarl_torch.games.logs.transitions import COLUMNS, Transitions

DRAW = np.random.default_rng(0)
COLS = {name: DRAW.integers(0, 2, 50) for name in COLUMNS} | {"r_l": DRAW.normal(size=50), "r_g": DRAW.random(50)}


def text(delimiter=",", decimal=".", note=None):
    names = [*COLUMNS, *(["note"] if note else [])]
    rows = zip(*(COLS[name].tolist() for name in COLUMNS), strict=True)
    cells = [[repr(cell).replace(".", decimal) for cell in row] + ([note] if note else []) for row in rows]
    return "\n".join(delimiter.join(row) for row in [names, *cells]) + "\n"


def archive(save):
    file = io.BytesIO()
    save(file, format="altmarl-transitions", version=1, **COLS)
    return file.getvalue()


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, text())
    return file.getvalue()


READ = {
    "fleet.csv": text().encode(),
    "FLEET.CSV": text().encode(),
    "fleet.txt": text().encode(),
    "fleet": text().encode(),
    "fleet.tsv": text("\t").encode(),
    "fleet.csv.gz": gzip.compress(text().encode()),
    "fleet.npz.gz": gzip.compress(text("\t").encode()),
    "semicolons.csv": text(";").encode(),
    "decimal-commas.csv": text(";", ",").encode(),
    "decimal-commas.tsv": text("\t", ",").encode(),
    "utf16.csv": text().encode("utf-16"),
    "bom.csv": text().encode("utf-8-sig"),
    "old-mac.csv": text().replace("\n", "\r").encode(),
    "windows.csv": text().replace("\n", "\r\n").encode(),
    "form-feed.csv": text(note="valve\x0copen").encode(),
    "nel.csv": text(note="valve\x85open\u2028\x0b\x1c").encode(),
    "quoted-lines.csv": text(note='"two\nlines, one cell"').encode(),
    "savez.npz": archive(np.savez),
    "savez-compressed.npz": archive(np.savez_compressed),
    "archive.csv": archive(np.savez),
}


@pytest.mark.parametrize("name", READ)
def test_a_log_is_known_by_what_is_in_it(tmp_path, name):
    (tmp_path / name).write_bytes(READ[name])
    log = am.read_log(tmp_path / name)
    assert all(np.array_equal(getattr(log, column), COLS[column]) for column in COLUMNS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(range(256)) * 9, "no text in UTF-8 or UTF-16"),
        (b"\0\0\0\0", "no text"),
        (b"PK\x03\x04" + bytes(100), "is a damaged archive"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Excel workbook: save the sheet as CSV"),
        (zipped("fleet.csv"), "is an archive of 'fleet.csv': unpack it"),
        (bz2.compress(text().encode()), "is bzip2; write it as .csv.gz"),
        (b"SQLite format 3\0" + bytes(100), "is an SQLite database; write the table as CSV"),
        (b"\x89HDF\r\n" + bytes(100), "is HDF5"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "lacks the columns"),
        (gzip.compress(text().encode(), mtime=0)[:-9], "is damaged"),
        (b"PAR1" + bytes(100), "Parquet"),
        (text("|").encode(), "lacks the columns"),
    ],
)
def test_other_files_are_refused_by_the_formats_that_there_are(tmp_path, content, message):
    path = tmp_path / "fleet.csv"
    path.write_bytes(content)
    with pytest.raises((LogError, FileFormatError), match=message) as caught:
        am.read_log(path)
    if "damaged" not in message and "Parquet" not in message:
        assert all(word in str(caught.value) for word in (".csv.gz", "semicolons", "npz", "Parquet"))


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("altmarl_torch.games.logs.files.LARGEST_CSV", 1000)
    for name, content in (("bomb.gz", gzip.compress(bytes(10_000))), ("bomb.npz", archive(np.savez_compressed))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=r"unpacks to more|bytes; at most"):
            am.read_log(tmp_path / name)


def test_lines_are_counted_as_an_editor_does(tmp_path):
    path = tmp_path / "log.csv"
    rows = text(note='"two\nlines"').split("\n")
    rows[41] = "-1" + rows[41][1:] if rows[41][0].isdigit() else rows[41]
    path.write_text("\n".join(rows), newline="")
    with pytest.raises(LogError, match=r"line 42: sg is -1"):
        am.read_log(path)


def test_parquet_is_read_where_pyarrow_is(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({name: pyarrow.array(column) for name, column in COLS.items()})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "fleet.parquet")
    assert np.array_equal(am.read_log(tmp_path / "fleet.parquet").r_l, COLS["r_l"])
    assert np.array_equal(Transitions.of(table).sl, COLS["sl"])


def test_a_frame_with_nullable_columns_is_read_and_what_it_does_not_know_is_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLS).astype(dict.fromkeys((n for n in COLUMNS if n[0] != "r"), "Int64"))
    assert np.array_equal(Transitions.of(frame).sl, COLS["sl"])
    frame.loc[3, "sl"] = pandas.NA
    with pytest.raises(LogError, match=r"row 3: sl is nan; expected a finite number"):
        Transitions.of(frame)


def test_none_and_masks_are_not_known():
    for column in ([None, *COLS["sl"].tolist()[1:]], np.ma.masked_array(COLS["sl"], mask=[True] + [False] * 49)):
        with pytest.raises(LogError, match=r"sl is nan|sl\[0\] is masked"):
            Transitions.of(COLS | {"sl": column})


def test_a_structured_array_is_a_table():
    table = np.rec.fromarrays([COLS[name] for name in COLUMNS], names=list(COLUMNS))
    assert np.array_equal(Transitions.of(table).r_l, COLS["r_l"])
