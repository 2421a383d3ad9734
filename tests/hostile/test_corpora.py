"""Corpora and prompt files as strangers have them: the right rows, or one sentence."""

import codecs
import csv
import gzip
import io
import json
import os
import random
import re
import zlib
from itertools import product

import pyarrow
import pytest
from pyarrow import parquet

from backlight.data import corpora
from backlight.data.corpora import RowReader
from zoo.folders import lines
from zoo.hostile import attack

ROWS = [
    *lines(2),
    "größer, als; je|zuvor",
    "这是一个句子。",
    "かな と 漢字",
    "มนุษย์",
    "שלום עולם",
    '"',
    "1",
]
MARKS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
ENDS = {"unix": "\n", "windows": "\r\n", "mac": "\r"}


def as_cells(end, delimiter):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerows([("id", "text"), *enumerate(ROWS)])
    return file.getvalue()


FORMATS = {
    "txt": lambda end: end.join(ROWS),
    "csv": lambda end: as_cells(end, ","),
    "tsv": lambda end: as_cells(end, "\t"),
    "semicolons.csv": lambda end: as_cells(end, ";"),
    "jsonl": lambda end: end.join(json.dumps({"id": 1, "text": row}) for row in ROWS) + end,
    "json": lambda end: json.dumps(ROWS, ensure_ascii=False, indent=1).replace("\n", end),
    "objects.json": lambda end: json.dumps([{"text": row} for row in ROWS]) + end,
}


@pytest.mark.parametrize(
    ("number", "kind", "encoding", "end"),
    [(number, *case) for number, case in enumerate(product(FORMATS, MARKS, ENDS))],
)
def test_every_format_in_every_encoding_with_every_line_end_gives_its_rows(
    tmp_path, number, kind, encoding, end
):
    raw = MARKS[encoding] + FORMATS[kind](ENDS[end]).encode(encoding)
    path = tmp_path / (f"rows.{kind}" + ".gz" * (number % 2))
    path.write_bytes(gzip.compress(raw) if number % 2 else raw)

    assert list(RowReader(str(path)).first(99)) == ROWS


def packed(content):
    return gzip.compress(content)


def json_rows(*rows):
    return "\n".join(map(json.dumps, rows)).encode()


def table_bytes(**columns):
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


