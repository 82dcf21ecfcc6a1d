"""The loop of every rank but the leader: receive a step, do it, pass it on; rest when told to."""

from ringcore.engine.step import HEAD_OPERATIONS, Operation
from ringcore.rank.control import Control
from ringcore.rank.executor import Executor
from ringcore.rank.inbox import Inbox
from ringcore.rank.link import Link
from ringcore.rank.report import Report


def work(link: Link, executor: Executor, control: Control, report: Report, *, overtaking: bool) -> None:
    """Until a stop step has passed, or the agent said Quit while the ring was at rest. ``overtaking``: the
    head is shared, and what waits for logits goes before what waits for layers.

    Raises `RingError` when a link breaks or carries what it must not.
    """
    receive = Inbox(link).receive if overtaking else link.receive
    while True:
        message = receive()
        operation = message.step.operation
        done = executor.perform(message)
        if operation is Operation.PARK:
            # Before it is passed on: the wake for this rest cannot come earlier than that.
            control.forget_wake()
        link.send(done.step, done.hidden)
        executor.afterwards()
        if operation is Operation.STOP:
            return
        if operation in HEAD_OPERATIONS:
            continue
        if operation is not Operation.PARK:
            report.stepped(waited=link.waited)
            continue
        report.rest(waited=link.waited)
        while not control.wait_for_wake(report.patience):
            report.memory()
        if control.quitting:
            return
