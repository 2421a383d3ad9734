"""Which tokens are whose, against the bytes and characters that each token stands for."""

import string

import pytest
from hypothesis import assume, example, given, reject, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from backlight.errors import PromptError
from backlight.models.loading.smollm2 import smollm2_folder
from backlight.objectives.prompts import Piece, Prompt
from backlight.objectives.spans import locate
from backlight.objectives.templates import Template
from backlight.world.model import city_tokenizer
from zoo.offsets import add_ends, bpe_tokenizer, byte_tokenizer, metaspace_tokenizer

BYTE_LEVEL = {
    "bytes": byte_tokenizer(),
    "bytes trimmed": byte_tokenizer(trims=True),
    "bytes with ends": add_ends(byte_tokenizer()),
    "pieces": bpe_tokenizer(),
    "pieces trimmed": bpe_tokenizer(trims=True),
    "pieces trimmed with ends": add_ends(bpe_tokenizer(trims=True)),
}
METASPACE = {how: metaspace_tokenizer(prepends=how) for how in ("normalizer", "metaspace")}

SIGNS = st.one_of(
    st.sampled_from("aeiost  ,.:'(10 9éß日😀\u200d🏽"),
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"),
)
FIXED = st.one_of(
    st.sampled_from(["The capital of ", " is", " and ", ", ", "", " "]), st.text(SIGNS, max_size=6)
)
VALUES = st.one_of(
    st.sampled_from(["France", " Paris", "25", "", " ", "naïve "]), st.text(SIGNS, max_size=6)
)


@st.composite
def templates(draw, fixed=FIXED, values=VALUES):
    """Draw a template with fields in any place and any text between them, and their values."""
    num = draw(st.integers(1, 3))
    names = [f"field{number}" for number in range(num)]
    row = {name: draw(values.filter(bool)) for name in names}
    between = [draw(fixed).replace("{", "{{").replace("}", "}}") for _ in range(num + 1)]
    text = between[0] + "".join(
        f"{{{name}}}{after}" for name, after in zip(names, between[1:], strict=True)
    )
    row["reply"] = draw(values.filter(bool))
    return text, row


def case(text, answer, **row):
    return text, {**row, "reply": answer}


def prompt_of(text, answer, wrong=None, **row):
    return Template(text=text, answer=answer, wrong_answer=wrong).fill([row])[0]


def filled(drawn):
    text, row = drawn
    return prompt_of(text, "{reply}", **row)


def byte_ranges(tokenizer, ids):
    """Where the bytes of each token are, from what its letters stand for; None if it has none."""
    place = 0
    for token in tokenizer.convert_ids_to_tokens(ids):
        size = 0 if token in ("<s>", "</s>") else len(token)  # one letter for each byte
        yield (place, place + size) if size else None
        place += size


def owners_by_bytes(prompt):
    """The piece of each byte of a prompt."""
    return [piece for piece in prompt.pieces for _ in piece.text.encode()]


def check_against_bytes(prompt, tokenizer):
    """Compare with a bookkeeping of bytes; a refusal must have a reason there."""
    of_byte, text = owners_by_bytes(prompt), prompt.text
    own = [token for token in tokenizer(text)["input_ids"] if token != tokenizer.eos_token_id]
    ids = [
        token
        for token in tokenizer(text + prompt.answer + prompt.ending)["input_ids"]
        if token != tokenizer.eos_token_id
    ]
    ranges = list(byte_ranges(tokenizer, ids))
    edges = [len(of_byte), len((text + prompt.answer).encode())]
    merged = any(span and span[0] < edge < span[1] for span in ranges for edge in edges)
    fields = [
        {piece.name for piece in of_byte[span[0] : span[1]] if piece.is_field} if span else set()
        for span in ranges
    ]
    shared = any(len(names) > 1 for names in fields)
    if merged or shared or ids[: len(own)] != own:
        with pytest.raises(PromptError, match=r"makes one token|share a token|cuts .* otherwise"):
            locate(prompt, tokenizer)
        return

    found = locate(prompt, tokenizer)

    assert found.ids.tolist() == ids
    assert found.start == len(own)
    assert found.stop == sum(not span or span[1] <= edges[1] for span in ranges)
    expected = [
        "bos" if not span else names.pop() if names else of_byte[span[0]].name
        for span, names in zip(ranges[: len(own)], fields, strict=False)
    ]
    assert list(found.owners) == expected
    plain = [token for token in found.ids.tolist() if token != tokenizer.bos_token_id]
    assert tokenizer.decode(plain) == text + prompt.answer


