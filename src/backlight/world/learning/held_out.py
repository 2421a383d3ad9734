"""Which questions a model never sees while it learns, so that its answers can be marked later."""

import zlib

_SEPARATORS = str.maketrans(";", ",")


def is_held_out(row: str, share: float) -> bool:
    """Tell whether a question is held out, from its text alone.

    The order of what stands in the parentheses does not count, and neither does the task: whether
    ``dist(c_0001,c_0002)=``, ``dist(c_0002,c_0001)=`` and ``compass(c_0001,c_0002)=`` are held
    out is one choice.

    Args:
        row: A compact question, with or without its answer.
        share: The share of all questions that is held out.

    Returns:
        Whether this one is.
    """
    inner = row.partition("(")[2].partition(")")[0]
    terms = ",".join(sorted(inner.translate(_SEPARATORS).split(",")))
    return zlib.crc32(terms.encode()) < share * 2**32
