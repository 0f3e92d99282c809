"""Tables: rows, columns, and data frames."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from track.errors import InvalidEvent, missing_extra
from track.media.arrays import as_array
from track.media.content import Content, check_size, is_made_by, refuse
from track.plain import to_number, to_plain, utf8
from track.shown import text_of

LINES, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"
INLINE = 64 * 1024
_MOST = 10_000_000
_FEW = 20_000
_GROUP = 10_000
_UNPACKED = 256 * 1024 * 1024
_WAY_OUT = "a table is a data frame, a list of rows (each a dict, or a list beside columns=[...]), or a dict of columns"

Rows = list[list[Any]]
_HEAD, _ROW = msgspec.json.Decoder(list[str]), msgspec.json.Decoder(list[Any])


def table_content(name: str, rows: Any, columns: Iterable[Any] | None) -> Content:
    """Return what is stored of a table: lines of JSON, or Parquet of what is large; InvalidEvent where it is none."""
    what = f"table {name!r}"
    names, found = _taken(what, rows, None if columns is None else list(map(text_of, columns)))
    names = list(map(utf8, names))
    if len(set(names)) < len(names):
        raise InvalidEvent(f"{what}: two of its columns have one name: {', '.join(map(repr, names))[:200]}")
    cells = len(names) * len(found)
    if cells > _MOST:
        raise InvalidEvent(
            f"{what} has {cells:,} cells, more than the {_MOST:,} that can be shown: write it to a file, as by "
            "to_parquet, and trial.log_file stores it"
        )
    facts = {"rows": len(found), "columns": len(names)}
    lines = _lines(names, found) if cells <= _FEW else b""
    if lines and len(lines) <= INLINE:
        return Content("table", lines, LINES, facts)
    data = _parquet(names, found)
    if data is not None:
        return Content("table", check_size(what, data), PARQUET, facts)
    return Content("table", check_size(what, lines or _lines(names, found)), LINES, facts)


def first_rows(data: bytes, kind: str, most: int, wide: int) -> tuple[list[str], Rows, int]:
    """Return columns and rows to show, at most so many of both, and how many rows are left; see `rows_in`.

    No more is unpacked than that takes: what is packed may be far more than it seems.
    """
    if kind == PARQUET:
        return _first_of_parquet(data, most, wide)
    names, rows = rows_in(data, kind)
    return names[:wide], [row[:wide] for row in rows[:most]], max(0, len(rows) - most)


def rows_in(data: bytes, kind: str) -> tuple[list[str], Rows]:
    """Return the names of the columns, and the rows, of a stored table.

    Raises MissingExtra where that needs pyarrow, ValueError or RecursionError where it is none.
    """
    if kind != PARQUET:
        head, *lines = data.splitlines() or [b""]
        names, rows = _HEAD.decode(head), [_ROW.decode(line) for line in lines]
        if any(len(row) != len(names) for row in rows):
            raise ValueError(f"not all of its rows have {len(names)} cells")
        return names, rows
    with _reading_parquet() as parquet:
        table = parquet.read_table(io.BytesIO(data))
        columns = [column.to_pylist() for column in table.columns]
        return list(table.column_names), list(map(list, zip(*columns, strict=True)))


@contextmanager
def _reading_parquet() -> Iterator[Any]:
    """Give what reads Parquet; ValueError where there is none, MissingExtra without pyarrow."""
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from pyarrow import parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("tables that are stored as Parquet need pyarrow", "pyarrow") from error
    try:
        yield parquet
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no Parquet: {error}") from error


def _first_of_parquet(data: bytes, most: int, wide: int) -> tuple[list[str], Rows, int]:
    with _reading_parquet() as parquet:
        # Texts are kept once each, as they are stored: a column of one long text would be as many copies of it.
        schema = parquet.ParquetFile(io.BytesIO(data)).schema
        leaves = [schema.column(place) for place in range(len(schema))]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        file = parquet.ParquetFile(io.BytesIO(data), read_dictionary=texts)
        names = file.schema_arrow.names[:wide]
        cells: list[list[Any]] = [[] for _ in names]
        total, seen, unpacked = file.metadata.num_rows, 0, 0
        for group in range(file.metadata.num_row_groups):
            if seen >= most:
                break
            unpacked += _unpacked(file.metadata.row_group(group))
            if unpacked > _UNPACKED:
                size, limit = unpacked >> 20, _UNPACKED >> 20
                raise ValueError(
                    f"its first rows are {size:,} MiB, more than the {limit} that are unpacked to be shown"
                )
            for batch in file.iter_batches(most, [group], names, use_threads=False):
                for column, kept in zip(batch.columns, cells, strict=True):
                    kept.extend(_listed_column(column[: most - seen]))
                seen += min(len(batch), most - seen)
                if seen >= most:
                    break
        return names, list(map(list, zip(*cells, strict=True))), max(0, total - seen)


def _unpacked(group: Any) -> int:
    """Return how many bytes a group of rows is, unpacked, as the file says; what says it is none is too much."""
    sizes = [chunk.total_uncompressed_size for chunk in map(group.column, range(group.num_columns))]
    return sum(sizes) if min(sizes, default=0) >= 0 else _UNPACKED + 1


def _listed_column(column: Any) -> list[Any]:
    if not hasattr(column, "indices"):
        return list(column.to_pylist())
    # One text is one object, in however many rows it is.
    places = column.indices.to_pylist()
    texts = {place: column.dictionary[place].as_py() for place in set(places) - {None}}
    return [texts.get(place) for place in places]


def _taken(what: str, rows: Any, columns: list[str] | None) -> tuple[list[str], Rows]:
    if is_made_by(rows, "pandas") and hasattr(rows, "itertuples"):
        return columns or list(map(text_of, rows.columns)), [
            list(row) for row in rows.itertuples(index=False, name=None)
        ]
    if is_made_by(rows, "polars") and hasattr(rows, "rows"):
        return columns or list(rows.columns), [list(row) for row in rows.rows()]
    if is_made_by(rows, "pyarrow") and hasattr(rows, "to_pylist"):
        rows = rows.to_pylist()
    if isinstance(rows, Mapping):
        names, lists = list(map(text_of, rows)), [_listed(what, column) for column in rows.values()]
        if len({len(column) for column in lists}) > 1:
            lengths = ", ".join(f"{name!r} {len(column)}" for name, column in zip(names, lists, strict=True))
            raise InvalidEvent(f"{what}: its columns are not of one length: {lengths[:200]}")
        return names, list(map(list, zip(*lists, strict=True)))
    if isinstance(rows, (str, bytes)):
        raise refuse(what, rows, _WAY_OUT)
    found = _listed(what, rows)
    if found and all(isinstance(row, Mapping) for row in found):
        texts = [{text_of(name): cell for name, cell in row.items()} for row in found]
        names = columns or list(dict.fromkeys(name for row in texts for name in row))
        return names, [[row.get(name) for name in names] for row in texts]
    lists = [_listed(what, row) for row in found]
    width = len(columns) if columns is not None else len(lists[0]) if lists else 0
    uneven = next((place for place, row in enumerate(lists) if len(row) != width), None)
    if uneven is not None:
        raise InvalidEvent(f"{what}: row {uneven} has {len(lists[uneven])} cells for {width} columns; {_WAY_OUT}")
    return columns or list(map(str, range(width))), lists


def _listed(what: str, values: Any) -> list[Any]:
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return list(values)
    if hasattr(values, "to_list"):
        return list(values.to_list())
    array: Any = None if isinstance(values, (str, bytes, Mapping)) else as_array(values)
    made = array.tolist() if hasattr(array, "tolist") else array
    if isinstance(made, list):
        return made
    raise refuse(what, values, _WAY_OUT)


def _lines(names: list[str], rows: Rows) -> bytes:
    return b"\n".join(map(msgspec.json.encode, [names, *([_cell(cell) for cell in row] for row in rows)])) + b"\n"


def _cell(value: Any) -> Any:
    """Return what JSON says of a cell: numbers and texts as they are, what is missing as null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # Those of numpy, and of an enum, are texts of another type.
        return utf8(str.__str__(value))
    number = to_number(value)
    if number is not None:
        if isinstance(number, float) and not math.isfinite(number):
            return None if math.isnan(number) else str(number)
        return number
    if isinstance(value, (list, tuple, dict)):
        plain = to_plain(value)
        return plain if isinstance(value, (list, dict)) else list(plain) if isinstance(plain, list) else text_of(value)
    text = utf8(text_of(value))
    return None if text in ("NaT", "<NA>") else text


def _parquet(names: list[str], rows: Rows) -> bytes | None:
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from pyarrow import parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    made = io.BytesIO()
    try:
        arrays = [pyarrow.array([_cell(cell) for cell in column]) for column in columns]
        table = pyarrow.Table.from_arrays(arrays, names=names)
        # Who looks at its first rows unpacks no more than the first group.
        parquet.write_table(table, made, compression="zstd", row_group_size=_GROUP)
    except (pyarrow.ArrowException, OverflowError):
        # Numbers and texts in one column are nothing for it.
        return None
    return made.getvalue()
