"""What every aggregator is, and how a factory of them is written down in an event."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from track.plain import restore, to_plain
from track.shown import shown

logger = logging.getLogger(__name__)
_EVERYTHING = "series"
# What the original called the state of a "stat".
_OLD_NAMES = {"statstream": "stat"}
_MANY = 1000
_told: set[str] = set()
_kinds: dict[str, type[Aggregator]] = {}


class Aggregator:
    """Base of the aggregators: something values are appended to.

    A subclass sets `kind`, a short name that is stored with the values (its own name by default), and implements
    `append`, `val`, `to_json` and `restore`. It is then known to every store of this program.
    """

    kind: ClassVar[str] = ""
    arguments: tuple[Any, ...] = ()
    last_at: float = 0.0
    """When the last value was logged, unix seconds, in an aggregator that goes by it; 0 where it is not known."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Not inherited: a subclass of `StatAggregator` must not become what every "stat" is.
        cls.kind = vars(cls).get("kind") or cls.__name__
        _kinds[cls.kind] = cls

    def append(self, other: Any) -> None:
        """Take one more value."""
        raise NotImplementedError

    @property
    def val(self) -> Any:
        """The last value, or all of them for an aggregator that keeps several."""
        raise NotImplementedError

    def to_json(self, short: bool = False) -> Any:
        """Return what reports show (`short`), or all of the state as JSON-safe data."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Take the state that ``to_json(short=False)`` described."""
        raise NotImplementedError

    def append_at(self, value: Any, at: float) -> None:
        """Take one more value, logged at `at` (unix seconds); most aggregators do not keep the time.

        One that keeps the last values does: a value that comes late, after one that was logged later, is not the last.
        """
        self.append(value)

    def __iadd__(self, other: Any) -> Aggregator:
        self.append(other)
        return self

    @staticmethod
    def lazy(aggregator_t: Any, **kwargs: Any) -> Callable[[], Aggregator]:
        """Return a factory of aggregators of this class.

        Examples
        --------
        >>> from track.aggregators.aggregator import RingAggregator
        >>> factory = Aggregator.lazy(RingAggregator, n=3, dtype="d")
        >>> ring = factory()
        >>> ring += 0.5
        >>> ring
        r<[0.5]>
        """
        return Lazy(aggregator_t, **kwargs)


class Lazy:
    """A factory of aggregators that can be written down: its `spec` is stored in events.

    Parameters
    ----------
    aggregator_t: type
        The class to instantiate.
    **kwargs
        Its arguments, JSON-safe.
    """

    __slots__ = ("_class", "_kwargs", "spec")

    def __init__(self, aggregator_t: type[Aggregator], **kwargs: Any) -> None:
        self._class = aggregator_t
        self._kwargs = kwargs
        self.spec = [aggregator_t.kind, *map(to_plain, aggregator_t(**kwargs).arguments)]

    def __call__(self) -> Aggregator:
        return self._class(**self._kwargs)


def specification(factory: Any) -> list[Any] | None:
    """Return how to write `factory` down in an event: ``[kind, argument, ...]``; None for None.

    Raises
    ------
    TypeError
        `factory` does not make an `Aggregator`.
    """
    if factory is None:
        return None
    spec = getattr(factory, "spec", None)
    if isinstance(spec, list):
        return spec
    made = factory() if callable(factory) else factory
    if not isinstance(made, Aggregator):
        raise TypeError(f"an aggregator is a factory such as StatAggregator.lazy(1), not {shown(factory)}")
    return [made.kind, *map(to_plain, made.arguments)]


def make_aggregator(spec: list[Any]) -> Aggregator:
    """Return a new aggregator for a specification; a kind this program does not know keeps all values."""
    kind, *arguments = spec
    known = _kinds.get(kind)
    try:
        return _kinds[_EVERYTHING]() if known is None else known(*arguments)
    except Exception as error:  # noqa: BLE001 - the class may be a user's own
        logger.warning("no aggregator can be made of %s (%s): all values are kept", shown(spec), error)
        return _kinds[_EVERYTHING]()


def is_known(kind: str) -> bool:
    """Return whether this program has an aggregator of a kind."""
    return kind in _kinds


def is_aggregator_state(plain: Any) -> bool:
    """Return whether `plain` is what ``to_json(short=False)`` of an aggregator gives."""
    if not isinstance(plain, dict):
        return False
    dtype = plain.get("dtype")
    if not isinstance(dtype, str) or _OLD_NAMES.get(dtype, dtype) not in _kinds:
        return False
    return "value" in plain or "sum_sqr" in plain


def restore_aggregator(state: dict[str, Any]) -> Aggregator:
    """Return the aggregator that ``to_json(short=False)`` of any of them described."""
    kind = _OLD_NAMES.get(state["dtype"], state["dtype"])
    aggregator = make_aggregator([kind, *state.get("arguments", [])])
    aggregator.restore(state)
    return aggregator


def aggregator_or_value(plain: Any) -> Any:
    """Return the aggregator, or the value, that is stored as JSON-safe data in metadata."""
    if is_aggregator_state(plain):
        try:
            return restore_aggregator(plain)
        except Exception:  # noqa: BLE001 - somebody's own dictionary, which only looks like a state
            logger.debug("no aggregator: %r", plain)
    return restore(plain)


def add_to(aggregator: Aggregator, name: str, value: Any, at: float) -> None:
    """Give an aggregator a value; what it cannot take is left out, and said once: whatever is stored can be read."""
    try:
        aggregator.append_at(value, at)
    except Exception as error:  # noqa: BLE001 - the aggregator may be a user's own
        tell_once(f"{name!r}: its aggregator ({aggregator.kind}) cannot take {shown(value, 60)} ({error}): left out")


def tell_once(text: str) -> None:
    """Warn, where this was not said before."""
    if text not in _told:
        if len(_told) >= _MANY:
            _told.clear()
        _told.add(text)
        logger.warning("%s", text)
