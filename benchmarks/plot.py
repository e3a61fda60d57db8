"""Draws the JSON lines that `make bench` prints: `python -m benchmarks.plot
docs/speed-zen4.jsonl docs/speed.svg`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import GREY, INK, STYLE, WIDTH, to_svg

COLOURS = {"float32": "#0072b2", "bfloat16": "#b8480a"}
PEERS = {
    "limit": "matrix products alone",
    "population": "this project, 10 seeds",
    "in-memory": "plain loop, tensors in memory",
    "skorch": "skorch",
    "lightning": "Lightning",
    "keras": "Keras (torch backend)",
    "dataloader-tensors": "plain loop, DataLoader of tensors",
    "dataloader": "plain loop, DataLoader of pictures",
}
OURS = {"population", "limit"}
FARTHEST = 3.0
"""Times no noise that the scale shows."""


def bars(ax: Axes, rows: list[dict[str, Any]]) -> None:
    """Seconds of each contender, ours in each precision that was timed."""
    known = {(row["name"], row["precision"]): row for row in rows if row["name"] in PEERS}
    order = sorted(known, key=lambda key: (list(PEERS).index(key[0]), key[1]))
    for place, (name, precision) in enumerate(order):
        row = known[name, precision]
        colour = COLOURS[precision] if name in OURS else GREY
        ax.barh(place, row["seconds"], color=colour, alpha=0.55 if name == "limit" else 1)
        ax.plot([row["low"], row["high"]], [place, place], color=INK, linewidth=1.2)
        ax.text(row["high"], place, f"  {row['seconds']:.2f}", va="center", fontsize=9)
    ax.set_yticks(
        range(len(order)), [f"{PEERS[n]}, {p}" if n in OURS else PEERS[n] for n, p in order]
    )
    ax.invert_yaxis()
    ax.set_xlabel(
        "seconds per epoch of 60,000 images and network (median; line: lowest to highest)"
    )


def scaling(ax: Axes, rows: list[dict[str, Any]]) -> None:
    """Seconds per network against the number of networks."""
    for precision, colour in COLOURS.items():
        found = [
            row
            for row in rows
            if row["name"].startswith("networks-") and row["precision"] == precision
        ]
        if found:
            ax.plot(
                [r["networks"] for r in found],
                [r["seconds"] for r in found],
                "o-",
                color=colour,
                label=precision,
            )
            ticks = [row["networks"] for row in found]
            ax.set_xscale("log", base=2)
            ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("networks together, on 2 cores")
    ax.set_ylabel("seconds per epoch and network")
    ax.legend(frameon=False)


def types(ax: Axes, rows: list[dict[str, Any]]) -> None:
    """Each noise type's time over no noise's; an arrow stands for one off the scale."""
    found = [row for row in rows if row["name"].startswith("type-")]
    found.sort(key=lambda row: row["ratio"])
    for place, row in enumerate(found):
        end = min(row["ratio"], FARTHEST)
        ax.barh(place, end, color=COLOURS[row["precision"]], height=0.7)
        if end == row["ratio"]:
            ax.plot([row["low"], row["high"]], [place, place], color=INK, linewidth=1.2)
        beyond = " ►" if end < row["ratio"] else ""
        at = max(end, min(row["high"], FARTHEST))
        ax.text(at, place, f"  {row['ratio']:.2f}{beyond}", va="center", fontsize=9)
    ax.axvline(1, color=INK, linewidth=0.8)
    ax.set_xlim(0, FARTHEST + 0.3)
    ax.set_yticks(range(len(found)), [row["name"].removeprefix("type-") for row in found])
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.set_xlabel("times no noise, paired (median; line: lowest to highest)")


@click.command()
@click.argument("rows", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("figure", type=click.Path(dir_okay=False, path_type=Path))
def main(rows: Path, figure: Path) -> None:
    """Draw the rows of a benchmark into an SVG file."""
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    tall = 1 + 0.22 * sum(row["name"].startswith("type-") for row in found)
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(WIDTH, 4 + tall), layout="constrained")
        panels = drawn.subplot_mosaic(
            [["peers", "peers", "scaling"], ["types"] * 3], height_ratios=[4, tall]
        )
        bars(panels["peers"], found)
        scaling(panels["scaling"], found)
        types(panels["types"], found)
    figure.write_bytes(to_svg(drawn))


if __name__ == "__main__":
    main()
