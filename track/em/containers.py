"""The parameters of a run: a mapping that says when it changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from track.fields import given_fields
from track.plain import printable, restore, to_plain
from track.shown import shown


class Params(MutableMapping[str, Any]):
    """Parameters by name, as items and as attributes.

    A name that is a method's (``update``, ``items``) or begins with an underscore is an item only.

    Parameters
    ----------
    upload: callable
        Called without arguments after every change.
    init_hparams: dict, optional
        The first parameters; they are no change.

    Raises
    ------
    TypeError
        They have no names, or a name is no text.

    Examples
    --------
    >>> params = Params(lambda: None, {"lr": 0.1})
    >>> params.batch_size = 32
    >>> params["batch_size"], params.lr
    (32, 0.1)
    """

    def __init__(self, upload: Callable[[], Any], init_hparams: Mapping[str, Any] | None = None) -> None:
        self.__dict__["_values"] = _checked_all(init_hparams or {})
        self.__dict__["_upload"] = upload

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values.update(_checked_all({key: value}))
        self._upload()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._upload()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        """Return the parameter of this name."""
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"there is no parameter {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the parameter of this name."""
        if name.startswith("_") or hasattr(type(self), name):
            raise AttributeError(f"{name!r} cannot be set as an attribute: write params[{name!r}]")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        """Remove the parameter of this name."""
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"there is no parameter {name!r}") from None

    def __repr__(self) -> str:
        return f"Params({shown(self._values, 250)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Params:
        # What it tells of its changes stays the same one.
        return Params(self._upload, self._values)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as a dictionary of its own."""
        copied: dict[str, Any] = copy.deepcopy(self._values)
        return copied

    def update(self, new_params: Any = (), override: bool = True, **kwargs: Any) -> None:  # type: ignore[override]
        """Set several parameters, all or, when one cannot be, none; it is one change.

        Parameters
        ----------
        new_params: optional
            A mapping, pairs, a Namespace, an object with fields, or an ArgumentParser.
        override: bool
            Whether a parameter that there is gets the new value.
        **kwargs
            More parameters.
        """
        fields = given_fields(new_params)
        try:
            # Pairs have no fields.
            given = dict(new_params) if fields is None else fields
        except (TypeError, ValueError):
            raise _no_mapping(new_params) from None
        checked = _checked_all({**given, **kwargs})
        self._values.update({key: value for key, value in checked.items() if override or key not in self._values})
        self._upload()

    def parse(self, dist_tf_strategy: Any = None, dist_torch_model: Any = None, dist_hvd: Any = None) -> None:
        """Set ``api``, ``policy`` and ``config`` from what a framework trains with; the first that is given counts.

        Parameters
        ----------
        dist_tf_strategy: optional
            A ``tf.distribute`` strategy.
        dist_torch_model: optional
            A model wrapped by torch's data parallelism.
        dist_hvd: optional
            The Horovod module that is used.
        """
        known = ((dist_tf_strategy, _of_tensorflow), (dist_torch_model, _of_torch), (dist_hvd, _of_horovod))
        for given, describe in known:
            if given is not None:
                self.update(describe(given))
                return


def _no_mapping(values: Any) -> TypeError:
    return TypeError(f"hyperparameters are a mapping of names to values, not {type(values).__name__}")


def _checked_all(values: Any) -> dict[str, Any]:
    fields = given_fields(values)
    if fields is None:
        raise _no_mapping(values)
    for name in fields:
        if not isinstance(name, str):
            raise TypeError(f"{shown(name)} is no name of a parameter: it must be a str")
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    """Return a value as files and JSON can hold it; tuples stay tuples, and bytes are their base64."""
    if type(value) is str:
        return value
    if type(value) is tuple:
        return tuple(map(_plain, value))
    return _in_json(restore(to_plain(value)))


def _in_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_json(item) for item in value]
    return value if isinstance(value, float) else printable(value)


def _of_tensorflow(strategy: Any) -> dict[str, Any]:
    policy = type(strategy).__name__
    if policy == "CollectiveAllReduceStrategy":
        policy += " (MultiWorkerMirroredStrategy)"
    resolver = getattr(strategy, "cluster_resolver", None)
    cluster = resolver.cluster_spec().as_dict() if resolver is not None else {}
    return {"api": "tf.distribute", "policy": policy, "config": {job: len(tasks) for job, tasks in cluster.items()}}


def _of_torch(model: Any) -> dict[str, Any]:
    config: dict[str, Any] = {}
    group = getattr(model, "process_group", None)
    if group is not None:
        config["worker"] = int(group.size())
        name = getattr(group, "name", None)
        config["backend"] = str(name() if callable(name) else name)
    return {"api": "torch.distributed", "policy": type(model).__name__, "config": config}


def _of_horovod(module: Any) -> dict[str, Any]:
    return {"api": module.__name__, "policy": "Horovod", "config": {"worker": int(module.size())}}
