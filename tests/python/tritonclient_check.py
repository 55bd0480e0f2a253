#!/usr/bin/env python3
"""Asks a running engine for predictions with the Python package `tritonclient`, as anyone would.

    pip install -r tests/python/requirements.txt
    TOKEN=... python tests/python/tritonclient_check.py --url 127.0.0.1:8000 --token-env TOKEN \\
        --models tests/models

Every folder of --models with a card.json and a golden.json made of tensors must be registered under
the folder's name, as version 1. Each is asked with JSON and with binary tensors, and the answers
must be the golden ones within the golden file's tolerance.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

VERSION = "1"
# The datatypes of golden files, in the protocol and in numpy.
DATATYPES = {
    "f32": ("FP32", np.float32),
    "f64": ("FP64", np.float64),
    "i32": ("INT32", np.int32),
    "i64": ("INT64", np.int64),
    "string": ("BYTES", np.object_),
}


class Difference(Exception):
    """The engine says something else than it should."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="host:port of the engine")
    parser.add_argument(
        "--token-env", required=True, metavar="NAME", help="environment variable with the token"
    )
    parser.add_argument("--models", required=True, type=Path, metavar="DIR")
    parser.add_argument("--only", metavar="NAME,...", help="these models only")
    options = parser.parse_args()
    token = os.environ.get(options.token_env)
    if not token:
        sys.exit(f"environment variable `{options.token_env}` is empty: put an access token there")
    models = list(golden_models(options.models, options.only))
    if not models:
        sys.exit(f"no model with golden tensors in `{options.models}`")
    headers = {"Authorization": f"Bearer {token}"}
    failed = 0
    with InferenceServerClient(options.url, connection_timeout=30, network_timeout=120) as client:
        steps = [("server", lambda: check_server(client, headers, [name for name, _ in models]))]
        for name, golden in models:
            steps.append((name, lambda n=name, g=golden: check_model(client, headers, n, g)))
        for name, step in steps:
            try:
                print(f"{name:<24} {step()}", flush=True)
            except Difference as difference:
                failed += 1
                print(f"{name:<24} FAILED: {difference}", flush=True)
            except Exception as error:  # The client's and its libraries'; the next model goes on.
                failed += 1
                print(f"{name:<24} FAILED: {type(error).__name__}: {error}", flush=True)
    if failed:
        sys.exit(f"{failed} of {len(steps)} failed")
    print("OK")


def golden_models(folder, only):
    """Name and golden file of each model whose golden file is made of tensors."""
    wanted = set(only.split(",")) if only else None
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if wanted is not None and path.name not in wanted:
            continue
        if not (path / "card.json").is_file() or not (path / "golden.json").is_file():
            continue
        golden = json.loads((path / "golden.json").read_text())
        if "inputs" in golden:
            yield path.name, golden
        else:
            print(f"{path.name:<24} left out: its golden file holds samples, not tensors")


def check_server(client, headers, names):
    expect(client.is_server_live(headers=headers), "the server must be live")
    expect(client.is_server_ready(headers=headers), "the server must be ready")
    metadata = client.get_server_metadata(headers=headers)
    for key in ("name", "version"):
        expect(metadata.get(key), f"server metadata must have a `{key}`, got {metadata}")
    extensions = metadata.get("extensions", [])
    expect(
        "binary_tensor_data" in extensions,
        f"server metadata must list the extension `binary_tensor_data`, got {extensions}",
    )
    index = client.get_model_repository_index(headers=headers)
    ready = {
        entry["name"]
        for entry in index
        if entry.get("state") == "READY" and str(entry.get("version")) == VERSION
    }
    missing = [name for name in names if name not in ready]
    expect(not missing, f"the repository index must show version {VERSION} READY of {missing}")
    return f"{metadata['name']} {metadata['version']}, {len(index)} versions in the index"