@pytest.mark.parametrize("name", BYTE_LEVEL)
@settings(max_examples=40)
@given(drawn=templates())
@example(drawn=case("{f}", "a", f=" "))
@example(drawn=case(" {f} ", "a", f="b "))
@example(drawn=case("  x{f} ", "1", f="b"))
@example(drawn=case("{f}b", " x", f="a "))
@example(drawn=case("The capital of {f} is", " Paris", f="France"))
def test_every_token_belongs_to_the_field_that_its_bytes_are_of(name, drawn):
    check_against_bytes(filled(drawn), BYTE_LEVEL[name])


@pytest.mark.slow
def test_smollm2_gives_every_token_to_the_field_that_its_bytes_are_of():
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder())

    @given(drawn=templates())
    def check(drawn):
        prompt = filled(drawn)
        text = prompt.text + prompt.answer
        assume(tokenizer.decode(tokenizer(text)["input_ids"]) == text)  # it lacks some bytes
        check_against_bytes(prompt, tokenizer)

    check()


SPELLED = st.text("".join(set(string.printable) - set(string.whitespace)), min_size=1, max_size=5)


@settings(max_examples=40)
@given(
    drawn=templates(
        fixed=SPELLED.map(lambda text: f" {' '.join(text)} "), values=SPELLED.map(" ".join)
    )
)
def test_the_city_tokenizer_has_one_token_for_each_sign_of_a_piece(drawn):
    prompt = filled(drawn)
    found = locate(prompt, city_tokenizer())

    signs = [piece.name for piece in prompt.pieces for sign in piece.text if sign != " "]
    answer = prompt.answer.replace(" ", "")
    assert list(found.owners) == signs
    assert (found.start, found.stop) == (len(signs), len(signs) + len(answer))
    written = city_tokenizer().decode(found.ids.tolist())
    assert written == (prompt.text + prompt.answer).replace(" ", "")


@pytest.mark.parametrize("how", METASPACE)
@settings(max_examples=40)
@given(
    drawn=templates(
        fixed=st.text("aeiost ,1", max_size=5),
        values=st.text("aeiost ,10", min_size=1, max_size=5).filter(str.strip),
    )
)
@example(drawn=case("{country} has", " Paris", country="France"))
@example(drawn=case("{number} is", " 2", number="12"))
def test_marks_of_spaces_before_words_are_the_words(how, drawn):
    prompt, tokenizer = filled(drawn), METASPACE[how]
    try:
        found = locate(prompt, tokenizer)
    except PromptError:
        reject()

    tokens = tokenizer.convert_ids_to_tokens(found.ids.tolist())
    assert "</s>" not in tokens
    assert (tokens[0], found.owners[0]) == ("<s>", "bos")
    order = ["bos", *(piece.name for piece in prompt.pieces)]
    assert [order.index(name) for name in found.owners] == sorted(map(order.index, found.owners))
    assert "bos" not in found.owners[1:]
    for piece in prompt.pieces:
        if piece.is_field:
            of_field = [
                token
                for token, owner in zip(tokens, found.owners, strict=False)
                if owner == piece.name
            ]
            assert piece.text.strip() in "".join(of_field).replace("▁", " ")
    assert tokenizer.decode(found.ids[found.start : found.stop]).strip() == prompt.answer.strip()


def test_all_tokens_of_a_word_are_the_fields_also_with_the_space_before_it():
    prompt = prompt_of("The capital of {country} is", " Paris", country="Peru")

    found = locate(prompt, BYTE_LEVEL["pieces"])

    tokens = BYTE_LEVEL["pieces"].convert_ids_to_tokens(found.ids.tolist())
    assert "".join(tokens) == "TheĠcapitalĠofĠPeruĠisĠParis"
    of_country = [
        token for token, name in zip(tokens, found.owners, strict=False) if name == "country"
    ]
    assert "".join(of_country) == "ĠPeru"
    assert "".join(tokens[found.start : found.stop]) == "ĠParis"


