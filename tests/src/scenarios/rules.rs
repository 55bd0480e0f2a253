//! What a policy allows into a model and out of it.

use domain::Role;
use serde_json::{Value, json};
use testkit::{Client, Topology, Upload, models, scenarios, shared};

use super::policy::{path, put};

scenarios!(
    output_is_masked_flagged_or_withheld,
    input_is_refused_with_its_place,
    rules_that_would_do_nothing_are_refused,
);

const CARD: &str = "pay 4111 1111 1111 1111";
const MAIL: &str = "ask eve@example.org";

/// A model whose answers hold personal data.
async fn telltale(client: &Client, name: &str) {
    let upload = models::committed("iris-logreg").upload();
    let mut manifest = upload.manifest.clone().unwrap();
    manifest["labels"] = json!([CARD, MAIL, "virginica"]);
    let labels = json!([CARD, MAIL, "virginica"]).to_string();
    let files = upload.files.into_iter().map(|(file, bytes)| match file.as_str() {
        "labels.json" => (file, labels.clone().into()),
        _ => (file, bytes),
    });
    let upload = Upload { manifest: Some(manifest), files: files.collect() };
    client.create_model_with(name, &upload).await;
}

fn ask() -> Value {
    json!({"features": [5.1, 3.5, 1.4, 0.2]})
}

async fn output_is_masked_flagged_or_withheld(topology: Topology) {
    let name = "rules-output";
    let engine = shared(topology).await;
    let client = engine.admin().await;
    telltale(&client, name).await;
    let plain = client.predict(name, &ask()).await.expect_status(200).json();
    assert_eq!((&plain["label"], plain.get("flagged")), (&json!(CARD), None), "{plain}");

    put(&client, name, &json!({"output": {"card": "mask", "email": "mask"}})).await;
    let masked = client.predict(name, &ask()).await.expect_status(200).json();
    assert_eq!(masked["label"], "pay [card]", "{masked}");
    assert_eq!(masked["confidence"], plain["confidence"]);
    let classes = masked["probabilities"].as_object().unwrap();
    let names: Vec<_> = classes.keys().cloned().collect();
    assert_eq!(names, ["ask [email]", "pay [card]", "virginica"], "{masked}");
    let record = client.prediction(masked["prediction_id"].as_str().unwrap()).await.json();
    assert_eq!((&record["label"], &record["output"]["json"]), (&json!("pay [card]"), &masked));
    assert!(!record.to_string().contains("4111"), "{record}");

    put(&client, name, &json!({"output": {"card": "flag"}})).await;
    let flagged = client.predict(name, &ask()).await.expect_status(200).json();
    assert_eq!((&flagged["label"], &flagged["flagged"]), (&json!(CARD), &json!(["card"])));

    put(&client, name, &json!({"output": {"card": "block"}, "cache": {"ttl_s": 60}})).await;
    for _ in 0..2 {
        let withheld = client.predict(name, &ask()).await;
        withheld.expect_problem(422, "unprocessable", &["withheld", "`card`"]);
        assert!(!withheld.text().contains("4111"), "{}", withheld.text());
    }
    let own = json!({"name": "verb", "pattern": "^(pay|ask)", "action": "mask"});
    put(&client, name, &json!({"output": {"patterns": [own]}})).await;
    let masked = client.predict(name, &ask()).await.expect_status(200).json();
    assert_eq!(masked["label"], "[verb] 4111 1111 1111 1111");

    // Over V2, too: in the texts of the classification extension.
    let meta = client.get(&format!("/v2/models/{name}")).await.json();
    let input = json!({"name": meta["inputs"][0]["name"], "shape": [1, 4], "datatype": "FP32",
        "data": [5.1, 3.5, 1.4, 0.2]});
    let detail = client.get(&format!("/api/v1/models/{name}")).await.json();
    let outputs = detail["versions"][0]["manifest"]["outputs"].as_array().unwrap().clone();
    let scores = outputs.iter().find(|one| one["role"] == "probabilities").unwrap();
    let wish = json!({"name": scores["name"], "parameters": {"classification": 3}});
    let body = json!({"inputs": [input], "outputs": [wish]});
    for (action, told, flags) in
        [("mask", "pay [card]", Value::Null), ("flag", CARD, json!(["card"]))]
    {
        put(&client, name, &json!({"output": {"card": action}})).await;
        let answer = client.infer(name, &body).await.expect_status(200).json();
        let first = answer["outputs"][0]["data"][0].as_str().unwrap();
        assert!(first.ends_with(told), "{answer}");
        assert_eq!(answer["parameters"]["flagged"], flags, "{answer}");
        let id = answer["parameters"]["prediction_id"].as_str().unwrap();
        let record = client.prediction(id).await.expect_status(200).json();
        assert_eq!(record["label"], told, "{record}");
    }
    if topology == Topology::Embedded {
        let metrics = client.get("/metrics").await.text();
        let line =
            format!("output_filter_total{{action=\"block\",model=\"{name}\",rule=\"card\"}} 2");
        assert!(metrics.contains(&line), "{line} is missing");
    }
}

