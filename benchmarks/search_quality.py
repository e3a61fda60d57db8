"""How much the picked arm loses against the best: searches simulated on surfaces of real trials.

    python -m benchmarks.search_quality --runs docs/results/quick

A Gaussian process is fitted to the validation accuracies of every network that a study trained of a
noise type; of a type with several rates of which it trained fewer than DENSE arms, also of DENSE
more, spread over its whole space. Its mean is taken for the truth, its noise for that of a network.
On it the study's own search is simulated, and the one it replaced: five trials of three seeds by
TPE, the best two again on three. The networks are kept in docs/search.csv: those that are there are
not trained again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from analysis import load_runs, schema
from models.config import Arm
from models.train import CPU_POPULATION
from study import executors, search_space
from study.presets import QUICK, SMALL
from study.search import Search
from study.trial import Setting, Trial

DOCS = Path(__file__).parents[1] / "docs"
PAGE, RECORD = DOCS / "search.md", DOCS / "search.csv"
DENSE, FIRST_SEED = 128, 6000
"""Networks of a noise type beside the study's, and the first one's seed."""
OBJECTIVE = "val/accuracy"
MAX_RATE = search_space.MAX_RATE
LOOKED_AT = 4_096
"""Points among which the best arm of a surface is found."""

COLUMNS = ["noise", *schema.RATES, "weight_decay", "seed", OBJECTIVE]

Measure = Callable[[Arm, int], list[float]]
"""Trains an arm with so many seeds, and scores it."""


@dataclass(frozen=True)
class Surface:
    """True accuracy over a noise type's arms, and the SD of a network's.

    Attributes:
        best: of the surface's highest arm.
        networks: it was fitted to.
    """

    noise: str
    process: GaussianProcessRegressor
    sd: float
    best: float
    networks: int

    def truth(self, arms: Sequence[Arm]) -> np.ndarray:
        """Accuracy of arms, (arms,)."""
        points = [search_space.to_point(self.noise, arm, MAX_RATE) for arm in arms]
        return np.asarray(self.process.predict(np.clip(points, 0, 1)))

    def measure(self, random: np.random.Generator) -> Measure:
        """Return what trains an arm on the surface."""

        def trained(arm: Arm, seeds: int) -> list[float]:
            return [float(x) for x in self.truth([arm])[0] + random.normal(0, self.sd, seeds)]

        return trained


def fit(noise: str, arms: Sequence[Arm], scores: Sequence[float]) -> Surface:
    """Fit a surface to networks' accuracies."""
    points = np.asarray([search_space.to_point(noise, arm, MAX_RATE) for arm in arms])
    kernel = ConstantKernel(1.0, (0.1, 100.0)) * Matern(
        np.full(points.shape[1], 0.7), (0.1, 5.0), nu=2.5
    ) + WhiteKernel(0.1, (1e-4, 3.0))
    process = GaussianProcessRegressor(
        kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0
    )
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        process.fit(points, np.asarray(scores))
    sd = math.sqrt(process.kernel_.k2.noise_level) * float(np.std(scores))
    everywhere = np.random.default_rng(0).uniform(0, 1, (LOOKED_AT, points.shape[1]))
    best = float(max(process.predict(everywhere).max(), process.predict(points).max()))
    return Surface(noise, process, sd, best, len(scores))


def spread_over(noise: str, none: Arm) -> list[Arm]:
    """Return DENSE arms, spread evenly over a noise type's space; by a sequence that no search
    has."""
    anchors = len(search_space.anchors(noise, none, MAX_RATE))
    search = Search(noise, SMALL, DENSE + anchors, MAX_RATE, none, seed=-1)
    return search.propose()[anchors:]


