"""The parameters of a model while it is trained: they may come, go, be frozen and be unfrozen."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backlight.training.log.history import ParameterInfo
from backlight.training.watching.parameters import describe_parameter

_LONG = 10
"""Steps without being trainable after which a parameter counts as frozen: some trainings freeze
one half of a model and then the other, within a step or from step to step."""


class Roster:
    """Gives each parameter a place that stays, in the order in which they are first seen.

    Attributes:
        weights: The parameters by their places, and something empty where one is gone; only this
            class changes the list.
        infos: What is known of each.
    """

    def __init__(
        self,
        model: nn.Module,
        infos: Sequence[ParameterInfo],
        optimizers: Sequence[Optimizer],
    ) -> None:
        """Take the parameters that a model has now.

        Args:
            model: The model, without wrappers.
            infos: What is known of them, and of others that were there in an earlier process.
            optimizers: Those that are watched.
        """
        self._model = model
        self._optimizers = optimizers
        members = dict(model.named_parameters())
        self.weights: list[Tensor] = [members.get(info.name, torch.empty(0)) for info in infos]
        self.infos = list(infos)
        # When each was trainable last.
        self._trainable: list[int | None] = [None] * len(infos)
        self._were_trainable = [weight.requires_grad for weight in self.weights]
        self._others: WeakKeyDictionary[Optimizer, tuple[int, list[int]]] = WeakKeyDictionary()
        self._signature = self._sign()
        self._owners = self._find_owners()

    def owned_by_others(self, optimizer: Optimizer, done: Iterable[Optimizer]) -> set[int]:
        """Find which parameters another watched optimizer is still to change in this step.

        Args:
            optimizer: The one whose turn it is.
            done: Those that had their turn.

        Returns:
            Their places.
        """
        mine = {id(optimizer), *map(id, done)}
        return {place for place, owners in self._owners.items() if not owners & mine}

    def owned_by(self, optimizer: Optimizer) -> set[int]:
        """Find which parameters an optimizer changes."""
        return {place for place, owners in self._owners.items() if id(optimizer) in owners}

    def not_moved_by(self, done: Iterable[Optimizer]) -> set[int]:
        """Find the parameters whose moves are not those of these optimizers alone."""
        ours = set(map(id, done))
        elsewhere = {place for place, info in enumerate(self.infos) if info.elsewhere}
        return elsewhere | {p for p, owners in self._owners.items() if not owners & ours}

    def look(self, step: int, *, closely: bool = False) -> bool:
        """Find what has changed since the last look.

        Args:
            step: The step that is under way.
            closely: Look for parameters that came or went, even if no optimizer knows of them.

        Returns:
            Whether something is known of the parameters that was not known before.
        """
        if not closely and self._sign() == self._signature:
            return False
        before = list(self.infos)
        for place, trainable in enumerate(self._were_trainable):
            if trainable:
                self._trainable[place] = step
        self._see_members(step)
        self._owners = self._find_owners()
        self._signature = self._sign()
        self._were_trainable = [weight.requires_grad for weight in self.weights]
        for place, weight in enumerate(self.weights):
            last = self._trainable[place]
            trainable = weight.requires_grad or (last is not None and step - last < _LONG)
            if not self.infos[place].until and self.infos[place].trainable != trainable:
                self.infos[place] = replace(self.infos[place], trainable=trainable)
        return before != self.infos

    def see_other(self, optimizer: Optimizer) -> tuple[list[int], bool]:
        """Take note of an optimizer that is not watched.

        Returns:
            The places of the parameters that it changes and no watched one does; and whether that
            is news.
        """
        members = [weight for group in optimizer.param_groups for weight in group["params"]]
        known = self._others.get(optimizer)
        if known is not None and known[0] == len(members):
            return known[1], False
        numbers = {id(weight): place for place, weight in enumerate(self.weights)}
        found = {numbers[id(weight)] for weight in members if id(weight) in numbers}
        places = sorted(found - set(self._owners))
        self._others[optimizer] = len(members), places
        news = [place for place in places if not self.infos[place].elsewhere]
        for place in news:
            self.infos[place] = replace(self.infos[place], elsewhere=True)
        return places, bool(news)

    def _sign(self) -> list[list[int]]:
        """Return what differs if a parameter was frozen, unfrozen, or given to an optimizer."""
        groups = [group["params"] for each in self._optimizers for group in each.param_groups]
        members = [list(map(id, weights)) for weights in groups]
        return [*members, [weight.requires_grad for weight in self.weights]]

    def _find_owners(self) -> dict[int, set[int]]:
        numbers = {id(weight): place for place, weight in enumerate(self.weights)}
        owners: dict[int, set[int]] = {}
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    if id(weight) in numbers:
                        owners.setdefault(numbers[id(weight)], set()).add(id(optimizer))
        return owners

    def _see_members(self, step: int) -> None:
        """Add new parameters, and put those aside that are gone."""
        members = dict(self._model.named_parameters())
        there = {id(weight) for weight in members.values()}
        for place, weight in enumerate(self.weights):
            if id(weight) not in there and not self.infos[place].until:
                self.infos[place] = replace(self.infos[place], until=step)
                self.weights[place] = torch.empty(0)
        known = {id(weight) for weight in self.weights}
        for name, weight in members.items():
            if id(weight) not in known:
                self._admit(name, weight, step)

    def _admit(self, name: str, weight: Tensor, step: int) -> None:
        """Add a parameter, at the place of a gone one of its name and shape if there is one."""
        info = describe_parameter(self._model, name, weight, depth=len(self.infos), since=step)
        taken = {old.name: place for place, old in enumerate(self.infos)}
        place = taken.get(name)
        if place is not None and self.infos[place].until and self.infos[place].shape == info.shape:
            self.weights[place] = weight
            self.infos[place] = replace(self.infos[place], until=0)
            self._trainable[place] = None
            return
        number = 2
        while info.name in taken:
            info = replace(info, name=f"{name} ({number})")
            number += 1
        self.weights.append(weight)
        self.infos.append(info)
        self._trainable.append(None)
