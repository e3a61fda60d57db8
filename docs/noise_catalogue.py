"""The catalogue of noise types, docs/noise.md, written from the registry: `python -m
docs.noise_catalogue`, or `make docs`.

All that the page says stands on the classes. The pictures show what a type's hooks really do at
rate 0.5.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from analysis.plots.style import GREY, INK, STYLE
from models.matmul import affine
from models.mlp import initialise
from models.noise import NOISE, UNSEARCHED, Context, Noise, Rate
from models.rng import Stream, generator

DOCS = Path(__file__).parents[1] / "docs"
RATE = 0.5
BATCH, PIXELS, UNITS = 512, 784, 256
MOMENTS = (0.5, 0.0, 0.99)
"""Fractions of the training: a picture is of the first at which the type makes any noise."""
COLOURS = ("#0072b2", "#b8480a")
SMALL = {
    **STYLE,
    **dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize"), 7),
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # as outlines the letters would be most of the file
    "svg.hashsalt": "dropout-study",
}
TAIL = 0.002  # the share of the draws beyond either end of a picture
INTRO = """\
# The noise types

Written by `make docs` from the classes in `models/noise`; do not edit it here. p is a rate, v = p/(1-p) the variance
of inverted dropout's multiplier at drop rate p, z a pre-activation, h an activation, W a weight, e a standard normal
number. Rate 1 belongs to the first hidden layer, rate 2 to the second, unless said otherwise; of three rates the first
belongs to the input, and the others to the hidden layers. Evaluation is without noise unless said otherwise. The pictures are histograms, each scaled to its peak, of many draws of the type's own hook
at rate 0.5, or at its highest where that is lower: of the factor that an activation of 1 is multiplied by, of what
becomes of the pre-activations -1 and +1, or of how far an input or a weighted sum is moved, in units of its root mean
square. A type with a schedule is shown halfway through the training; where it then makes no noise, at the start or at
the end. The rates' ranges are the types' own; a study may cut them at a highest rate of its own.
"""
OTHERS = """\
# Types that the search leaves alone

They are too costly to be searched, controls for a question, or wrong on purpose.
"""


@dataclass(frozen=True)
class Panel:
    """A picture's part: what is drawn, and the draws of each line by its name."""

    what: str
    draws: Mapping[str, Tensor]


def page() -> str:
    """docs/noise.md as it should be."""
    parts = [INTRO, _overview(NOISE), *(_section(name, kind) for name, kind in NOISE.items())]
    return "\n".join([*parts, OTHERS, *(_section(name, kind) for name, kind in UNSEARCHED.items())])


def pictures() -> Iterator[tuple[str, bytes]]:
    """Name of a noise type and its picture as SVG, of those that have one."""
    for name, kind in {**NOISE, **UNSEARCHED}.items():
        if panels := _panels(kind):
            yield name, _draw(panels)


def write(docs: Path) -> None:
    """The page, and its pictures in a folder beside it."""
    (docs / "noise").mkdir(parents=True, exist_ok=True)
    drawn = {docs / "noise" / f"{name}.svg": data for name, data in pictures()}
    for stale in set((docs / "noise").glob("*.svg")) - set(drawn):
        stale.unlink()
    for path, data in drawn.items():
        path.write_bytes(data)
    (docs / "noise.md").write_text(page(), encoding="utf-8")


def _overview(kinds: Mapping[str, type[Noise]]) -> str:
    anchors = {
        name: re.sub(r"[^\w-]", "", name) for name in kinds
    }  # as GitHub makes them of headings
    rows = (
        f"| [{name}](#{anchors[name]}) | {kind.site} | {_yes(kind.keeps_mean)} |"
        for name, kind in kinds.items()
    )
    return "\n".join(("| type | site | keeps the mean |", "| --- | --- | --- |", *rows, ""))


