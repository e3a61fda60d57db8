"""Whatever text or bytes come in, a parser gives what it promises or raises what its docstring
names, and no more."""

from __future__ import annotations

import gzip
import json
import math
import struct
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from synthetic import declaration

from analysis import schema
from analysis.questions.base import DROPOUT_ALONE
from analysis.schema import Contrast, Declaration
from models import download
from models.config import Arm, Recipe
from models.download import DATASETS, FILES, DataError
from models.noise import NOISE, plugins
from study import search_space
from study.commands import param_types
from study.commands.cli import cli
from study.declaration import pick_noise_types
from study.presets import PRESETS, chosen

LABELS_HEADER = struct.pack(">2I", 0x801, 10_000)
RECIPE = Recipe("book", 10)
SMOKE = PRESETS["smoke"]
properties = partial(
    settings,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
near_numbers = st.text(st.sampled_from("0123456789+-._eE naif٣０½\n"), max_size=12)
numbers = st.one_of(st.integers().map(str), st.floats().map(repr), near_numbers)


@properties(max_examples=300)
@given(st.one_of(numbers, st.text(max_size=8), st.floats(0, 0.95).map(repr)))
def test_a_rate_is_a_number_of_its_range_or_refused(text: str) -> None:
    try:
        rate = param_types.Rate(0, 0.95).convert(text, None, None)
    except click.BadParameter:
        return
    assert rate == float(text) and 0 <= rate <= 0.95 and math.copysign(1, rate) == 1


def test_a_word_stands_for_none() -> None:
    seeds = param_types.WordOr("preset", click.IntRange(3, 100))
    assert seeds.convert("preset", None, None) is None
    assert seeds.convert("5", None, None) == 5
    with pytest.raises(click.BadParameter, match="or give the word preset"):
        seeds.convert("2", None, None)


@properties()
@given(st.floats(0, 0.95))
@example(-0.0)
def test_the_grid_has_a_rate_for_every_number(rate: float) -> None:
    found = search_space.on_grid(rate)
    assert search_space.on_grid(found) == found and math.copysign(1, found) == 1
    assert found <= rate + 1e-9 and rate - found < search_space.RATE_STEP
    assert found == float(f"{found:.3f}")


hosts = st.sampled_from(
    ["host", "10.0.0.1", "[::1]", "a-b.c", "", "a b", "хост", "u@h", "[", "::1", "$(x)"]
)
ports = st.one_of(st.integers(-1, 70_000).map(str), near_numbers)


@properties(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=30),
        st.builds("{}://{}:{}".format, st.sampled_from(["tcp", "tls", "TCP", "x"]), hosts, ports),
    )
)
def test_a_scheduler_address_has_scheme_host_and_port_or_is_none(text: str) -> None:
    try:
        parts = urlsplit(param_types.scheduler_address(text))
    except ValueError:
        return
    assert parts.scheme in ("tcp", "tls", "ws", "wss") and parts.hostname and parts.port
    assert not (parts.username or parts.path or parts.query or parts.fragment)
    assert text.isascii() and not set(text) & set(" \t\n'\"`$;&|<>()\\")


@properties(max_examples=50)
@given(st.text(max_size=40))
@example("\ud800")
@pytest.mark.parametrize(
    ("command", "parameter"),
    [(name, option.name) for name, one in cli.commands.items() for option in one.params],
)
def test_every_option_takes_a_text_or_says_why_not_in_one_line(
    command: str, parameter: str, text: str
) -> None:
    (option,) = (one for one in cli.commands[command].params if one.name == parameter)
    with click.Context(cli.commands[command]) as context:
        try:
            option.type_cast_value(context, text)
        except click.BadParameter as error:
            message = " ".join(error.format_message().split())
            assert message.startswith("Invalid value for '--") and len(message) < 400
            assert message.encode(errors="backslashreplace")


words = st.one_of(
    st.sampled_from(
        [
            "preset",
            "all",
            "none",
            " dropout",
            "gaussian\t",
            "gain",
            "early-dropout",
            "",
            "nowhere:Blink",
        ]
    ),
    st.text(st.sampled_from("abyz:._-+ é٣'\"`$(/"), max_size=8),
)


@properties()
@given(st.lists(words, max_size=5).map(",".join))
def test_a_list_of_noise_types_is_some_types_or_a_value_error(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins.metadata, "entry_points", lambda **which: metadata.EntryPoints())
        try:
            found = pick_noise_types(text, SMOKE)
        except ValueError as error:
            assert len(str(error).splitlines()) == 1
            return
    assert (
        found[:2] == ("none", "dropout")
        and len(set(found)) == len(found)
        and set(found) <= set(NOISE)
    )


