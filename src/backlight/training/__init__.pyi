from .history import STATISTICS, Event, History, ParameterInfo
from .reading import read_history
from .schedules import Schedule, every, log_spaced
from .watching import Watch, watch

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
