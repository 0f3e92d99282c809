"""URIs as messages and records may show them: without what is secret."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_SECRET = re.compile(r"(?i)(passw|pwd|passphrase|secret|token|credential|api_?key|(^|[_-])(key|jwt|pass|bearer)$)")

_DEEPEST = 50
"""URIs inside of each other."""

# A user may have an @ in its name, which is malformed, too.
_PASSWORD = re.compile(r"((?:^|:)//(?!\[)[^/?#:]*:)[^?#]*@")
_BEFORE_HOST = re.compile(r"((?:[^/?#]*:)?//(?!\[)[^/?#:]*:)([^?#]*)([?#])")


def mask_secrets(uri: str) -> str:
    """Return the URI with its password, and every option named like a secret, as ``***``.

    Examples
    --------
    >>> mask_secrets("mongodb://ann:secret@db:27017/runs?token=abc&w=1")
    'mongodb://ann:***@db:27017/runs?token=***&w=1'
    """
    text = _misplaced_password(str(uri))
    head, question, query = text.partition("?")
    # Up to the last @: a password with a slash in it is malformed, and still a secret.
    head = _PASSWORD.sub(r"\1***@", head)
    return head + question + "&".join(map(_mask_option, query.split("&")))


def _misplaced_password(text: str) -> str:
    """Return the URI without a password that has a ``?`` or a ``#`` in it, which ends what stands before a host."""
    found = _BEFORE_HOST.match(text)
    if found is None or "@" not in text[found.end() :] or "@" in found[2]:
        return text
    port, rest = found[2], text[found.end() :]
    # The query of a host and a port is one, unless it reads like a host.
    if port.isdecimal() and found[3] == "?" and not re.match(r"[^/]*@", rest.rpartition("=")[2]):
        return text
    return f"{found[1]}***@{rest.rpartition('@')[2]}"


def _mask_option(option: str) -> str:
    name, equals, value = option.partition("=")
    if equals and is_secret(name):
        return f"{name}=***"
    plain = unquote(value)
    if plain.count("://") > _DEEPEST:
        return f"{name}=***"
    # The URI of another backend.
    masked = mask_secrets(plain) if "://" in plain else plain
    return option if masked == plain else f"{name}={quote(masked, safe=':/?=@*,+')}"


def is_secret(name: str) -> bool:
    """Return whether a variable or an option is named like a password, a token or a key.

    Examples
    --------
    >>> is_secret("WANDB_API_KEY"), is_secret("SLURM_JWT"), is_secret("KEYBOARD")
    (True, True, False)
    """
    return _SECRET.search(name) is not None


def mask_remote(url: str) -> str:
    """Return the URL of a remote of git without its credentials, also a token that stands where a user does."""
    return re.sub(r"(?<=://)(?!git@)[^/]*@", "***@", mask_secrets(url), count=1)


# Not tokens and tokenizers, which are no secrets.
_SECRET_FLAG = re.compile(r"(?i)(passw|pwd|passphrase|secret|credential|api[_-]?key|token$|(^|[._-])key$|bearer|auth$)")
# A pattern begins with what is rare, and what follows is bounded: a text of a megabyte is read once, not once a letter.
_INSIDE = re.compile(r"""(?ix)
    ((?:passw|passphrase|secret|credential|api[_-]?key|token)(?![\w-]{0,256}izer|s\b)[\w-]{0,256}["']?\s*[:=]\s*)
    ("[^"]*"|'[^']*'|[^\s"',;&}]+)""")
# Keys of services that say what they are, tokens of the web, and what follows Bearer.
_KEYS = re.compile(
    r"\b(?:(?:sk|pk|rk)-[\w-]{16,}|(?:gh[oprsu]|github_pat|glpat|hf|xox[abprs])[_-][\w-]{10,}"
    r"|A(?:KI|SI)A[A-Z0-9]{12,}|eyJ[\w-]{5,8192}\.[\w-]+\.[\w-]*)|(?<=Bearer )\S+"
)


_URL = re.compile(r"(?<=[\w+.-])://\S{1,4096}")


def is_secret_flag(name: str) -> bool:
    """Return whether an option of a command, or a parameter, is named like a password, a token or a key.

    Examples
    --------
    >>> is_secret_flag("--hf-token"), is_secret_flag("optimizer.api_key"), is_secret_flag("max_tokens")
    (True, True, False)
    """
    return "://" not in name and bool(_SECRET_FLAG.search(name.lstrip("-+~")))


def mask_text(text: str) -> str:
    """Return a text without what reads like a password, a token or a key, by its name or by what it is like."""
    text = _KEYS.sub("***", _INSIDE.sub(r"\1***", text))
    return _URL.sub(lambda found: mask_remote(f"x{found[0]}")[1:], text) if "://" in text else text


def mask_command(words: list[str]) -> list[str]:
    """Return a command line without passwords, tokens and keys, which are told by their names or by what they are like.

    Examples
    --------
    >>> mask_command(["train.py", "--hf-token", "abc", "db.password=x", "--url=s3://me:pw@host/a", "--tokens", "512"])
    ['train.py', '--hf-token', '***', 'db.password=***', '--url=s3://***@host/a', '--tokens', '512']
    """
    masked: list[str] = []
    is_value = False
    for word in words:
        name, equals, value = word.partition("=")
        is_flag = word.startswith("-")
        if is_value and not (is_flag and word.startswith("--")):
            masked.append("***")
            is_value = False
            continue
        is_secret = is_secret_flag(name)
        is_value = is_flag and is_secret and not equals
        masked.append(f"{name}=***" if equals and is_secret and value else _mask_word(word))
    return masked


def _mask_word(word: str) -> str:
    word = _KEYS.sub("***", _INSIDE.sub(r"\1***", word))
    name, equals, value = word.partition("=")
    if "://" not in word:
        return word
    return f"{name}={mask_remote(value)}" if equals and "://" not in name else mask_remote(word)
