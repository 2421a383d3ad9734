"""What the build of the site looks at."""

import runpy
from pathlib import Path

LINKS = Path(__file__).parents[1] / "docs" / "_site" / "links.py"


def broken_links(site):
    return list(runpy.run_path(str(LINKS))["broken_links"](site))


def test_a_link_to_a_page_a_place_or_a_picture_that_is_there_holds(tmp_path):
    (tmp_path / "a picture.png").touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.html").write_text('<h1 id="top">One</h1><a href="#top">up</a>')
    (tmp_path / "two.html").write_text(
        '<a href="deep/one.html#top"><img src="a%20picture.png"></a>'
        '<a href="https://example.org/nothing">elsewhere</a><a href="#"></a>'
    )

    assert broken_links(tmp_path) == []


def test_links_that_lead_nowhere_are_told_with_their_page(tmp_path):
    (tmp_path / "one.html").write_text('<a href="#gone">1</a><a href="two.html#gone">2</a>')
    (tmp_path / "two.html").write_text('<a href="three.html">3</a><img src="gone.png">')

    assert broken_links(tmp_path) == [
        "one.html: #gone",
        "one.html: two.html#gone",
        "two.html: three.html",
        "two.html: gone.png",
    ]
