//! What cannot be answered is refused: with the status, the value at fault and the way to mend it.

use domain::Role;
use serde_json::{Value, json};
use testkit::{Answer, Client, Engine, Method, Topology, models, scenarios, shared};
use tokio::sync::OnceCell;

scenarios!(
    wrong_values_are_422_and_named,
    what_is_no_json_is_400,
    a_body_of_100_mb_is_413,
    a_truncated_picture_is_422,
    a_text_beyond_the_limit_is_422,
    what_is_not_there_is_404,
    an_unloaded_version_is_503,
    the_wrong_role_is_403,
    bad_tensors_are_refused_as_the_protocol_has_it,
);

const IRIS: &str = "bad-input-iris";

/// The shared engine with a model of four numbers.
async fn engine(topology: Topology) -> (&'static Engine, Client) {
    static EMBEDDED: OnceCell<()> = OnceCell::const_new();
    static DISTRIBUTED: OnceCell<()> = OnceCell::const_new();
    let cell = match topology {
        Topology::Embedded => &EMBEDDED,
        Topology::Distributed => &DISTRIBUTED,
    };
    let engine = shared(topology).await;
    let client = engine.admin().await;
    let upload = models::demo("iris").upload();
    cell.get_or_init(|| client.create_model_with(IRIS, &upload)).await;
    (engine, client)
}

/// The engine is none the worse for it.
async fn serves_on(client: &Client) {
    let answer = client.predict(IRIS, &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await;
    assert_eq!(answer.expect_status(200).json()["label"], "setosa");
}

async fn wrong_values_are_422_and_named(topology: Topology) {
    let (_, client) = engine(topology).await;
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({"features": [5.1, 3.5, 1.4]}), &["#/features", "4", "got 3"]),
        (json!({"features": [5.1, 3.5, "wide", 0.2]}), &["#/features/2", "a number", "wide"]),
        (json!({"features": [5.1, 3.5, "NaN", 0.2]}), &["#/features/2", "a number", "NaN"]),
        (json!({"features": [5.1, 3.5, 1e300, 0.2]}), &["#/features/2", "32-bit"]),
        (json!({"features": [5.1, -1, 1.4, 0.2]}), &["#/features/1", "at least 0", "-1"]),
        (json!({"features": [5.1, null, 1.4, 0.2]}), &["#/features/1", "missing"]),
        (json!({"features": [5.1, 3.5, 1.4, 0.2], "feature": 1}), &["#/feature", "features"]),
        (json!({"instances": [[5.1, 3.5, 1.4, 0.2], [1, 2]]}), &["#/instances/1", "got 2"]),
        (json!({"instances": []}), &["#/instances"]),
        (json!({}), &["features"]),
        (json!({"text": "a flower"}), &["#/text", "features"]),
        (json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": 7}), &["#/unit", "text", "7"]),
        (
            json!({"features": {"sepal_length_cm": 5.1, "sepal_width_cm": 3.5,
                "petal_length_cm": 1.4, "petal_width": 0.2}}),
            &["#/features/petal_width", "is not a feature", "petal_width_cm"],
        ),
    ];
    for (body, words) in cases {
        client.predict(IRIS, &body).await.expect_problem(422, "unprocessable", words);
    }
    let path = format!("/api/v1/models/{IRIS}/predict");
    let table = "sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm\n1,2,NaN,4\n";
    let answer = client.post_bytes(&path, "text/csv", table).await;
    answer.expect_problem(422, "unprocessable", &["NaN", "number"]);
    serves_on(&client).await;
}

async fn what_is_no_json_is_400(topology: Topology) {
    let (_, client) = engine(topology).await;
    let path = format!("/api/v1/models/{IRIS}/predict");
    for body in ["{\"features\":[1,2,3", "", "{\"features\":[NaN,1,2,3]}", "\u{fffd}"] {
        let answer = client.post_bytes(&path, "application/json", body).await;
        answer.expect_problem(400, "bad_request", &["JSON"]);
    }
    let answer = client.post_bytes(&path, "application/x-pickle", "abc").await;
    answer.expect_problem(400, "bad_request", &["application/x-pickle", "application/json"]);
    let answer = client.post_bytes("/api/v1/models", "application/json", "{").await;
    answer.expect_problem(400, "bad_request", &["JSON"]);
    let answer = client.post("/api/v1/models", &json!({"name": "a", "nmae": 1})).await;
    answer.expect_problem(422, "unprocessable", &["nmae", "name"]);
    let answer = client.post("/api/v1/models", &json!({"name": "../etc"})).await;
    answer.expect_problem(422, "unprocessable", &["../etc", "A-Z a-z 0-9"]);
    serves_on(&client).await;
}