@properties()
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["all", "swap", " additivity", "epochs", ""]), st.text(max_size=6)
        ),
        max_size=4,
    ),
    st.one_of(st.none(), st.integers(3, 100)),
    st.one_of(st.none(), st.integers(1000, 2**31)),
)
def test_questions_are_some_of_the_presets_or_a_value_error(
    names: list[str], count: int | None, first: int
) -> None:
    try:
        found = chosen("smoke", ",".join(names), count, first)
    except ValueError:
        assert {name.strip() for name in ",".join(names).split(",")} - set(SMOKE.questions)
        return
    assert found.questions and found.questions.items() <= SMOKE.questions.items()
    assert len(found.confirm_seeds) == (count or 3) and found.confirm_seeds[0] == (first or 1000)


@properties(max_examples=300)
@given(st.sampled_from([*NOISE, DROPOUT_ALONE]), st.tuples(*[st.floats(0, 1)] * 4))
def test_an_arm_is_the_one_at_its_own_point(label: str, drawn: tuple[float, ...]) -> None:
    point = drawn[-len(search_space.coordinates(label)) :]
    arm = search_space.to_arm(label, point, RECIPE, 0.5)
    again = search_space.to_point(label, arm, 0.5)
    assert all(0 <= place <= 1 + 1e-9 for place in again)
    assert search_space.to_arm(label, again, RECIPE, 0.5) == arm
    low, high = search_space.decay_range(RECIPE)
    assert arm.weight_decay == 0 or low * 0.999 <= arm.weight_decay <= high * 1.001
    assert max(arm.rates, default=0) <= 0.5
    read = {
        name: type(value)(str(value)) for name, value in asdict(arm).items() if name != "recipe"
    }  # from the store
    assert Arm(**read, recipe=RECIPE) == arm


@properties()
@given(st.lists(st.tuples(st.sampled_from(list(NOISE)), st.tuples(*[st.floats(0, 1)] * 4))))
def test_two_arms_of_the_search_never_share_a_name(
    drawn: list[tuple[str, tuple[float, ...]]],
) -> None:
    arms = set()
    for noise, point in drawn:
        at = point[-len(search_space.coordinates(noise)) :]
        arms.add(search_space.to_arm(noise, at, RECIPE, 0.5))
    assert len({arm.name for arm in arms}) == len(arms)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
DECLARED = json.loads(declaration().to_json())
PLACES = [(name,) for name in DECLARED] + [
    *(("questions", 0, name) for name in DECLARED["questions"][0]),
    *(("questions", 0, "contrasts", 0, name) for name in DECLARED["questions"][0]["contrasts"][0]),
]


def spoilt(place: tuple[str | int, ...], value: object) -> str:
    """A declaration with something else at one place of it."""
    whole = within = json.loads(declaration().to_json())
    for step in place[:-1]:
        within = within[step]
    within[place[-1]] = value
    return json.dumps(whole)


def read(text: str) -> Declaration | None:
    """The declaration that a text is; None when it is none, and says so by a ValueError."""
    try:
        return Declaration.from_json(text)
    except ValueError as error:
        assert str(error)
        return None


@properties()
@given(st.one_of(st.text(max_size=30), anything.map(json.dumps)))
@example("[" * 100_000)
@example("1" * 10_000)
@example('{"questions": []}')
def test_what_is_no_declaration_is_a_value_error(text: str) -> None:
    assert read(text) is None


