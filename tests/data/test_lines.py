"""Text files as lines, in every encoding that has a mark, with every line end."""

import codecs
import gzip
import os
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backlight.data import lines
from backlight.data.lines import read_lines, read_whole
from backlight.errors import DatasetError

ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
# U+2028, form feeds and the like are characters of a line: no line ends.
TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\n\ufeff"), max_size=20
)
SHARED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED
@given(
    texts=st.lists(TEXTS, max_size=6),
    ends=st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=6, max_size=6),
    encoding=st.sampled_from(list(ENCODINGS)),
    packed=st.booleans(),
    chunk=st.sampled_from([4, 5, 7, 2**20]),
)
@example(texts=["a", "b"], ends=["\r\n"] * 6, encoding="utf-16-le", packed=False, chunk=4)
@example(texts=["\u2028\x85\x0c"], ends=["\n"] * 6, encoding="utf-8", packed=False, chunk=4)
def test_lines_come_back_whatever_their_encoding_and_ends(
    tmp_path, monkeypatch, texts, ends, encoding, packed, chunk
):
    monkeypatch.setattr(lines, "_CHUNK", chunk)
    ended = list(zip(texts, ends, strict=False))
    # A carriage return and a line feed that happen to meet are one end.
    expected = re.split(r"\r\n|\r|\n", "".join(text + end for text, end in ended))
    raw = ENCODINGS[encoding] + "".join(text + end for text, end in ended).encode(encoding)
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    path.write_bytes(gzip.compress(raw) if packed else raw)

    assert list(read_lines(path)) == (expected if expected[-1] else expected[:-1])


@SHARED
@given(content=st.binary(max_size=64), name=st.sampled_from(["a.txt", "a.txt.gz"]))
@example(content=codecs.BOM_UTF16_LE + b"a", name="a.txt")
@example(content=codecs.BOM_UTF32_LE + b"\xff" * 4, name="a.txt")
def test_any_bytes_are_lines_or_one_sentence(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)

    try:
        found = list(read_lines(path))
    except DatasetError as error:
        told = str(error)
        found = []
    else:
        told = ""
    assert len(told) < 600
    assert "\n" not in told
    if found:
        assert not any("\n" in line or "\r" in line or "\0" in line for line in found)


def test_a_mark_is_no_text_also_where_files_were_joined(tmp_path):
    part = "\ufeffone\r\ntwo\r\n".encode()
    (tmp_path / "a.txt").write_bytes(part + part)

    assert list(read_lines(tmp_path / "a.txt")) == ["one", "two", "one", "two"]


@pytest.mark.parametrize("chunk", [1, 5, 2**20])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_the_byte_that_is_no_text_is_named_by_its_place_in_the_file(
    tmp_path, monkeypatch, chunk, mark
):
    monkeypatch.setattr(lines, "_CHUNK", chunk)
    content = mark + "größer\n".encode() * 3 + b"K\xe4se\n"
    (tmp_path / "a.txt").write_bytes(content)

    place = content.index(b"\xe4")
    with pytest.raises(DatasetError, match=rf"is not UTF-8 text \(byte {place}, 0xE4: "):
        list(read_lines(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "Käse".encode("utf-16-le"),
            r"a NUL at byte 1\. If it is UTF-16 without a byte order mark",
        ),
        ("text".encode("utf-16-be"), r"a NUL at byte 0\. If it is UTF-16"),
        (b"text\0text", r"a NUL at byte 4"),
        (codecs.BOM_UTF16_LE + b"abc", r"is not UTF-16-LE text \(byte 4, 0x63: truncated data\)"),
        (codecs.BOM_UTF16_LE + "a\0".encode("utf-16-le"), r"there is a NUL"),
        (b"\xed\xa0\x80", r"is not UTF-8 text \(byte 0, 0xED"),
        (b"caf\xc3", r"\(byte 3, 0xC3: unexpected end of data\); if it was cut off, mend it"),
        (gzip.compress(b"text"), r"is no text but packed with gzip; let its name end in \.gz"),
        (b"PK\x03\x04...", r"is no text but a zip archive; unpack it"),
        (b"PAR1....", r"a parquet file; let its name end in \.parquet"),
        (b"%PDF-1.7", r"is no text but a PDF"),
    ],
)
def test_what_is_no_text_is_told_with_what_to_do(tmp_path, content, told):
    (tmp_path / "a.txt").write_bytes(content)

    with pytest.raises(DatasetError, match=told):
        list(read_lines(tmp_path / "a.txt"))


def test_a_line_or_document_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST", 1000)
    monkeypatch.setattr(lines, "_CHUNK", 100)
    (tmp_path / "a.txt").write_text("short\n" + "a" * 2000, encoding="utf-8")

    with pytest.raises(DatasetError, match=r"Line 2 of '.*a\.txt' has more than 1,000 characters"):
        list(read_lines(tmp_path / "a.txt"))
    with pytest.raises(DatasetError, match=r"has more than 1,000 characters, .* write JSON lines"):
        read_whole(tmp_path / "a.txt")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.txt")

    with pytest.raises(DatasetError, match=r"a\.txt' is a pipe, not a file"):
        list(read_lines(tmp_path / "a.txt"))
