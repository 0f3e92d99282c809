"""Parameters and notes without passwords, tokens and keys, which other trackers store as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from track.utils.masking import is_secret_flag, mask_text

# Words of a vocabulary, which models have among their parameters.
_VOCABULARY = re.compile(
    r"(?i)(^|_)(bos|eos|pad|unk|sep|cls|mask|stop|start|end|decoder_start|image|audio|additional_special)_tokens?$"
)
_DEEPEST = 50


def masked(name: str, value: Any, depth: int = 0) -> Any:
    """Return a value with what is secret in it as ``***``; the same object where nothing is.

    Examples
    --------
    >>> masked("wandb_api_key", "abc"), masked("eos_token", "</s>"), masked("data", {"url": "s3://me:pw@host/a"})
    ('***', '</s>', {'url': 's3://***@host/a'})
    """
    if isinstance(value, str):
        if value and is_secret_flag(name) and not _VOCABULARY.search(name):
            return "***"
        return masked_text(value)
    if depth >= _DEEPEST:
        return value
    if isinstance(value, Mapping):
        found = {key: masked(str(key), item, depth + 1) for key, item in value.items()}
        return found if any(found[key] is not item for key, item in value.items()) else value
    if isinstance(value, (list, tuple)):
        items = [masked(name, item, depth + 1) for item in value]
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    return value


def masked_text(text: str) -> str:
    """Return a text without what reads like a password, a token or a key; the same object where nothing does."""
    found = mask_text(text)
    return text if found == text else found
