use contracts::{ErrorCode, InferenceApi};
use domain::Role;
use serde_json::json;

use super::*;
use crate::stage::{Stage, call, register, target};

fn with_role(role: Option<Role>) -> Call {
    let mut call = call();
    call.principal = role.map(|role| domain::Principal::user("p", "p", role));
    call
}

#[tokio::test]
async fn each_call_names_its_roles() {
    let stage = Stage::with(|_| {});
    let target = target("iris", 1);
    for (role, may_change) in [
        (Some(Role::Service), true),
        (Some(Role::Engineer), true),
        (Some(Role::Admin), true),
        (Some(Role::Analyst), false),
        (Some(Role::Client), false),
        (None, false),
    ] {
        let listed = stage.service.loaded(with_role(role)).await;
        let unloaded = stage.service.unload(with_role(role), target.clone()).await;
        assert_eq!((listed.is_ok(), unloaded.is_ok()), (may_change, may_change), "{role:?}");
    }
    let task = PredictTask {
        target,
        prediction_id: domain::PredictionId::new(),
        protocol: contracts::inference::Protocol::Natural,
        content_type: String::new(),
        show_version: false,
        degraded: true,
        rules: None,
        background: false,
    };
    for (role, code) in [
        (Some(Role::Client), ErrorCode::NotFound),
        (Some(Role::Service), ErrorCode::NotFound),
        (Some(Role::Analyst), ErrorCode::Forbidden),
        (None, ErrorCode::Unauthenticated),
    ] {
        let request = Framed { meta: task.clone(), body: Bytes::new() };
        let error = stage.service.predict(with_role(role), request).await.unwrap_err();
        assert_eq!(error.code, code, "{role:?}");
    }
}

#[tokio::test]
async fn a_version_may_stay_unnamed_and_an_answer_be_degraded() {
    let stage = Stage::of("iris", "tests/models/iris-logreg", None).await;
    let task = PredictTask {
        target: target("iris", 1),
        prediction_id: domain::PredictionId::new(),
        protocol: contracts::inference::Protocol::Natural,
        content_type: "application/json".to_owned(),
        show_version: false,
        degraded: true,
        rules: None,
        background: false,
    };
    let body = Bytes::from_static(b"{\"features\": [5.1, 3.5, 1.4, 0.2]}");
    let answer = stage.service.predict(call(), Framed { meta: task, body }).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(answer.get("model_version").is_none());
    assert_eq!(answer["degraded"], true);
}

#[tokio::test]
async fn without_onnx_runtime_linfa_models_still_answer() {
    let stage = Stage::with(|settings| settings.onnxruntime = "/nowhere/lib.so".into());
    let rows = [vec![0.0], vec![1.0]];
    let trained = models::linfa::fit_logistic(
        &rows,
        &[0, 1],
        vec!["x".to_owned()],
        vec!["no".to_owned(), "yes".to_owned()],
    );
    let bytes = trained.unwrap().to_json().unwrap();
    let files = [("model.linfa.json".to_owned(), Bytes::from(bytes))].into();
    let version = register(stage.shelf.as_ref(), target("own", 1), None, files).await;
    stage.service.load(call(), version).await.unwrap();
    let answer = stage.ask("own", &json!({"features": {"x": 1.0}})).await.unwrap();
    assert_eq!(answer["label"], "yes");
}

#[tokio::test]
async fn large_bodies_and_many_rows_are_answered_in_order() {
    let stage = Stage::of("iris", "tests/models/iris-rf100", None).await;
    let kinds = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]];
    let rows: Vec<_> = (0..3000).map(|index| kinds[index % 2]).collect();
    let answer = stage.ask("iris", &json!({"instances": rows})).await.unwrap();
    let rows = answer["predictions"].as_array().unwrap();
    assert_eq!(rows.len(), 3000);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["prediction"], if index % 2 == 0 { 0 } else { 2 });
    }
}

#[tokio::test]
async fn what_is_loaded_is_listed_with_its_use() {
    let stage = Stage::of("iris", "tests/models/iris-logreg", None).await;
    stage.ask("iris", &json!({"features": [1, 1, 1, 1]})).await.unwrap();
    let list = stage.service.loaded(call()).await.unwrap();
    assert_eq!(list.versions.len(), 1);
    assert_eq!(list.versions[0].requests, 1);
    assert_eq!(list.memory_bytes, list.versions[0].memory_bytes);
    stage.service.unload(call(), target("iris", 1)).await.unwrap();
    stage.service.unload(call(), target("iris", 1)).await.unwrap();
    let error = stage.ask("iris", &json!({"features": [1, 1, 1, 1]})).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}
