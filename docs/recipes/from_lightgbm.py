"""LightGBM -> model.onnx. Usage: python from_lightgbm.py FOLDER

pip install lightgbm onnxmltools skl2onnx scikit-learn
"""

import sys
from pathlib import Path

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
data = load_breast_cancer()
X, y = data.data.astype(np.float32), data.target
model = LGBMClassifier(n_estimators=20, num_leaves=7, verbose=-1).fit(X, y)

# Export.
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

onnx_model = convert_lightgbm(
    model,
    initial_types=[("input", FloatTensorType([None, X.shape[1]]))],
    zipmap=False,  # Probabilities as one tensor, not as a list of maps.
    target_opset=15,
)
(folder / "model.onnx").write_bytes(onnx_model.SerializeToString())

write_labels(folder, data.target_names)
rows = X[::20]
write_expected(
    folder,
    {"input": rows},
    {"label": model.predict(rows), "probabilities": model.predict_proba(rows)},
)