def check_model(client, headers, name, golden):
    check_metadata(client, headers, name, golden)
    worst = 0.0
    for binary in (False, True):
        inputs = [infer_input(key, tensor, binary) for key, tensor in golden["inputs"].items()]
        outputs = [
            InferRequestedOutput(output, binary_data=binary)
            for output in golden["onnx_outputs"].values()
        ]
        answer = client.infer(
            name,
            inputs,
            model_version=VERSION,
            outputs=outputs,
            request_id=f"golden-{name}",
            # A copy: `infer` adds the length of a binary request's JSON to the dict that it is
            # given, where it would stay for the next request.
            headers=dict(headers),
        )
        body = answer.get_response()
        expect(body["model_name"] == name, f"`model_name` is `{body['model_name']}`")
        expect(body["model_version"] == VERSION, f"`model_version` is `{body['model_version']}`")
        expect(body.get("id") == f"golden-{name}", "the request's `id` must come back")
        answered = [output["name"] for output in body["outputs"]]
        expect(
            sorted(answered) == sorted(golden["onnx_outputs"].values()),
            f"answered {answered}, must be the outputs asked for",
        )
        for output in body["outputs"]:
            sent_binary = "binary_data_size" in output.get("parameters", {})
            form = "binary" if binary else "JSON"
            expect(sent_binary == binary, f"output `{output['name']}` must come as {form}")
        for meaning, output in golden["onnx_outputs"].items():
            got = answer.as_numpy(output)
            expect(got is not None, f"output `{output}` is missing")
            want = golden["outputs"][meaning]
            worst = max(worst, compare(meaning, output, got, want, golden["tolerance"]))
    rows = next(iter(golden["inputs"].values()))["shape"][0]
    return f"{rows} rows, JSON and binary, max difference {worst:.1e}"


def check_metadata(client, headers, name, golden):
    expect(client.is_model_ready(name, VERSION, headers=headers), "the model must be ready")
    metadata = client.get_model_metadata(name, VERSION, headers=headers)
    expect(metadata["name"] == name, f"metadata names it `{metadata['name']}`")
    expect(VERSION in metadata["versions"], f"metadata lists versions {metadata['versions']}")
    expect(metadata.get("platform"), "metadata must say the platform")
    inputs = {tensor["name"]: tensor for tensor in metadata["inputs"]}
    expect(set(inputs) == set(golden["inputs"]), f"metadata lists inputs {sorted(inputs)}")
    for key, tensor in golden["inputs"].items():
        told, datatype = inputs[key], DATATYPES[tensor["dtype"]][0]
        expect(told["datatype"] == datatype, f"input `{key}` is of `{told['datatype']}`")
        fits = len(told["shape"]) == len(tensor["shape"]) and all(
            int(size) in (-1, real) for size, real in zip(told["shape"], tensor["shape"])
        )
        expect(fits, f"input `{key}` has shape {told['shape']}, golden {tensor['shape']}")
    outputs = {tensor["name"] for tensor in metadata["outputs"]}
    missing = set(golden["onnx_outputs"].values()) - outputs
    expect(not missing, f"metadata lacks outputs {sorted(missing)}, lists {sorted(outputs)}")


def infer_input(name, tensor, binary):
    datatype, kind = DATATYPES[tensor["dtype"]]
    array = np.array(tensor["data"], dtype=kind).reshape(tensor["shape"])
    result = InferInput(name, tensor["shape"], datatype)
    result.set_data_from_numpy(array, binary_data=binary)
    return result


def compare(meaning, output, got, want, tolerance):
    """The largest difference; 0 for labels, which must be the same."""
    kind = DATATYPES[want["dtype"]][1]
    expected = np.array(want["data"], dtype=kind)
    # Some graphs answer [n, 1] where the framework answers [n]: the numbers count.
    expect(
        got.size == expected.size,
        f"output `{output}` has shape {list(got.shape)}, must be {want['shape']}",
    )
    if len(want["shape"]) > 1:
        shape = list(got.shape)
        expect(shape == want["shape"], f"output `{output}` has shape {shape}, not {want['shape']}")
    got = got.ravel()
    if meaning == "label":
        got = [item.decode() if isinstance(item, bytes) else item for item in got.tolist()]
        wrong = [row for row, pair in enumerate(zip(got, expected.tolist())) if pair[0] != pair[1]]
        expect(
            not wrong,
            f"output `{output}` differs in {len(wrong)} rows, first in row {wrong[:1]}",
        )
        return 0.0
    expect(got.dtype.kind == "f", f"output `{output}` must be floats, got {got.dtype}")
    allowed = tolerance[f"{meaning}_abs"]
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    worst = float(difference.max())
    # Written so that NaN fails too.
    expect(
        bool((difference <= allowed).all()),
        f"output `{output}` is off by {worst:.2e}, allowed is {allowed:.0e}",
    )
    return worst


def expect(right, otherwise):
    if not right:
        raise Difference(otherwise)


if __name__ == "__main__":
    main()
