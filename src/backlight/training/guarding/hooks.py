"""The hooks of a watch: each is guarded, and a copy of what they hang on has none that works."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar, cast
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from backlight.training.guarding.guard import attempt

_Function = TypeVar("_Function", bound=Callable[..., Any])


def untraced(function: _Function) -> _Function:
    """Mark a function to run as it is, with all that it calls, inside of a compiled model.

    This is what ``torch.compiler.disable`` does; but that loads the compiler, which takes seconds,
    and leaves a wrapper that ``copy.deepcopy`` cannot copy.

    Args:
        function: The function; it is marked, not wrapped.

    Returns:
        The same.
    """
    marked = cast("Any", function)
    marked._torchdynamo_disable = True
    marked._torchdynamo_disable_msg = "a watched training is measured here"
    compiler = cast("Any", torch)._C._dynamo.eval_frame
    if hasattr(compiler, "set_code_exec_strategy"):
        skip = compiler._FrameAction.SKIP
        compiler.set_code_exec_strategy(marked.__code__, compiler._FrameExecStrategy(skip, skip))
    else:  # torch before 2.7
        compiler.skip_code(marked.__code__)
    return function


class Hooks:
    """Registers all hooks of one watch, and lets no failure of theirs into the training.

    The first failure ends them all. In a process that was forked since, they do nothing: its
    training is another one.

    Attributes:
        working: They do something; false after a failure, and once they were taken away.
    """

    def __init__(
        self, module: nn.Module, failed: Callable[[Exception], None], *, compiled: bool
    ) -> None:
        """Begin without hooks.

        Args:
            module: What is watched.
            compiled: It was given to ``torch.compile`` before.
            failed: Called once, with the first failure, when the hooks do nothing any more.
        """
        self._failed = failed
        self._module = module
        self._compiled = compiled
        self._handles: list[RemovableHandle] = []
        self._alive: list[Hook] = []
        self._sweeper: Hook | None = None
        self._running: list[Hook | None] = []
        self._process = os.getpid()
        self.working = True

    @property
    def at_home(self) -> bool:
        """Whether this is the process in which the watch began."""
        return os.getpid() == self._process

    def add(
        self,
        register: Callable[..., RemovableHandle],
        body: Callable[..., Any],
        *,
        unless: Sequence[object] | None = None,
        **options: Any,
    ) -> RemovableHandle:
        """Register a hook.

        Args:
            register: Such as ``module.register_forward_hook``.
            body: What the hook does; what it returns, the hook returns.
            unless: While there is something in it, the hook of a tensor does nothing: one that is
                called hundreds of times a step has to be cheap.
            options: Those of ``register``.

        Returns:
            The handle, for a hook that is taken away before the others.
        """
        hook = _BreakingHook(self, body) if self._compiled else Hook(self, body)
        hook.handle = register(hook if unless is None else _unless(unless, hook), **options)
        self._handles.append(hook.handle)
        return hook.handle

    def add_for_all(
        self, register: Callable[..., RemovableHandle], body: Callable[..., Any]
    ) -> None:
        """Register a hook in a list of torch's own, which must not keep the watch alive.

        Args:
            register: Such as ``register_optimizer_step_pre_hook``.
            body: What the hook does.
        """
        hook = Hook(self, body)
        hook.handle = register(_Weak(hook))
        self._handles.append(hook.handle)
        self._alive.append(hook)

    def once(self, tensor: Tensor, body: Callable[[Tensor], None]) -> None:
        """Register a hook for the gradient of a tensor, with which it goes."""
        tensor.register_hook(Hook(self, body))

    def run(self, body: Callable[..., Any], *words: Any, of: "Hook | None" = None) -> Any:
        """Do what a hook does, guarded.

        Args:
            body: What is done.
            words: What it is called with.
            of: The hook that does it, if torch may be in the middle of a list of hooks.

        Returns:
            What it returned; None if it failed, or the hooks do nothing any more.
        """
        if not self.working or os.getpid() != self._process:
            if of is not None and of is self._sweeper:
                self.remove()
            return None
        # What is done while a model is traced would become a part of what is traced.
        if cast("Any", torch)._C._is_tracing():
            return None
        found: list[Any] = []
        self._running.append(of)
        try:
            error = attempt(lambda: found.append(body(*words)))
            if error is None:
                return found[0]
            self.working = False
            self._take_away()
            attempt(lambda: self._failed(error))
        finally:
            self._running.pop()
        return None

    def remove(self) -> None:
        """Take all hooks away."""
        self.working = False
        self._take_away()

    def drop(self, handle: RemovableHandle) -> None:
        """Take one hook away."""
        handle.remove()
        self._handles = [each for each in self._handles if each is not handle]

    def _take_away(self) -> None:
        """Take hooks away; at the next forward pass, those in lists that torch goes through now."""
        # Torch goes through the dictionary in which a running hook stands, and it must not change
        # meanwhile: hooks in that dictionary do nothing from now on, and are removed later.
        running = [hook.handle for hook in self._running if hook is not None and hook.handle]
        busy = {id(handle.hooks_dict_ref()) for handle in running}
        kept = [each for each in self._handles if id(each.hooks_dict_ref()) in busy]
        for each in self._handles:
            if each not in kept:
                each.remove()
        self._handles, self._alive, self._sweeper = kept, [], None
        if kept:
            self._sweeper = Hook(self, lambda *_: None)
            self._sweeper.handle = self._module.register_forward_pre_hook(self._sweeper)
            self._handles.append(self._sweeper.handle)


def _unless(held: Sequence[object], hook: "Hook") -> Callable[[Tensor], None]:
    def call(tensor: Tensor) -> None:
        if not held:
            hook(tensor)

    return call


class Hook:
    """What torch calls.

    A copy of it (of the model, by ``copy.deepcopy`` or ``torch.save``) is a function of the
    standard library that does nothing: the copy is not watched, and can be read without backlight.
    """

    def __init__(self, hooks: Hooks, body: Callable[..., Any]) -> None:
        self.hooks = hooks
        self.body = body
        self.handle: RemovableHandle | None = None

    def __call__(self, *words: Any) -> Any:
        """Do it, guarded; nothing where a compiler traces the model, whose graph stays whole."""
        return None if torch.compiler.is_compiling() else self._run(*words)

    @untraced
    def _run(self, *words: Any) -> Any:
        return self.hooks.run(self.body, *words, of=self)

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")


class _BreakingHook(Hook):
    """A hook that is called by a compiled model too, between the pieces of its graph."""

    @untraced
    def __call__(self, *words: Any) -> Any:
        """Do it, guarded."""
        return self._run(*words)


class _Weak:
    """What a list that all share calls: a hook that does not outlive its watch."""

    def __init__(self, hook: Hook) -> None:
        self._hook = ref(hook)

    @untraced
    def __call__(self, *words: Any) -> Any:
        """Call the hook, if it is there still."""
        hook = self._hook()
        return None if hook is None else hook(*words)
