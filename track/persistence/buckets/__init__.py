"""Metrics of many points in few buckets: what a chart draws, of all trials on one grid of x.

`question` says what can be asked, `result` what is answered. `columns` is what is known of a metric; `arrays` (numpy)
and `plain` (without) sort it along x and put it into buckets, alike, and `asking` does so for trial after trial. What
took long to make is kept by `lines`, and of the others a `pyramid`. Of very many points on disk `heads` reads few, with
the `table` of what their chunks come to.
"""

from track.persistence.buckets.asking import NOWHERE, bucketed, engine, found_by_points, in_turns, joined
from track.persistence.buckets.cache import Kept
from track.persistence.buckets.columns import Curve, Found, relative
from track.persistence.buckets.heads import ChunkedLine, Looked, Part, sums_of
from track.persistence.buckets.lines import Source, kept_line, line_from
from track.persistence.buckets.question import BY_STEP, MOST_BUCKETS, MOST_CELLS, Question, uids_of
from track.persistence.buckets.result import Buckets, TrialBuckets

__all__ = [
    "BY_STEP",
    "MOST_BUCKETS",
    "MOST_CELLS",
    "NOWHERE",
    "Buckets",
    "ChunkedLine",
    "Curve",
    "Found",
    "Kept",
    "Looked",
    "Part",
    "Question",
    "Source",
    "TrialBuckets",
    "bucketed",
    "engine",
    "found_by_points",
    "in_turns",
    "joined",
    "kept_line",
    "line_from",
    "relative",
    "sums_of",
    "uids_of",
]
