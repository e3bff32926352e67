import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection

from t3d.system import children_ignore_interrupts, ignore_interrupts


def _tell(pipe: Connection) -> None:
    pipe.send(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)


def test_workers_leave_interrupts_to_the_main_process() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        ignore_interrupts(0)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_children_ignore_interrupts_and_their_parent_does_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    context = get_context("spawn")
    pipe, its_end = context.Pipe()
    child = context.Process(target=_tell, args=(its_end,))
    with children_ignore_interrupts():
        child.start()
    assert signal.getsignal(signal.SIGINT) is before
    assert pipe.recv() is True
    child.join()