def test_what_the_city_world_writes_out_is_no_token_of_the_tokenizer():
    pieces = (
        Piece(name="bos", text="<bos>"),
        Piece(name="dist", text=" d i s t ("),
        Piece(name="city", text=" 0 8 6 5", is_field=True),
        Piece(name="equals", text=" ) ="),
    )

    found = locate(Prompt(pieces=pieces, answer=" 7 6", ending=" <eos>"), city_tokenizer())

    assert found.owners == ("bos", *["dist"] * 5, *["city"] * 4, *["equals"] * 2)
    assert found.ids.tolist()[::-1][:3] == [3, 94, 95]
    assert (len(found.ids), found.start, found.stop) == (15, 12, 14)


def test_a_wrong_answer_has_its_own_tokens():
    prompt = prompt_of("{name} is in", " Paris", " the city", name="Mary")
    tokenizer = BYTE_LEVEL["pieces trimmed with ends"]

    found = locate(prompt, tokenizer)

    assert tokenizer.decode(list(found.wrong_ids)) == " the city"
    assert tokenizer.decode(found.ids[found.start :].tolist()) == " Paris"
    assert locate(prompt_of("{name} is in", " Paris", name="M"), tokenizer).wrong_ids == ()


@pytest.mark.parametrize(
    ("text", "answer", "wrong", "told"),
    [
        (
            "{country} ",
            "Paris",
            None,
            r"makes one token, ' Paris', of the end of 'Peru ' and the beginning of 'Paris' "
            r"\(prompt and answer\): end the prompt without a space and begin the answer with one",
        ),
        ("{country} is", "", None, r"The answer to 'Peru is' is empty, so there is nothing to"),
        ("{country} ", "1", "Paris", r"one token, ' Paris', of the end of 'Peru ' and"),
    ],
    ids=["merged", "empty", "wrong answer merged"],
)
def test_answers_that_do_not_leave_the_prompt_alone_are_refused(text, answer, wrong, told):
    with pytest.raises(PromptError, match=told):
        locate(prompt_of(text, answer, wrong, country="Peru"), BYTE_LEVEL["pieces"])


class Cutting:
    """Characters are tokens, but the last word of a text is one token."""

    is_fast = True

    def __call__(self, text, **asked):
        assert asked == {"return_offsets_mapping": True, "return_special_tokens_mask": True}
        begin = text.rfind(" ") + 1
        offsets = [(place, place + 1) for place in range(begin)] + [(begin, len(text))]
        ids = [ord(text[first]) + 1000 * (last - first) for first, last in offsets]
        return {
            "input_ids": ids,
            "offset_mapping": offsets,
            "special_tokens_mask": [0] * len(ids),
        }

    def decode(self, token_ids):
        return "".join(chr(token % 1000) for token in token_ids)


@pytest.mark.parametrize(("answer", "wrong"), [(" b", None), ("", " b")])
def test_prompts_that_an_answer_cuts_otherwise_are_refused(answer, wrong):
    prompt = prompt_of("of {country}", " b", wrong, country="Peru")

    with pytest.raises(
        PromptError,
        match=r"cuts 'of Peru' otherwise when ' b' follows; choose an answer that leaves",
    ):
        locate(prompt, Cutting())


def test_fields_that_share_a_token_are_refused():
    prompt = prompt_of("in {first}{second} is", " x", first="Fra", second="nce")

    with pytest.raises(
        PromptError,
        match=r"The fields first and second share a token, ' France', in 'in France is': put",
    ):
        locate(prompt, bpe_tokenizer(merges=400))


def test_a_field_without_a_token_is_refused():
    prompt = prompt_of("a {blank} b", " c", blank=" ")

    with pytest.raises(PromptError, match=r"The field 'blank' has no token of its own in 'a   b'"):
        locate(prompt, city_tokenizer())


def test_a_tokenizer_without_offsets_is_refused():
    class Slow(Cutting):
        is_fast = False

    with pytest.raises(PromptError, match=r"does not tell where its tokens stand in the text"):
        locate(prompt_of("of {country}", " b", country="Peru"), Slow())


@pytest.mark.parametrize("half", ["text", "answer", "wrong_answer"])
def test_half_a_character_is_refused(half):
    texts = {"text": "a", "answer": " b", "wrong_answer": " c"} | {half: "a \ud800"}
    prompt = Prompt(
        pieces=(Piece(name="a", text=texts["text"]),),
        answer=texts["answer"],
        wrong_answer=texts["wrong_answer"],
    )

    with pytest.raises(PromptError, match=r"holds half a character \(the lone surrogate U\+D800\)"):
        locate(prompt, bpe_tokenizer(merges=400))
