from .log.history import STATISTICS, Event, History, ParameterInfo
from .log.reading import read_history
from .watch.schedules import Schedule, every, log_spaced
from .watch.watch import Watch, watch

__all__ = [
    "STATISTICS",
    "Event",
    "History",
    "ParameterInfo",
    "Schedule",
    "Watch",
    "every",
    "log_spaced",
    "read_history",
    "watch",
]
