"""What a reader sees: accuracies in % and percentage points, losses in nats, a true minus sign; an
error as a line."""

from __future__ import annotations

import math
import re

from analysis.schema import Declaration, base_metric

MISSING = "–"
OWN_NAMES = {"variance/log": "log variance", "variance/excess": "variance, measured over predicted"}


USER_INFO = re.compile(r"(?<=://)\S*@")
SECRETS = re.compile(
    r"""(?ix)
    ([?&;][\w.-]*(?:pass|pwd|token|secret|key|credential|signature|sig|auth)[\w.-]*=  # address
    |(?:password|passwd|pwd)['"]?(?:\s*[=:]\s*|%3D)['"]?  # a driver's settings
    |\bauthorization['"]?\s*[=:]\s*['"]?(?:basic|bearer)\s+)  # a request's header
    [^&;,%}\s'"]+"""
)
WEB_PAGE = re.compile(r"['\"]?\s*<(?:!doctype|html|head|body)\b.*", re.IGNORECASE | re.DOTALL)


ARM = re.compile(r"([a-z][\w+-]*(?:\([\d.,]+\))?) wd=([\d.e+-]+) (\w[\w. ]*)@(\d+)")
EPOCHS = re.compile(r"[\d,]+ epochs?")
RATES = re.compile(r"\b([a-z][\w+-]*)\(([\d.]+(?:,[\d.]+)*)\)")


def redacted(text: str) -> str:
    """Return a text without the secrets of addresses in it: user names, passwords, tokens."""
    return SECRETS.sub(r"\1***", USER_INFO.sub("", text))


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message that says something, or the error's name.

    Texts from outside come without secrets, and a web page without its markup.
    """
    text = WEB_PAGE.sub(" (a web page)", redacted(str(error))).strip()
    return (text.splitlines() or [type(error).__name__])[0]


def shortened(text: str, length: int = 60) -> str:
    """Return a text, cut where it is too long to be read in a message."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def is_accuracy(metric: str) -> bool:
    """Return True if the metric is a fraction in [0, 1] that is shown in %."""
    return metric.split("/")[-1].startswith("accuracy")


def scale(metric: str) -> float:
    """Return the factor from a stored to a shown value."""
    return 100.0 if is_accuracy(metric) else 1.0


def unit(metric: str, difference: bool = False) -> str:
    """The unit a metric is shown in, or a difference of two of its values."""
    if is_accuracy(metric):
        return "pp" if difference else "%"
    if metric == "variance/log":
        return "natural log"
    return {"loss": "nats", "logit_error": "logits"}.get(base_metric(metric), "")


def metric_name(metric: str) -> str:
    """The metric in words: "test/accuracy" is "test accuracy", "val/loss" is "validation loss
    (NLL)"."""
    if metric in OWN_NAMES:
        return OWN_NAMES[metric]
    part, _, name = metric.partition("/")
    words = {
        "accuracy_last3": "accuracy, mean of the last 3 points",
        "loss": "loss (NLL)",
        "brier": "Brier score",
        "ece": "ECE",
        "logit_error": "error (logit)",
    }
    parts = {"val": "validation", "train": "training"}
    return f"{parts.get(part, part)} {words.get(name, name.replace('_', ' '))}".strip()


def score(value: float, metric: str) -> str:
    """A metric's value with its unit: "88.51 %", "0.3210 nats"."""
    return _number(value * scale(metric), 2 if is_accuracy(metric) else 4, unit(metric))


def difference(value: float, metric: str, with_unit: bool = True) -> str:
    """A difference with its sign and unit: "+0.31 pp", "−0.0042 nats"."""
    shown = unit(metric, difference=True) if with_unit else ""
    return _number(value * scale(metric), 2 if is_accuracy(metric) else 4, shown, "+")


