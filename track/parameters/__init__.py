"""The parameters that classes and functions declare: found in their source, of which nothing is run."""

from __future__ import annotations

from track.parameters.casting import as_data, cast, copied, is_data, is_text_of_object, restored
from track.parameters.help import annotation_text, help_line, parameters_section, shown_default
from track.parameters.source import Described, described_arguments
from track.parameters.typed import Parameter, TypedMeta, param

__all__ = [
    "Described", "Parameter", "TypedMeta", "annotation_text", "as_data", "cast", "copied", "described_arguments",
    "help_line", "is_data", "is_text_of_object", "param", "parameters_section", "restored", "shown_default",
]  # fmt: skip
