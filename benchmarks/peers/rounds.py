"""How a benchmark's process lets itself be stopped and timed between training steps.

A contestant trains in an endless loop of its own and calls :meth:`Rounds.tick` once per step. Its
parent writes a number of steps to its standard input and gets back how long they took, as a line of
JSON. In between the contestant waits, so that several can take turns on one machine. Needs nothing
but Python, for environments that hold nothing of idle_md.
"""

import json
import os
import sys
import time
from typing import Any


class Rounds:
    """The contestant's side.

    Parameters
    ----------
    about
        What the parent should know, such as versions; sent after the warm-up.
    warm_up
        Steps before the first round.

    Attributes
    ----------
    waited
        Seconds of this round in which no step could run because there was no batch; the contestant
        adds to it.
    """

    def __init__(self, about: dict[str, Any], warm_up: int = 10) -> None:
        # Whatever else prints, goes to the standard error.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._about = about
        self._left = self._steps = warm_up
        self._started = self._cpu_started = self.waited = 0.0

    def tick(self) -> None:
        """Count a step; after the last one of a round, answer and wait for the next round."""
        if self._left > 0:
            self._left -= 1
            return
        seconds = time.perf_counter() - self._started
        answer = {"seconds": seconds, "waited": self.waited, "steps": self._steps}
        answer["cpu_seconds"] = time.process_time() - self._cpu_started
        if self._started == 0.0:
            answer = self._about
        print(json.dumps(answer), file=self._answers, flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            raise SystemExit(0)
        self._steps = int(line)
        self._left = self._steps - 1
        self.waited = 0.0
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
