"""scikit-learn -> model.onnx. Usage: python from_sklearn.py FOLDER

pip install scikit-learn skl2onnx
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
data = load_iris()
X, y = data.data.astype(np.float32), data.target
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)

# Export: the whole pipeline, so that the scaler goes with the model.
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

onnx_model = to_onnx(
    model,
    initial_types=[("input", FloatTensorType([None, X.shape[1]]))],
    options={id(model): {"zipmap": False}},  # Probabilities as one tensor, not as a list of maps.
    target_opset={"": 17, "ai.onnx.ml": 3},
)
(folder / "model.onnx").write_bytes(onnx_model.SerializeToString())

write_labels(folder, data.target_names)
rows = X[::10]
write_expected(
    folder,
    {"input": rows},
    {"label": model.predict(rows), "probabilities": model.predict_proba(rows)},
)
