"""Commands that are no survey, a folder each."""

from backlight.tools import (
    check,
    demo,
    doctor,
    export,
    merge,
    open,
    report,
    sites,
    train_sae,
    train_world,
    worker,
)

TOOLS = {
    each.TOOL.name: each.TOOL
    for each in (
        sites,
        check,
        train_sae,
        train_world,
        doctor,
        open,
        report,
        export,
        worker,
        merge,
        demo,
    )
}
"""The tools, by the names of their commands."""