@properties(max_examples=200)
@given(st.sampled_from(PLACES), anything)
def test_a_declaration_with_one_field_spoilt_is_a_value_error_or_a_declaration(
    place: tuple[str | int, ...], value: object
) -> None:
    found = read(spoilt(place, value))
    if found is not None:  # then it is one that can be worked with
        assert isinstance(found.preset, str) and all(
            isinstance(one, int) for one in found.search_seeds
        )
        assert all(
            isinstance(contrast.terms, list)
            for question in found.questions
            for contrast in question.contrasts
        )
        assert Declaration.from_json(found.to_json()).study_id == found.study_id


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("tuned_recipes",), [], "lacks a tuned recipe"),
        (("tuned_recipes",), ["decay", "lost"], "recipe 'lost' is not declared with its epochs"),
        (
            ("recipes", "decay"),
            {"learning_rate": 0.1},
            "recipe 'decay' is not declared with its epochs",
        ),
        (("recipes", "decay", "epochs"), 0, "recipe 'decay' is not declared with its epochs"),
        (("recipes", "decay", "epochs"), "four", "recipe 'decay' is not declared with its epochs"),
        (
            ("questions", 0, "contrasts", 0, "recipe"),
            "lost",
            "recipe 'lost' is not declared with its epochs",
        ),
        (("objective",), "val/beauty", "its objective 'val/beauty' is no known score"),
        (("objective",), "seconds", "its objective 'seconds' is no known score"),
        (("data",), {}, "the name of its data"),
        *(
            (("questions", 0, "contrasts", 0, "margin"), margin, "is not positive")
            for margin in (0, -0.1)
        ),
        *(
            (("questions", 0, "contrasts", 0, "margin"), margin, "is not positive")
            for margin in (math.nan, math.inf)
        ),
        (("questions", 0, "title"), "half of a pair: \ud83d", "Invalid JSON"),
        (("questions",), "swap", "not a study declaration"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_told_in_a_line(
    place: tuple[str | int, ...], value: object, told: str
) -> None:
    with pytest.raises(ValueError, match=told) as raised:
        Declaration.from_json(spoilt(place, value))
    assert len(str(raised.value).splitlines()) == 1


def test_a_declaration_comes_back_whole() -> None:
    assert read(declaration().to_json()) == declaration()


labels = st.one_of(
    st.sampled_from(["tuned none", "blink:Blink", "dropout(0.1,0.5)"]), st.text(max_size=12)
)
metrics = st.builds(
    "{}/{}".format, st.sampled_from(["test", "val"]), st.text(st.sampled_from("abc_@0"), max_size=8)
)


@properties()
@given(labels, metrics, metrics)
def test_a_term_is_taken_apart_as_it_was_put_together(label: str, metric: str, own: str) -> None:
    def terms(coefficients: dict[str, float]) -> list[tuple[str, str, float]]:
        return Contrast("x", "book", metric, coefficients, 0.002).terms

    assert terms({schema.term(label, own): 1.0}) == [(label, own, 1.0)]
    if ":" not in label or "/" not in label.rpartition(":")[2]:
        assert terms({label: 1.0}) == [(label, metric, 1.0)]


@properties()
@given(
    st.dictionaries(st.sampled_from(FILES), st.binary(max_size=40)), st.sampled_from(list(DATASETS))
)
def test_bytes_that_are_no_idx_file_are_a_data_error(files: download.Files, name: str) -> None:
    if not files:
        return download.check(DATASETS[name], files, "here")
    with pytest.raises(DataError) as caught:
        download.check(DATASETS[name], files, "here")
    assert len(str(caught.value).splitlines()) == 1


@properties(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 10_007), st.integers(0, 255)), max_size=6))
def test_labels_of_the_right_size_are_taken_if_header_and_range_are(
    changes: list[tuple[int, int]],
) -> None:
    content = bytearray(LABELS_HEADER + bytes(10_000))
    for place, byte in changes:
        content[place] = byte
    good = content.startswith(LABELS_HEADER) and max(content[8:]) <= 9
    try:
        download.check(DATASETS["mnist"], {FILES[3]: bytes(content)}, "here")
    except DataError:
        assert not good
    else:
        assert good


@properties()
@given(st.binary(max_size=60), st.booleans(), st.integers(0, 60), st.integers(0, 255))
def test_a_folder_of_any_bytes_is_read_or_a_data_error(
    tmp_path: Path, content: bytes, packed: bool, place: int, byte: int
) -> None:
    """As they are, as .gz, and as a .gz of which one byte is changed, or that is cut there."""
    stored = content
    if packed:
        whole = gzip.compress(content, mtime=0)
        stored = whole[:place] + bytes([byte]) * (byte % 2) + whole[place + 1 :] * (byte % 3)
    (tmp_path / f"{FILES[0]}.gz").write_bytes(stored)
    (tmp_path / FILES[1]).write_bytes(content)
    try:
        assert download.read_folder(tmp_path)[FILES[1]] == content
    except DataError as error:
        assert FILES[0] in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("value", ["~", "~/data", "~/größe & co/data"])
def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HOME", "/somewhere/alice")
    expected = value.replace("~", "/somewhere/alice")
    assert param_types.folder("a folder").convert(value, None, None) == expected
    assert param_types.dataset_name(f"path:{value}") == f"path:{expected}"


@pytest.mark.parametrize("value", ["data", "/data/~", "a~", "./~", "-data", "path:~"])
def test_another_path_stays_as_it_is(value: str) -> None:
    assert param_types.folder("a folder").convert(value, None, None) == value
