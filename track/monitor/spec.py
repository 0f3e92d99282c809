"""Which variables a hook looks at, and when: ``^loss$@100s``."""

from __future__ import annotations

import re
from typing import Any

from track.errors import InvalidSpec

TRIGGERS = ("step", "epoch", "era", "eon", "supereon")
"""The levels of loops, from the innermost."""
SHORT = ("s", "e", "er", "eo", "se")
_LEVELS = {name: level for names in (TRIGGERS, SHORT) for level, name in enumerate(names)}
_WHEN = re.compile(r"([0-9]+)([a-z]+)")
_FORMS = "it is 'regex@10s', '@10s' or 'regex', with s, e, er, eo, se or " + ", ".join(TRIGGERS)


def level_of(trigger: Any) -> int:
    """Return how far out the loops of a trigger are: 0 for ``step`` and ``s``.

    Raises InvalidSpec: there is no such trigger (a ValueError and a NotImplementedError too).
    """
    level = _LEVELS.get(trigger) if isinstance(trigger, str) else None
    if level is None:
        raise InvalidSpec(
            f"{trigger!r} is no trigger: there are {', '.join(TRIGGERS)}, and {', '.join(SHORT)} for short"
        )
    return level


class Spec:
    """Which variables, and when: ``regex@<modulo><trigger>``, ``@<modulo><trigger>`` for none, ``regex`` for by hand.

    A regex matches from the beginning of a name: ``opt`` also matches ``optimizer``, ``^opt$`` does not.

    Parameters
    ----------
    spec: str or Spec
        The text; what follows the last ``@`` is when.

    Raises
    ------
    InvalidSpec
        It is not of this form (a ValueError and an AssertionError too).

    Examples
    --------
    >>> str(Spec("^loss$@100s")), Spec("@2e").regex, Spec("fig").modulo
    ('^loss$@100step', None, None)
    """

    def __init__(self, spec: str | Spec) -> None:
        text = str(spec) if isinstance(spec, (str, Spec)) else None
        if not text:
            raise InvalidSpec(f"{spec!r} does not say when to look at what: {_FORMS}")
        regex, mark, when = text.rpartition("@")
        self.regex: str | None = (regex if mark else text) or None
        self.modulo: int | None = None
        self.trigger: str | None = None
        if mark:
            self.modulo, self.trigger = _when(text, when)
        self._patterns = self._compiled(text)
        self._known: dict[str, bool] = {}

    def _compiled(self, text: str) -> tuple[re.Pattern[str], ...]:
        return () if self.regex is None else (compiled(self.regex, text),)

    def matches(self, name: str) -> bool:
        """Return whether a variable of this name is meant."""
        known = self._known.get(name)
        if known is None:
            # What a framework reports may be called "valid/loss"; what Python itself adds begins otherwise.
            is_own = name[:1].isidentifier() and not name.startswith("__")
            known = self._known[name] = is_own and any(pattern.match(name) for pattern in self._patterns)
        return known

    def __str__(self) -> str:
        when = "" if self.modulo is None else f"@{self.modulo}{self.trigger}"
        return f"{self.regex or ''}{when}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


def compiled(regex: str, text: str) -> re.Pattern[str]:
    """Return a regular expression of the specification `text`; InvalidSpec where it is none."""
    try:
        return re.compile(regex)
    except re.error as error:
        raise InvalidSpec(f"{regex!r} in {text!r} is no regular expression: {error}") from error


def _when(text: str, when: str) -> tuple[int, str]:
    found = _WHEN.fullmatch(when)
    if found is None or found[2] not in _LEVELS or not int(found[1][:9]):
        raise InvalidSpec(f"{when!r} in {text!r} does not say when: {_FORMS}")
    return int(found[1][:18]), TRIGGERS[_LEVELS[found[2]]]
