"""What other trackers call it, and what it is called here: for the errors about names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from track.errors import UnknownAttribute, suggestion

_METRICS = "trial.log_metrics(step=epoch, loss=loss)"
_ARGUMENTS = "trial.log_arguments(lr=0.1)"
_METADATA = "trial.log_metadata(gpu='V100')"
_TAGS = "trial.add_tags(paper='v2')"
_FILE = "trial.log_file('plot.png')"
_IMAGE = "trial.log_image('sample', image, step=epoch)"
_FOLDER = "trial.log_directory('plots')"
_BEGIN = "trial = TrackClient('file://report.json').new_trial(name='baseline')"
_PROJECT = "client.set_project(name='digits')"
_STORE = "TrackClient('file://report.json')"
_FIND = "track.fetch('file://report.json', {'parameters.lr': 0.1})"
_END = "trial.finish(), or the end of `with trial:`"
_TIME = "trial.chrono('epoch_time')"
_MACHINE = "trial.monitor(every=10), or TRACK_MONITOR=10"

HERE = {
    # numbers: wandb, mlflow, aim, neptune, comet, clearml, tensorboard
    **dict.fromkeys(("log", "log_metric", "log_scalar", "log_scalars", "log_dict", "log_batch"), _METRICS),
    **dict.fromkeys(("track", "append", "extend", "report_scalar", "scalar", "define_metric"), _METRICS),
    **dict.fromkeys(("add_scalar", "add_scalars"), _METRICS),
    # parameters
    **dict.fromkeys(("config", "log_param", "log_params", "log_parameter", "log_parameters", "params"), _ARGUMENTS),
    **dict.fromkeys(("log_hyperparams", "log_hparams", "add_hparams", "hparams", "connect"), _ARGUMENTS),
    # facts
    **dict.fromkeys(("summary", "log_other", "log_others", "log_json", "log_summary"), _METADATA),
    **dict.fromkeys(("log_system_info", "set_property"), _METADATA),
    **dict.fromkeys(("set_tag", "set_tags", "add_tag", "log_tag", "log_tags", "tags"), _TAGS),
    # files
    **dict.fromkeys(("log_model", "log_asset", "upload_file", "upload_artifact", "add_graph"), _FILE),
    **dict.fromkeys(("log_artifacts", "log_asset_folder", "upload_files", "log_dir"), _FOLDER),
    # what is looked at
    **dict.fromkeys(("log_images", "add_image", "add_images", "Image"), _IMAGE),
    **dict.fromkeys(("add_figure", "log_confusion_matrix"), "trial.log_figure('curve', figure)"),
    **dict.fromkeys(("add_histogram", "Histogram"), "trial.log_histogram('weights', values)"),
    "Table": "trial.log_table('answers', rows)",
    "add_text": "trial.log_text('answer', text)",
    **dict.fromkeys(("add_audio", "Audio"), "trial.log_audio('voice', samples, rate=16000)"),
    **dict.fromkeys(("add_video", "Video"), "trial.log_video('play', 'play.mp4')"),
    "Html": "trial.log_html('page', html)",
    # a run and where it is
    **dict.fromkeys(("init", "start_run", "init_run", "create_run", "new_run", "start_trial"), _BEGIN),
    **dict.fromkeys(("Run", "Task", "SummaryWriter", "Logger"), _BEGIN),
    **dict.fromkeys(("set_experiment", "create_experiment", "init_project"), _PROJECT),
    **dict.fromkeys(("set_tracking_uri", "Client", "MlflowClient", "Repo", "login"), _STORE),
    **dict.fromkeys(("search_runs", "get_run", "list_runs", "query_runs", "runs", "Api"), _FIND),
    **dict.fromkeys(("end_run", "end", "stop", "close", "terminate", "mark_completed"), _END),
    **dict.fromkeys(("timer", "time", "timeit"), _TIME),
    **dict.fromkeys(("enable_system_metrics_logging", "set_system_metrics_sampling_interval"), _MACHINE),
}


class Elsewhere:
    """What other trackers have as an attribute: there is none here, and the error says what it is called.

    As a descriptor of the class it costs the attributes that do exist nothing, as `__getattr__` would.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        """Raise UnknownAttribute."""
        raise UnknownAttribute(f"{owner.__name__!r} object has no attribute {self._name!r}{way_out(self._name, ())}")


def way_out(name: str, known: Iterable[str]) -> str:
    """Return what to write for a name that does not exist, ready to follow a message; '' where nothing is near.

    Examples
    --------
    >>> way_out("log_param", [])
    '; here it is trial.log_arguments(lr=0.1)'
    >>> way_out("log_metrisc", ["log_metrics"])
    "; did you mean 'log_metrics'?"
    """
    here = HERE.get(name)
    return f"; here it is {here}" if here else suggestion(name, known)
