from backlight.report.page.views import Rows


def views(results):
    yield Rows(title="Lengths", table=results.tables["toy"])
