"""Logs: what is read is what was written, and what is wrong is named with its line."""

import numpy as np
import pytest

from altmarl_torch.errors import ArgumentError, FileFormatError, LogError
from altmarl_torch.games.logs.files import read_log
from altmarl_torch.games.logs.transitions import COLUMNS, Transitions
from altmarl_torch.support.npz import write_npz

HEADER = ",".join(COLUMNS)
ROW = "0,1,0.5,1,2,0,1.0,2"


def columns(rows=20, seed=0):
    draw = np.random.default_rng(seed)
    indices = {name: draw.integers(0, 4, rows) for name in COLUMNS if not name.startswith("r_")}
    return {**indices, "r_g": draw.normal(size=rows), "r_l": draw.random(rows) * 1e-7}


def written(tmp_path, *lines):
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
@pytest.mark.parametrize("numbered", [False, True])
def test_a_log_is_read_back_to_the_bit(tmp_path, suffix, numbered):
    more = {"episode": np.arange(20) // 5, "step": 2 * np.arange(20)} if numbered else {}
    log = Transitions.of(columns() | more)
    log.save(tmp_path / f"log{suffix}")
    again = read_log(tmp_path / f"log{suffix}")
    assert list(again.columns()) == list(log.columns())
    assert all(np.array_equal(again.columns()[name], column) for name, column in log.columns().items())


def test_columns_stand_in_any_order_between_others(tmp_path):
    path = written(
        tmp_path, "\ufeff time, sl_next ,r_l,al,sl,sg_next,r_g,ag,sg", "", '"2026-11-25",2,1.0,0,2,1,0.5,"1",0', "", ""
    )
    log = read_log(path)
    assert {name: column.tolist() for name, column in log.columns().items()} == {
        **{"sg": [0], "ag": [1], "r_g": [0.5], "sg_next": [1]},
        **{"sl": [2], "al": [0], "r_l": [1.0], "sl_next": [2]},
    }


def test_windows_lines_and_a_version_are_read(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(f"# altmarl-transitions 1\r\n{HEADER}\r\n{ROW}\r\n".encode())
    assert len(read_log(path)) == 1


def test_a_step_is_counted_once_however_many_agents_it_shows():
    table = {**{name: [0, 0, 1, 1] for name in COLUMNS}, "episode": [0] * 4, "step": [0, 0, 1, 1]}
    table["sg_next"] = [1, 1, 0, 0]
    assert Transitions.of(table).first_of_step.tolist() == [0, 2]
    assert Transitions.of({name: [0, 0, 1, 1] for name in COLUMNS}).first_of_step.tolist() == [0, 1, 2, 3]


LONGER = f"episode,step,{HEADER}"
MALFORMED = {
    "empty": ([""], r"is empty; expected a header with the columns sg, ag"),
    "header-alone": ([HEADER], "holds no transitions: there is nothing below the header"),
    "missing-columns": (["sg,ag,r_g", "0,0,0"], "line 1 lacks the columns sg_next, sl, al, r_l, sl_next; it has"),
    "bars": ([HEADER.replace(",", "|")], "line 1 lacks the columns.*semicolons or tabs"),
    "twice": ([f"{HEADER},sg", f"{ROW},0"], "line 1 has the column sg twice"),
    "version": (["# altmarl-transitions 2", HEADER, ROW], "line 1: '# altmarl-transitions 2'; expected"),
    "word": ([HEADER, ROW, "0,1,0.5,1,idle,0,1.0,2"], "line 3: sl is 'idle'; expected a number"),
    "nothing": ([HEADER, ROW, "0,1,,1,2,0,1.0,2"], "line 3: r_g is nan; expected a finite number"),
    "decimal comma": ([HEADER, ROW, ROW + ",5"], "line 3 has 9 cells; the header has 8"),
    "short": ([HEADER, ROW, ROW, "0,1,0.5"], "line 4 has 3 cells; the header has 8"),
    "nan": ([HEADER, "", ROW, "0,1,nan,1,2,0,1.0,2"], "line 4: r_g is nan; expected a finite number"),
    "inf": ([HEADER, "0,1,0.5,1,2,0,1e999,2"], "line 2: r_l is inf; expected a finite number"),
    "nan-state": ([HEADER, "nan,1,0.5,1,2,0,1,2"], "line 2: sg is nan"),
    "negative": ([HEADER, ROW, "-1,1,0.5,1,2,0,1,2", ROW], "line 3: sg is -1; expected a whole number in 0.."),
    "fraction": ([HEADER, "0,1.5,0.5,1,2,0,1,2"], "line 2: ag is 1.5; expected a whole number"),
    "huge": ([HEADER, "0,1e12,0.5,1,2,0,1,2"], "line 2: ag is 1000000000000; expected a whole number"),
    "unknown-state": ([HEADER, ROW, "0,1,0.5,1,2,0,1,3"], r"line 3: sl_next is 3; num_sl = 3: the states are 0..2"),
    "unknown-action": ([HEADER, "0,7,0.5,1,2,0,1,0"], r"line 2: ag is 7; num_ag = 2: the actions are 0..1"),
    "one-of-two": ([f"step,{HEADER}", f"0,{ROW}"], "only one of the columns episode and step"),
    "two-rewards": (
        [LONGER, f"3,0,{ROW}", f"3,0,{ROW.replace('0.5', '0.6')}"],
        "line 3: r_g is 0.6; line 2, of the same episode and step, has 0.5",
    ),
    "broken-episode": ([LONGER, f"0,0,{ROW}", f"0,1,{ROW}"], "line 3: sg is 0, but the step before, line 2, ended in"),
    "several": ([HEADER, "-1,1,0,1,2,0,1,2", "-1,1,0,1,2,0,1,2"], r"line 2: sg is -1 \(and 1 more like it\)"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_log_is_one_error_with_the_line(tmp_path, name):
    lines, message = MALFORMED[name]
    with pytest.raises(LogError, match=message) as caught:
        read_log(written(tmp_path, *lines), {"sl": 3, "ag": 2})
    assert "log.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "lacks the columns sg, ag"),
        ({name: [] for name in COLUMNS}, "holds no transitions"),
        ({name: ["up"] for name in COLUMNS}, "column r_g is an array of <U2"),
        ({name: [[0]] for name in COLUMNS}, r"shape \[1, 1\]; expected numbers, one for each row"),
        ({**{name: [0] for name in COLUMNS}, "al": [0, 0]}, "columns of different lengths"),
        ({**{name: [0, 0] for name in COLUMNS}, "al": [0, -2]}, "the log, row 1: al is -2"),
    ],
)
def test_a_malformed_table_is_one_error_with_the_row(table, message):
    with pytest.raises(LogError, match=message):
        Transitions.of(table)


def test_what_is_no_table_is_refused():
    with pytest.raises(ArgumentError, match="a log is a mapping of names to columns, not int"):
        Transitions.of(5)


def test_an_archive_of_another_kind_or_version_or_with_faults_is_refused(tmp_path):
    path = tmp_path / "log.npz"
    for kind, version, entries, message in [
        ("altmarl-game", 1, columns(), "format 'altmarl-game'"),
        ("altmarl-transitions", 2, columns(), "version 2"),
        ("altmarl-transitions", 1, {"sg": [0]}, "lacks the columns ag"),
        ("altmarl-transitions", 1, {**columns(), "sl": np.full(20, -1)}, "row 0: sl is -1"),
    ]:
        write_npz(path, kind, version, entries)
        with pytest.raises(FileFormatError, match=message):
            read_log(path)


def test_no_file_is_an_error_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_log(tmp_path / "nowhere.csv")


def test_binary_rubbish_named_csv_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(FileFormatError, match="UTF-8"):
        read_log(path)
