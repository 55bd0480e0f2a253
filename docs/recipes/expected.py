"""Writes what the original framework answers, for `check.py` to compare with the exported model."""

import json
from pathlib import Path

import numpy as np

DATATYPES = {"float32": "FP32", "float64": "FP64", "int32": "INT32", "int64": "INT64"}


def write_expected(folder, inputs, outputs):
    """Inputs and outputs are arrays by the name of the graph's tensor."""
    tensors = {
        "inputs": {name: tensor(array) for name, array in inputs.items()},
        "outputs": {name: tensor(array) for name, array in outputs.items()},
    }
    Path(folder, "expected.json").write_text(json.dumps(tensors) + "\n")


def write_labels(folder, labels):
    """Class names, in the order of the probabilities."""
    Path(folder, "labels.json").write_text(json.dumps([str(label) for label in labels]) + "\n")


def tensor(array):
    array = np.asarray(array)
    return {
        "datatype": DATATYPES.get(str(array.dtype), "BYTES"),
        "shape": list(array.shape),
        "data": array.ravel().tolist(),
    }
