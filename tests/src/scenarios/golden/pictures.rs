//! Golden pictures: as a raw body, as a file of a form, in base64, as a tensor.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::models::ModelFolder;
use testkit::tensor::Tensor;
use testkit::{Answer, Client};

use super::{assert_near, numbers, tensors};

/// Another resizer gives other pixels, hence other probabilities; the class stays.
const ORIGINAL_TOLERANCE: f64 = 0.1;

pub(super) async fn check(client: &Client, folder: &ModelFolder) {
    let exact = exact_tolerance(folder);
    for sample in folder.golden["samples"].as_array().unwrap() {
        for (key, tolerance) in [("exact_pixels", exact), ("image", ORIGINAL_TOLERANCE)] {
            let file = sample[key].as_str().unwrap();
            for (form, answer) in ask(client, folder, file).await {
                let what = format!("{}, {file} as {form}", folder.name);
                compare(sample, &answer, tolerance, &what);
            }
        }
    }
}

/// The picture in each form that our own API takes.
async fn ask(client: &Client, folder: &ModelFolder, file: &str) -> [(&'static str, Answer); 3] {
    let bytes = folder.file(file);
    let kind = if file.ends_with(".png") { "image/png" } else { "image/jpeg" };
    let path = format!("/api/v1/models/{}/predict", folder.name);
    let name = &folder.name;
    [
        ("raw body", client.post_bytes(&path, kind, bytes.clone()).await),
        ("base64", client.predict(name, &json!({"image": STANDARD.encode(&bytes)})).await),
        ("a form", client.predict_file(name, "picture", kind, bytes).await),
    ]
}

fn compare(sample: &Value, answer: &Answer, tolerance: f64, what: &str) {
    let answer = answer.expect_status(200).json();
    let best = best(sample);
    assert_eq!(answer["prediction"], best["index"], "{what}: {answer}");
    assert_eq!(answer["label"], best["label"], "{what}");
    let want = best["probability"].as_f64().unwrap();
    assert_near(&[answer["confidence"].as_f64().unwrap()], &[want], tolerance, what);
}

/// The exact pixels, made a tensor as the card says, over the V2 protocol.
pub(super) async fn check_tensors(client: &Client, folder: &ModelFolder) {
    for sample in folder.golden["samples"].as_array().unwrap() {
        let input = tensor(folder, sample["exact_pixels"].as_str().unwrap());
        let best = best(sample);
        let index = usize::try_from(best["index"].as_u64().unwrap()).unwrap();
        for (form, outputs) in
            tensors::ask(client, &folder.name, std::slice::from_ref(&input)).await
        {
            let what = format!("{} in {form}", folder.name);
            let got = outputs["probabilities"].numbers();
            let want = best["probability"].as_f64().unwrap();
            assert_near(&[got[index]], &[want], exact_tolerance(folder), &what);
            let highest = got.iter().copied().fold(0.0, f64::max);
            assert_near(&[highest], &[got[index]], 0.0, &what);
        }
    }
}

fn tensor(folder: &ModelFolder, file: &str) -> Tensor {
    let preprocessing = &folder.card["preprocessing"];
    let (mean, std) = (numbers(&preprocessing["mean"]), numbers(&preprocessing["std"]));
    let picture = image::load_from_memory(&folder.file(file)).unwrap().to_rgb8();
    let mut values = Vec::new();
    for channel in 0..3 {
        for pixel in picture.pixels() {
            values.push(json!((f64::from(pixel[channel]) - mean[channel]) / std[channel]));
        }
    }
    let (width, height) = picture.dimensions();
    Tensor {
        name: folder.card["inputs"][0]["name"].as_str().unwrap().to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, 3, height as usize, width as usize],
        values,
    }
}

/// The likeliest class, as this very file gives it where that was recorded.
fn best(sample: &Value) -> &Value {
    let own = &sample["top5_int8_onnxruntime"];
    if own.is_array() { &own[0] } else { &sample["top5"][0] }
}

fn exact_tolerance(folder: &ModelFolder) -> f64 {
    folder.golden["tolerance"]["exact_pixels"]["probability_abs"].as_f64().unwrap()
}
