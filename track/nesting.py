"""Dotted names and nested dictionaries: ``opt.lr`` and ``{"opt": {"lr": ...}}``."""

from __future__ import annotations

from typing import Any

__all__ = ["flatten", "unflatten"]


def unflatten(flat: Any) -> Any:
    """Return a dictionary with its dotted keys nested: ``opt.lr`` becomes ``{"opt": {"lr": ...}}``.

    A dotted key stays as it is where a part of it is a key of its own.

    Examples
    --------
    >>> unflatten({"opt.lr": 0.1, "opt.name": "sgd", "seed": 1})
    {'opt': {'lr': 0.1, 'name': 'sgd'}, 'seed': 1}
    """
    if not isinstance(flat, dict) or not any("." in key for key in flat):
        return flat
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, leaf = key.split(".")
        if any(".".join(parents[:length]) in flat for length in range(1, len(parents) + 1)):
            parents, leaf = [], key
        target = nested
        for parent in parents:
            target = target.setdefault(parent, {})
        target[leaf] = value
    return nested


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return one level of dotted keys: the inverse of `unflatten`.

    Examples
    --------
    >>> flatten({"opt": {"lr": 0.1}, "seed": 1})
    {'opt.lr': 0.1, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
