"""Numbers as the page writes them: in few signs, and never as other numbers."""

import numpy as np

from backlight.report.page.document import document
from backlight.report.page.views import Page, Rows
from backlight.tables import Table
from zoo.browsing import section

WRITTEN = {
    4.327e-10: "4.327e−10",
    -3.5e-20: "−3.5e−20",
    2e-5: "2e−5",
    0.01: "0.01",
    20.04: "20.04",
    1000.4: "1000",
    -70.0001: "−70",
    1.5e30: "1.5e30",
    3.0: "3",
    100.0: "100",
    -10.0: "−10",
}


def test_zeros_at_the_end_are_left_out_only_behind_the_point(opened, tmp_path):
    table = Table(name="t", columns={"number": np.array(list(WRITTEN))})
    path = tmp_path / "index.html"
    path.write_bytes(document(Page(title="t", summary=[], views=[Rows(title="All", table=table)])))

    found = section(opened(path), "All")

    assert found.locator("tbody td").all_inner_texts() == list(WRITTEN.values())
