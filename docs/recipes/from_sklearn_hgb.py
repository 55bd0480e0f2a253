"""scikit-learn's HistGradientBoosting -> model.onnx. Usage: python from_sklearn_hgb.py FOLDER

pip install scikit-learn skl2onnx
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
data = load_breast_cancer()
X, y = data.data.astype(np.float32), data.target
X[::7, 3] = np.nan  # It takes missing values, and so does the exported graph.
model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(X, y)

# skl2onnx 1.20 writes truth values where protobuf 7 takes only whole numbers, and fails with
# "Expected an int, got a boolean". So they are made whole numbers on their way.
import onnx.helper

original = onnx.helper.make_attribute


def make_attribute(key, value, *args, **kwargs):
    if isinstance(value, list):
        value = [int(item) if isinstance(item, (bool, np.bool_)) else item for item in value]
    return original(key, value, *args, **kwargs)


onnx.helper.make_attribute = make_attribute

# Export.
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

onnx_model = to_onnx(
    model,
    initial_types=[("input", FloatTensorType([None, X.shape[1]]))],
    options={id(model): {"zipmap": False}},
    target_opset={"": 17, "ai.onnx.ml": 3},
)
(folder / "model.onnx").write_bytes(onnx_model.SerializeToString())

write_labels(folder, data.target_names)
rows = X[::20]
write_expected(
    folder,
    {"input": rows},
    {"label": model.predict(rows), "probabilities": model.predict_proba(rows)},
)