def interval(low: float, high: float, metric: str) -> str:
    """An interval in the metric's shown unit, which stands beside it: "[+0.12, +0.50]"."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return MISSING
    digits = 2 if is_accuracy(metric) else 4
    ends = (_number(end * scale(metric), digits, sign="+") for end in (low, high))
    return f"[{', '.join(ends)}]"


def margin(value: float, metric: str) -> str:
    """An equivalence margin: "±0.2 pp"."""
    return f"±{value * scale(metric):.3g} {unit(metric, difference=True)}".strip()


class RecipeWords(dict[str, str]):
    """Recipe -> what it is, such as "5,000 images, 100 epochs"; one that was not declared keeps its
    name."""

    def __missing__(self, recipe: str) -> str:
        base, _, factor = recipe.rpartition(" x")  # at another learning rate
        return f"{self[base]}, {factor} x learning rate" if base in self else recipe


NAMES = RecipeWords()
"""No recipe in words."""


def recipes_in_words(declared: Declaration) -> RecipeWords:
    """Return what each recipe of a study is: its images and epochs, and a constant learning rate.

    Of two that read alike, the later one goes on with its name.
    """
    words = RecipeWords()
    for name, settings in declared.recipes.items():
        images = plural(declared.train_examples_of(name), "image")
        text = f"{images}, {plural(settings['epochs'], 'epoch')}"
        if settings.get("schedule") == "constant":
            text = f"{text}, constant learning rate"
        words[name] = f"{text} ({name})" if text in words.values() else text
    return words


def arms_in_words(text: str, recipes: RecipeWords = NAMES) -> str:
    """Return a text with its arms as a person writes them.

    "dropout(0.1,0.5) wd=1e-4 small@100" becomes "dropout (0.1, 0.5), weight decay 1e-4, 5,000
    images, 100 epochs", and "dropout(0.1,0.5)" alone "dropout (0.1, 0.5)". Of a composition,
    "shift+dropout(0.4,0.1,0.2)", it is told which rate is whose: "shift 0.4 with dropout (0.1,
    0.2)".
    """

    def in_words(found: re.Match[str]) -> str:
        arm, decay, recipe, count = found.groups()
        epochs, words = plural(int(count), "epoch"), recipes[recipe]
        # An arm may have been trained for fewer epochs than its recipe has.
        told = f"{recipe} ({epochs})" if words == recipe else EPOCHS.sub(epochs, words, count=1)
        return f"{arm}, weight decay {decay}, {told}"

    text = ARM.sub(in_words, text)
    return RATES.sub(lambda found: _with_rates(found[1], found[2].split(",")), text)


def _with_rates(noise: str, rates: list[str]) -> str:
    outer, composed, inner = noise.partition("+")
    if composed and len(rates) == 3:
        return f"{outer} {rates[0]} with {inner} ({', '.join(rates[1:])})"
    return f"{noise} ({', '.join(rates)})"


def p_value(value: float) -> str:
    """A p-value: three decimals, "< 0.001" below."""
    if not math.isfinite(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float) -> str:
    """A p-value in a sentence: "p = 0.012", "p < 0.001"."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def plain(value: float) -> str:
    """A unitless number with two decimals."""
    return _number(value, 2)


def count(value: float) -> str:
    """A whole number with commas between thousands."""
    return f"{value:,.0f}" if math.isfinite(value) else MISSING


def capital(text: str) -> str:
    """Return the text with its first letter in upper case and the rest as it is."""
    return text[:1].upper() + text[1:]


def plural(number: int, noun: str) -> str:
    """The number and its noun: "1 trial", "3 trials"."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would say: "42 s", "12.5 min", "3.1 h"."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _number(value: float, digits: int, unit: str = "", sign: str = "") -> str:
    if not math.isfinite(value):
        return MISSING
    text = f"{value:{sign}.{digits}f}"
    if float(text) == 0:  # neither −0.00 nor +0.00
        text = text.lstrip("+-")
    return f"{text.replace('-', '−')} {unit}".strip()
