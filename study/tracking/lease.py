"""The lease of a study's one coordinator: a heartbeat tag that runs out."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

from study.tracking.retry import patience

BEAT_SECONDS = 15
GRACE_SECONDS = 60


class Heartbeat(NamedTuple):
    """Who coordinates a study, and when it was last seen.

    Attributes:
        boot: this boot of the machine and this table of processes; empty where none is told, as
            outside Linux and in heartbeats of older code.
        started: when the process started, in clock ticks after the boot.
        time: seconds since 1970.
        silent: seconds without a beat after which the coordinator is taken for dead. One that waits
            for the store is not.
    """

    host: str
    pid: int
    time: float
    silent: float
    boot: str = ""
    started: str = ""

    @classmethod
    def now(cls) -> Heartbeat:
        """Return the heartbeat of this process."""
        pid = os.getpid()
        silent = patience() + GRACE_SECONDS
        host = socket.gethostname()
        return cls(host, pid, time.time(), silent, _boot(), _start_of(pid) or "")

    @classmethod
    def from_json(cls, text: str) -> Heartbeat | None:
        """Return what `to_json` wrote; None for anything else."""
        try:
            fields = json.loads(text)
            return cls(
                host=str(fields["host"]),
                pid=int(fields["pid"]),
                time=float(fields["time"]),
                silent=float(fields.get("silent", patience() + GRACE_SECONDS)),
                boot=str(fields.get("boot", "")),
                started=str(fields.get("started", "")),
            )
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            return None

    def to_json(self) -> str:
        """Return the text of the tag."""
        return json.dumps(self._asdict())

    def is_held(self) -> bool:
        """Return False once the lease has run out, or its process is provably gone.

        That can be proved of a process of this boot and this process table alone: the same host
        name and number may be another container's.
        """
        fresh = abs(time.time() - self.time) < self.silent
        if not self.boot or self.boot != _boot():
            return fresh
        started = _start_of(self.pid)
        if started is None and _belongs_to_another(self.pid):  # /proc hides it (hidepid)
            return fresh
        return self.pid != os.getpid() and started == self.started


def _boot() -> str:
    """Name this boot and this table of processes (Linux); empty elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """Return when a living process started; None for one that is gone or a zombie."""
    try:
        # After the name, which may hold anything, field 1 is the state and field 20 the start.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]


def _belongs_to_another(pid: int) -> bool:
    """Return True for a living process of another user."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False