def _section(name: str, kind: type[Noise]) -> str:
    first, *paragraphs = _paragraphs(kind)
    told = [] if kind is Noise else [text for text in paragraphs if not text.startswith("Source: ")]
    facts = {
        "Site": kind.site if kind.site != "-" else "",
        "Rates": _rates(kind.rates),
        "At evaluation": _evaluation(kind),
        "Keeps the mean": _yes(kind.keeps_mean),
        "Drawn together over": " and ".join(kind.dependent),
        "Source": _source(kind),
    }
    path = f"{kind.__module__.replace('.', '/')}.py"
    lines = [f"## {name}", "", _escaped(first), ""]
    lines += [line for text in told for line in (_escaped(text), "")]
    lines += [f"- {fact}: {_escaped(text)}" for fact, text in facts.items() if text]
    lines += [f"- Code: [{path}](../{path})", ""]
    shown = (
        f"![What {name} does at rate {RATE:g}](noise/{name}.svg)"
        if _panels(kind)
        else _no_picture(kind)
    )
    return "\n".join([*lines, *([shown, ""] if shown else [])])


def _paragraphs(kind: type[Noise]) -> list[str]:
    """The class's docstring, each paragraph on one line."""
    return [" ".join(text.split()) for text in (inspect.getdoc(kind) or "").split("\n\n")]


def _source(kind: type[Noise]) -> str:
    """The source paper that the class names, or the first one in its module; none for no noise."""
    texts = (inspect.getdoc(kind) or "", inspect.getsource(inspect.getmodule(kind) or kind))
    found = [
        match[1]
        for text in texts
        if (match := re.search(r'Source: (.*?)(\n\s*\n|"""|$(?![\s\S]))', text, re.S))
    ]
    return " ".join(found[0].split()) if found and kind is not Noise else ""


def _rates(rates: tuple[Rate, ...]) -> str:
    """What the rates mean, and which values are tried; one text for those that mean the same."""
    texts = [
        f"{rate.meaning}; from {rate.low:g} to {rate.high:g}, first {rate.default:g}"
        for rate in rates
    ]
    if len(set(texts)) == 1:
        return texts[0] if len(texts) > 1 else f"one alone: {texts[0]}"
    places: dict[str, list[str]] = {}
    for place, text in enumerate(texts, start=1):
        places.setdefault(text, []).append(str(place))
    told = []
    for text, of_text in places.items():
        plural = "s" if len(of_text) > 1 else ""
        told.append(f"Rate{plural} {' and '.join(of_text)}: {text}")
    return ". ".join(told) or "none"


def _evaluation(kind: type[Noise]) -> str:
    if kind.at_evaluation is Noise.at_evaluation:
        return "no noise"
    return " ".join((inspect.getdoc(kind.at_evaluation) or "").split())


def _no_picture(kind: type[Noise]) -> str:
    if kind.site == "-":
        return ""
    if not set(kind.site.split(", ")) & set(PANELS):
        return f"No picture: it acts on the {kind.site}, where there is no single number to draw."
    if not kind.dependent:
        return "No picture: it is a constant factor."
    return "No picture: it works between examples, and does nothing where they are all alike, as they are in a picture."


