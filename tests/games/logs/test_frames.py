"""Logs in other libraries' tables, none of which the package imports: known by what they can do."""

import decimal

import numpy as np
import pytest

import altmarl_torch as am
from altmarl_torch.games.logs.frames import opened

COLUMNS = am.collect(am.games.steer(n=10), 2, explore=0.3, steps=30, trajectories=2, seed=1).to_columns()


class Stream:
    """What any library that speaks Arrow has in common."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Later:
    """A query that is not computed yet."""

    def collect(self):
        raise AssertionError("nobody asked for it")


def same(log):
    return all(np.array_equal(log.to_columns()[name], COLUMNS[name]) for name in COLUMNS)


def test_what_has_no_columns_by_name_is_named():
    with pytest.raises(am.ArgumentError, match="not list"):
        am.Transitions.of([{"sg": 0}])
    with pytest.raises(am.ArgumentError, match="a Later is not computed yet: collect it"):
        am.Transitions.of(Later())


def test_a_stream_without_pyarrow_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(am.MissingExtraError, match=r"pip install 'altmarl-torch\[parquet\]'"):
        opened(Stream(None))


def test_decimals_are_numbers_and_nullable_columns_are_named_with_their_row():
    exact = [decimal.Decimal(str(value)) for value in COLUMNS["r_l"].tolist()]
    assert same(am.Transitions.of(COLUMNS | {"r_l": exact}))
    with pytest.raises(am.LogError, match="row 3: sl is nan"):
        am.Transitions.of(COLUMNS | {"sl": [None if row == 3 else value for row, value in enumerate(COLUMNS["sl"])]})
    masked = np.ma.masked_array(COLUMNS["sl"], mask=np.arange(len(COLUMNS["sl"])) == 3)
    with pytest.raises(am.LogError, match=r"column sl\[3\] is masked"):
        am.Transitions.of(COLUMNS | {"sl": masked})


@pytest.mark.parametrize("of", [lambda table: table, lambda table: table.to_reader(), Stream])
def test_arrow_tables_and_streams_are_logs(of):
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table(COLUMNS)
    assert same(am.Transitions.of(of(table)))
    holed = [None if row == 3 else value for row, value in enumerate(COLUMNS["sl"].tolist())]
    with pytest.raises(am.LogError, match="row 3: sl is nan"):
        am.Transitions.of(of(table.set_column(table.column_names.index("sl"), "sl", arrow.array(holed))))
    with pytest.raises(am.LogError, match="lacks the columns sl;"):
        am.Transitions.of(of(table.drop_columns(["sl"])))


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_the_nullable_columns_of_pandas_are_logs(backend):
    pandas = pytest.importorskip("pandas")
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(COLUMNS).convert_dtypes(dtype_backend=backend)
    assert same(am.Transitions.of(frame))
    frame.loc[3, "sl"] = pandas.NA
    with pytest.raises(am.LogError, match="row 3: sl is nan"):
        am.Transitions.of(frame)


def test_frames_of_polars_are_logs_and_lazy_ones_are_to_be_collected():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(COLUMNS)
    assert same(am.Transitions.of(frame))
    with pytest.raises(am.ArgumentError, match="LazyFrame is not computed yet"):
        am.Transitions.of(frame.lazy())
