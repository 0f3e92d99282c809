"""What a `TrialLogger` and a `TrackClient` are made of: arguments, output, files, and the end."""

from __future__ import annotations

from track.front.arguments import (
    as_dict,
    check_fields,
    check_kind,
    differing_arguments,
    differing_fields,
    named_metrics,
)
from track.front.ending import LateNumbers, LogSignalHandler, ProgramEnd, as_interruption, finish_with
from track.front.files import FileVerbs
from track.front.output import OutputVerbs, Tee

__all__ = [
    "FileVerbs",
    "LateNumbers",
    "LogSignalHandler",
    "OutputVerbs",
    "ProgramEnd",
    "Tee",
    "as_dict",
    "as_interruption",
    "check_fields",
    "check_kind",
    "differing_arguments",
    "differing_fields",
    "finish_with",
    "named_metrics",
]