NESTED = b"[" * 100_000
WHOLE = packed(json_rows({"text": "one two"}) * 50)
PARQUET = table_bytes(text=["one two three"] * 50)
ZIP = b"PK\x03\x04" + bytes(40)
REFUSED = {
    # encodings
    ("latin-1", "a.txt"): ("größer".encode("latin-1"), r"not UTF-8 text \(byte 2, 0xF6"),
    ("windows-1252", "a.txt"): ("“so”".encode("cp1252"), r"byte 0, 0x93: .* iconv .*WINDOWS-1252"),
    ("shift-jis", "a.txt"): ("かな".encode("shift_jis"), r"not UTF-8 text"),
    ("gb18030", "a.csv"): (b"text\n" + "汉字".encode("gb18030"), r"not UTF-8 text \(byte 5"),
    ("euc-kr", "a.jsonl"): ('{"text": "한"}'.encode("euc-kr"), r"not UTF-8 text \(byte 10"),
    ("koi8-r", "a.json"): ('["мир"]'.encode("koi8-r"), r"not UTF-8 text \(byte 2"),
    ("iso-2022-jp", "a.txt"): ("かな漢字".encode("iso-2022-jp"), r"is text in ISO-2022"),
    ("ebcdic", "a.txt"): ("some text".encode("cp500"), r"not UTF-8 text \(byte 0"),
    ("utf-16 without mark", "a.txt"): ("a text".encode("utf-16-le"), r"a NUL at byte 1"),
    ("utf-16 without mark, big", "a.txt"): ("größ".encode("utf-16-be"), r"a NUL at byte 0"),
    ("utf-32 without mark", "a.txt"): ("text".encode("utf-32-le"), r"a NUL at byte 1"),
    ("utf-16, cut off", "a.txt"): ("text".encode("utf-16")[:-1], r"truncated data"),
    ("utf-16, half a pair", "a.txt"): (codecs.BOM_UTF16_LE + b"\x00\xd8a\x00", r"UTF-16-LE text"),
    ("utf-32, no character", "a.txt"): (codecs.BOM_UTF32_LE + b"\xff" * 8, r"UTF-32-LE text"),
    ("utf-8, cut off", "a.txt"): ("größer".encode()[:3], r"byte 2, 0xC3: unexpected end of data"),
    ("utf-8, too long", "a.txt"): (b"\xc0\xaf", r"byte 0, 0xC0: invalid start byte"),
    ("utf-8 of surrogates", "a.txt"): (b"\xed\xa0\x80", r"byte 0, 0xED"),
    ("wrong far behind", "a.txt"): (b"a b c\n" * 3 + b"\xff", r"byte 18, 0xFF"),
    # things that are no text
    ("nothing", "a.txt"): (b"", r"is empty: it has no rows"),
    ("only a mark", "a.txt"): (codecs.BOM_UTF8, r"is empty: it has no rows"),
    ("only a mark, utf-16", "a.txt"): (codecs.BOM_UTF16_LE, r"is empty: it has no rows"),
    ("blank lines", "a.txt"): (b"\n \r\n\t\r\n", r"None of the 3 rows of .* counts \(3 blank\)"),
    ("wide white space", "a.txt"): ("\u3000\n\u2003".encode(), r"counts \(2 blank\)"),
    ("single words", "a.txt"): (b"one\ntwo\nthree", r"None of the 3 passages has two tokens"),
    ("NUL", "a.txt"): (b"some\0text", r"a NUL at byte 4"),
    ("random bytes", "a.txt"): (random.Random(1).randbytes(999), r"is no text|is not UTF-8"),
    ("a gzip file", "a.txt"): (WHOLE, r"packed with gzip; let its name end in \.gz"),
    ("a zip archive", "a.csv"): (ZIP, r"a zip archive; unpack it"),
    ("a parquet file", "a.jsonl"): (PARQUET, r"let its name end in \.parquet"),
    ("an arrow file", "a.txt"): (b"ARROW1\x00\x00" + bytes(9), r"an Arrow file"),
    ("bzip2", "a.txt"): (b"BZh91AY&SY", r"packed with bzip2"),
    # gzip
    ("no gzip", "a.txt.gz"): (b"plain text", r"is not a whole gzip file"),
    ("an empty gzip", "a.txt.gz"): (packed(b""), r"is empty"),
    ("a cut gzip", "a.jsonl.gz"): (WHOLE[:-12], r"is not a whole gzip file"),
    ("a gzip of 10 bytes", "a.jsonl.gz"): (WHOLE[:10], r"is not a whole gzip file"),
    ("a wrong checksum", "a.txt.gz"): (packed(b"a\n")[:-8] + bytes(8), r"not a whole gzip file"),
    ("rubbish behind", "a.txt.gz"): (packed(b"a\n") + b"rubbish", r"not a whole gzip file"),
    ("zlib, no gzip", "a.txt.gz"): (zlib.compress(b"some text"), r"not a whole gzip file"),
    ("latin-1 in gzip", "a.txt.gz"): (packed(b"K\xe4se"), r"byte 1, 0xE4"),
    ("gzip twice", "a.txt.gz"): (packed(packed(b"some text")), r"packed with gzip"),
    ("a bomb of line ends", "a.txt.gz"): (packed(b"\n" * 10**5), r"None of 10,000 rows one"),
    ("a bomb of zeros", "a.json.gz"): (packed(bytes(10**8)), r"a NUL at byte 0"),
    ("a bomb of one line", "a.txt.gz"): (
        packed(b"a" * 2**27 + b"a"),
        r"than 134,217,728 ch",
    ),
    # JSON
    ("half an object", "a.jsonl"): (b'{"text": ', r"Line 1 of .* is not JSON"),
    ("half an array", "a.json"): (b'["a", "b"', r"is not JSON"),
    ("two arrays", "a.json"): (b'["a b"] ["c d"]', r"is not JSON: Extra data"),
    ("an array over lines", "a.jsonl"): (b'[\n{"text": "a b"}\n]', r"Line 1 of .* is not JSON"),
    ("a key twice", "a.jsonl"): (
        b'{"text": "a b", "text": "c d"}',
        r"the key 'text' is there twice",
    ),
    ("single quotes", "a.jsonl"): (b"{'text': 'a b'}", r"Line 1 of .* is not JSON"),
    ("a number", "a.json"): (b"12", r"Row 1 .* holds int, not text"),
    ("an array of numbers", "a.json"): (b"[1, 2]", r"Row 1 .* holds int, not text"),
    ("an empty array", "a.json"): (b"[]", r"is empty: it has no rows"),
    ("null", "a.jsonl"): (json_rows({"text": None}), r"None of the 1 rows .*\(1 blank\)"),
    ("a list of words", "a.jsonl"): (json_rows({"text": ["a", "b"]}), r"holds a list of str, not"),
    ("another name", "a.jsonl"): (json_rows({"body": "a b"}), r"only 'body'\. .*--text_column"),
    ("very many names", "a.jsonl"): (json_rows(dict.fromkeys(map(str, range(9999)))), r"9987 more"),
    ("a very long name", "a.jsonl"): (json_rows({"x" * 10**6: 1}), r"no field 'text'"),
    ("names with codes", "a.jsonl"): (json_rows({"\x1b[2J\u202e": 1}), r"no field 'text'"),
    ("nesting", "a.jsonl"): (NESTED, r"Line 1 of .* nested too deeply"),
    ("nesting in a document", "a.json"): (NESTED, r"nested too deeply"),
    ("very many digits", "a.jsonl"): (b'{"text": %s}' % (b"9" * 9999), r"is not JSON: Exceeds"),
    ("half a character", "a.jsonl"): (b'{"text": "a \\ud800 b"}', r"Row 1 holds half a character"),
    ("half a character, csv?", "a.json"): (b'["fine text", "\\udfff"]', r"Row 2 holds half"),
    # tables
    ("no such column", "a.csv"): (b"body,id\na b,1\n", r"no field 'text' in line 2 .*'body', 'id'"),
    ("headings alone", "a.csv"): (b"text,id\n", r"is empty: it has no rows"),
    ("a cell too many", "a.csv"): (b"text,id\na,b,1\n", r"not as many cells .*\(3, not 2\)"),
    ("a comma without quotes", "a.csv"): (b"text\na, b\n", r"must stand in quotes"),
    ("a quote that never ends", "a.csv"): (
        b'text,id\n"a b,1\n' * 9,
        r"cannot be read as CSV",
    ),
    ("two columns of a name", "a.csv"): (b"text,text\na,b\n", r"two columns 'text'"),
    ("the wrong delimiter", "a.tsv"): (b"text,id\na b,1\n", r"no field 'text'"),
    ("NUL in a cell", "a.csv"): (b"text,id\na\0,1\n", r"a NUL at byte 9"),
    # parquet
    ("no parquet", "a.parquet"): (b"not parquet", r"is not a parquet file"),
    ("nothing as parquet", "a.parquet"): (b"", r"is not a parquet file"),
    ("magic alone", "a.parquet"): (b"PAR1PAR1", r"is not a parquet file"),
    ("cut parquet", "a.parquet"): (PARQUET[:-30], r"is not a parquet file"),
    ("a footer too long", "a.parquet"): (b"PAR1\xff\xff\xff\x7fPAR1", r"is not a parquet file"),
    ("other columns", "a.parquet"): (table_bytes(body=["a b"]), r"only 'body'"),
    ("numbers", "a.parquet"): (table_bytes(text=[1.5]), r"holds float, not text"),
    ("nulls", "a.parquet"): (
        table_bytes(text=pyarrow.array([None, None], pyarrow.string())),
        r"\(2 blank\)",
    ),
    ("binary", "a.parquet"): (table_bytes(text=[b"a b"]), r"holds bytes, not text"),
    ("no rows", "a.parquet"): (table_bytes(text=pyarrow.array([], pyarrow.string())), r"is empty"),
}


