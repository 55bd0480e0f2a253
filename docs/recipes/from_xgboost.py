"""XGBoost -> model.onnx. Usage: python from_xgboost.py FOLDER

pip install xgboost onnxmltools skl2onnx scikit-learn
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine
from xgboost import XGBClassifier

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
data = load_wine()
X, y = data.data.astype(np.float32), data.target
model = XGBClassifier(n_estimators=20, max_depth=3).fit(X, y)

# Export.
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

onnx_model = convert_xgboost(
    model,
    initial_types=[("input", FloatTensorType([None, X.shape[1]]))],
    target_opset=15,
)
(folder / "model.onnx").write_bytes(onnx_model.SerializeToString())

write_labels(folder, data.target_names)
rows = X[::10]
write_expected(
    folder,
    {"input": rows},
    {"label": model.predict(rows), "probabilities": model.predict_proba(rows)},
)
