"""Named points of a run at which a test can kill or stop the process, as a power cut or a frozen machine would.

`PENSTOCK_FAULT="<point>=kill"` kills the whole process group (Spark's JVM with it) when the run first reaches the
point; `=stop` freezes this process (SIGSTOP) until somebody continues it; `=fail` raises OSError. Without the
variable a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "PENSTOCK_FAULT"
POINTS = ("begin", "claimed", "read", "gated", "publishing", "committing", "published", "accounted", "closed")

AWAKE = threading.Lock()
"""Held by a thread for as long as it has a file locked: a process that froze then would keep all others from it."""


def reach(point: str) -> None:
    """Mark that the run has come to `point`: one of POINTS, those of a commit with `:<output>` behind them.

    `committing` lies between the look at the claim and the commit.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    name, _, action = wanted.partition("=")
    if name != point:
        return
    os.environ.pop(VARIABLE)
    if action == "stop":
        with AWAKE:
            os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "fail":
        raise OSError(f"fault planted at {point}")
    else:
        os.killpg(os.getpgid(0), signal.SIGKILL)
