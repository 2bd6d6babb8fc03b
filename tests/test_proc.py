"""Processes: what counts as alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from testbed import proc
from testbed.clock import Deadline, poll

LEADER_ENDS_FIRST = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_whose_first_thread_ended_is_alive_until_the_last_one_ends() -> None:
    child = subprocess.Popen([sys.executable, "-c", LEADER_ENDS_FIRST])
    try:
        poll(lambda: state(child.pid) == "Z", Deadline.after(10, "the end of the first thread"))
        assert proc.run_id(child.pid) == proc.run_id(child.pid) is not None
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert state(child.pid) == "Z" and proc.run_id(child.pid) is None
    finally:
        child.kill()
        child.wait()
