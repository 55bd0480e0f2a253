#!/usr/bin/env python3
"""Runs the recipes and compares ONNX Runtime's answers with those of the original frameworks.

Usage: python docs/recipes/check.py [RECIPE ...]       such as: from_sklearn from_keras
Needs onnxruntime and numpy. A recipe whose packages are not installed is skipped, and named.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOC = HERE.parent / "bring-your-model.md"
RECIPES = {
    "from_sklearn": ["sklearn", "skl2onnx"],
    "from_sklearn_hgb": ["sklearn", "skl2onnx"],
    "from_sklearn_text": ["sklearn", "skl2onnx"],
    "from_xgboost": ["xgboost", "onnxmltools", "skl2onnx", "sklearn"],
    "from_lightgbm": ["lightgbm", "onnxmltools", "skl2onnx", "sklearn"],
    "from_pytorch": ["torch", "onnx", "onnxscript", "sklearn"],
    "from_pytorch_text": ["torch", "onnx", "onnxscript", "tokenizers"],
    "from_keras": ["keras", "torch", "onnx", "onnxscript", "sklearn"],
}
TOLERANCE = 1e-4  # Of a probability, or of a value's size where that is above 1.


def main():
    wanted = sys.argv[1:] or list(RECIPES)
    unknown = [name for name in wanted if name not in RECIPES]
    if unknown:
        sys.exit(f"unknown recipe `{unknown[0]}`: use some of {', '.join(RECIPES)}")
    missing = [name for name in ("numpy", "onnxruntime") if not installed(name)]
    if missing:
        sys.exit(f"missing package `{missing[0]}`: pip install numpy onnxruntime==1.31.1")
    rows = []
    for number, name in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {name} ...", file=sys.stderr, flush=True)
        rows.append((name, *run(name)))
    print(f"{'recipe':<20} {'result':<8} {'seconds':>7} {'max difference':>15}  remark")
    for name, result, seconds, difference, remark in rows:
        print(f"{name:<20} {result:<8} {seconds:>7} {difference:>15}  {remark}")
    stale = stale_quotes()
    for quote in stale:
        print(f"{DOC.name} quotes what no recipe says, from the line: {quote}")
    counts = [sum(row[1] == result for row in rows) for result in ("passed", "failed", "skipped")]
    failed = counts[1] + len(stale)
    print(f"{counts[0]} passed, {failed} failed, {counts[2]} skipped")
    sys.exit(1 if failed else 0)


def run(name):
    """The result, the seconds, the largest difference and a remark."""
    missing = [package for package in RECIPES[name] if not installed(package)]
    if missing:
        return "skipped", "-", "-", f"not installed: {', '.join(missing)}"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="recipe-") as folder:
        script = HERE / f"{name}.py"
        done = subprocess.run(
            [sys.executable, str(script), folder], capture_output=True, text=True, cwd=folder
        )
        seconds = f"{time.monotonic() - started:.1f}"
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            return "failed", seconds, "-", f"exit code {done.returncode}: {''.join(last)}"
        if Path(folder, "model.onnx.data").exists():
            return "failed", seconds, "-", "the weights went to a second file"
        try:
            difference = compare(Path(folder))
        except Exception as error:  # Whatever goes wrong with one model, the others go on.
            return "failed", seconds, "-", f"{type(error).__name__}: {error}"
        size = Path(folder, "model.onnx").stat().st_size / 1e3
    return "passed", seconds, f"{difference:.1e}", f"{size:.0f} kB"


def compare(folder):
    """Runs all rows at once, then the first row alone: a graph with a fixed batch is noticed."""
    import numpy as np
    import onnxruntime

    expected = json.loads((folder / "expected.json").read_text())
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    inputs = {name: array(tensor) for name, tensor in expected["inputs"].items()}
    worst = 0.0
    for n_rows in (None, 1):
        names = list(expected["outputs"])
        answers = session.run(names, {name: value[:n_rows] for name, value in inputs.items()})
        for name, got in zip(names, answers):
            want = array(expected["outputs"][name])[:n_rows]
            if want.dtype.kind in "OUiu":
                if list(want) != list(got):
                    raise AssertionError(f"`{name}` is {list(got)[:5]}, not {list(want)[:5]}")
            else:
                if got.shape != want.shape:
                    raise AssertionError(f"`{name}` has shape {got.shape}, not {want.shape}")
                difference = np.abs(got - want) / np.maximum(1, np.abs(want))
                worst = max(worst, float(difference.max()))
                if not worst <= TOLERANCE:
                    raise AssertionError(f"`{name}` differs by {worst:.1e}")
    labels = folder / "labels.json"
    if labels.exists() and "probabilities" in expected["outputs"]:
        classes = expected["outputs"]["probabilities"]["shape"][-1]
        if len(json.loads(labels.read_text())) != classes:
            raise AssertionError(f"labels.json does not have {classes} names")
    return worst


def array(tensor):
    import numpy as np

    kinds = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64}
    kind = kinds.get(tensor["datatype"], object)
    return np.array(tensor["data"], dtype=kind).reshape(tensor["shape"])


def installed(package):
    return importlib.util.find_spec(package) is not None


def stale_quotes():
    """First lines of the Python blocks in the doc that are not, word for word, in a recipe."""
    if not DOC.exists():
        return []
    scripts = [path.read_text() for path in HERE.glob("*.py")]
    blocks = DOC.read_text().split("```python\n")[1:]
    quotes = [block.split("```")[0] for block in blocks]
    return [q.splitlines()[0] for q in quotes if not any(q in script for script in scripts)]


if __name__ == "__main__":
    main()