@pytest.mark.parametrize(("what", "name"), list(REFUSED), ids=lambda value: value.replace(" ", "_"))
def test_what_cannot_be_measured_is_refused_in_one_sentence(
    tmp_path, monkeypatch, model_folder, what, name
):
    monkeypatch.setattr(corpora, "_MOST_LEFT_OUT", 10_000)  # for the sake of time
    content, told = REFUSED[what, name]
    (tmp_path / name).write_bytes(content)

    words = ["layers", "--model_name", str(model_folder), "--dataset", str(tmp_path / name)]
    outcome = attack(words, place=tmp_path)

    assert outcome.status == 2
    assert re.search(told, outcome.err), outcome.err


def flipped(content, seed):
    chance = random.Random(seed)
    found = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        found[chance.randrange(len(found))] = chance.randrange(256)
    return bytes(found)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", PARQUET), ("a.jsonl.gz", WHOLE), ("a.csv", FORMATS["csv"]("\n").encode())],
)
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path, seed, name, content):
    (tmp_path / name).write_bytes(flipped(content, seed))

    # There is no such model: what can be read gets that far.
    words = ["layers", "--model_name", "./none", "--dataset", str(tmp_path / name)]
    assert attack(words, place=tmp_path).status == 2


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: os.mkfifo(path), r"is a pipe, not a file"),
        (lambda path: path.mkdir(), r"is a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), r"is a device, not a file"),
        (lambda path: path.symlink_to(path), r"cannot be read: .*symbolic links"),
        (lambda path: path.symlink_to("nowhere"), r"There is no file"),
        (lambda path: None, r"There is no file"),
    ],
    ids=["pipe", "folder", "device", "loop", "dangling", "missing"],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl.gz", "a.parquet"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, make, told, name):
    make(tmp_path / name)

    outcome = attack(["layers", "--dataset", str(tmp_path / name)], place=tmp_path)

    assert re.search(told, outcome.err), outcome.err


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "no such text",
        "a\nb",
        "\x1b[2J",
        "$\\frac$",
        "x" * 5000,
        "x" * 5000 + ".txt",
        "/dev/zero",
        "~nobody/a.txt",
        "a/b/c/d",
        "in memory",
        "../.././../..",
        "http://localhost:1/a.txt",
        "a.txt\0b",
    ],
    ids=ascii,
)
def test_names_that_mean_nothing_are_refused(tmp_path, name):
    assert attack(["layers", "--dataset", name], place=tmp_path).status == 2


