//! What is made to do harm does none.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Engine, Method, Setup, Topology, Upload, models, scenarios, shared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

scenarios!(
    a_model_that_never_ends_is_422_and_stops_nobody,
    a_picture_as_narrow_as_a_thread_is_422,
    a_body_that_never_comes_is_not_waited_for,
    long_words_are_not_sent_back,
    a_password_is_not_sent_back,
    another_verb_is_405,
    a_deadline_that_is_no_number_is_400,
);

async fn a_model_that_never_ends_is_422_and_stops_nobody(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__INFERENCE__RUN_LIMIT_S", "1");
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    client.create_model("endless").await.expect_status(201);
    let graph = models::bytes("endless/model.onnx");
    let upload = Upload { manifest: None, files: vec![("model.onnx".to_owned(), graph)] };
    let began = Instant::now();
    let answer = client.upload_version("endless", &upload).await;
    answer.expect_problem(422, "unprocessable", &["1 s", "run_limit_s"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
    client.predict("iris", &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await.expect_status(200);
}

async fn a_picture_as_narrow_as_a_thread_is_422(topology: Topology) {
    let client = shared(topology).await.admin().await;
    client.create_model_with("hostile-picture", &models::demo("imagenet").upload()).await;
    for (width, height) in [(100_000, 1), (1, 20_000)] {
        let mut png = std::io::Cursor::new(Vec::new());
        let picture = image::RgbImage::new(width, height);
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let path = "/api/v1/models/hostile-picture/predict";
        let answer = client.post_bytes(path, "image/png", png.into_inner()).await;
        answer.expect_problem(422, "unprocessable", &["too narrow"]);
    }
}

async fn a_body_that_never_comes_is_not_waited_for(topology: Topology) {
    let engine = shared(topology).await;
    // nginx keeps a body back until it is whole, and has a time limit of its own.
    let address = engine.server("gateway").url.trim_start_matches("http://").to_owned();
    let token = engine.admin().await.token().to_owned();
    for (path, token) in [
        ("/api/v1/auth/token", None),
        ("/api/v1/models/any/predict", Some(&token)),
        ("/v2/models/any/infer", Some(&token)),
        ("/api/v1/users", Some(&token)),
    ] {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\n{}Content-Type: application/json\r\n\
             Content-Length: 22\r\nX-Deadline-Ms: 300\r\n\r\n{{",
            token.unwrap_or_default()
        );
        let mut connection = TcpStream::connect(&address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        let read = connection.read_exact(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect(path).unwrap();
        assert_eq!(answer, b"HTTP/1.1 504", "{path}");
    }
}

async fn long_words_are_not_sent_back(topology: Topology) {
    let client = shared(topology).await.admin().await;
    client.create_model_with("hostile-words", &models::committed("iris-logreg").upload()).await;
    let long = "x".repeat(1 << 20);
    let features: serde_json::Map<_, _> =
        (0..5000).map(|number| (format!("f-{number}"), json!(1))).collect();
    for body in [
        json!({long.clone(): 1}),
        json!({"features": {long.clone(): 1}}),
        json!({"features": [long.clone(), 1, 1, 1]}),
        json!({"features": features}),
    ] {
        let answer = client.predict("hostile-words", &body).await;
        answer.expect_problem(422, "unprocessable", &[]);
        assert!(answer.body.len() < 300_000, "{} bytes", answer.body.len());
    }
    let tensor = json!({"inputs": [{"name": long, "shape": [1], "datatype": "FP32", "data": [1]}]});
    let answer = client.infer("hostile-words", &tensor).await;
    assert!(answer.expect_status(400).body.len() < 300_000, "{} bytes", answer.body.len());
}

async fn a_password_is_not_sent_back(topology: Topology) {
    let client = shared(topology).await.admin().await;
    for path in ["/api/v1/auth/token", "/api/v1/users"] {
        for body in [json!({"username": "ada", "password": 99_887_766}), json!("hunter-two")] {
            let answer = client.post(path, &body).await;
            answer.expect_problem(422, "unprocessable", &["expected"]);
            let told = answer.text();
            assert!(!told.contains("99887766") && !told.contains("hunter-two"), "{told}");
        }
    }
}

async fn another_verb_is_405(topology: Topology) {
    let client = shared(topology).await.admin().await;
    for (verb, path, allowed) in [
        (Method::PUT, "/api/v1/models", "GET, POST, HEAD"),
        (Method::GET, "/api/v1/models/any/predict", "POST"),
        (Method::DELETE, "/health", "GET, HEAD"),
    ] {
        let answer = client.send(client.request(verb.clone(), path)).await;
        answer.expect_problem(405, "method_not_allowed", &[verb.as_str(), allowed]);
        assert_eq!(answer.header("allow"), allowed);
    }
    let answer = client.send(client.request(Method::HEAD, "/health")).await;
    assert!(answer.expect_status(200).body.is_empty());
}

async fn a_deadline_that_is_no_number_is_400(topology: Topology) {
    let client = shared(topology).await.admin().await;
    for deadline in ["soon", "-1", "0", "1.5"] {
        let request = client.request(Method::GET, "/api/v1/models");
        let answer = client.send(request.header("X-Deadline-Ms", deadline)).await;
        answer.expect_problem(400, "bad_request", &["X-Deadline-Ms"]);
    }
}
