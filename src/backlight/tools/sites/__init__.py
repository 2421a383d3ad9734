"""``backlight sites``: every site of a model, in our names and in two foreign dialects."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.sites.options import SitesConfig

TOOL = Tool(name="sites", options=SitesConfig, room=__name__, positional="model_name")
