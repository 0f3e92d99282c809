"""SignalHandler, tried with real signals in real processes."""

from __future__ import annotations

import signal
import textwrap

import pytest

from tests.children import deadline, start_python
from track.utils.signal import SignalHandler

# A script says when it is ready, waits for its signal, and tells what happened, one word a line.
PRELUDE = """
import gc, os, select, signal, sys, threading
from track.utils.signal import SignalHandler

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Handler(SignalHandler):
    def __init__(self, name="handler"):
        self.name = name
        super().__init__()
    def sigterm(self, signum, frame):
        say(self.name, "term")
    def sigint(self, signum, frame):
        say(self.name, "int")
    def atexit(self):
        say(self.name, "exit")

def wait():
    # Not `pause`: it would miss a signal that came just before it.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    say("ready")
    select.select([reader], [], [])
"""


def _run(script: str, *signals: signal.Signals) -> tuple[list[str], int, str]:
    """Run a script, send it each signal when it says `ready`; return its lines, exit code and messages."""
    process = start_python("-c", PRELUDE + textwrap.dedent(script))
    waiting = list(signals)
    with process, deadline(process.pid) as printed:
        for line in process.stdout:  # type: ignore[union-attr]
            if line == "ready\n" and waiting:
                process.send_signal(waiting.pop(0))
            else:
                printed.append(line)
        messages = process.stderr.read()  # type: ignore[union-attr]
    return [line.strip() for line in printed], process.returncode, messages


def test_sigterm_calls_all_handlers_and_unwinds() -> None:
    """Handlers run newest first, then `finally`, then the hooks of the end; the exit code is 143."""
    lines, code, _ = _run(
        """
        one, two = Handler("one"), Handler("two")
        try:
            wait()
        finally:
            say("finally")
        """,
        signal.SIGTERM,
    )

    assert lines == ["two term", "one term", "finally", "two exit", "one exit"]
    assert code == 143


def test_sigint_ends_in_a_keyboard_interrupt() -> None:
    """Ctrl-C does what it always does, after the handlers."""
    lines, _, _ = _run(
        """
        handler = Handler()
        try:
            wait()
        except KeyboardInterrupt:
            say("interrupted")
        """,
        signal.SIGINT,
    )

    assert lines == ["handler int", "interrupted", "handler exit"]


def test_broken_handler_does_not_stop_the_others() -> None:
    """An exception in one is logged, and the next one is called."""
    lines, code, messages = _run(
        """
        class Broken(SignalHandler):
            def sigterm(self, signum, frame):
                raise ZeroDivisionError("broken")
            def atexit(self):
                raise ZeroDivisionError("broken too")
        handler, broken = Handler(), Broken()
        wait()
        """,
        signal.SIGTERM,
    )

    assert lines == ["handler term", "handler exit"]
    assert code == 143
    assert "ZeroDivisionError: broken" in messages
    assert "ZeroDivisionError: broken too" in messages


def test_handler_of_the_user_still_runs() -> None:
    """What was installed before is called after ours, and decides how it goes on."""
    lines, code, _ = _run(
        """
        signal.signal(signal.SIGTERM, lambda *_: say("user"))
        handler = Handler()
        wait()
        """,
        signal.SIGTERM,
    )

    assert lines == ["handler term", "user", "handler exit"]
    assert code == 0


def test_later_handler_of_the_user_is_respected() -> None:
    """A handler that replaced ours is not fought for."""
    lines, code, _ = _run(
        """
        handler = Handler()
        signal.signal(signal.SIGTERM, lambda *_: say("user"))
        wait()
        handler.close()
        say(signal.getsignal(signal.SIGTERM).__name__)
        """,
        signal.SIGTERM,
    )

    assert lines == ["user", "<lambda>"]
    assert code == 0


def test_chain_through_a_user_never_becomes_a_circle() -> None:
    """Ours, a user's that calls ours, and ours again: everyone is called once, the first of all last."""
    lines, code, _ = _run(
        """
        signal.signal(signal.SIGTERM, lambda *_: say("oldest"))
        one = Handler("one")
        previous = signal.getsignal(signal.SIGTERM)
        def user(signum, frame):
            say("user")
            previous(signum, frame)
        signal.signal(signal.SIGTERM, user)
        two = Handler("two")
        wait()
        """,
        signal.SIGTERM,
    )

    assert lines == ["two term", "one term", "user", "oldest", "two exit", "one exit"]
    assert code == 0


def test_handler_of_an_earlier_block_that_a_user_puts_back_is_taken_out() -> None:
    """Nobody is called twice, and after the next block the signal is handled as at the beginning."""
    lines, code, _ = _run(
        """
        Handler("zero").close()
        one = Handler("one")
        previous = signal.getsignal(signal.SIGTERM)
        def user(signum, frame):
            say("user")
            signal.signal(signal.SIGTERM, previous)
        signal.signal(signal.SIGTERM, user)
        one.close()
        two = Handler("two")
        wait()
        two.close()
        say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        """,
        signal.SIGTERM,
    )

    assert lines == ["two term", "user", "True"]
    assert code == 0


