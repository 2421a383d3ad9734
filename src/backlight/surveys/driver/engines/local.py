"""Shards measured by processes of this machine, each of which has the model; who dies is replaced.

A process that dies, in whatever way, costs the shard that it was at. States come back through
pipes, so that one process alone, the one that asks, writes the run.
"""

import logging
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import final

from backlight.errors import BacklightError
from backlight.surveys.driver.engines.queue import ShardQueue
from backlight.surveys.driver.engines.task import Arrays, Task, measuring

_SECONDS_TO_LEAVE = 5.0


@final
class LocalWorkers:
    """An engine: supervised processes of this machine."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Start nothing yet.

        Args:
            tasks: What each process is told.
        """
        self._tasks = tasks

    def measured(self, shards: Sequence[int]) -> Iterator[tuple[int, Arrays]]:
        """Measure shards.

        Args:
            shards: Which.

        Yields:
            Each shard with its state, in the order in which they are done.

        Raises:
            WorkerError: If a shard kills one worker after the other.
            BacklightError: What a worker raised.
        """
        queue = ShardQueue(shards)
        team = list[_Worker]()
        try:
            team += (_Worker(task) for task in self._tasks[: len(shards)])
            while queue.is_open:
                for each in team:
                    each.begin_next(queue)
                ready = wait([each.connection for each in team])
                for place, each in enumerate(team):
                    if each.connection not in ready:
                        continue
                    shard, answer = each.shard, each.answer()
                    if isinstance(answer, BacklightError):
                        raise answer
                    if answer is not None and shard is not None:
                        queue.done(shard)
                        each.begin_next(queue)  # it works while its last state is merged
                        yield shard, answer
                        continue
                    each.dismiss()
                    if shard is not None:
                        queue.lost(shard)
                    team[place] = _Worker(self._tasks[place])
        finally:
            for each in team:
                each.dismiss()


class _Worker:
    """One process, and the shard that it is at."""

    def __init__(self, task: Task) -> None:
        # A process that was forked may hold locks of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, task), daemon=True)
        self.process.start()
        theirs.close()  # else the pipe would not end when the process does
        self.shard: int | None = None

    def begin_next(self, queue: ShardQueue) -> None:
        """Begin the next shard that waits, unless it is at one."""
        if self.shard is None and (shard := queue.take()) is not None:
            self.begin(shard)

    def begin(self, shard: int) -> None:
        self.shard = shard
        with suppress(OSError):  # it is dead, which its answer will say
            self.connection.send(shard)

    def answer(self) -> Arrays | BacklightError | None:
        """Take what the process says; None if it died."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.shard = None
        return answer

    def dismiss(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(_SECONDS_TO_LEAVE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(connection: Connection, task: Task) -> None:
    """Measure the shards that are asked for until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted, and dismisses this one
    logging.getLogger("backlight").setLevel(logging.ERROR)  # who asks has told the rest already
    try:
        measure = measuring(task)
        while True:
            connection.send(measure(connection.recv()))
    except EOFError:
        return
    except BacklightError as error:
        connection.send(error)
