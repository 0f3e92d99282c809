"""Points of metrics as rows of Parquet, in which each number, step and time is as it is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from track.aggregators.aggregator import TimeSeriesAggregator
from track.briefs import Brief
from track.containers.arrays import import_numpy
from track.containers.series import Series
from track.errors import missing_extra
from track.metrics import briefs_of
from track.plain import nearest_double, to_plain
from track.structure import Trial

_GROUP = 100_000
_EXACT = 2**53


def import_parquet() -> tuple[Any, Any]:
    """Return pyarrow, and what it has for Parquet; MissingExtra where it is not installed."""
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from pyarrow import parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("--parquet needs pyarrow", "pyarrow") from error
    return pyarrow, parquet


def write_points(trials: Iterable[Trial], file: Any) -> None:
    """Write the points of trials to a file, with the columns that those of a folder have, but ``take``.

    A metric that keeps no points is a row that says its value.
    """
    arrow, parquet = import_parquet()
    whole = schema_of_points(arrow)
    schema = whole.remove(whole.get_field_index("take"))
    kept: list[Any] = []
    rows = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:

        def write() -> None:
            table = arrow.Table.from_batches(kept, whole).unify_dictionaries()
            writer.write_table(table.select(schema.names), row_group_size=max(1, len(table)))
            kept.clear()

        for batch in _batches(arrow, trials):
            kept.append(batch)
            rows += len(batch)
            if rows >= _GROUP:
                write()
                rows = 0
        write()


def _batches(arrow: Any, trials: Iterable[Trial]) -> Iterator[Any]:
    for trial in trials:
        for name, brief in briefs_of(trial.metrics).items():
            columns = Columns(_as_points(trial.metrics[name], brief))
            for begin in range(0, columns.size, _GROUP):
                yield batch_of_points(arrow, trial.uid, name, columns, begin, min(columns.size, begin + _GROUP))


def _as_points(container: Any, brief: Brief) -> Any:
    if has_points(container):
        return container
    value = TimeSeriesAggregator()
    value.append(brief.last)
    return value


def has_points(container: Any) -> bool:
    """Return whether a metric keeps each of its points."""
    return isinstance(container, (Series, TimeSeriesAggregator))


def dumps(plain: Any) -> str:
    """Return JSON-safe data as JSON."""
    return json.dumps(plain, ensure_ascii=False)


def _json(value: Any) -> str:
    return dumps(to_plain(value))


def schema_of_points(arrow: Any) -> Any:
    """Return the names and types of the columns that points have."""
    text, number, whole = arrow.string(), arrow.float64(), arrow.int64()
    often = arrow.dictionary(arrow.int32(), text)
    kinds = {"trial": often, "metric": often, "position": whole, "step": whole, "step_odd": text}
    kinds |= {"value": number, "value_odd": text, "at": number, "take": arrow.int32()}
    return arrow.schema(kinds.items())


class Columns:
    """Points of a metric as they are shown, in arrays."""

    def __init__(self, container: Any) -> None:
        self.steps, self.values, self.times = container.to_numpy(times=True)
        self.size = len(self.values)
        self._has_steps = isinstance(container, Series) or self.steps.dtype == object

    def digest(self, count: int) -> str:
        """Return a sum of the first points, `-` where there are fewer."""
        if count > self.size:
            return "-"
        total = hashlib.blake2b(digest_size=12)
        for column in (self.steps[:count], self.values[:count], self.times[:count]):
            plain = column.dtype == object
            total.update(_json(column.tolist()).encode() if plain else import_numpy().ascontiguousarray(column).data)
        return total.hexdigest()

    def numbers(self, first: int, end: int) -> tuple[Any, list[str | None] | None]:
        """Return the values as doubles, and as JSON those which that does not say."""
        values = self.values[first:end]
        if values.dtype.kind == "f" or (values.dtype.kind in "iu" and bool((abs(values) <= _EXACT).all())):
            return values.astype("float64"), None
        given = values.tolist()
        odd = [None if type(one) is float or (type(one) is int and abs(one) <= _EXACT) else _json(one) for one in given]
        return import_numpy().array([nearest_double(one) for one in given], "float64"), odd

    def places(self, first: int, end: int) -> tuple[Any, list[str | None] | None]:
        """Return the steps as integers, and as JSON those that are none."""
        if not self._has_steps:
            return [None] * (end - first), None
        steps = self.steps[first:end]
        if steps.dtype.kind == "i":
            return steps, None
        given = steps.tolist()
        is_whole = [type(step) is int and -(2**63) <= step < 2**63 for step in given]
        whole = [step if fits else None for step, fits in zip(given, is_whole, strict=True)]
        odd = [None if fits or step is None else _json(step) for step, fits in zip(given, is_whole, strict=True)]
        return whole, odd


def batch_of_points(  # noqa: PLR0917 - a point has as many parts
    arrow: Any, uid: str, name: str, columns: Columns, begin: int, end: int, take: int = 0
) -> Any:
    """Return points of a metric from one position to another one as rows."""
    numpy, size, schema = import_numpy(), end - begin, schema_of_points(arrow)
    steps, odd_steps = columns.places(begin, end)
    values, odd_values = columns.numbers(begin, end)
    times = columns.times[begin:end]
    # Not from pandas: not a number is a number here.
    found = {
        "trial": _same(arrow, numpy, uid, size),
        "metric": _same(arrow, numpy, name, size),
        "position": arrow.array(numpy.arange(begin, end), arrow.int64()),
        "step": arrow.array(steps, arrow.int64()),
        "step_odd": _texts(arrow, odd_steps, size),
        "value": arrow.array(values, arrow.float64(), from_pandas=False),
        "value_odd": _texts(arrow, odd_values, size),
        "at": arrow.array(times, arrow.float64(), mask=times == 0),
        "take": arrow.array(numpy.full(size, take, numpy.int32), arrow.int32()),
    }
    return arrow.record_batch([found[field.name] for field in schema], schema)


def as_text(value: Any) -> Any:
    """Return a text as one that has a UTF-8 form, and others as they are."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _same(arrow: Any, numpy: Any, text: str, size: int) -> Any:
    places = arrow.array(numpy.zeros(size, numpy.int32), arrow.int32())
    return arrow.DictionaryArray.from_arrays(places, arrow.array([as_text(text)], arrow.string()))


def _texts(arrow: Any, texts: list[str | None] | None, size: int) -> Any:
    return arrow.nulls(size, arrow.string()) if texts is None else arrow.array(texts, arrow.string())
