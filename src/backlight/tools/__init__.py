"""Commands that are no survey, a folder each."""

from backlight.tools import check, demo, doctor, export, open, report, sites, train_sae, train_world

TOOLS = {
    each.TOOL.name: each.TOOL
    for each in (sites, check, train_sae, train_world, doctor, open, report, export, demo)
}
"""The tools, by the names of their commands."""
