"""``backlight tokens``: at which token and layer the gradient of an answer sits."""

from backlight.surveys.driver.declaration import Survey
from backlight.surveys.tokens.options import TokensConfig

TOKENS = Survey(
    name="tokens",
    options=TokensConfig,
    room=__name__,
    picture="figures/gradient_norm_heatmap.png",
    lists="list_positions",
)
