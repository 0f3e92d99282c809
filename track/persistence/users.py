"""Who may do what on a server: a file of names, roles and salted scrypt hashes of passwords."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import stat
import threading
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from track.errors import CorruptJournal, NotFound
from track.persistence.file import StoreLock
from track.shown import shown
from track.utils.files import replace_file, stamp_of

__all__ = ["ROLES", "Users"]

logger = logging.getLogger(__name__)
ROLES = ("read", "write", "admin")
"""What a user may do, each all that stands before it: read; log; what concerns the server itself."""

_FORMAT = 1
_COST: Mapping[str, int] = MappingProxyType({"n": 1 << 14, "r": 8, "p": 5})
_MEMORY = 64 << 20
_LOCK_SECONDS = 30.0
_LONGEST = 1024
_LARGEST_FILE = 64 << 20

_Salt = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]


class _User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["read", "write", "admin"]
    salt: _Salt
    hash: _Hash
    n: Annotated[int, msgspec.Meta(ge=2, le=1 << 15)]
    r: Annotated[int, msgspec.Meta(ge=1, le=8)]
    p: Annotated[int, msgspec.Meta(ge=1, le=64)]

    def __post_init__(self) -> None:
        if self.n.bit_count() != 1:
            raise ValueError("`n` is no power of two")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    users: dict[str, _User]


class Users:
    """The users of a server, in a file that can be changed while the server runs.

    Parameters
    ----------
    path: path
        A JSON file, readable by its owner only. One that is not there has no users.
    cost: dict, optional
        What every guess costs: `n`, `r` and `p` of scrypt, of passwords that are stored from now on. By default 16 MiB
        and about a tenth of a second.

    Examples
    --------
    >>> users = Users("users.json")
    >>> users.add("ann", "correct horse", "write")
    >>> users.check("ann", "correct horse"), users.check("ann", "battery staple")
    ('write', None)
    """

    def __init__(self, path: str | os.PathLike[str], *, cost: Mapping[str, int] = _COST) -> None:
        self.path = Path(path)
        self.cost = cost
        self._lock = StoreLock(f"{self.path}.lock", _LOCK_SECONDS)
        self._reading = threading.Lock()
        self._users: dict[str, _User] = {}
        self._version: tuple[int, int, int] | None = None
        # Spares who connects again the cost of a guess; worth nothing outside of this process.
        self._secret = secrets.token_bytes(32)
        self._proved: dict[str, bytes] = {}
        # An unknown user costs as much as a known one.
        self._nobody = _User("read", secrets.token_hex(16), secrets.token_hex(64), **cost)

    def __repr__(self) -> str:
        return f"Users({str(self.path)!r})"

    def add(self, name: str, password: str, role: str) -> None:
        """Store a user, or change the password and the role of one.

        Parameters
        ----------
        name: str
            1 to 100 printable characters, no space.
        password: str
            1 to 1024 characters.
        role: str
            One of `ROLES`.

        Raises
        ------
        ValueError
            An argument is none of what is said above.
        CorruptJournal
            The file is there, and is no file of users; it is left as it is.
        """
        _check_name(name)
        if not 0 < len(password) <= _LONGEST:
            raise ValueError(f"the password of {shown(name)} is empty" if not password else "the password is too long")
        if role not in ROLES:
            raise ValueError(f"no role {shown(role)}: it should be one of {', '.join(ROLES)}")
        user = _hashed(password, role, self.cost)
        with self._lock:
            self._write({**self._read(), name: user})

    def remove(self, name: str) -> None:
        """Remove a user.

        Raises
        ------
        NotFound
            There is none of this name.
        CorruptJournal
            The file is no file of users.
        """
        with self._lock:
            users = dict(self._read())
            if users.pop(name, None) is None:
                raise NotFound(f"no user {name!r} in {self.path}")
            self._write(users)

    def list(self) -> dict[str, str]:
        """Return the role of every user, by name, sorted.

        Raises
        ------
        CorruptJournal
            The file is no file of users.
        """
        return {name: user.role for name, user in sorted(self._read().items())}

    def check(self, name: str, password: str) -> str | None:
        """Return the role of a user, None when the password is wrong or there is no such user.

        Takes about a tenth of a second of computing, the same for a known and an unknown name; less when this
        password was right before. The file is read again when it has changed.

        Raises
        ------
        CorruptJournal
            The file is no file of users: nobody is let in.
        """
        user = self._known(name, password)
        if user is None:
            return None
        role = self.recognize(name, password)
        if role is not None:
            return role
        is_right = hmac.compare_digest(_hash(password, user), bytes.fromhex(user.hash))
        if user is self._nobody or not is_right:
            return None
        self._proved[name] = self._token(user, password)
        return user.role

    def recognize(self, name: str, password: str) -> str | None:
        """Return the role of a user whose password was right before, None for anything else; it takes no time.

        Raises
        ------
        CorruptJournal
            The file is no file of users: nobody is let in.
        """
        user = self._known(name, password)
        if user is None or user is self._nobody:
            return None
        is_right = hmac.compare_digest(self._proved.get(name, b""), self._token(user, password))
        return user.role if is_right else None

    def proof(self, name: str, password: str) -> bytes:
        """Return what is the same for the same name and password, and says nothing about them."""
        return hmac.digest(self._secret, _encoded(f"{len(name)} {name} {password}"), "sha256")

    def mark(self, name: str) -> bytes:
        """Return what is another one once a user has another password, or is gone; it says nothing about either.

        Raises
        ------
        CorruptJournal
            The file is no file of users.
        """
        user = self._read().get(name, self._nobody)
        return hmac.digest(self._secret, f"{user.salt} {user.hash}".encode(), "sha256")

    def _known(self, name: Any, password: Any) -> _User | None:
        """Return a user, or what stands for one that is not there; None where it could not be right."""
        if not isinstance(name, str) or not isinstance(password, str) or len(password) > _LONGEST:
            # It came over a network.
            return None
        return self._read().get(name, self._nobody)

    def _token(self, user: _User, password: str) -> bytes:
        return hmac.digest(self._secret, user.hash.encode() + _encoded(password), "sha256")

    def _read(self) -> dict[str, _User]:
        with self._reading:
            version = self._stat()
            if version != self._version:
                self._users = {} if version is None else _parse(self.path)
                self._proved.clear()
                # Set last: a broken file is read, and reported, every time.
                self._version = version
            return self._users

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            return stamp_of(str(self.path))
        except OSError as error:
            raise CorruptJournal(f"the users in {self.path} cannot be read: {error}") from error

    def _write(self, users: dict[str, _User]) -> None:
        temporary = f"{os.path.realpath(self.path)}.new"
        with contextlib.suppress(FileNotFoundError):
            # Of somebody who was killed, or a link that somebody put there.
            os.unlink(temporary)
        # Made before it has content, so that nobody else could ever read it.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.suppress(FileNotFoundError):
            # What replaces a file gets its mode.
            os.chmod(self.path, 0o600)
        content = msgspec.json.encode(_File(_FORMAT, dict(sorted(users.items()))))
        replace_file(str(self.path), [msgspec.json.format(content), b"\n"], temporary)
        # Two changes in one tick of the clock of the file system look the same.
        self._version = None


def _check_name(name: str) -> None:
    if not (0 < len(name) <= 100 and name.isprintable() and " " not in name):
        raise ValueError(f"{shown(name)} cannot be the name of a user: 1 to 100 printable characters, no space")


def _hashed(password: str, role: Any, cost: Mapping[str, int]) -> _User:
    salted = _User(role, secrets.token_bytes(16).hex(), "", **cost)
    return msgspec.structs.replace(salted, hash=_hash(password, salted).hex())


def _hash(password: str, user: _User) -> bytes:
    salt = bytes.fromhex(user.salt)
    return hashlib.scrypt(_encoded(password), salt=salt, n=user.n, r=user.r, p=user.p, maxmem=_MEMORY)


def _encoded(password: str) -> bytes:
    # One keyboard composes an accented letter, another one does not.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _content(path: Path) -> bytes:
    """Return what is in the file.

    Raises CorruptJournal: it is not this user's own, so that somebody else might let himself in.
    """
    # Not blocked by what is no file.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        for found in (os.lstat(path), os.fstat(descriptor)):
            _check_owner(path, found)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no ordinary file")
        if found.st_size > _LARGEST_FILE:
            raise OSError(f"it has {found.st_size} bytes")
        return file.read()


def _check_owner(path: Path, found: os.stat_result) -> None:
    mine = os.geteuid()
    if found.st_uid not in (0, mine):
        text = f"{path}, or the link there, belongs to user {found.st_uid}, who might let himself in"
        if mine:
            raise CorruptJournal(f"{text}: nobody is let in; chown it to who runs the server")
        _tell(f"{text}: chown it to who runs the server")
    if stat.S_ISLNK(found.st_mode):
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CorruptJournal(f"{path} can be written by others (mode {mode:o}): nobody is let in; chmod 600 {path}")
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        _tell(f"{path} can be read by others (mode {mode:o}), who may guess passwords with it: chmod 600 {path}")


_told: set[str] = set()


def _tell(text: str) -> None:
    """Warn, once a process."""
    if text not in _told:
        _told.add(text)
        logger.warning("%s", text)


def _parse(path: Path) -> dict[str, _User]:
    try:
        content = msgspec.json.decode(_content(path), type=_File)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, CorruptJournal):
            raise
        raise CorruptJournal(
            f"{path} is no file of users: {error}; nobody is let in, and it is left as it is"
        ) from error
    if content.format != _FORMAT:
        raise CorruptJournal(f"{path} has format {content.format}, and this version reads {_FORMAT}: upgrade track")
    return content.users
