"""What a `TrialLogger` and a `TrackClient` are made of: arguments, output, files, and the end."""

from __future__ import annotations

from track.front.alerts import Alert, AlertVerbs, alerts_in, alerts_told
from track.front.arguments import (
    as_dict,
    check_fields,
    check_kind,
    differing_arguments,
    differing_fields,
    named_metadata,
    named_metrics,
    show_arguments,
    take_parameters,
)
from track.front.blocks import LoggerChronoContext
from track.front.choosing import (
    Current,
    enter_block,
    identity,
    innermost_block,
    is_other,
    leave_block,
    own_choice,
    parent_in,
    tell_fields_stay,
    tell_nothing_is_stored,
    tell_trial_stays,
    tell_what_stays,
    unfinished,
)
from track.front.elsewhere import attach, pickled_uri, with_password
from track.front.ending import LateNumbers, LogSignalHandler, ProgramEnd, as_interruption, finish_with
from track.front.environment import checked_parts, record_environment
from track.front.files import FileVerbs
from track.front.live import LINE, OUTPUT, pieces_of
from track.front.media import MediaVerbs
from track.front.opening import key_hash, named_trial, open_keyed, resume_rule, store_trial
from track.front.output import OutputVerbs, Tee
from track.front.reserving import require_queue, reserve, waiting_query
from track.front.system import PEAK, SystemVerbs

__all__ = [
    "LINE",
    "OUTPUT",
    "PEAK",
    "Alert",
    "AlertVerbs",
    "Current",
    "FileVerbs",
    "LateNumbers",
    "LogSignalHandler",
    "LoggerChronoContext",
    "MediaVerbs",
    "OutputVerbs",
    "ProgramEnd",
    "SystemVerbs",
    "Tee",
    "alerts_in",
    "alerts_told",
    "as_dict",
    "as_interruption",
    "attach",
    "check_fields",
    "check_kind",
    "checked_parts",
    "differing_arguments",
    "differing_fields",
    "enter_block",
    "finish_with",
    "identity",
    "innermost_block",
    "is_other",
    "key_hash",
    "leave_block",
    "named_metadata",
    "named_metrics",
    "named_trial",
    "open_keyed",
    "own_choice",
    "parent_in",
    "pickled_uri",
    "pieces_of",
    "record_environment",
    "require_queue",
    "reserve",
    "resume_rule",
    "show_arguments",
    "store_trial",
    "take_parameters",
    "tell_fields_stay",
    "tell_nothing_is_stored",
    "tell_trial_stays",
    "tell_what_stays",
    "unfinished",
    "waiting_query",
    "with_password",
]
