from .log.history import STATISTICS, Event, History, ParameterInfo
from .log.reading import read_history
from .watching.schedules import Schedule, every, log_spaced
from .watching.watch import Watch, watch

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
