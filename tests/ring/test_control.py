"""The rank's end of the agent's socket, in a process of its own because it may end that process."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ringcore.spec.control import ForgetPrefixes, Join, Quit, Say, Wake, child_to_agent, line
from tests.ring.harness import REPOSITORY, until

CHILD = """
import sys
from select import select
from ringcore.rank.control import Control
control = Control(int(sys.argv[1]), 1)
control.start()
control.say("here")
for command in sys.stdin:
    control.say(str(eval(command)))
"""


class Child:
    """Evaluates expressions over ``control`` and tells the results."""

    def __init__(self) -> None:
        self.agent, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(theirs.fileno())],
                cwd=REPOSITORY, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE,
            )  # fmt: skip
        self.agent.settimeout(20)
        self._lines = self.agent.makefile("rb")

    def heard(self) -> str:
        message = child_to_agent.decode(self._lines.readline())
        assert isinstance(message, Say)
        return message.text

    def begin(self, expression: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(expression.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, expression: str) -> str:
        self.begin(expression)
        return self.heard()


@pytest.fixture
def child() -> Iterator[Child]:
    found = Child()
    try:
        assert found.heard() == "here"
        yield found
    finally:
        found.process.kill()
        found.process.wait()
        assert found.process.stdin
        found.process.stdin.close()
        found._lines.close()
        found.agent.close()


def test_join_is_heard_in_whatever_pieces_it_comes(child: Child) -> None:
    child.begin("control.wait_for_join()")
    for byte in line(Join()):
        child.agent.sendall(bytes([byte]))
    assert child.heard() == "True"


def test_a_message_that_is_unknown_is_told_and_the_next_is_heard(child: Child) -> None:
    child.agent.sendall(b'{"type": "dance"}\n' + line(Join()))
    assert "unknown" in child.heard()
    assert child.ask("control.wait_for_join()") == "True"


def test_a_wake_is_waited_for_and_one_for_an_earlier_rest_forgotten(child: Child) -> None:
    assert child.ask("control.wait_for_wake(0.01)") == "False"
    child.agent.sendall(line(Wake()))
    assert child.ask("control.wait_for_wake(20)") == "True"
    assert child.ask("control.forget_wake() or control.wait_for_wake(0.01)") == "False"


def test_a_quit_just_before_a_rest_is_not_slept_through(child: Child) -> None:
    child.begin("control._quitting.wait(20) and control.forget_wake() or control.wait_for_wake(20)")
    child.agent.sendall(line(Quit()))
    assert child.heard() == "True"


def test_quit_ends_the_wait_for_join_and_wakes_a_select(child: Child) -> None:
    child.begin("(control.wait_for_join(), control.quitting, select([control], [], [], 9)[0] != [])")
    child.agent.sendall(line(Quit()))
    assert child.heard() == "(False, True, True)"
    assert child.ask("control.drain() or select([control], [], [], 0)[0]") == "[]"


def test_quit_ends_a_process_that_never_looks(child: Child) -> None:
    child.begin("__import__('time').sleep(60)")
    child.agent.sendall(line(Quit()))
    assert child.process.wait(10) == 0


@pytest.mark.parametrize("busy", ["control.wait_for_join()", "all(iter(int, 1))"], ids=["waiting", "working"])
def test_the_end_of_the_agent_ends_the_process_whatever_it_does(busy: str, child: Child) -> None:
    child.begin(busy)
    child.agent.shutdown(socket.SHUT_RDWR)
    until(lambda: child.process.poll() is not None, "the end", 10)
    assert child.process.returncode == 3


def test_many_words_that_the_work_has_no_time_for_hold_nothing_up(child: Child) -> None:
    child.agent.sendall(line(ForgetPrefixes()) * 2000 + line(Join()))
    assert child.ask("control.wait_for_join()") == "True"
    assert child.ask("(control.forgets, select([control], [], [], 0)[0] == [control])") == "(2000, True)"
    child.ask("control.drain()")
    assert child.ask("select([control], [], [], 0)[0]") == "[]"
