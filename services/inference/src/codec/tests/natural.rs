use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::inference::Protocol;

use super::*;

#[tokio::test]
async fn a_list_of_features_gets_the_envelope() {
    let stage = iris().await;
    let body = json!({"features": SETOSA, "unit": "u1", "context": {"country": "de"}});
    let answer = stage.ask("iris", &body).await.unwrap();
    near(&answer["confidence"], 0.9787);
    near(&answer["probabilities"]["setosa"], 0.9787);
    let keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    for key in
        ["prediction_id", "model", "model_version", "prediction", "label", "cached", "degraded"]
    {
        assert!(keys.contains(&key), "{key}");
    }
    assert_eq!(answer["prediction"], 0);
    assert_eq!(answer["label"], "setosa");
    assert_eq!(answer["model"], "iris");
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["cached"], false);
}

#[tokio::test]
async fn probabilities_come_in_class_order() {
    let stage = iris().await;
    let body = json!({"features": SETOSA}).to_string();
    let answer = stage.send("iris", Protocol::Natural, "application/json", body).await.unwrap();
    let text = std::str::from_utf8(&answer.body).unwrap();
    let place = |name: &str| text.find(&format!("\"{name}\":")).unwrap();
    assert!(place("setosa") < place("versicolor") && place("versicolor") < place("virginica"));
    assert_eq!(answer.meta.label.as_deref(), Some("setosa"));
    assert_eq!(answer.meta.rows, 1);
    assert_eq!(answer.meta.content_type, "application/json");
}

#[tokio::test]
async fn features_by_name_and_lists_of_rows_answer_the_same() {
    let stage = iris().await;
    let named = json!({"petal_width_cm": 0.2, "petal_length_cm": 1.4, "sepal_width_cm": 3.5,
                       "sepal_length_cm": 5.1});
    let one = stage.ask("iris", &json!({"features": SETOSA})).await.unwrap();
    let two = stage.ask("iris", &json!({"features": named})).await.unwrap();
    assert_eq!(without_id(one.clone()), without_id(two));
    let many = json!({"instances": [SETOSA, named, [6.3, 3.3, 6.0, 2.5]]});
    let many = stage.ask("iris", &many).await.unwrap();
    assert_eq!(many["predictions"].as_array().unwrap().len(), 3);
    assert_eq!(many["predictions"][1]["label"], one["label"]);
    assert_eq!(many["predictions"][2]["label"], "virginica");
    assert!(many.get("prediction").is_none());
}

#[tokio::test]
async fn all_faults_are_told_with_their_place() {
    let stage = iris().await;
    let body = json!({"features": [5.1, "abc", null, -1.0]});
    let error = stage.ask("iris", &body).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/features/1", "#/features/2", "#/features/3"]);
    assert_eq!(error.errors[0].detail, "must be a number, got `\"abc\"`");
    let body = json!({"instances": [SETOSA, {"sepal_length_cm": 1, "sepal_width_cm": 1,
        "petal_length_cm": 1, "petal_widht": 2}, too_long(), 7, [[1], 2, 3, 4]]});
    let error = stage.ask("iris", &body).await.unwrap_err();
    assert_eq!(
        pointers(&error),
        [
            "#/instances/1/petal_widht",
            "#/instances/1/petal_width_cm",
            "#/instances/2",
            "#/instances/3",
            "#/instances/4/0"
        ]
    );
}

#[tokio::test]
async fn an_unknown_or_second_input_is_refused_by_name() {
    let stage = iris().await;
    for (body, pointer) in [
        (json!({"feature": SETOSA}), "#/feature"),
        (json!({"features": SETOSA, "instances": [SETOSA]}), "#/instances"),
        (json!({"text": "hello"}), "#/text"),
        (json!({"texts": ["hello"]}), "#/texts"),
        (json!({"image": "aaaa"}), "#/image"),
        (json!({"instances": []}), "#/instances"),
        (json!({"instances": 5}), "#/instances"),
        (json!({"features": "x"}), "#/features"),
        (json!({}), "#"),
        (json!([1, 2]), "#"),
    ] {
        let error = stage.ask("iris", &body).await.unwrap_err();
        assert_eq!(pointers(&error), [pointer], "{body}");
    }
    let twice = r#"{"features": {"sepal_length_cm": 1, "sepal_length_cm": 2, "sepal_width_cm": 1,
        "petal_length_cm": 1, "petal_width_cm": 1}}"#;
    let error = stage.send("iris", Protocol::Natural, "", twice).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/features/sepal_length_cm"]);
}

#[tokio::test]
async fn what_is_malformed_is_a_bad_request() {
    let stage = iris().await;
    for (kind, body) in [
        ("application/json", &b"{\"features\": [1,2,"[..]),
        ("application/json", b""),
        ("application/json", b"{\"features\": [NaN, 1, 1, 1]}"),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"{\"features\": [1e999, 1, 1, 1]}"),
        ("application/xml", b"<x/>"),
        ("text/csv", b"a,b\n1\n\xff"),
    ] {
        let body = bytes::Bytes::copy_from_slice(body);
        let error = stage.send("iris", Protocol::Natural, kind, body.clone()).await.unwrap_err();
        let allowed = [ErrorCode::BadRequest, ErrorCode::Unprocessable];
        assert!(allowed.contains(&error.code), "{kind} {body:?}: {error}");
        assert!(kind == "text/csv" || error.code == ErrorCode::BadRequest, "{kind}: {error}");
    }
    let deep = format!("{{\"features\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let error = stage.send("iris", Protocol::Natural, "", deep).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
}