def trained(noise: str, none: Arm, folder: str) -> pd.DataFrame:
    """Return the recorded networks of a noise type, after training those that the record lacks."""
    arms = spread_over(noise, none)
    recorded = pd.read_csv(RECORD) if RECORD.exists() else pd.DataFrame(columns=COLUMNS)
    table = recorded.reindex(columns=COLUMNS)
    of_type = table.loc[table["noise"] == noise]
    # Before the type had a third rate, it was the second one: those do not cover the whole space.
    last = list(search_space.rates_of(noise))[-1]
    known = set(of_type.loc[of_type[last].notna(), "seed"])
    missing = [place for place in range(DENSE) if FIRST_SEED + place not in known]
    setting = Setting("fashion-mnist", folder, "cpu", "float32")
    with executors.in_process("cpu", lambda images: None) as trainer:
        batches = [
            [Trial(arms[place], (FIRST_SEED + place,), schema.SEARCH) for place in some]
            for some in (
                missing[i : i + CPU_POPULATION] for i in range(0, len(missing), CPU_POPULATION)
            )
        ]
        for _, results in trainer.train(batches, setting):
            rows = []
            for (network,) in results:
                arm, score = network.arm, network.scores[OBJECTIVE]
                rates = [getattr(arm, name) for name in schema.RATES]
                rows.append([noise, *rates, arm.weight_decay, network.seed, score])
            table = pd.concat([table, pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
            table.sort_values(["noise", "seed"]).to_csv(RECORD, index=False)
            known.update(network.seed for (network,) in results)
            click.echo(f"{noise}: {len(known)} of {DENSE} networks")
    return table.loc[table["noise"] == noise]


def todays(surface: Surface, none: Surface, seed: int, random: np.random.Generator) -> Arm:
    """Return the arm that the study's own search picks."""
    count, top, seeds = QUICK.trials_per_type, QUICK.rerank_top, len(QUICK.rerank_seeds)

    def run(search: Search, measure: Measure) -> tuple[Arm, dict[Arm, list[float]]]:
        scored: dict[Arm, list[float]] = {}
        for arm in search.propose():
            scored.setdefault(arm, []).extend(measure(arm, 1))
        again = search.shortlist(scored, top)
        for arm in again:
            scored[arm] += measure(arm, seeds)
        winner = search.winner(scored, again)
        assert winner
        return winner[0], scored

    bare, scored = run(Search("none", SMALL, count, MAX_RATE, seed=seed), none.measure(random))
    own = search_space.at_rate_0(surface.noise, bare)
    known = {own: scored[bare]}
    search = Search(surface.noise, SMALL, count, MAX_RATE, bare, known, seed)
    return run(search, surface.measure(random))[0]


def five_tpe_trials(surface: Surface, seed: int, random: np.random.Generator) -> Arm:
    """Return the arm that the search picks which this one replaced."""
    measure = surface.measure(random)
    rates = search_space.rates_of(surface.noise)
    space: dict[str, BaseDistribution] = {
        name: FloatDistribution(0, min(rate.high, 0.8), step=0.01) for name, rate in rates.items()
    }
    space["log10_weight_decay"] = FloatDistribution(-6, -2, step=0.05)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for share in (1, 0.25):
        fixed = {name: round(rate.default * share, 2) for name, rate in rates.items()}
        study.enqueue_trial(fixed | ({"log10_weight_decay": -5.0} if share == 1 else {}))
    scored: dict[Arm, float] = {}
    for _ in range(5):
        trial = study.ask(space)
        values = [trial.params[name] for name in rates]
        decay = float(f"{10 ** trial.params['log10_weight_decay']:.3g}")
        arm = Arm.of(surface.noise, values, decay, SMALL)
        scored[arm] = float(np.mean(measure(arm, 3)))
        study.tell(trial, scored[arm])
    best = sorted(scored, key=lambda arm: -scored[arm])[:2]
    again = {arm: float(np.mean(measure(arm, 3))) for arm in best}
    return max(again, key=lambda arm: again[arm])


def regrets(surface: Surface, none: Surface, searches: int) -> dict[str, np.ndarray]:
    """Return how many points the picked arm loses against the best, (searches,)."""
    lost: dict[str, list[float]] = {"new": [], "five TPE trials": []}
    for seed in range(searches):
        random = np.random.default_rng([seed, surface.networks])
        picked = {
            "new": todays(surface, none, seed, random),
            "five TPE trials": five_tpe_trials(surface, seed, random),
        }
        for name, arm in picked.items():
            lost[name].append(100 * (surface.best - float(surface.truth([arm])[0])))
    return {name: np.asarray(values) for name, values in lost.items()}


INTRODUCTION = """# How good the search is

Searches simulated on surfaces fitted to real networks (`python -m benchmarks.search_quality --runs {runs}`): under `small`, a Gaussian
process over rates and weight decay for each noise type, fitted to the validation accuracy of every network that the study trained of it; of a type with several rates
and few arms, also of {dense} networks more, spread over its whole space ([search.csv](search.csv)): the best of a surface of few networks is as much their noise as the truth (from 42 alone, the
regret of input dropout with dropout came out at 0.204). Its mean is taken for the truth. A search sees it with the noise of a network, and picks an arm; the regret is by how many accuracy points
that arm's true score lies below the surface's best. New: the search of `quick`, {new} networks a type, with no noise's own arm among
the candidates. Five TPE trials: three seeds each, the best two again on three, {old} networks, as until version 6.

| noise type | fitted to networks | SD of a network, points | new: median | new: 90 % | five TPE trials: median | five TPE trials: 90 % |
| --- | --: | --: | --: | --: | --: | --: |
"""


@click.command()
@click.option("--runs", default="docs/results/quick", show_default=True, help="Folder of a report.")
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
@click.option("--searches", default=500, show_default=True, type=click.IntRange(2))
def main(runs: str, folder: str, searches: int) -> None:
    """Train what the record lacks, simulate, and write docs/search.md."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = load_runs(runs).table
    table = table.loc[table["recipe"] == SMALL.name]
    surfaces = {}
    bare = SMALL.arm("none", 0.0, 0.0, 0.0)
    for noise, studied in table.groupby("noise"):
        parts = [studied]
        if len(search_space.rates_of(str(noise))) > 1 and studied["arm"].nunique() < DENSE:
            parts.append(trained(str(noise), bare, folder))
        rows = pd.concat(parts)[COLUMNS]
        arms = [Arm.from_row(row, SMALL) for row in rows.to_dict("records")]
        inside = [max(arm.rates, default=0.0) <= MAX_RATE for arm in arms]
        kept = [arm for arm, ok in zip(arms, inside, strict=True) if ok]
        scores = rows[OBJECTIVE].to_numpy(float)[inside]
        surfaces[str(noise)] = fit(str(noise), kept, scores)
    again = QUICK.rerank_top * len(QUICK.rerank_seeds)
    text = INTRODUCTION.format(
        runs=runs, dense=DENSE, new=QUICK.trials_per_type + again, old=5 * 3 + 2 * 3
    )
    for noise, surface in surfaces.items():
        if noise == "none":
            continue
        lost = regrets(surface, surfaces["none"], searches)
        cells = [f"{np.quantile(lost[name], q):.3f}" for name in lost for q in (0.5, 0.9)]
        text += f"| {noise} | {surface.networks} | {100 * surface.sd:.2f} | {' | '.join(cells)} |\n"
        click.echo(text.splitlines()[-1])
    PAGE.write_text(f"{text}\n{searches} searches each; quantiles over searches.\n")


if __name__ == "__main__":
    main()
