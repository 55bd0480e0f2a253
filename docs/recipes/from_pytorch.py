"""PyTorch -> model.onnx. Usage: python from_pytorch.py FOLDER

pip install torch onnx onnxscript scikit-learn
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
data = load_digits()
X = torch.tensor(data.data, dtype=torch.float32) / 16
y = torch.tensor(data.target)
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
for _ in range(100):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(X), y).backward()
    optimizer.step()

# Export. The softmax goes into the graph, so that it answers probabilities.
model = torch.nn.Sequential(net, torch.nn.Softmax(dim=1)).eval()
torch.onnx.export(
    model,
    (X[:2],),  # Two rows: from one row the exporter may conclude that there is always one.
    folder / "model.onnx",
    input_names=["input"],
    output_names=["probabilities"],
    dynamic_shapes=({0: torch.export.Dim("batch")},),
    dynamo=True,
    external_data=False,  # One file: weights in a second file are not taken.
    opset_version=18,
)

write_labels(folder, data.target_names)
rows = X[::100]
with torch.no_grad():
    write_expected(folder, {"input": rows.numpy()}, {"probabilities": model(rows).numpy()})