#[tokio::test]
async fn too_many_rows_are_too_large() {
    let stage = Stage::with(|settings| settings.max_rows_per_request = 2);
    stage.load("iris", 1, IRIS, None).await;
    let body = json!({"instances": [SETOSA, SETOSA, SETOSA]});
    let error = stage.ask("iris", &body).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.message.contains("`inference.max_rows_per_request`"), "{error}");
}

#[tokio::test]
async fn a_table_has_a_header_and_a_row_per_line() {
    let stage = iris().await;
    let table = "petal_width_cm,sepal_length_cm,sepal_width_cm,petal_length_cm\n\
                 0.2,5.1,3.5,1.4\n2.5, 6.3 ,3.3,6.0\n";
    let kind = "text/csv; charset=utf-8";
    let answer = stage.send("iris", Protocol::Natural, kind, table).await.unwrap();
    assert_eq!(answer.meta.rows, 2);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["predictions"][0]["label"], "setosa");
    assert_eq!(answer["predictions"][1]["label"], "virginica");
    for (table, want) in [
        (
            "a,sepal_length_cm\n1,2\n",
            vec![
                "#/header/a",
                "#/header/sepal_width_cm",
                "#/header/petal_length_cm",
                "#/header/petal_width_cm",
            ],
        ),
        (
            "sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm\n1,,x,NaN\n",
            vec![
                "#/instances/0/sepal_width_cm",
                "#/instances/0/petal_length_cm",
                "#/instances/0/petal_width_cm",
            ],
        ),
        ("sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm\n", vec!["#"]),
    ] {
        let error = stage.send("iris", Protocol::Natural, kind, table).await.unwrap_err();
        assert_eq!(pointers(&error), want);
    }
}

#[tokio::test]
async fn texts_are_answered_one_or_many() {
    let stage = Stage::of("sentiment", "services/all-in-one/demo/sentiment", None).await;
    let one = stage.ask("sentiment", &json!({"text": "what a wonderful day"})).await.unwrap();
    assert_eq!(one["label"], "positive");
    assert!(one.get("truncated").is_none());
    let many = json!({"texts": ["what a wonderful day", "this is terrible and bad"]});
    let many = stage.ask("sentiment", &many).await.unwrap();
    assert_eq!(many["predictions"][0]["probabilities"], one["probabilities"]);
    assert_eq!(many["predictions"][1]["label"], "negative");
    let bad = json!({"texts": ["a", 5, "a\u{0}b", "x".repeat(10_001)]});
    let error = stage.ask("sentiment", &bad).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/texts/1", "#/texts/2", "#/texts/3"]);
    let error = stage.ask("sentiment", &json!({"features": [1]})).await.unwrap_err();
    assert_eq!(pointers(&error), ["#/features"]);
    let table = "text\nwhat a wonderful day\n";
    let answer = stage.send("sentiment", Protocol::Natural, "text/csv", table).await.unwrap();
    assert_eq!(answer.meta.label.as_deref(), Some("positive"));
}

#[tokio::test]
async fn a_picture_comes_as_body_or_base64() {
    let folder = "services/all-in-one/demo/imagenet";
    let stage = Stage::of("imagenet", folder, None).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let picture = fs::read(path.join("images/flower.jpg")).unwrap();
    let body =
        stage.send("imagenet", Protocol::Natural, "image/jpeg", picture.clone()).await.unwrap();
    assert_eq!(body.meta.label.as_deref(), Some("daisy"));
    let body: Value = serde_json::from_slice(&body.body).unwrap();
    assert_eq!(body["probabilities"].as_object().unwrap().len(), 5, "the top five of a thousand");
    let coded = STANDARD.encode(&picture);
    for text in [coded.clone(), format!("data:image/jpeg;base64,{coded}")] {
        let answer = stage.ask("imagenet", &json!({"image": text})).await.unwrap();
        assert_eq!(without_id(answer), without_id(body.clone()));
    }
    for bad in ["%%%", "aGVsbG8="] {
        let error = stage.ask("imagenet", &json!({"image": bad})).await.unwrap_err();
        assert_eq!(pointers(&error), ["#/image"]);
    }
    let error = stage.send("imagenet", Protocol::Natural, "image/png", "x").await.unwrap_err();
    assert_eq!(pointers(&error), ["#"]);
}

#[tokio::test]
async fn a_regression_answers_a_number() {
    let stage = Stage::of("diabetes", "tests/models/diabetes-gbr", None).await;
    let answer = stage.ask("diabetes", &json!({"features": vec![0.05; 10]})).await.unwrap();
    assert!(answer["prediction"].as_f64().unwrap() > 50.0);
    assert!(answer.get("label").is_none() && answer.get("probabilities").is_none());
}
