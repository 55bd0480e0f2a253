"""A scikit-learn text pipeline -> model.onnx that takes strings.

Usage: python from_sklearn_text.py FOLDER

pip install scikit-learn skl2onnx
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
texts = ["a fine film", "a great plot", "what a dull film", "an awful plot, dull", "great, fine"]
moods = ["good", "good", "bad", "bad", "good"]
# The default pattern would be exported as this one, which finds other words (single letters): so
# it is trained with, too.
vectorizer = TfidfVectorizer(token_pattern="[a-zA-Z0-9_]+")
model = make_pipeline(vectorizer, LogisticRegression()).fit(texts, moods)

# Export.
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType

onnx_model = to_onnx(
    model,
    initial_types=[("text", StringTensorType([None, 1]))],
    options={id(model): {"zipmap": False}},
    target_opset={"": 17, "ai.onnx.ml": 3},
)

# Without a locale the graph asks for en_US.UTF-8, which many servers do not have; C.UTF-8 is there.
import onnx.helper

for node in onnx_model.graph.node:
    if node.op_type == "StringNormalizer":
        kept = [attribute for attribute in node.attribute if attribute.name != "locale"]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("locale", "C.UTF-8")])
(folder / "model.onnx").write_bytes(onnx_model.SerializeToString())

write_labels(folder, model.classes_)
rows = ["a great film", "dull", "What a FINE plot", "an awful, awful film"]
write_expected(
    folder,
    {"text": np.array(rows).reshape(-1, 1)},
    {"label": model.predict(rows), "probabilities": model.predict_proba(rows)},
)
