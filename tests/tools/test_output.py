"""What reaches a terminal, and how."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.tools.output import Console, OutputClosed, aligned, escape, plural, shorten, to_json


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Closed(io.StringIO):
    def write(self, text=""):
        raise BrokenPipeError

    flush = write


@given(st.text())
def test_nothing_unprintable_gets_through(text):
    assert escape(text).isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é °", "plain é °"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\x9bb", "a\\x9bb"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("a\nb", "a\\nb"),
    ],
)
def test_escapes_are_readable(text, expected):
    assert escape(text) == expected


def test_lines_of_a_message_stay_lines():
    assert escape("a\n\x07b", keep="\n") == "a\n\\x07b"


@given(st.text())
def test_json_is_ascii(text):
    assert to_json(text).isascii()


def test_json_refuses_what_json_has_not():
    with pytest.raises(ValueError, match="JSON"):
        to_json(float("nan"))


def test_columns_stand_below_one_another():
    assert aligned([("a", "1"), ("bcd", "22")], right=[1]) == ["a     1", "bcd  22"]
    assert aligned([]) == []


def test_words():
    assert plural(1, "step") == "1 step"
    assert plural(12000, "step") == "12,000 steps"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("stream", "options", "colored"),
    [
        (Terminal, {}, True),
        (io.StringIO, {}, False),
        (Terminal, {"no_color": True}, False),
        (Terminal, {"color": "never"}, False),
        (io.StringIO, {"color": "always"}, True),
        (io.StringIO, {"color": "always", "no_color": True}, True),
    ],
)
def test_color_is_for_terminals(stream, options, colored):
    out, err = stream(), stream()
    console = Console(out=out, err=err, **options)
    console.data("good", style="green")
    console.say("bad", style="red")
    assert out.getvalue() == ("\x1b[32mgood\x1b[0m\n" if colored else "good\n")
    assert err.getvalue() == ("\x1b[31mbad\x1b[0m\n" if colored else "bad\n")


def test_data_goes_out_and_talk_goes_aside():
    out, err = io.StringIO(), io.StringIO()
    console = Console(out=out, err=err)
    console.data("data\x1b")
    console.json({"a": 1})
    console.say("talk\x1b")
    assert out.getvalue() == 'data\\x1b\n{\n  "a": 1\n}\n'
    assert err.getvalue() == "talk\\x1b\n"


def test_a_reader_that_has_gone_is_told_apart():
    console = Console(out=Closed(), err=Closed())
    with pytest.raises(OutputClosed):
        console.data("x")
    with pytest.raises(OutputClosed):
        console.flush()
    console.say("nobody hears this, and that is fine")


def test_ascii_streams_take_everything():
    raw = io.BytesIO()
    console = Console(out=io.TextIOWrapper(raw, encoding="ascii"), err=io.StringIO())
    console.data("20 °C")
    console.flush()
    assert raw.getvalue() == b"20 \\xb0C\n"
