//! Golden texts: as texts, as strings in a tensor, as tokens.

use serde_json::{Value, json};
use testkit::Client;
use testkit::models::ModelFolder;
use testkit::tensor::Tensor;

use super::{assert_near, classes, numbers, tensors};

/// A graph that takes strings: each text alone, and all at once.
pub(super) async fn check_strings(client: &Client, folder: &ModelFolder) {
    let golden = &folder.golden;
    let texts = Tensor::golden("text", &golden["inputs"]["text"]).values;
    let want = Tensor::golden("probabilities", &golden["outputs"]["probabilities"]).rows();
    let tolerance = golden["tolerance"]["probabilities_abs"].as_f64().unwrap();
    let labels = &golden["outputs"]["label"]["data"];
    let all =
        client.predict(&folder.name, &json!({"texts": texts})).await.expect_status(200).json();
    for (row, text) in texts.iter().enumerate() {
        let alone = client.predict(&folder.name, &json!({"text": text})).await;
        let alone = alone.expect_status(200).json();
        for answer in [&alone, &all["predictions"][row]] {
            let what = format!("{}, text {row}: {answer}", folder.name);
            let want: Vec<f64> = want[row].iter().map(|value| value.as_f64().unwrap()).collect();
            assert_near(&probabilities(folder, answer), &want, tolerance, &what);
            assert_eq!(answer["label"], labels[row], "{what}");
        }
    }
}

/// A graph that takes tokens, asked with texts.
pub(super) async fn check(client: &Client, folder: &ModelFolder) {
    for sample in folder.golden["samples"].as_array().unwrap() {
        let answer = client.predict(&folder.name, &json!({"text": sample["text"]})).await;
        let answer = answer.expect_status(200).json();
        let expected = expected(sample);
        let what = format!("{}: {answer}", folder.name);
        let want = numbers(&expected["probabilities"]);
        assert_near(&probabilities(folder, &answer), &want, tolerance(folder), &what);
        assert_eq!(answer["label"], expected["label"], "{what}");
    }
}

/// The same graph, asked with tokens over the V2 protocol.
pub(super) async fn check_tokens(client: &Client, folder: &ModelFolder) {
    for sample in folder.golden["samples"].as_array().unwrap() {
        let ids = sample["input_ids"].as_array().unwrap().clone();
        let tensor = |name: &str, values: Vec<Value>| Tensor {
            name: name.to_owned(),
            datatype: "INT64".to_owned(),
            shape: vec![1, values.len()],
            values,
        };
        let mask = vec![json!(1); ids.len()];
        let inputs = [tensor("input_ids", ids), tensor("attention_mask", mask)];
        let want = numbers(&expected(sample)["probabilities"]);
        for (form, outputs) in tensors::ask(client, &folder.name, &inputs).await {
            let what = format!("{} in {form}", folder.name);
            assert_near(&outputs["probabilities"].numbers(), &want, tolerance(folder), &what);
        }
    }
}

/// What this very file answers, where that was recorded; its float twin's answer otherwise.
fn expected(sample: &Value) -> &Value {
    let own = &sample["expected_int8_onnxruntime_alone"];
    if own.is_object() { own } else { &sample["expected_float_pytorch"] }
}

fn tolerance(folder: &ModelFolder) -> f64 {
    let all = folder.golden["tolerance"].as_object().unwrap();
    let own = all.get("vs_int8_onnxruntime_alone").or_else(|| all.values().next());
    own.unwrap()["probability_abs"].as_f64().unwrap()
}

fn probabilities(folder: &ModelFolder, answer: &Value) -> Vec<f64> {
    let of_class = |class: &String| answer["probabilities"][class].as_f64();
    classes(folder).iter().map(|class| of_class(class).expect("a probability per class")).collect()
}