def _escaped(text: str) -> str:
    """Text in which Markdown sees no emphasis, table or tag; code between backticks stays as it
    is."""
    parts = text.split("`")
    return "`".join(
        part if place % 2 else re.sub(r"([\\*_<>|~\[\]])", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _panels(kind: type[Noise]) -> list[Panel]:
    """A panel for each site at which the type makes a noise that can be drawn."""
    for progress in MOMENTS:
        found = [PANELS[site](kind, progress) for site in kind.site.split(", ") if site in PANELS]
        if noisy := [
            panel
            for panel in found
            if any(float(drawn.std()) > 1e-6 for drawn in panel.draws.values())
        ]:
            return noisy
    return []


def _activation(kind: type[Noise], progress: float) -> Panel:
    ones = torch.ones(1, BATCH, UNITS)
    drawn = _called(kind, progress, lambda noise, context: noise.hidden(0, ones.clone(), context))
    return Panel("what an activation of 1 becomes", {"": drawn})


def _pre_activation(kind: type[Noise], progress: float) -> Panel:
    def at(z: float) -> Tensor:
        filled = torch.full((1, BATCH, UNITS), z)
        return _called(
            kind, progress, lambda noise, context: noise.hidden(0, filled.clone(), context)
        )

    return Panel("what a pre-activation becomes", {"z = -1": at(-1.0), "z = +1": at(1.0)})


def _weight(kind: type[Noise], progress: float) -> Panel:
    population, h = initialise((0,)), torch.rand(1, BATCH, PIXELS, generator=generator(0, "order"))
    weight, bias = population.weights[0].detach(), population.biases[0].detach()
    clean = affine(h, weight, bias)
    drawn = _called(
        kind, progress, lambda noise, context: noise.linear(0, h.clone(), weight, bias, context)
    )
    return Panel(
        "change of a weighted sum, over its root mean square",
        {"": (drawn - clean) / clean.square().mean().sqrt()},
    )


def _input(kind: type[Noise], progress: float) -> Panel:
    x = torch.rand(1, BATCH, PIXELS, generator=generator(0, "order"))
    drawn = _called(kind, progress, lambda noise, context: noise.input(x.clone(), context))
    return Panel(
        "change of an input, over its root mean square",
        {"": (drawn - x) / x.square().mean().sqrt()},
    )


PANELS: dict[str, Callable[[type[Noise], float], Panel]] = {
    "input": _input,
    "weight": _weight,
    "pre-activation": _pre_activation,
    "activation": _activation,
}


def _called(kind: type[Noise], progress: float, hook: Callable[[Noise, Context], Tensor]) -> Tensor:
    """What a hook returns in a training step: inside the type's own loss, which may set what the
    hook reads."""
    rates = [min(RATE, rate.high) for rate in kind.rates]
    noise = kind(torch.tensor([rates + [0.0] * (2 - len(rates))]))
    labels, indices = (torch.arange(BATCH).remainder(count)[None] for count in (10, BATCH))
    context = Context(Stream((0,), "noise"), labels, indices, BATCH, progress)
    returned: list[Tensor] = []

    def forward() -> Tensor:
        returned.append(hook(noise, context))
        return torch.zeros(1, BATCH, 10)

    with torch.no_grad():
        noise.loss(forward, context)
    return returned[-1]


def _draw(panels: list[Panel]) -> bytes:
    buffer, lines = io.BytesIO(), max(len(panel.draws) for panel in panels)
    with mpl.rc_context(SMALL):
        figure = Figure(figsize=(3.4 * len(panels), 1.25 + 0.15 * lines), layout="constrained")
        for ax, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            every = torch.cat([drawn.flatten() for drawn in panel.draws.values()]).sort().values
            low, high = (
                float(every[int(TAIL * len(every))]),
                float(every[int((1 - TAIL) * (len(every) - 1))]),
            )
            room = 0.08 * (high - low)
            edges = torch.linspace(low - room, high + room, 62)
            for colour, (name, drawn) in zip(COLOURS, panel.draws.items(), strict=False):
                count = torch.histogram(drawn.flatten().float(), edges).hist
                mean = round(float(drawn.mean()), 2) + 0.0  # no minus before 0
                told = f"{name + ': ' if name else ''}mean {mean:.2f}, SD {float(drawn.std()):.2f}"
                ax.stairs(
                    (count / count.max()).numpy(),
                    edges.numpy(),
                    fill=True,
                    color=colour,
                    alpha=0.75,
                    label=told,
                )
            ax.set_xlabel(panel.what)
            ax.set_ylabel("frequency")
            ax.set_yticks([])
            ax.tick_params(colors=GREY, labelcolor=INK)
            ax.legend(
                loc="lower left",
                bbox_to_anchor=(-0.02, 0.98),
                frameon=False,
                fontsize=7,
                handlelength=1,
                labelspacing=0.2,
            )
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


if __name__ == "__main__":
    write(DOCS)
