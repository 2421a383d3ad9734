"""The page of a tokens run."""

from backlight.surveys.tokens.page.run import views as views
