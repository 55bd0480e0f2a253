use super::*;

fn request(data: &Value) -> Value {
    json!({"id": "42", "inputs": [
        {"name": "input", "shape": [2, 4], "datatype": "FP32", "data": data}]})
}

fn flat() -> Value {
    json!([5.1, 3.5, 1.4, 0.2, 6.3, 3.3, 6.0, 2.5])
}

#[tokio::test]
async fn flat_and_nested_data_answer_the_same() {
    let stage = iris().await;
    let answer = stage.infer("iris", &request(&flat())).await.unwrap();
    assert_eq!(answer["model_name"], "iris");
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["id"], "42");
    assert_eq!(answer["outputs"][0]["name"], "label");
    assert_eq!(answer["outputs"][0]["datatype"], "INT64");
    assert_eq!(answer["outputs"][0]["shape"], json!([2]));
    assert_eq!(answer["outputs"][0]["data"], json!([0, 2]));
    assert_eq!(answer["outputs"][1]["shape"], json!([2, 3]));
    let nested = json!([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]);
    let nested = stage.infer("iris", &request(&nested)).await.unwrap();
    assert_eq!(without_id(nested), without_id(answer));
}

#[tokio::test]
async fn outputs_may_be_chosen_and_classified() {
    let stage = iris().await;
    let mut body = request(&flat());
    body["outputs"] = json!([{"name": "probabilities", "parameters": {"classification": 2}}]);
    let answer = stage.infer("iris", &body).await.unwrap();
    let outputs = answer["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0]["datatype"], "BYTES");
    assert_eq!(outputs[0]["shape"], json!([2, 2]));
    let best = outputs[0]["data"][0].as_str().unwrap();
    assert!(best.starts_with("0.9") && best.ends_with(":0:setosa"), "{best}");
    body["outputs"] = json!([{"name": "probs"}]);
    let error = stage.infer("iris", &body).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/outputs/0/name"]);
    body["outputs"] = json!([{"name": "label", "parameters": {"classification": 0}}]);
    assert!(stage.infer("iris", &body).await.is_err());
}

#[tokio::test]
async fn what_does_not_fit_the_graph_is_told_with_its_place() {
    let stage = iris().await;
    let input = |fields: Value| json!({"inputs": [fields]});
    let row = json!([1, 2, 3, 4]);
    for (body, pointer) in [
        (
            input(json!({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row})),
            "#/inputs/0",
        ),
        (
            input(json!({"name": "input", "shape": [4], "datatype": "FP32", "data": row})),
            "#/inputs/0",
        ),
        (
            input(json!({"name": "input", "shape": [1, 4], "datatype": "FP64", "data": row})),
            "#/inputs/0",
        ),
        (
            input(json!({"name": "input", "shape": [1, 5], "datatype": "FP32", "data": row})),
            "#/inputs/0/shape",
        ),
        (
            input(json!({"name": "input", "shape": [-1, 4], "datatype": "FP32", "data": row})),
            "#/inputs/0/shape",
        ),
        (
            input(json!({"name": "input", "shape": [0, 4], "datatype": "FP32", "data": []})),
            "#/inputs/0/shape",
        ),
        (input(json!({"name": "input", "shape": [1, 4], "datatype": "FP32"})), "#/inputs/0/data"),
        (
            input(json!({"name": "input", "shape": [1, 4], "datatype": "FP32", "data": "x"})),
            "#/inputs/0/data",
        ),
        (
            input(json!({"name": "input", "shape": [1, 4], "datatype": "FP32",
            "data": [1, "x", 3, 4]})),
            "#/inputs/0/data",
        ),
        (
            input(json!({"name": "input", "shape": [1, 4], "datatype": "INT8",
            "data": [1, 300, 3, 4]})),
            "#/inputs/0/data",
        ),
        (
            input(json!({"name": "input", "shape": [1, 4], "datatype": "FP32",
            "data": [1, 1e300, 3, 4]})),
            "#/inputs/0/data",
        ),
        (json!({"inputs": []}), "#/inputs"),
    ] {
        let error = stage.infer("iris", &body).await.unwrap_err();
        let found = pointers(&error);
        assert_eq!(found[0], pointer, "{body}: {error}");
    }
    let bad = input(json!({"name": "input", "shape": [1, 4], "datatype": "COMPLEX", "data": row}));
    assert_eq!(stage.infer("iris", &bad).await.unwrap_err().code, ErrorCode::BadRequest);
}

#[tokio::test]
async fn the_manifests_rules_hold_here_too() {
    let stage = iris().await;
    let data = json!([5.1, null, 1.4, 0.2, 6.3, 3.3, -1.0, 2.5]);
    let error = stage.infer("iris", &request(&data)).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/inputs/0/data/1", "#/inputs/0/data/6"]);
    assert_eq!(error.errors[1].detail, "(feature `petal_length_cm`) must be at least 0, got -1");
    let folder = "tests/models/flights-lgbm";
    let free: Vec<Value> =
        (0..14).map(|index| json!({"name": format!("f{index}"), "optional": true})).collect();
    let stage = Stage::of("flights", folder, Some(json!({"features": free}))).await;
    let body = json!({"inputs": [
        {"name": "input", "shape": [1, 14], "datatype": "FP32", "data": vec![Value::Null; 14]}]});
    assert!(stage.infer("flights", &body).await.is_ok(), "a gap is allowed where it is optional");
}

#[tokio::test]
async fn a_text_model_takes_its_strings() {
    let stage = Stage::of("sentiment", "services/all-in-one/demo/sentiment", None).await;
    let body = json!({"inputs": [{"name": "text", "shape": [2, 1], "datatype": "BYTES",
        "data": ["what a wonderful day", "this is terrible and bad"]}]});
    let answer = stage.infer("sentiment", &body).await.unwrap();
    assert_eq!(answer["outputs"][0]["data"], json!(["positive", "negative"]));
    let body = json!({"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES",
        "data": ["x".repeat(10_001)]}]});
    let error = stage.infer("sentiment", &body).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/inputs/0/data/0"]);
}