OF_FIELDS = {
    ("semicolons", "a.csv"): ("thing;place\nlight;layer\n", None),
    ("tabs", "a.tsv"): ("thing\tplace\nlight\tlayer\n", None),
    ("a mark, utf-16", "a.csv"): ("thing,place\r\nlight,layer\r\n".encode("utf-16"), None),
    ("JSON lines", "a.jsonl"): ('{"thing": "light", "place": "layer", "size": 2}\n', None),
    ("an array", "a.json"): ('[{"thing": "light", "place": "layer"}]', None),
    ("quoted line end", "a.csv"): ('thing,place,note\nlight,layer,"a\nb"\n', None),
    ("no rows", "a.csv"): ("thing,place\n", r"holds no prompts: there is no row"),
    ("nothing", "a.jsonl"): ("", r"holds no prompts: there is no row"),
    ("another heading", "a.csv"): ("thing,plce\nlight,layer\n", r"Did you mean plce"),
    ("no value", "a.csv"): ("thing,place\nlight,\n", r"'place' has no value in row 1"),
    ("a value is missing", "a.jsonl"): (
        '{"thing": "light", "place": "layer"}\n{"thing": "light"}\n',
        r"'place' has no value in row 2",
    ),
    ("a list", "a.jsonl"): (
        '{"thing": ["light"], "place": "layer"}',
        r"'thing' in line 1 .* is \[",
    ),
    ("true", "a.jsonl"): ('{"thing": true, "place": "layer"}', r"'thing' in line 1 .* is True"),
    ("no object", "a.jsonl"): ('"light"', r"There is str in line 1"),
    ("no JSON", "a.jsonl"): ("{", r"Line 1 of .* is not JSON"),
    ("nesting", "a.json"): ("[" * 100_000, r"nested too deeply"),
    ("latin-1", "a.csv"): ("thing,place\ngröße,layer".encode("latin-1"), r"byte 14, 0xF6"),
    ("NUL", "a.csv"): ("thing,place\nli\0ght,layer", r"a NUL at byte 14"),
    ("ragged", "a.csv"): ("thing,place\nlight\n", r"not as many cells as headings"),
    ("a heading twice", "a.csv"): ("thing,thing\nlight,layer\n", r"two columns 'thing'"),
    ("codes", "a.csv"): ("thing,pla\x1b[2Jce\nlight,layer\n", r"'place', for which"),
    ("a giant", "a.csv"): (
        "thing,place\n" + "light " * 10**5 + ",layer\n",
        r"600,016 characters",
    ),
}


@pytest.mark.parametrize(
    ("what", "name"), list(OF_FIELDS), ids=lambda value: value.replace(" ", "_")
)
def test_files_of_prompts_are_read_or_refused_in_one_sentence(tmp_path, model_folder, what, name):
    content, told = OF_FIELDS[what, name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    words = ["tokens", "--model_name", str(model_folder), "--target_layers", "0"]
    words += ["--template", "the {thing} of {place} is", "--answer", " light"]
    outcome = attack([*words, "--fields_csv", str(tmp_path / name)], place=tmp_path, ok=True)

    if told is None:
        assert outcome.status == 0, outcome.err
    else:
        assert re.search(told, outcome.err + outcome.out), outcome.err
