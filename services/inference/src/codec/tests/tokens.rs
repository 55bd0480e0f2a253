use super::*;

const FOLDER: &str = "tests/models/token-sums";

async fn stage() -> Stage {
    let text = json!({"text": {"tokenizer": "tokenizer.json", "max_length": 4}});
    Stage::of("tokens", FOLDER, Some(text)).await
}

#[tokio::test]
async fn texts_of_different_length_answer_as_if_alone() {
    let stage = stage().await;
    let one = stage.ask("tokens", &json!({"text": "Good good"})).await.unwrap();
    // [CLS]=1, good=4, good=4: their mean is 3, where both classes are as likely.
    near(&one["confidence"], 0.5);
    assert_eq!(one["label"], "low", "the first of equals");
    let body = json!({"texts": ["bad", "Good good", "good good good good good"]});
    let many = stage.ask("tokens", &body).await.unwrap();
    assert_eq!(many["predictions"][1]["probabilities"], one["probabilities"]);
    assert!(many["predictions"][1].get("truncated").is_none());
    assert_eq!(many["predictions"][2]["truncated"], true);
    assert_eq!(many["predictions"][2]["label"], "high");
}

#[tokio::test]
async fn over_v2_it_takes_tokens_or_texts() {
    let stage = stage().await;
    let tokens = json!({"inputs": [
        {"name": "attention_mask", "shape": [1, 3], "datatype": "INT64", "data": [1, 1, 1]},
        {"name": "input_ids", "shape": [1, 3], "datatype": "INT64", "data": [1, 4, 4]}]});
    let tokens = stage.infer("tokens", &tokens).await.unwrap();
    let texts = |data: Value| {
        let count = data.as_array().unwrap().len();
        json!({"inputs": [{"name": "text", "shape": [count], "datatype": "BYTES", "data": data}]})
    };
    let text = stage.infer("tokens", &texts(json!(["good good"]))).await.unwrap();
    assert_eq!(text["outputs"], tokens["outputs"]);
    let long = stage.infer("tokens", &texts(json!(["bad", "bad bad bad bad"]))).await.unwrap();
    assert_eq!(long["parameters"]["truncated"], true);
    assert_eq!(long["outputs"][0]["shape"], json!([2, 2]));
    let long = json!({"inputs": [
        {"name": "input_ids", "shape": [1, 5], "datatype": "INT64", "data": [1, 4, 4, 4, 4]},
        {"name": "attention_mask", "shape": [1, 5], "datatype": "INT64", "data": [1, 1, 1, 1, 1]}]});
    let error = stage.infer("tokens", &long).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/inputs/0/shape"]);
}

#[tokio::test]
async fn columns_of_several_types_go_to_an_input_each() {
    let stage = Stage::of("mixed", "tests/models/mixed-columns", None).await;
    let named = json!({"features": {"city": "Bonn", "age": 0.5, "rooms": 3}});
    assert_eq!(stage.ask("mixed", &named).await.unwrap()["prediction"], 203.5);
    let rows = json!({"instances": [[0.5, 3, "Bonn"], [1, 1, "Ulm"]]});
    let rows = stage.ask("mixed", &rows).await.unwrap();
    assert_eq!(rows["predictions"][1]["prediction"], 102.0);
    let error = stage.ask("mixed", &json!({"features": [1, 1.5, 7]})).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/features/1", "#/features/2"]);
    let tensors = json!({"inputs": [
        {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Ulm"]},
        {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [1]},
        {"name": "rooms", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]}]});
    let error = stage.infer("mixed", &tensors).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/inputs/2/shape"]);
}

#[tokio::test]
async fn a_row_of_a_dynamically_quantized_model_does_not_see_its_neighbours() {
    let stage = Stage::of("neighbours", "tests/models/neighbours", None).await;
    let ask = async |rows: Value| {
        stage.ask("neighbours", &json!({"instances": rows})).await.unwrap()["predictions"].clone()
    };
    let alone = ask(json!([[0.3]])).await;
    let among = ask(json!([[0.3], [1000.0]])).await;
    assert_eq!(among[0], alone[0]);
}
