"""What an experiment is made of, for those who manage many: its files, its record, what its status is called."""

from __future__ import annotations

from track.configuration import ATTEMPT_VARIABLE
from track.experiment.ending import TimeLimit, put_back_into_queue
from track.experiment.messages import changed_notes
from track.experiment.names import folder_name
from track.experiment.params import DEFAULTS, NAME, SPECIAL, TRIAL, as_now, load_file
from track.experiment.record import (
    FOLDER_VARIABLE,
    SET_FILE,
    SET_FOLDER,
    TRIAL_VARIABLE,
    Place,
    Record,
    as_metadata,
    is_uid,
    messages_in,
    notes_in,
    place_of,
)  # fmt: skip
from track.experiment.scripts import make_runnable, write_program
from track.experiment.status import NAMES, REGISTERED, RUNNING, name_of, status_of
from track.experiment.times import NAMES as TIMES
from track.experiment.times import stamp

__all__ = [
    "ATTEMPT_VARIABLE",
    "DEFAULTS",
    "FOLDER_VARIABLE",
    "NAME",
    "NAMES",
    "REGISTERED",
    "RUNNING",
    "SET_FILE",
    "SET_FOLDER",
    "SPECIAL",
    "TIMES",
    "TRIAL",
    "TRIAL_VARIABLE",
    "Place",
    "Record",
    "TimeLimit",
    "as_metadata",
    "as_now",
    "changed_notes",
    "folder_name",
    "is_uid",
    "load_file",
    "make_runnable",
    "messages_in",
    "name_of",
    "notes_in",
    "place_of",
    "put_back_into_queue",
    "stamp",
    "status_of",
    "write_program",
]  # fmt: skip
