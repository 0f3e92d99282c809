"""URIs as messages and records may show them: without what is secret."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_SECRET = re.compile(r"(?i)(passw|pwd|passphrase|secret|token|credential|api_?key|(^|[_-])key$)")


def mask_secrets(uri: str) -> str:
    """Return the URI with its password, and every option named like a secret, as ``***``.

    Examples
    --------
    >>> mask_secrets("mongodb://ann:secret@db:27017/runs?token=abc&w=1")
    'mongodb://ann:***@db:27017/runs?token=***&w=1'
    """
    head, question, query = str(uri).partition("?")
    # Up to the last @: a password with a slash in it is malformed, and still a secret.
    head = re.sub(r"((?:^|:)//[^/?#@:]*:)[^?#]*@", r"\1***@", head)
    return head + question + "&".join(map(_mask_option, query.split("&")))


def _mask_option(option: str) -> str:
    name, equals, value = option.partition("=")
    if equals and _SECRET.search(name):
        return f"{name}=***"
    plain = unquote(value)
    # The URI of another backend.
    masked = mask_secrets(plain) if "://" in plain else plain
    return option if masked == plain else f"{name}={quote(masked, safe=':/?=@*,+')}"


def mask_remote(url: str) -> str:
    """Return the URL of a remote of git without its credentials, also a token that stands where a user does."""
    return re.sub(r"(?<=://)(?!git@)[^/]*@", "***@", mask_secrets(url), count=1)
