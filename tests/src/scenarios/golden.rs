//! Every model answers what its original framework answered, in every form.

mod pictures;
mod tables;
mod tensors;
mod texts;

use serde_json::Value;
use testkit::models::ModelFolder;
use testkit::{Client, Topology, models, scenarios, shared};
use tokio::sync::OnceCell;

scenarios!(
    tensors_agree_with_the_original_framework,
    natural_input_agrees_with_the_original_framework,
    a_bare_graph_is_enough,
);

/// All models, registered under their folders' names as version 1.
pub(super) async fn registered(topology: Topology) -> (Client, &'static [ModelFolder]) {
    static EMBEDDED: OnceCell<Vec<ModelFolder>> = OnceCell::const_new();
    static DISTRIBUTED: OnceCell<Vec<ModelFolder>> = OnceCell::const_new();
    let cell = match topology {
        Topology::Embedded => &EMBEDDED,
        Topology::Distributed => &DISTRIBUTED,
    };
    let client = shared(topology).await.admin().await;
    let register = || async {
        let folders = models::all();
        for folder in &folders {
            client.create_model_with(&folder.name, &folder.upload()).await;
        }
        folders
    };
    let folders = cell.get_or_init(register).await;
    (client, folders)
}

async fn tensors_agree_with_the_original_framework(topology: Topology) {
    let (client, folders) = registered(topology).await;
    for folder in folders {
        match kind(folder) {
            Kind::Tensors => tensors::check(&client, folder).await,
            Kind::Pictures => pictures::check_tensors(&client, folder).await,
            Kind::Texts => texts::check_tokens(&client, folder).await,
        }
    }
}

async fn natural_input_agrees_with_the_original_framework(topology: Topology) {
    let (client, folders) = registered(topology).await;
    for folder in folders {
        match kind(folder) {
            Kind::Tensors if folder.golden["inputs"]["text"].is_object() => {
                texts::check_strings(&client, folder).await;
            }
            Kind::Tensors => tables::check(&client, folder).await,
            Kind::Pictures => pictures::check(&client, folder).await,
            Kind::Texts => texts::check(&client, folder).await,
        }
    }
}

async fn a_bare_graph_is_enough(topology: Topology) {
    let client = shared(topology).await.admin().await;
    let folder = models::committed("iris-logreg");
    client.create_model_with("bare", &folder.bare()).await;
    tensors::check_as(&client, "bare", &folder).await;
    let body = serde_json::json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let answer = client.predict("bare", &body).await.expect_status(200).json();
    assert_eq!(answer["prediction"], 0, "{answer}");
}

/// What a golden file is made of.
enum Kind {
    Tensors,
    Pictures,
    Texts,
}

fn kind(folder: &ModelFolder) -> Kind {
    let golden = &folder.golden;
    match (&golden["inputs"], &golden["samples"][0]["image"]) {
        (Value::Object(_), _) => Kind::Tensors,
        (_, Value::String(_)) => Kind::Pictures,
        _ => Kind::Texts,
    }
}

/// Fails unless every number is within the tolerance.
#[track_caller]
fn assert_near(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        // Written so that NaN fails too.
        let near = (got - want).abs() <= tolerance;
        assert!(near, "{what}: got {got}, must be {want} within {tolerance}");
    }
}

/// Names of a model's classes, as its files tell them.
fn classes(folder: &ModelFolder) -> Vec<String> {
    let listed = match &folder.card["classes"] {
        Value::Array(_) => folder.card["classes"].clone(),
        _ => serde_json::from_slice(&folder.file("labels.json")).unwrap(),
    };
    serde_json::from_value(listed).unwrap()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}
