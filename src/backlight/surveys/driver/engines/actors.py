"""Shards measured on a cluster by actors of Ray, each of which has the model.

Where actors are placed, that they are started anew when they die, and that a machine which is gone
is noticed, is Ray's. A shard is only given to an actor that has answered since it was started; what
is on its way for long is also given to another one, so that nothing waits for an actor for which
there is no place any more. States come back through Ray's object store, and the driver writes.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from backlight.errors import BacklightError, WorkerError, quoted
from backlight.surveys.driver.engines.cluster import joined
from backlight.surveys.driver.engines.queue import ShardQueue
from backlight.surveys.driver.engines.task import Arrays, Task, measuring
from backlight.surveys.driver.words.sentences import count

SECONDS_TO_DOUBT = 30.0
"""After how long without an answer what is on its way is given to idle actors too."""

_MOST_STARTS = 3
_logger = logging.getLogger(__name__)


@final
class RayActors:
    """An engine: actors on a cluster of Ray."""

    def __init__(self, address: str, num_actors: int, task: Task) -> None:
        """Start nothing yet.

        Args:
            address: Of the cluster: ``auto`` or ``ray://HOST:PORT``.
            num_actors: How many actors.
            task: What each is told.
        """
        self._address, self._num, self._task = address, num_actors, task

    def measured(self, shards: Sequence[int]) -> Iterator[tuple[int, Arrays]]:
        """Measure shards.

        Args:
            shards: Which.

        Yields:
            Each shard with its state, in the order in which they are done.

        Raises:
            WorkerError: If the cluster cannot be joined, no actor can be started, or a shard kills
                one actor after the other.
            BacklightError: What an actor raised.
        """
        if not shards:
            return
        with joined(self._address) as ray:
            team = _Team(ray, self._task, min(self._num, len(shards)))
            try:
                yield from _given_out(team, ShardQueue(shards))
            finally:
                team.dismiss()


def _given_out(team: "_Team", queue: ShardQueue) -> Iterator[tuple[int, Arrays]]:
    """Give out shards until all are measured."""
    while queue.is_open:
        answers = team.answers()
        if not answers:
            queue.doubt()
        measured = list[tuple[int, Arrays]]()
        for shard, answer in answers:
            if isinstance(answer, BacklightError):
                raise answer
            if shard is None:
                continue
            if isinstance(answer, _Lost):
                queue.lost(shard, f"the last one: {answer.why}")
            elif queue.done(shard):
                measured.append((shard, answer))
        while team.is_idle and (shard := queue.take()) is not None:
            team.begin(shard)
        yield from measured  # actors are at the next ones while these are merged


@final
class _Lost:
    """An answer that will not come."""

    def __init__(self, error: Exception) -> None:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        self.why = quoted(lines[-1].strip())


class _Team:
    """Actors, and what each of them is at."""

    def __init__(self, ray: Any, task: Task, num: int) -> None:
        self._ray = ray
        kind = ray.remote(Measurer).options(
            num_cpus=task.threads,
            num_gpus=1 if _takes_gpus(ray, task.options) else 0,
            max_restarts=-1,  # a machine that is gone may come back, or another one
        )
        self._actors = [kind.remote(task, str(Path.cwd())) for _ in range(num)]
        self._idle: list[Any] = []
        self._calls: dict[Any, tuple[Any, int | None]] = {}
        self._starts = dict.fromkeys(self._actors, 0)
        self._is_told = False
        for actor in self._actors:
            self._open(actor)

    @property
    def is_idle(self) -> bool:
        return bool(self._idle)

    def begin(self, shard: int) -> None:
        actor = self._idle.pop()
        self._calls[actor.measure.remote(shard)] = (actor, shard)

    def answers(self) -> list[tuple[int | None, Any]]:
        """Wait for an answer; none if there was none for long."""
        ready, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=SECONDS_TO_DOUBT)
        if not ready:
            self._tell()
        return [self._answer(reference) for reference in ready]

    def dismiss(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor, no_restart=True)

    def _answer(self, reference: Any) -> tuple[int | None, Any]:
        actor, shard = self._calls.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            answer = _Lost(error)
            if shard is None:
                self._count(actor, answer)
            self._open(actor)
            return shard, answer
        self._starts[actor] = 0
        self._idle.append(actor)
        return shard, answer

    def _open(self, actor: Any) -> None:
        """Ask an actor whether it is there, with the model: the answer makes it idle."""
        if self._starts[actor] < _MOST_STARTS:
            self._calls[actor.open.remote()] = (actor, None)

    def _count(self, actor: Any, lost: _Lost) -> None:
        self._starts[actor] += 1
        if all(starts >= _MOST_STARTS for starts in self._starts.values()):
            raise WorkerError(
                f"cluster: no actor could be started; the last one: {lost.why}. Every machine of "
                "the cluster needs the same backlight and the same Python."
            )

    def _tell(self) -> None:
        waiting = sum(shard is None for _, shard in self._calls.values())
        if waiting and not self._is_told:
            self._is_told = True
            _logger.warning(
                "Of %s on the cluster %d did not start yet; the cluster has %s.",
                count(len(self._actors), "worker"),
                waiting,
                _told(self._ray.cluster_resources()),
            )


def _takes_gpus(ray: Any, options: Any) -> bool:
    """Whether each actor is to have a GPU: if there are any, and it is not told otherwise."""
    return options.device in ("auto", "cuda") and ray.cluster_resources().get("GPU", 0) >= 1


def _told(resources: dict[str, float]) -> str:
    return " and ".join(count(int(resources.get(kind, 0)), kind) for kind in ("CPU", "GPU"))


class Measurer:
    """What an actor is: a process of a cluster that has the model."""

    def __init__(self, task: Task, directory: str) -> None:
        """Open nothing yet, so that what goes wrong can be answered.

        Args:
            task: What is measured.
            directory: The driver's, from which paths of options may be told.
        """
        self._task = task
        self._measure: Any = None
        if Path(directory).is_dir():
            os.chdir(directory)
        logging.getLogger("backlight").setLevel(logging.ERROR)  # the driver has told the rest

    def open(self) -> BacklightError | None:
        """Open model and text, if they are not yet; what was wrong with them is the answer."""
        if self._measure is None:
            try:
                self._measure = measuring(self._task)
            except BacklightError as error:
                return error
        return None

    def measure(self, shard: int) -> Arrays | BacklightError:
        """Measure a shard; what was wrong is the answer."""
        try:
            return self._measure(shard)
        except BacklightError as error:
            return error
