"""How a module takes another backward, and gives it back.

A module changes its class to one that inherits from a role (which has the other backward) and from
the class it had. So its parameters, its hooks and what it is an instance of stay, copies keep the
role, and ``torch.compile`` notices the change in either direction.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

from torch import Tensor, nn

from backlight.errors import ConfigError, nearest, quoted

_Word = TypeVar("_Word")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One module and the role that it is to take.

    Attributes:
        path: Where the module is in the model.
        module: The module.
        role: The class whose ``forward`` it takes.
        settings: Attributes that the role reads.
        buffers: Tensors that are to be saved, loaded and moved with the model; None for one that
            is not there yet.
    """

    path: str
    module: nn.Module
    role: type[nn.Module]
    settings: Mapping[str, Any]
    buffers: Mapping[str, Tensor | None] = field(default_factory=dict[str, Tensor | None])


@final
class Applied:
    """What was changed in a model: ``restore``, or the end of a ``with`` block, undoes it.

    Args:
        changes: What was changed, and the class that each module had.
    """

    def __init__(self, changes: Sequence[tuple[Change, type[nn.Module]]]) -> None:
        self._changes = list(changes)

    @property
    def paths(self) -> tuple[str, ...]:
        """The modules that were changed and not restored yet."""
        return tuple(change.path for change, _ in self._changes)

    def restore(self) -> None:
        """Put back what every module had; a second call does nothing.

        Raises:
            ConfigError: If something else was applied to a module afterwards, and is still there.
        """
        for change, kind in self._changes:
            if type(change.module) is not _joined(change.role, kind):
                raise ConfigError(
                    f"{_name(change.path)} was changed again by something applied later; restore "
                    "that first."
                )
        for change, kind in self._changes:
            change.module.__class__ = kind
            for name in (*change.settings, *change.buffers):
                delattr(change.module, name)
        self._changes.clear()

    def __enter__(self) -> "Applied":
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()


def apply_changes(changes: Sequence[Change]) -> Applied:
    """Change modules, all or none.

    Args:
        changes: What to change.

    Returns:
        What undoes it.

    Raises:
        ConfigError: If a module already has an attribute that the role needs for itself.
    """
    for change in changes:
        for name in (*change.settings, *change.buffers):
            if hasattr(change.module, name):
                raise ConfigError(
                    f"{_name(change.path)} already has an attribute {quoted(name)}: a rule was "
                    "applied to it before. Restore that first."
                )
    done: list[tuple[Change, type[nn.Module]]] = []
    for change in changes:
        done.append((change, type(change.module)))
        for name, value in change.settings.items():
            setattr(change.module, name, value)
        for name, buffer in change.buffers.items():
            change.module.register_buffer(name, buffer)
        change.module.__class__ = _joined(change.role, type(change.module))
    return Applied(done)


@functools.cache
def _joined(role: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"{role.__name__}{kind.__name__}", (role, kind), {"__doc__": role.__doc__})


def find_module(model: nn.Module, path: str) -> nn.Module:
    """Find a module by its path.

    Args:
        model: The model.
        path: Names joined by dots, as ``named_modules`` gives them.

    Returns:
        The module.

    Raises:
        ConfigError: If there is none.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if path not in modules:
        hint = nearest(path, list(modules), otherwise="model.named_modules() lists them.")
        raise ConfigError(f"This model has no module {quoted(path)}. {hint}")
    return modules[path]


def check_choice(what: str, value: object, known: Sequence[_Word]) -> _Word:
    """Refuse a word that is not among those there are.

    Args:
        what: What the word chooses.
        value: The word.
        known: The words there are.

    Returns:
        The word.

    Raises:
        ConfigError: If it is none of them.
    """
    for word in known:
        if word == value:
            return word
    raise ConfigError(f"There is no {what} {quoted(value)}, only {', '.join(map(str, known))}.")


def _name(path: str) -> str:
    return f"The module {quoted(path)}" if path else "The model"
