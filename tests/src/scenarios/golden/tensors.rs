//! Golden tensors over the V2 protocol, in JSON and in binary.

use std::collections::BTreeMap;

use testkit::Client;
use testkit::models::ModelFolder;
use testkit::tensor::{self, Tensor};

use super::assert_near;

pub(super) async fn check(client: &Client, folder: &ModelFolder) {
    check_as(client, &folder.name, folder).await;
}

/// Checks a model that is registered under another name than its folder's.
pub(super) async fn check_as(client: &Client, model: &str, folder: &ModelFolder) {
    let inputs: Vec<Tensor> = folder.golden["inputs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, input)| Tensor::golden(name, input))
        .collect();
    for (form, outputs) in ask(client, model, &inputs).await {
        compare(folder, &outputs, &format!("{model} in {form}"));
    }
}

/// The outputs for these inputs, asked for in both forms.
pub(super) async fn ask(
    client: &Client,
    model: &str,
    inputs: &[Tensor],
) -> [(&'static str, BTreeMap<String, Tensor>); 2] {
    let json = client.infer(model, &tensor::request(inputs)).await;
    let (header, tail) = tensor::binary_request(inputs);
    let binary = client.infer_binary(model, &header, &tail).await;
    let length = binary.header("inference-header-content-length");
    assert!(!length.is_empty(), "a binary answer tells its JSON's length: {}", binary.text());
    [("JSON", tensor::outputs(&json)), ("binary", tensor::outputs(&binary))]
}

fn compare(folder: &ModelFolder, outputs: &BTreeMap<String, Tensor>, what: &str) {
    let golden = &folder.golden;
    for (meaning, name) in golden["onnx_outputs"].as_object().unwrap() {
        let name = name.as_str().unwrap();
        let what = format!("{what}, output `{name}`");
        let got = outputs.get(name).unwrap_or_else(|| panic!("{what} is missing"));
        let want = Tensor::golden(meaning, &golden["outputs"][meaning]);
        if meaning == "label" {
            assert_eq!(got.values, want.values, "{what}");
        } else {
            let tolerance = golden["tolerance"][format!("{meaning}_abs")].as_f64().unwrap();
            assert_near(&got.numbers(), &want.numbers(), tolerance, &what);
        }
    }
}
