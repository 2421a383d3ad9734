"""The record of what pages do misses nothing, so that a silent record means a page that behaves."""

import pytest

from zoo.browsing import wanted, watched

HARM = {
    "dialog: alert: hello": "<script>alert('hello')</script>",
    "console: error: oh no": "<script>console.error('oh no')</script>",
    "error: gone wrong": "<script>throw new Error('gone wrong')</script>",
    "error: later": "<script>Promise.reject(new Error('later'))</script>",
    "request: http://127.0.0.1:9/a.png": "<img src='http://127.0.0.1:9/a.png'>",
    "request: http://127.0.0.1:9/b": "<script>fetch('http://127.0.0.1:9/b').catch(e => 0)</script>",
    "request: file:///etc/hostname": "<script src='file:///etc/hostname'></script>",
    "window: about:blank": "<script>open('about:blank')</script>",
    "console: error: Executing inline script violates": (
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
        "<img src='data:,' onerror='alert(1)'><script>alert(1)</script>"
    ),
}


@pytest.mark.parametrize("problem", HARM)
def test_harm_is_recorded(problem, browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(f"<!DOCTYPE html><title>harm</title>{HARM[problem]}<p>text</p>")

    with watched(browser, file) as (page, watch):
        for _ in range(100):
            if any(problem in line for line in watch.problems):
                break
            page.wait_for_timeout(20)

    assert any(line.startswith(problem) for line in watch.problems), watch.problems


def test_a_page_that_uses_only_itself_has_a_silent_record(browser, tmp_path):
    file = tmp_path / "a page.html"
    file.write_text(
        "<!DOCTYPE html><title>good</title><a href='#there'>go</a><p id='there'>text</p>"
        "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAEQAOw=='>"
        "<script>fetch(URL.createObjectURL(new Blob(['x'])))</script>"
    )

    with watched(browser, file) as (page, watch):
        page.click("a")
        page.wait_for_timeout(100)

    assert watch.problems == []


@pytest.mark.parametrize(
    ("ci", "end"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_browser_is_a_failure_in_ci_and_a_reason_elsewhere(
    ci, end, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)

    with pytest.raises(end, match="no Chromium is installed: apt-get install chromium"):
        wanted()
