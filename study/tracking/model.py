"""The winner as a model: `served_model` and a file of numbers, logged with its seed run."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from models.export import repeatable, to_numbers
from models.noise import noise_type
from models.train import Trained
from study import worker
from study.tracking import provenance, served_model
from study.trial import Setting

SIGNATURE = ModelSignature(
    # No schema of the input: MLflow would let one of its request forms through and refuse the
    # others. `served_model` checks what comes.
    inputs=None,
    outputs=Schema(
        [
            TensorSpec(np.dtype("float32"), (-1, 10), name)
            for name in ("probabilities", "mc_mean", "mc_standard_deviation")
        ]
    ),
    params=ParamSchema([ParamSpec("mc_samples", "long", 0), ParamSpec("mc_seed", "long", 0)]),
)
INPUTS = "images: (n, 28, 28) whole numbers 0 to 255, or (n, 784) numbers 0 to 1"
OUTPUTS = (
    "probabilities, (n, 10); where mc_samples is 2 or more also mc_mean and "
    "mc_standard_deviation over the passes"
)


def log_model(run_id: str, network: Trained, setting: Setting) -> None:
    """A seed run's network as an MLflow model, unless it would not predict what the run logged.

    That happens to a noise type from outside whose evaluation differs from what its `evaluated`
    says.
    """
    arm, split = network.arm, worker.load_split(replace(setting, device="cpu"))
    numbers, distribution = to_numbers(network.weights, arm), repeatable(arm)
    noise = {"noise": arm.noise, "site": noise_type(arm.noise).site, "distribution": distribution}
    model = served_model.Network(numbers, noise["site"] or "", distribution)
    right = model.probabilities(split.test_x.numpy()).argmax(axis=1) == split.test_y.numpy()
    logged = round(network.test["test/accuracy"] * len(right))
    if abs(int(right.sum()) - logged) > 1:  # sums of another order may move one image
        return
    side = served_model.SIDE
    pixels = split.validation_x[:2].numpy().reshape(-1, side, side) * 255
    example = {served_model.NAME: pixels.round().astype(np.uint8)}
    versions = provenance.versions("cpu")["packages"]
    needed = [f"{name}=={versions[name]}" for name in ("mlflow", "numpy")]
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id):
        np.savez(Path(folder) / "network.npz", allow_pickle=False, **numbers)
        mlflow.pyfunc.log_model(
            name="model",
            python_model=served_model.__file__,
            artifacts={"network": str(Path(folder) / "network.npz")},
            model_config=noise,
            signature=SIGNATURE,
            input_example=(example, {"mc_samples": 10 if distribution else 0}),
            pip_requirements=needed,  # else inferred, in 10 s
            metadata={"arm": arm.name, "inputs": INPUTS, "outputs": OUTPUTS},
        )
