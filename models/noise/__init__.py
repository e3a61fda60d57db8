"""The noise types. A new one is one file here and one line in `NOISE`."""

from collections.abc import Iterable
from difflib import get_close_matches

from models.noise import plugins
from models.noise.additive import Additive
from models.noise.base import Context, Noise, Rate, per_layer
from models.noise.batch_mask import BatchMask
from models.noise.concrete import Concrete
from models.noise.disturb_label import DisturbLabel
from models.noise.dropconnect import DropConnect
from models.noise.dropconnect_example import DropConnectExample
from models.noise.dropout import Dropout
from models.noise.fit_gated import FitGated
from models.noise.flawed import KeptRelu, RandnDropConnect, RandnDropout
from models.noise.gaussian import Gaussian
from models.noise.gaussian_weights import GaussianWeights
from models.noise.inputs import InputDropout, InputGaussian, with_input
from models.noise.lognormal import Lognormal
from models.noise.manifold_mixup import ManifoldMixup, with_mixup
from models.noise.one_sided import Gain, OneSided
from models.noise.preactivation import Preactivation
from models.noise.r_drop import RDrop
from models.noise.randomised_slope import RandomisedSlope
from models.noise.schedules import curriculum, early, late, scheduled
from models.noise.shakeout import Shakeout
from models.noise.shift import Shift
from models.noise.standout import Standout
from models.noise.stratified import Stratified
from models.noise.swap import ClassSwap, InputSwap
from models.noise.uniform import Uniform
from models.noise.warp import Warp
from models.noise.within_class import WithinClass

NOISE: dict[str, type[Noise]] = {
    "none": Noise,
    "dropout": Dropout,
    "gaussian": Gaussian,
    "uniform": Uniform,
    "dropconnect": DropConnect,
    "gaussian-weights": GaussianWeights,
    "randomised-slope": RandomisedSlope,
    "lognormal": Lognormal,
    "batch-mask": BatchMask,
    "additive": Additive,
    "preactivation": Preactivation,
    "shakeout": Shakeout,
    "standout": Standout,
    "concrete": Concrete,
    "input-dropout": InputDropout,
    "input-gaussian": InputGaussian,
    "input-dropout+dropout": with_input(InputDropout, Dropout),
    "input-dropout+gaussian": with_input(InputDropout, Gaussian),
    "input-gaussian+dropout": with_input(InputGaussian, Dropout),
    "input-gaussian+gaussian": with_input(InputGaussian, Gaussian),
    "swap": InputSwap,
    "swap+dropout": with_input(InputSwap, Dropout),
    "class-swap": ClassSwap,
    "class-swap+dropout": with_input(ClassSwap, Dropout),
    "early-dropout": scheduled(early, Dropout),
    "late-dropout": scheduled(late, Dropout),
    "curriculum-dropout": scheduled(curriculum, Dropout),
    "manifold-mixup": ManifoldMixup,
    "mixup+dropout": with_mixup(Dropout),
    "mixup+gaussian": with_mixup(Gaussian),
    "disturb-label": DisturbLabel,
    "stratified": Stratified,
    "fit-gated": FitGated,
    "within-class": WithinClass,
    "shift": Shift,
    "shift+dropout": with_input(Shift, Dropout),
    "shift+gaussian": with_input(Shift, Gaussian),
    "warp": Warp,
    "warp+dropout": with_input(Warp, Dropout),
    "one-sided": OneSided,
    "shift+one-sided": with_input(Shift, OneSided),
}

UNSEARCHED: dict[str, type[Noise]] = {
    "dropconnect-example": DropConnectExample,
    "r-drop": RDrop,
    "gain": Gain,
    "shift+gain": with_input(Shift, Gain),
    "audited-randn-dropout": RandnDropout,
    "audited-randn-dropconnect": RandnDropConnect,
    "audited-kept-relu": KeptRelu,
}
"""Types that the search leaves alone: too costly, a control, or wrong on purpose."""


def noise_type(name: str) -> type[Noise]:
    """The noise type of a name: registered here, an installed package's, or a class named
    `package.module:Class`.

    Raises:
        ValueError: no such type, or it cannot be imported.
    """
    if name in NOISE or name in UNSEARCHED:
        return NOISE[name] if name in NOISE else UNSEARCHED[name]
    try:
        return plugins.load(name)
    except KeyError:
        near = get_close_matches(name, NOISE)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(
            f"unknown noise type {name or repr(name)}: {meant}docs/noise.md lists all, and yours "
            "is named module:Class"
        ) from None


def knowing_images(names: Iterable[str]) -> set[str]:
    """Return the types among these that know that an input is an image."""
    return {name for name in names if noise_type(name).knows_images}


def noise_version(name: str) -> str | None:
    """Return what stands for the code of a type from outside; None for the repository's, which have
    the code version."""
    return None if name in NOISE or name in UNSEARCHED else plugins.version(name)


__all__ = [
    "NOISE",
    "UNSEARCHED",
    "Context",
    "Noise",
    "Rate",
    "knowing_images",
    "noise_type",
    "noise_version",
    "per_layer",
]
