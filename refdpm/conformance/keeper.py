"""Keeps a program and all that it starts, and ends them when its own starter ends:   python keeper.py FD PROGRAM ARGUMENTS

FD is the reading end of a pipe whose other end only the starter holds.  When that is closed, also because the starter was killed,
every process below this one is killed: also those in sessions of their own and those whose parents have ended, which the system
hands over to us (a "subreaper", Linux only; elsewhere the group of the program is killed).  When the program ends by itself, so do
we, in the same way.  It runs without the package, so that it starts at once.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

PAUSE = 0.005                           # seconds between two looks at those that are dying
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
STATE, PARENT = 0, 1                    # fields of /proc/PID/stat after the name


def main() -> None:
    """Starts the program and waits for its end, or for that of our starter."""
    life, command = int(sys.argv[1]), sys.argv[2:]
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    heard, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    program = os.fork()
    if not program:
        _become(command)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    status = None
    while status is None and life not in select.select([life, heard], [], [])[0]:
        os.read(heard, 4096)
        status = _buried().get(program)
    _kill_all(program)
    _end_as(status)


def _become(command: list[str]) -> None:
    """In the new process: the program, in a group of its own, killed if we are."""
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpgid(0, 0)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _buried() -> dict[int, int]:
    """The children that have ended, with how."""
    found = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found[pid] = status
    return found


def _kill_all(program: int) -> None:
    """Kills our children until there are none: the children of those that die become ours, before the system counts them as dead.

    So we are done when there is nobody to wait for; that a list of processes is empty says nothing, while one of them is dying.
    """
    with contextlib.suppress(OSError):
        os.killpg(program, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in _children():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(PAUSE)


def _children() -> list[int]:
    """Our living children, where /proc lists them."""
    found = []
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
                if fields[PARENT] == str(os.getpid()) and fields[STATE] not in "ZX":
                    found.append(int(name))
    return found


def _end_as(status: int | None) -> None:
    """Ends in the way in which the program ended."""
    if status is None:
        os._exit(1)
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):              # SIGKILL is not to be caught anyway
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 255)


if __name__ == "__main__":
    main()
