"""Keras (.keras or .h5) -> model.onnx. Usage: python from_keras.py FOLDER

pip install keras torch onnx onnxscript scikit-learn
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"  # Before `import keras`; TensorFlow is not needed.

import keras
import numpy as np
from sklearn.datasets import load_digits

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
data = load_digits()
X, y = (data.images[..., None] / 16).astype(np.float32), data.target
keras.utils.set_random_seed(0)
net = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
net.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
net.fit(X, y, epochs=3, verbose=0)
net.save(folder / "trained.keras")

# Export, from the file that training left: `trained.keras`, or `trained.h5` just the same.
model = keras.saving.load_model(folder / "trained.keras")
model.predict(X[:2], verbose=0)  # Once, so that the model is built.
model.export(folder / "model.onnx", format="onnx", verbose=False)

write_labels(folder, data.target_names)
rows = X[::100]
import onnx

graph = onnx.load(folder / "model.onnx").graph
write_expected(
    folder,
    {graph.input[0].name: rows},
    {graph.output[0].name: model.predict(rows, verbose=0)},
)
