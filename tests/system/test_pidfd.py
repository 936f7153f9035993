import os
import select
import signal
import subprocess

import pytest

from appserve.system.pidfd import open_pidfd, send_signal

needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd")


@needs_pidfd
def test_a_pidfd_signals_its_process_and_tells_its_end() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        pidfd = open_pidfd(process.pid)
        assert pidfd is not None
        assert not os.get_inheritable(pidfd)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(0) == []
        assert send_signal(pidfd, signal.SIGKILL)
        assert poll.poll(60_000) == [(pidfd, select.POLLIN)]
        assert process.wait() == -signal.SIGKILL
        assert not send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        assert open_pidfd(process.pid) is None


def test_a_system_without_pidfds_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert open_pidfd(os.getpid()) is None
