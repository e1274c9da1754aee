"""YAML is read safely, without surprises, and every mistake names its line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.engine.errors import InputError
from xtrace.scenarios.problems import MAX_PROBLEMS, Problems
from xtrace.scenarios.yaml_file import MAX_FILE_BYTES, parse_value, parse_yaml, read_yaml


def parse(text):
    problems = Problems("f.yaml")
    value = parse_yaml(text, problems=problems)
    if problems:
        raise problems.error()
    return value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}),
        ("a: -0x1F", {"a": "-0x1F"}),
        ("a: 0x1F", {"a": 31}),
        ("a: 0o17", {"a": 15}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: -.inf", {"a": float("-inf")}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ("a: true", {"a": True}),
        ("a: null", {"a": None}),
        ("a:", {"a": None}),
        ("a: 2024-01-31", {"a": "2024-01-31"}),
        ("a: 2024-01-31T10:00:00Z", {"a": "2024-01-31T10:00:00Z"}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 'yes'", {"a": "yes"}),
        ('"on": [1, {b: c}]', {"on": [1, {"b": "c"}]}),
        ("a: |\n  yes\n", {"a": "yes\n"}),
        ("", None),
        ("# nothing\n", None),
        ("--- 5", 5),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_values_are_what_they_look_like(text, expected):
    assert expected == parse(text)


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off", "010", "-007", "1_000"])
def test_words_that_yaml_versions_read_differently_are_refused(word):
    with pytest.raises(InputError, match=r"f.yaml: a\[1\]: YAML versions read a bare .* \(line 2\)"):
        parse(f"a: [x,\n {word}]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml: a: the key is there already, in line 1 (line 3)"),
        ("x:\n  - a: 1\n    a: 1", "f.yaml: x[0].a: the key is there already, in line 2 (line 3)"),
        ("x:\n  on: 1", 'f.yaml: x.on: a key must be text: write "on" in quotes (line 2)'),
        ("1: 1", 'f.yaml: 1: a key must be text: write "1" in quotes (line 1)'),
        ("null: 1", 'f.yaml: null: a key must be text: write "null" in quotes (line 1)'),
        ("a: &a {b: 1}\nc:\n  <<: *a", "f.yaml: c.<<: merge keys are not supported (line 3)"),
        ("a: !!python/name:os.system x", "f.yaml: a: the tag 'tag:yaml.org,2002:python/name:os.system' is not "),
        ("a: ! 5", "f.yaml: a: the tag '!' is not supported"),
        ("a: !!timestamp 2024-01-31", "f.yaml: a: the tag 'tag:yaml.org,2002:timestamp' is not supported"),
        ("a: 1\n---\nb: 1", "f.yaml:2: a second document begins"),
        ("a: 1\nb: [1,", "f.yaml:2:7: not valid YAML: "),
        ("a: 1\n\tb: 2", "f.yaml:2:1: not valid YAML: "),
        ("a: 1\nb: \x00", "f.yaml:2: not valid YAML: special characters are not allowed"),
        ("a:\n  ? [1]\n  : 2", "f.yaml:2: a: a key must be text"),
        ("a: *b", "f.yaml:1: *b refers to nothing that is complete before it"),
        ("a: &a [*a]", "f.yaml:1: *a refers to nothing that is complete before it"),
        (f"a: {'9' * 60}", "f.yaml: a: the integer '" + "9" * 60 + "' does not fit in 64 bits (line 1)"),
        ('a: "\\U00110000"', "f.yaml: not valid YAML: "),
    ],
)
def test_mistakes_name_their_line(text, expected):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value).startswith(expected)


def test_an_alias_is_a_copy_of_its_own():
    value = parse("a: &x {list: [1]}\nb: *x")
    value["a"]["list"].append(2)
    assert value["b"] == {"list": [1]}


def test_an_alias_bomb_is_refused_before_it_grows():
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    with pytest.raises(InputError, match="more than 100000 values, with every alias counted"):
        parse("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{b: " * 5000, "- " * 5000, "? " * 1000])
def test_deep_nesting_is_refused_before_it_hurts(text):
    with pytest.raises(InputError):
        parse(text)


def test_more_mistakes_than_anybody_reads_end_the_list():
    with pytest.raises(InputError) as caught:
        parse("\n".join(f"a{n}: yes" for n in range(5000)))
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert caught.value.problems[-1] == "there are more than 200 mistakes"


def test_a_message_is_one_short_printable_line():
    with pytest.raises(InputError) as caught:
        parse('"\\e[31m\\nx": yes\n"' + "k" * 5000 + '": yes')
    assert all(problem.isprintable() and len(problem) < 1000 for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb: \xff", ":2: not UTF-8: byte 0xff at offset 8"),
        (b"a: 1\n" + b"#" * MAX_FILE_BYTES, ": is longer than the limit of 1048576 bytes"),
    ],
)
def test_unreadable_files_say_why(write, data, expected):
    path = write(data)
    with pytest.raises(InputError) as caught:
        read_yaml(path, problems=Problems(str(path)))
    assert f"{path}{expected}" == str(caught.value)


def test_what_is_no_file_says_so(tmp_path):
    for path, expected in [
        (tmp_path, "is a folder"),
        (tmp_path / "no", "no such file"),
        (tmp_path / ("n" * 5000), "can't be read: File name too long"),
        (tmp_path / "a\0b", "can't be read: embedded null byte"),
    ]:
        with pytest.raises(InputError, match=expected):
            read_yaml(path, problems=Problems(str(path)))


def test_a_device_is_not_read():
    with pytest.raises(InputError, match="is not a regular file"):
        read_yaml(Path("/dev/null"), problems=Problems("null"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        (" 5ms ", "5ms"),
        ("", ""),
        ("true", True),
        ("null", None),
        ("[1, a, {b: 2}]", [1, "a", {"b": 2}]),
        ("{a: 1}", {"a": 1}),
        ('"yes"', "yes"),
        ("'7'", "7"),
        ("/abs/path #1: x.csv", "/abs/path #1: x.csv"),
        ("a: b", "a: b"),
        ("- a", "- a"),
        ("*star &and !bang", "*star &and !bang"),
        ("2024-01-31", "2024-01-31"),
    ],
)
def test_an_option_of_the_command_reads_as_a_word_of_a_file(text, expected):
    value = parse_value(text, where="--set x")
    assert (type(expected), expected) == (type(value), value)


@pytest.mark.parametrize("text", ["yes", "[1, 2", "{a: 1, a: 2}", "{1: 2}", "[yes]", '"a" b', "[1]\n---\n[2]"])
def test_an_option_that_could_mean_two_things_is_refused(text):
    with pytest.raises(InputError, match="--set x"):
        parse_value(text, where="--set x")


@given(st.text(alphabet=st.sampled_from("ab:-?[]{}&*!|>'\"%@`,#\n \t<=~0179.eExoyn_\\\ud800\x85\ufeff")))
def test_arbitrary_text_is_read_or_refused(text):
    """Nothing but InputError comes out of the parser."""
    for read in (parse, lambda text: parse_value(text, where="x")):
        with suppress(InputError):
            read(text)
