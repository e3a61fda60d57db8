"""The catalogue of noise types is that of the registry: after a change, `make docs` writes it
anew."""

from __future__ import annotations

import re

import pytest

from docs import noise_catalogue
from models.noise import NOISE, UNSEARCHED, noise_type

EVERY = {**NOISE, **UNSEARCHED}


@pytest.fixture(scope="module")
def page() -> str:
    return (noise_catalogue.DOCS / "noise.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_registry_gives(page: str) -> None:
    assert page == noise_catalogue.page(), "run `make docs`"


def test_the_page_has_a_section_for_every_registered_type(page: str) -> None:
    assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == list(EVERY)


def test_the_pictures_it_shows_are_there_and_small(page: str) -> None:
    shown = set(re.findall(r"\(noise/(.*)\.svg\)", page))
    there = {path.stem: path for path in (noise_catalogue.DOCS / "noise").iterdir()}
    assert shown == set(there)
    assert all(path.stat().st_size < 30_000 for path in there.values())


@pytest.mark.parametrize("name", ["dropout", "randomised-slope", "gaussian-weights"])
def test_pictures_come_out_the_same(name: str) -> None:
    assert noise_catalogue._draw(
        noise_catalogue._panels(noise_type(name))
    ) == noise_catalogue._draw(noise_catalogue._panels(noise_type(name)))


def test_a_picture_is_of_the_noise_at_its_rate() -> None:
    (panel,) = noise_catalogue._panels(NOISE["dropout"])
    assert sorted(set(panel.draws[""].flatten().tolist())) == [0.0, 2.0]
    assert noise_catalogue._panels(NOISE["none"]) == []


def test_markdown_sees_no_markup_in_a_formula() -> None:
    assert (
        noise_catalogue._escaped("h (W * M_i) < 1, see `a_b`") == r"h (W \* M\_i) \< 1, see `a_b`"
    )
