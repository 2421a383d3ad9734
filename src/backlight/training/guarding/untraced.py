"""Functions that ``torch.compile`` leaves alone, without loading the compiler."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch

_Words = ParamSpec("_Words")
_Result = TypeVar("_Result")


def untraced(function: Callable[_Words, _Result]) -> Callable[_Words, _Result]:
    """Let a function, and all that it calls, be run as it is inside of a compiled model.

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
    skip = compiler._FrameAction.SKIP
    compiler.set_code_exec_strategy(marked.__code__, compiler._FrameExecStrategy(skip, skip))
    return function
