"""What the page of a run of ``backlight flow`` shows."""

from backlight.surveys.flow.page.run import views as views