async fn a_body_of_100_mb_is_413(topology: Topology) {
    let (_, client) = engine(topology).await;
    let path = format!("/api/v1/models/{IRIS}/predict");
    let body = vec![b' '; 100 << 20];
    let answer = client.post_bytes(&path, "application/json", body.clone()).await;
    answer.expect_problem(413, "too_large", &["larger than"]);
    // What nginx lets pass, the gateway refuses in its own words.
    let answer = client.post_bytes(&path, "application/json", body[..12 << 20].to_vec()).await;
    answer.expect_problem(413, "too_large", &["http.max_body_bytes"]);
    let answer =
        client.post_bytes(&format!("/v2/models/{IRIS}/infer"), "application/json", body).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    serves_on(&client).await;
}

async fn a_truncated_picture_is_422(topology: Topology) {
    let (_, client) = engine(topology).await;
    let folder = models::demo("imagenet");
    let name = "bad-input-imagenet";
    client.create_model_with(name, &folder.upload()).await;
    let picture = folder.file("images/flower.jpg");
    let path = format!("/api/v1/models/{name}/predict");
    for length in [0, 100, picture.len() / 2] {
        let cut = picture.slice(..length);
        let answer = client.post_bytes(&path, "image/jpeg", cut.clone()).await;
        answer.expect_problem(422, "unprocessable", &["\"#\""]);
        let answer = client.predict_file(name, "flower.jpg", "image/jpeg", cut).await;
        answer.expect_problem(422, "unprocessable", &[]);
    }
    let answer = client.predict(name, &json!({"image": "%%%"})).await;
    answer.expect_problem(422, "unprocessable", &["#/image", "base64"]);
    let answer = client.predict(name, &json!({"features": [1, 2]})).await;
    answer.expect_problem(422, "unprocessable", &["#/features"]);
    let answer = client.post_bytes(&path, "image/jpeg", picture).await;
    answer.expect_status(200);
    serves_on(&client).await;
}

async fn a_text_beyond_the_limit_is_422(topology: Topology) {
    let (_, client) = engine(topology).await;
    let name = "bad-input-sentiment";
    client.create_model_with(name, &models::demo("sentiment").upload()).await;
    let body = json!({"text": "x".repeat(10_001)});
    let words = ["#/text", "at most 10000 characters", "10001"];
    client.predict(name, &body).await.expect_problem(422, "unprocessable", &words);
    let answer = client.predict(name, &json!({"text": 7})).await;
    answer.expect_problem(422, "unprocessable", &["#/text", "a text", "a number"]);
    client.predict(name, &json!({"text": "x".repeat(10_000)})).await.expect_status(200);
    serves_on(&client).await;
}

async fn what_is_not_there_is_404(topology: Topology) {
    let (_, client) = engine(topology).await;
    let answer = client.predict("no-such", &json!({"features": [1]})).await;
    answer.expect_problem(404, "not_found", &["no-such"]);
    let problem = |answer: Answer, word: &str| answer.expect_problem(404, "not_found", &[word]);
    problem(client.get("/api/v1/models/no-such").await, "no-such");
    problem(client.get(&format!("/api/v1/models/{IRIS}/versions/99")).await, "99");
    problem(client.get("/api/v1/nothing").await, "/docs");
    let id = "01990000-0000-7000-8000-000000000000";
    problem(client.prediction(id).await, id);
    let answer = client.get("/api/v1/predictions/abc").await;
    assert!([400, 422].contains(&answer.status), "{}", answer.text());
    serves_on(&client).await;
}