def test_ignored_signal_stays_ignored() -> None:
    """A process started with nohup keeps ignoring."""
    lines, code, _ = _run(
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        handler = Handler()
        os.kill(os.getpid(), signal.SIGINT)
        say(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
        """
    )

    assert lines == ["True", "handler exit"]
    assert code == 0


def test_second_interrupt_gets_through_a_stuck_handler() -> None:
    """Pressing Ctrl-C twice ends a handler that hangs."""
    lines, _, _ = _run(
        """
        class Stuck(SignalHandler):
            def sigint(self, signum, frame):
                wait()
        stuck = Stuck()
        try:
            wait()
        except KeyboardInterrupt:
            say("interrupted")
        """,
        signal.SIGINT,
        signal.SIGINT,
    )

    assert lines == ["interrupted"]


def test_signals_after_a_caught_one_are_told_again() -> None:
    """A signal that was survived does not silence the next."""
    lines, _, _ = _run(
        """
        handler = Handler()
        for _ in range(2):
            try:
                wait()
            except KeyboardInterrupt:
                say("interrupted")
        """,
        signal.SIGINT,
        signal.SIGINT,
    )

    assert lines == ["handler int", "interrupted"] * 2 + ["handler exit"]


def test_forgotten_handler_is_silent() -> None:
    """Handlers are held weakly, and the last one leaves everything as it was found."""
    lines, code, _ = _run(
        """
        handler = Handler()
        del handler
        gc.collect()
        wait()
        """,
        signal.SIGTERM,
    )

    assert lines == []
    assert code == -signal.SIGTERM


def test_forked_child_is_not_the_parent() -> None:
    """A child dies by the signal as if we were not there, and has handlers of its own if it wants."""
    lines, code, _ = _run(
        """
        handler = Handler("parent")
        if (plain := os.fork()) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        say(os.waitstatus_to_exitcode(os.waitpid(plain, 0)[1]))
        if (own := os.fork()) == 0:
            mine = Handler("child")
            os.kill(os.getpid(), signal.SIGTERM)
        say(os.waitstatus_to_exitcode(os.waitpid(own, 0)[1]))
        if (ended := os.fork()) == 0:
            sys.exit(0)
        os.waitpid(ended, 0)
        wait()
        """,
        signal.SIGTERM,
    )

    assert lines == ["-15", "child term", "child exit", "143", "parent term", "parent exit"]
    assert code == 143


def test_made_in_a_thread_it_waits_for_the_main_thread() -> None:
    """Python installs no handlers from a thread; the next one of the main thread serves both."""
    lines, code, messages = _run(
        """
        made = []
        def make():
            made.append(Handler("thread"))
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        main = Handler("main")
        wait()
        """,
        signal.SIGTERM,
    )

    assert lines == ["True", "main term", "thread term", "main exit", "thread exit"]
    assert (code, messages) == (143, "")


def test_closing_the_last_handler_restores_what_was_there() -> None:
    """Closing twice, or one of two, is fine; afterwards every signal is handled as before."""
    lines, code, messages = _run(
        """
        def handlers():
            return [signal.getsignal(number) for number in sorted(signal.valid_signals())]
        signal.signal(signal.SIGTERM, lambda *_: None)
        before = handlers()
        one, two = SignalHandler(), SignalHandler()
        one.close()
        one.close()
        say(handlers() == before)
        two.close()
        say(handlers() == before)
        """
    )

    assert (lines, code, messages) == (["False", "True"], 0, "")


def test_equal_handlers_are_told_apart() -> None:
    """Handlers that compare equal are closed one by one."""
    lines, _, _ = _run(
        """
        class Equal(Handler):
            def __eq__(self, other):
                return True
            __hash__ = SignalHandler.__hash__
        one, two = Equal("one"), Equal("two")
        two.close()
        wait()
        """,
        signal.SIGTERM,
    )

    assert lines == ["one term", "one exit"]


def test_base_class_says_what_to_define() -> None:
    """Both signals are abstract, the end is not."""
    handler = SignalHandler()

    with pytest.raises(NotImplementedError, match="SIGTERM"):
        handler.sigterm(signal.SIGTERM, None)
    with pytest.raises(NotImplementedError, match="SIGINT"):
        handler.sigint(signal.SIGINT, None)
    handler.atexit()

    handler.close()


def test_closing_in_a_thread_is_no_error() -> None:
    """What a thread cannot restore goes on being passed through, until the main thread restores it."""
    lines, code, messages = _run(
        """
        before = signal.getsignal(signal.SIGTERM)
        handler = Handler()
        thread = threading.Thread(target=handler.close)
        thread.start()
        thread.join()
        say(signal.getsignal(signal.SIGTERM) == before)
        Handler().close()
        say(signal.getsignal(signal.SIGTERM) == before)
        """
    )

    assert (lines, code, messages) == (["False", "True"], 0, "")
