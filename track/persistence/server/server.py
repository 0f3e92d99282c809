"""A backend served to many clients: who may come in, what they are answered, and how the server runs and ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import operator
import signal
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec

from track.errors import BackendUnavailable, InvalidUri, RPCCallFailure
from track.persistence.protocol import Protocol
from track.persistence.registry import get_protocol
from track.persistence.rpc import LAYERS, Reply, error_reply, port_of, security_layer
from track.persistence.server.calls import CALLS, CallKind, Dispatcher
from track.persistence.server.listener import LIMITS, Connection, Listener, read_limits
from track.persistence.server.login import Login, Session, role_of
from track.persistence.users import Users
from track.persistence.utils import mask_secrets, parse_uri, read_choice, read_options
from track.shown import clean, shown
from track.utils import listen_socket
from track.utils.encrypted import certificate_context, fingerprint, server_context, server_folder
from track.utils.signal import SignalHandler
from track.utils.system import is_loopback

logger = logging.getLogger(__name__)
Server = TypeVar("Server", bound=Protocol)
SERVER_OPTIONS: dict[str, Any] = {
    "backend": (str, ""),
    "security_layer": (read_choice(*LAYERS), ""),
    "users": (str, ""),
    "certificate": (str, ""),
    "key": (str, ""),
    "folder": (str, ""),
    **LIMITS,
}
"""What may follow the ``?`` of the URI that a `SocketServer` is made from."""
_BACKLOG = 1024


def _forwarding(cls: type[Server]) -> type[Server]:
    """Give a class the methods of `Protocol` that it does not define: those of its backend."""
    for name, member in vars(Protocol).items():
        if name.startswith("_") or name in vars(cls):
            continue
        if isinstance(member, property):
            setattr(cls, name, property(operator.attrgetter(f"backend.{name}"), doc=member.__doc__))
        elif inspect.isfunction(member):
            setattr(cls, name, _forwarded(member))
    return cls


def _forwarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def forward(self: SocketServer, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.backend, method.__name__)(*args, **kwargs)

    return forward


@_forwarding
class SocketServer(Protocol):
    """Serves a backend to many clients, in one asyncio loop and one thread that uses the store.

    It is a `Protocol` for the process that runs it: the methods are those of the backend.

    Parameters
    ----------
    uri: str
        ``socket://host:port?backend=file:runs.json&security_layer=AES&users=users.json``; see `SERVER_OPTIONS`. Port 0
        lets the system choose one. A ``&`` or ``#`` in the backend's URI is written %26 or %23.

    Raises
    ------
    InvalidUri
        The URI has an unknown option or no backend, or the backend keeps everything in memory until it is saved.

    Attributes
    ----------
    tidy_every: float
        Seconds between two looks whether the backend has something to tidy up, as a journal to shorten.
    """

    tidy_every = 15.0

    def __init__(self, uri: str) -> None:
        given = read_options(uri, SERVER_OPTIONS)
        parts = parse_uri(uri)
        if not given["backend"]:
            raise InvalidUri(f"a server needs a backend: {mask_secrets(uri)}?backend=file:runs.json")
        self.uri = uri
        self.users = Users(given["users"]) if given["users"] else None
        self.layer = security_layer(given["security_layer"])
        self.limits = read_limits(given)
        self.backend = backend = get_protocol(given["backend"])
        # What delivers passes on what it receives.
        if not backend.stores_at_once and backend.server is None:
            place = mask_secrets(backend.uri)
            raise InvalidUri(f"{place!r} cannot be served: with eager=0 nothing is stored before it is saved")
        self.answers, self.takes_events, self.raises = backend.answers, backend.takes_events, backend.raises
        self.stores_at_once, self.server = backend.stores_at_once, backend.server
        self.keeps_numbers = backend.keeps_numbers
        self._given = given
        self._host, self._port = parts.get("address") or "127.0.0.1", port_of(uri)
        self._dispatcher = Dispatcher(backend)
        self._login = Login(self.limits.failure_delay)
        self._listener = Listener(self.limits, self.handle_client)
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_told = asyncio.Event()
        self._is_stopped = threading.Event()
        self._has_ended = threading.Event()
        self._beginning = threading.Lock()
        self._has_begun = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.backend!r})"

    # who may do what

    def authenticate(self, reader: asyncio.StreamReader, username: str | None, password: str | None) -> dict[str, Any]:
        """Return whether a client may come in; for a subclass to override, and called in a thread of its own.

        Parameters
        ----------
        reader: StreamReader
            The client's stream, which tells it from others.
        username, password: str or None
            As the client sends them.

        Returns
        -------
        dict
            ``{"status": 0, "return": role}``: ``"read"``, ``"write"`` or ``"admin"``, and True means ``"write"``. Any
            other `status` refuses.
        """
        if self.users is None:
            return {"status": 0, "return": "admin"}
        role = self.users.check(username or "", password or "")
        return {"status": 1} if role is None else {"status": 0, "return": role}

    def is_authenticated(self, reader: asyncio.StreamReader) -> bool:
        """Return whether the client of a stream was let in."""
        connection = self._listener.connections.get(reader)
        return connection is not None and connection.session is not None

    def get_username(self, reader: asyncio.StreamReader) -> str | None:
        """Return the name of the client of a stream, None when it has none or was not let in."""
        connection = self._listener.connections.get(reader)
        return None if connection is None or connection.session is None else connection.session.user

    @property
    def _is_open_to_all(self) -> bool:
        return self.users is None and type(self).authenticate is SocketServer.authenticate

    # serving

    async def handle_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one client until it is gone."""
        connection = self._listener.connection(reader, writer)
        try:
            if await self._let_in(connection, writer):
                await self._serve_calls(connection, writer)
        except asyncio.IncompleteReadError as error:
            logger.debug("a client is gone: %s", error)
        finally:
            connection.session = None
            self.close_connection(writer)

    async def _let_in(self, connection: Connection, writer: asyncio.StreamWriter) -> bool:
        """Answer the first call, which says who the client is, and return whether it was let in."""
        call, _ = await connection.receive()
        said = call.args if isinstance(call.args, dict) else {}
        user, password = said.get("username"), said.get("password")
        if call.name != "authenticate" or not all(text is None or isinstance(text, str) for text in (user, password)):
            await connection.send(error_reply(call.id, RPCCallFailure("say who you are first: authenticate")))
            return False
        with connection.while_here():
            try:
                session = await self._session(connection, writer, user, password)
            except BackendUnavailable as error:
                await connection.send(error_reply(call.id, error))
                return False
        if session is None:
            text = f"user {shown(user)} was not let in: wrong user name or password"
            await connection.send(error_reply(call.id, RPCCallFailure(text)))
            return False
        self._listener.let_in(connection, session)
        # The clock that is behind this server, where it has heard of one.
        now = self.backend.store_time() or time.time()
        await connection.send(Reply(call.id, 0, True, largest=self.limits.frame, now=now))
        return True

    async def _session(
        self, connection: Connection, writer: asyncio.StreamWriter, user: str | None, password: str | None
    ) -> Session | None:
        """Return the session of a client that has said who it is, None where it is not let in."""
        check = partial(self.authenticate, connection.reader, user, password)
        if self._is_open_to_all:
            role = role_of(check())
            return None if role is None else Session(user or "", role)
        users = self.users if type(self).authenticate is SocketServer.authenticate else None
        proof = None
        if users is not None:
            recognize = partial(users.recognize, user or "", password or "")
            session = await self._login.known(recognize, user)
            if session is not None:
                return session
            proof = users.proof(user or "", password or "")
        address = str((writer.get_extra_info("peername") or ("",))[0])

        def refused() -> None:
            logger.warning("%s was not let in from %s: wrong user name or password", shown(user), address)
            self._listener.refuse(connection)

        connection.is_tried = True
        return await self._login.check(address, check, user, proof, refused)

    async def _serve_calls(self, connection: Connection, writer: asyncio.StreamWriter) -> None:
        while not self._listener.is_stopping:
            call, lines = await connection.receive()
            await self.exec(connection.reader, writer, call.name, CALLS.get(call.name), call.args, (call.id, lines))

    async def exec(  # noqa: PLR0917 - as the original
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        proc_name: str,
        proc: CallKind | None,
        args: Any,
        cache: tuple[int, bytes] | None = None,
    ) -> None:
        """Do what a client asks for, and answer it.

        Parameters
        ----------
        reader, writer: streams
        proc_name: str
            What it asks for.
        proc: CallKind or None
            That, in the table of calls; None refuses.
        args: dict
            By name; bytes of JSON, as `msgspec.Raw`, where they are many.
        cache: tuple, optional
            The number of the call, and the lines after it.
        """
        connection = self._listener.connections[reader]
        session = connection.session
        number, lines = cache or (0, b"")
        if session is None:
            text = "say who you are first: authenticate"
        elif proc is None:
            text = f"there is no call {shown(proc_name)}"
        elif not session.may(proc.role):
            text = f"user {shown(session.user)} may {session.role}; {proc_name!r} is for those who may {proc.role}"
        else:
            if isinstance(args, msgspec.Raw) and type(self).process_args is not SocketServer.process_args:
                args = await self._dispatcher.run(msgspec.json.decode, args)
            given = args if isinstance(args, msgspec.Raw) else self.process_args(args)
            answer = partial(self._dispatcher.answer, connection, session.user, proc, number, given, lines)
            if proc.role != "read" or proc.is_short:
                # What was logged is stored, whether or not somebody waits for the answer.
                await answer()
                return
            with connection.while_here():
                await answer()
            return
        await connection.send(error_reply(number, RPCCallFailure(text)))

    def process_args(self, args: dict[str, Any], cache: Any = None) -> dict[str, Any]:
        """Return the arguments of a call as they are used; for a subclass that wants to see them. They are plain."""
        return args

    @staticmethod
    def close_connection(writer: asyncio.StreamWriter) -> None:
        """Close the connection of a client, once what was sent has left."""
        # A second time, asyncio's encrypted transport forgets what it needs to be aborted.
        if not writer.is_closing():
            writer.close()

    @staticmethod
    async def wait_closed(writer: asyncio.StreamWriter) -> None:
        """Return when a connection that is being closed is closed."""
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()

    # running

    def listen(self) -> tuple[str, int]:
        """Take the address, and return it: host and port. Clients may connect, and wait for `run_server`.

        Raises
        ------
        BackendUnavailable
            The address is taken, or not of this machine.
        """
        if self._socket is None:
            host = self._host
            if self._is_open_to_all and not is_loopback(host):
                host = "127.0.0.1"
                logger.warning(
                    "the server has no users, so it listens on %s only, not on %s: make some with "
                    "`python -m track user add NAME --users FILE`, and give it the file",
                    host,
                    self._host,
                )
            try:
                self._socket = listen_socket(host, self._port)
            except OSError as error:
                raise BackendUnavailable(f"{host}:{self._port} cannot be listened on: {error}") from error
            self._socket.listen(_BACKLOG)
        address = self._socket.getsockname()
        return str(address[0]), int(address[1])

    def notes(self) -> list[str]:
        """Return what the person who starts the server should know: who may come in, and how clients know it."""
        context = self._context()
        found = [self._who()]
        if context is None:
            found.append("not encrypted: --security-layer AES encrypts")
        elif self._given["certificate"]:
            found.append("clients: socket://USER:PASSWORD@HOST:PORT?security_layer=TLS")
        else:
            shown = fingerprint(self._given["folder"] or server_folder())
            found.append(f"clients: socket://USER:PASSWORD@HOST:PORT?security_layer=AES&fingerprint={shown}")
        return found

    def _who(self) -> str:
        if self._is_open_to_all:
            return "no users: clients on this machine only, and everybody there may do everything"
        if self.users is None:
            return "users: as the program says"
        nobody = "" if self.users.list() else " (nobody yet: python -m track user add NAME --users FILE)"
        return f"users: {self.users.path}{nobody}"

    def run_server(self) -> None:
        """Serve until `stop` is called, or the process is told to end.

        Raises
        ------
        KeyboardInterrupt
            It was interrupted; what was under way was answered.
        """
        with self._beginning:
            if self._is_stopped.is_set():
                return
            self.listen()
            self._has_begun = True
        try:
            asyncio.run(self._run(self._context()))
        finally:
            self._give_back()
            self._has_ended.set()

    def _context(self) -> ssl.SSLContext | None:
        if self.layer is None:
            return None
        if self.layer == "TLS" and not self._given["certificate"]:
            raise InvalidUri("security_layer=TLS needs a certificate and its key; AES makes its own")
        if self._given["certificate"]:
            return certificate_context(self._given["certificate"], self._given["key"] or None)
        return server_context(self._given["folder"] or server_folder())

    async def _run(self, context: ssl.SSLContext | None) -> None:
        assert self._socket is not None
        self._loop = asyncio.get_running_loop()
        if self._is_stopped.is_set():
            return
        with signals_handled(self.stop):
            self._listener.start(self._socket, context)
            tidying = asyncio.create_task(self._tidy())
            await self._is_told.wait()
            tidying.cancel()
            await self._listener.stop()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(self.tidy_every)
            try:
                await self._dispatcher.run(self.backend.tidy)
            except Exception as error:  # noqa: BLE001 - the next time may be better, and calls are answered meanwhile
                logger.warning("the store could not be tidied up: %s", clean(str(error)))

    def stop(self) -> None:
        """Tell the server to stop, from any thread or a signal handler; what is under way is answered."""
        self._is_stopped.set()
        if self._loop is not None:
            # The loop may be closed already.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._is_told.set)

    def _give_back(self) -> None:
        listening, self._socket = self._socket, None
        if listening is not None:
            listening.close()
        self._login.close()
        self._dispatcher.close()
        self.backend.close()

    def close(self) -> None:
        """Stop the server and wait for its end; everything that was acknowledged is stored."""
        self.stop()
        with self._beginning:
            has_begun = self._has_begun
        if has_begun:
            self._has_ended.wait(self.limits.stop_timeout + 5.0)
        else:
            self._give_back()


# signals

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def signals_handled(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at SIGTERM and SIGINT, inside a running loop; the handlers of before are put back afterwards.

    In other threads than the main one, where signals cannot be handled, nothing is done.

    Raises
    ------
    KeyboardInterrupt
        At the end, if there was a SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    received: list[int] = []

    def receive(number: int) -> None:
        received.append(number)
        stop()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, receive, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt


class ServerSignalHandler(SignalHandler):
    """Stops a server that runs in another thread when the process is told to end.

    Parameters
    ----------
    server: SocketServer
    """

    def __init__(self, server: SocketServer) -> None:
        super().__init__()
        self._server = weakref.ref(server)

    def sigterm(self, signum: int, frame: Any) -> None:
        """Stop the server: what is under way is answered first."""
        server = self._server()
        if server is not None:
            server.stop()

    sigint = sigterm
