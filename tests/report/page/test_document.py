import base64
import hashlib
import json
import re

import numpy as np
import pytest

from backlight.errors import ConfigError
from backlight.report.page.document import document, is_inert, refuse_page
from backlight.report.page.views import Page, Paragraph, Prose, Rows, View
from backlight.tables import Table

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x1b[31m&amp;<!--"


def page(**changes):
    return Page(**{"title": "T", "summary": ["One."], "views": [], **changes})


def text_of(**changes):
    return document(page(**changes)).decode()


def rows(cell):
    table = Table(name="t", columns={"token": np.array([cell], dtype=object)})
    return Rows(title=cell, note=cell, table=table)


def test_text_is_escaped_wherever_it_stands():
    prose = Prose(title=HOSTILE, paragraphs=[Paragraph(label=HOSTILE, text=HOSTILE)], mark=HOSTILE)
    text = text_of(
        title=HOSTILE,
        summary=[HOSTILE],
        views=[prose, rows(HOSTILE)],
        facts={HOSTILE: HOSTILE},
        commands={HOSTILE: HOSTILE},
        mark=HOSTILE,
    )
    assert "<img" not in text
    assert text.count("<script") == text.count("</script>")
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert text.count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;\\u202e\\x1b[31m") >= 9


def test_the_policy_names_the_script_and_the_style_and_lets_no_network_in():
    text = text_of(views=[rows("a")])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]

    def digest(part):
        return base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; style-src "
        f"'sha256-{digest(style)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r'\s(style|on\w+)="', text)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_the_data_of_views_is_json_that_cannot_end_its_element():
    text = text_of(views=[Rows(title="t", table=Table(name="t", columns={"<a>": np.array([1])}))])
    block = re.search(r'id="views">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in block
    assert json.loads(block)[0]["columns"][0]["label"] == "<a>"


def test_summary_facts_and_commands_can_be_read_without_a_script():
    text = text_of(facts={"seed": "0"}, commands={"Again:": "backlight layers run/config.yaml"})
    assert "<p>One.</p>" in text
    assert "<dt>seed</dt><dd>0</dd>" in text
    assert "<pre>backlight layers run/config.yaml</pre>" in text
    assert "<noscript>" in text


def test_equal_pages_are_equal_bytes():
    assert document(page(views=[rows("a")])) == document(page(views=[rows("a")]))


def test_a_view_that_nothing_draws_is_refused():
    class Odd(View):
        pass

    with pytest.raises(TypeError, match="no page can show a Odd"):
        text_of(views=[Odd(title="?")])


def test_a_file_that_is_no_page_is_not_replaced(tmp_path):
    path = tmp_path / "index.html"
    refuse_page(path)
    path.write_bytes(document(page()))
    refuse_page(path)
    path.write_text("<!DOCTYPE html>mine")
    with pytest.raises(ConfigError, match="is no page that backlight made"):
        refuse_page(path)


@pytest.mark.parametrize(
    ("change", "is_inert_still"),
    [
        (lambda page: page, True),
        (lambda page: page.replace(b"</main>", b"<script>alert(1)</script></main>"), True),
        (lambda page: page.replace(b"default-src 'none'", b"default-src *"), False),
        (lambda page: page.replace(b"sha256-", b"sha256-A"), False),
        (lambda page: b"<script>alert(1)</script>" + page, False),
        (lambda page: page[:100], False),
        (lambda page: b"", False),
    ],
)
def test_a_page_is_inert_if_its_policy_comes_first(tmp_path, change, is_inert_still):
    path = tmp_path / "page.html"
    path.write_bytes(change(document(Page(title="T", summary=[], views=[]))))

    assert is_inert(path) == is_inert_still