async fn an_unloaded_version_is_503(topology: Topology) {
    let (_, client) = engine(topology).await;
    let name = "bad-input-unloaded";
    client.create_model_with(name, &models::demo("iris").upload()).await;
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    client.predict(name, &body).await.expect_status(200);
    let repository = format!("/v2/repository/models/{name}");
    client.post(&format!("{repository}/unload"), &json!({})).await.expect_status(200);
    let answer = client.predict(name, &body).await;
    answer.expect_problem(503, "unavailable", &["unloaded", "load"]);
    let ready = format!("/v2/models/{name}/ready");
    client.get(&ready).await.expect_status(503);
    let index = client.post("/v2/repository/index", &json!({})).await.expect_status(200).json();
    let entry = index.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap();
    assert_eq!(entry["state"], "UNAVAILABLE", "{entry}");
    client.post(&format!("{repository}/load"), &json!({})).await.expect_status(200);
    client.get(&ready).await.expect_status(200);
    client.predict(name, &body).await.expect_status(200);
}

async fn the_wrong_role_is_403(topology: Topology) {
    let (engine, admin) = engine(topology).await;
    let analyst = engine.sign_in_as(Role::Analyst).await;
    let answer = analyst.predict(IRIS, &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await;
    answer.expect_problem(403, "forbidden", &["analyst", "client"]);
    let client = engine.sign_in_as(Role::Client).await;
    let answer = client.put_route(IRIS, &[(1, 1.0)]).await;
    answer.expect_problem(403, "forbidden", &["client", "engineer"]);
    // A prediction is for analysts and for the client that asked.
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let id = admin.predict(IRIS, &body).await.json()["prediction_id"].clone();
    let id = id.as_str().unwrap();
    client.prediction(id).await.expect_problem(404, "not_found", &[id]);
    analyst.prediction(id).await.expect_status(200);
    let answer = engine.anonymous().predict(IRIS, &body).await;
    answer.expect_problem(401, "unauthenticated", &["missing bearer token"]);
}

async fn bad_tensors_are_refused_as_the_protocol_has_it(topology: Topology) {
    let (_, client) = engine(topology).await;
    let input = |name: &str, shape: Value, datatype: &str, data: Value| json!({"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]});
    let four = json!([5.1, 3.5, 1.4, 0.2]);
    let cases: Vec<(Value, &[&str])> = vec![
        (input("input", json!([1, 4]), "FP32", json!([1, 2, 3])), &["4", "3"]),
        (input("input", json!([1, 3]), "FP32", json!([1, 2, 3])), &["input", "4"]),
        (input("input", json!([1, 4]), "INT64", json!([1, 2, 3, 4])), &["INT64", "FP32"]),
        (input("x", json!([1, 4]), "FP32", four.clone()), &["x", "input"]),
        (input("input", json!([1, 4]), "FP32", json!([1, "a", 3, 4])), &["\"a\"", "FP32"]),
        (input("input", json!([-1, 4]), "FP32", four.clone()), &["shape"]),
        (json!({"inputs": []}), &["input"]),
        (json!({"input": []}), &["input"]),
    ];
    for (body, words) in cases {
        let answer = client.infer(IRIS, &body).await.expect_status(400).clone();
        assert_eq!(answer.header("content-type"), "application/json", "{}", answer.text());
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        for word in words {
            assert!(told.contains(word), "`{word}` is not in `{told}` for {body}");
        }
        let accept = |request: testkit::RequestBuilder| {
            request.header("accept", "application/problem+json").json(&body)
        };
        let path = format!("/v2/models/{IRIS}/infer");
        let answer = client.send(accept(client.request(Method::POST, &path))).await;
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let good = input("input", json!([1, 4]), "FP32", four);
    let unknown = client.infer("no-such", &good).await.expect_status(404).json();
    assert!(unknown["error"].as_str().unwrap().contains("no-such"), "{unknown}");
    let header = json!({"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32",
        "parameters": {"binary_data_size": 16}}]});
    for cut in [0, 15] {
        let answer = client.infer_binary(IRIS, &header, &vec![0; cut]).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let nan: Vec<u8> = [f32::NAN; 4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let answer = client.infer_binary(IRIS, &header, &nan).await;
    assert!(answer.status < 500, "{}", answer.text());
    serves_on(&client).await;
}
