import base64

from backlight.report.page import Paragraph, Picture, Section, page


def test_a_page_has_its_text_escaped_and_its_pictures_inside():
    section = Section(
        heading="a < b",
        paragraphs=[Paragraph(label="Seen:", text="x & y")],
        pictures=[Picture(png=b"bytes", caption='say "norm"')],
        mark="dead",
        tone="bad",
    )

    text = page("T <i>", [section], mark="dead", tone="bad").decode()

    assert "<title>T &lt;i&gt;</title>" in text
    assert "<h2>a &lt; b <span" in text
    assert "<strong>Seen:</strong> x &amp; y" in text
    assert f"base64,{base64.b64encode(b'bytes').decode()}" in text
    assert 'alt="say &quot;norm&quot;"' in text
    assert text.count("<section>") == text.count("</section>") == 1


def test_a_section_without_a_heading_goes_on_with_what_is_above():
    text = page("T", [Section(heading="", paragraphs=[Paragraph(text="plain")])]).decode()

    assert "<section>" not in text
    assert "<p>plain</p>" in text
