"""What a `TrialLogger` and a `TrackClient` are made of: arguments, output, files, and the end."""

from __future__ import annotations

from track.front.arguments import as_dict, check_fields, check_kind, differing_arguments, differing_fields
from track.front.ending import LateNumbers, LogSignalHandler
from track.front.files import FileVerbs
from track.front.output import OutputVerbs

__all__ = [
    "FileVerbs",
    "LateNumbers",
    "LogSignalHandler",
    "OutputVerbs",
    "as_dict",
    "check_fields",
    "check_kind",
    "differing_arguments",
    "differing_fields",
]