async fn input_is_refused_with_its_place(topology: Topology) {
    let engine = shared(topology).await;
    let admin = engine.admin().await;
    let client = engine.sign_in_as(Role::Client).await;
    let name = "rules-text";
    admin.create_model_with(name, &models::demo("sentiment").upload()).await;
    let text = json!({"text": "a lovely <b>film</b>"});
    client.predict(name, &text).await.expect_status(200);
    let markup = json!({"name": "markup", "pattern": "</?[a-z]+>"});
    let input = json!({"max_chars": 30, "max_rows": 2, "forbidden": [markup]});
    put(&admin, name, &json!({"input": input})).await;
    let refused = async |body: Value, words: &[&str]| {
        client.predict(name, &body).await.expect_problem(422, "unprocessable", words);
    };
    refused(text, &["#/text", "`markup`"]).await;
    refused(json!({"text": "é".repeat(31)}), &["#/text", "at most 30 characters", "31"]).await;
    client.predict(name, &json!({"text": "é".repeat(30)})).await.expect_status(200);
    refused(json!({"texts": ["good", "<i>bad"]}), &["#/texts/1", "`markup`"]).await;
    refused(json!({"texts": ["a", "b", "c"]}), &["#/texts", "at most 2 rows", "3"]).await;
    let csv = "text\ngood\n<i>bad\n";
    let predict = format!("/api/v1/models/{name}/predict");
    let answer = client.post_bytes(&predict, "text/csv", csv).await;
    answer.expect_problem(422, "unprocessable", &["#/instances/1/text"]);

    let name = "rules-image";
    admin.create_model_with(name, &models::demo("imagenet").upload()).await;
    let picture = models::demo("imagenet");
    let bytes = picture.file(picture.golden["samples"][0]["image"].as_str().unwrap());
    let predict = format!("/api/v1/models/{name}/predict");
    let send = async || client.post_bytes(&predict, "image/jpeg", bytes.clone()).await;
    send().await.expect_status(200);
    put(&admin, name, &json!({"input": {"image": {"max_pixels": 100}}})).await;
    send().await.expect_problem(422, "unprocessable", &["at most 100 pixels"]);
    put(&admin, name, &json!({"input": {"image": {"formats": ["webp"]}}})).await;
    send().await.expect_problem(422, "unprocessable", &["must be WebP"]);
}

async fn rules_that_would_do_nothing_are_refused(topology: Topology) {
    let name = "rules-refused";
    let client = super::routing::two_versions(shared(topology).await, name).await;
    let card = |pattern: &str| json!({"name": "x", "pattern": pattern, "action": "mask"});
    for (policy, pointer) in [
        (json!({"input": {"image": {"max_pixels": 5}}}), "#/input/image"),
        (json!({"input": {"max_chars": 5}}), "#/input/max_chars"),
        (json!({"input": {"max_rows": 0}}), "#/input/max_rows"),
        (json!({"output": {"patterns": [card("(")]}}), "#/output/patterns/0/pattern"),
        (json!({"output": {"patterns": [card("")]}}), "#/output/patterns/0/pattern"),
        (json!({"output": {"patterns": vec![card("a"); 40]}}), "#/output/patterns"),
    ] {
        let answer = client.put(&path(name), &policy).await;
        answer.expect_problem(422, "unprocessable", &[pointer]);
    }
    put(&client, name, &json!({"input": {"max_rows": 1}})).await;
    let two = json!({"instances": [[5.1, 3.5, 1.4, 0.2], [5.1, 3.5, 1.4, 0.2]]});
    client.predict(name, &two).await.expect_problem(422, "unprocessable", &["#/instances"]);
}
