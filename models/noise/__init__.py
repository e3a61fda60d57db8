"""The noise types. A new one is one file here and one line in `NOISE`."""

from models.noise.additive import Additive
from models.noise.audited import KeptRelu, RandnDropConnect, RandnDropout
from models.noise.base import Context, Noise, Rate, per_layer
from models.noise.batch_mask import BatchMask
from models.noise.concrete import Concrete
from models.noise.dropconnect import DropConnect
from models.noise.dropconnect_example import DropConnectExample
from models.noise.dropout import Dropout
from models.noise.gaussian import Gaussian
from models.noise.gaussian_weights import GaussianWeights
from models.noise.lognormal import Lognormal
from models.noise.preactivation import Preactivation
from models.noise.randomised_slope import RandomisedSlope
from models.noise.shakeout import Shakeout
from models.noise.standout import Standout
from models.noise.stratified import Stratified
from models.noise.uniform import Uniform

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
    "stratified": Stratified,
    "concrete": Concrete,
}

UNSEARCHED: dict[str, type[Noise]] = {
    "dropconnect-example": DropConnectExample,
    "audited-randn-dropout": RandnDropout,
    "audited-randn-dropconnect": RandnDropConnect,
    "audited-kept-relu": KeptRelu,
}
"""Types that some question names, and the search leaves alone: too slow for it, or wrong on purpose."""


def noise_type(name: str) -> type[Noise]:
    """The noise type of a name.

    Raises:
        KeyError: no such type.
    """
    return NOISE[name] if name in NOISE else UNSEARCHED[name]


__all__ = ["NOISE", "UNSEARCHED", "Context", "Noise", "Rate", "noise_type", "per_layer"]
