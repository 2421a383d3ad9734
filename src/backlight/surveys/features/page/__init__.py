"""The page of a run of features."""

from backlight.surveys.features.page.run import views as views
