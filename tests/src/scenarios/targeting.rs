//! Rules, pinned versions, units that are remembered, and why.

use std::collections::BTreeSet;

use domain::Role;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use testkit::server::Server;
use testkit::{Answer, Client, Engine, Method, Setup, Topology, at_length, scenarios, shared};

use super::routing::{two_versions, versions};

scenarios!(
    rules_see_context_headers_and_units,
    an_explanation_is_what_is_served,
    a_version_is_pinned_by_its_header,
    three_routers_split_alike_also_after_a_restart,
    who_names_no_unit_is_remembered_by_a_cookie,
    the_examples_of_the_page_work,
);

const FLOWER: [f64; 4] = [5.1, 3.5, 1.4, 0.2];

fn version_of(answer: &Answer) -> String {
    answer.expect_status(200).json()["model_version"].as_str().unwrap().to_owned()
}

async fn with_header(client: &Client, model: &str, header: (&str, &str), body: &Value) -> Answer {
    let path = format!("/api/v1/models/{model}/predict");
    let request = client.request(Method::POST, &path).header(header.0, header.1).json(body);
    client.send(request).await
}

async fn rules_see_context_headers_and_units(topology: Topology) {
    let engine = shared(topology).await;
    let name = "targeting-rules";
    let client = two_versions(engine, name).await;
    let to_second = json!([{"version": "2", "weight": 1}]);
    let rule = |name: &str, when: Value| json!({"name": name, "when": when, "arms": to_second});
    let route = json!({
        "arms": [{"version": "1", "weight": 1}],
        "audiences": {"staff": {"units": ["anna"], "when": [{"field": "context.team", "exists": true}]}},
        "rules": [
            rule("staff", json!([{"audience": "staff"}])),
            rule("adults", json!([{"field": "context.age", "range": {"min": 18, "max": 30}}, {"field": "context.beta", "equals": true}])),
            rule("apps", json!([{"field": "header.x-app-version", "range": {"min": 12}}])),
            rule("analysts", json!([{"field": "role", "equals": "engineer"}])),
        ],
    });
    let path = format!("/api/v1/models/{name}/route");
    client.put(&path, &route).await.expect_status(200);
    let ask = async |unit: &str, context: Value| {
        let body = json!({"features": FLOWER, "unit": unit, "context": context});
        let answer = client.predict(name, &body).await.expect_status(200).json();
        let record = client.prediction(answer["prediction_id"].as_str().unwrap()).await.json();
        assert_eq!(record["version"], answer["model_version"]);
        (answer["model_version"].clone(), record["decision"]["rule"].clone())
    };
    let second = |rule: &str| (json!("2"), json!(rule));
    let first = (json!("1"), Value::Null);
    assert_eq!(ask("anna", json!({})).await, second("staff"));
    assert_eq!(ask("otto", json!({"team": "x"})).await, second("staff"));
    assert_eq!(ask("otto", json!({"age": 18, "beta": true})).await, second("adults"));
    assert_eq!(ask("otto", json!({"age": 30, "beta": true})).await, first);
    assert_eq!(ask("otto", json!({"age": "18", "beta": true})).await, first);
    let body = json!({"features": FLOWER});
    let by_header = async |version: &str| {
        version_of(&with_header(&client, name, ("X-App-Version", version), &body).await)
    };
    assert_eq!(by_header("12").await, "2");
    assert_eq!(by_header("11.9").await, "1");
    // The V2 protocol has headers alone.
    let meta = client.get(&format!("/v2/models/{name}")).await.json();
    let tensor = json!({"name": meta["inputs"][0]["name"], "shape": [1, 4], "datatype": "FP32", "data": FLOWER});
    let request = client
        .request(Method::POST, &format!("/v2/models/{name}/infer"))
        .header("x-app-version", "13")
        .json(&json!({"inputs": [tensor]}));
    assert_eq!(version_of(&client.send(request).await), "2");
    let engineer = engine.sign_in_as(Role::Engineer).await;
    assert_eq!(version_of(&engineer.predict(name, &body).await), "2");

    let odd = json!({"features": FLOWER, "context": {"a": [1], "b": null}});
    let words = ["#/context/a", "#/context/b"];
    client.predict(name, &odd).await.expect_problem(422, "unprocessable", &words);
    let twice = r#"{"features": [5.1, 3.5, 1.4, 0.2], "unit": "a", "unit": "b"}"#;
    let path = format!("/api/v1/models/{name}/predict");
    let answer = client.post_bytes(&path, "application/json", twice).await;
    answer.expect_problem(422, "unprocessable", &["#/unit", "twice"]);
}

async fn an_explanation_is_what_is_served(topology: Topology) {
    let engine = shared(topology).await;
    let name = "targeting-why";
    let client = two_versions(engine, name).await;
    client.put_route(name, &[(1, 1.0), (2, 1.0)]).await.expect_status(200);
    let path = format!("/api/v1/models/{name}/route/explain");
    let analyst = engine.sign_in_as(Role::Analyst).await;
    for (unit, served) in versions(&client, name, 10).await {
        let told = analyst.post(&path, &json!({"unit": unit})).await.expect_status(200).json();
        assert_eq!(told["version"], served.as_str(), "{told}");
        assert!(told["bucket"].as_u64().unwrap() < 1_000_000);
        assert!(told["steps"].as_array().unwrap().len() >= 2, "{told}");
    }
    let odd = analyst.post(&path, &json!({"user": "x"})).await;
    odd.expect_problem(422, "unprocessable", &["user"]);
}

async fn a_version_is_pinned_by_its_header(topology: Topology) {
    let engine = shared(topology).await;
    let name = "targeting-pin";
    let admin = two_versions(engine, name).await;
    admin.put_route(name, &[(1, 1.0)]).await.expect_status(200);
    let body = json!({"features": FLOWER, "unit": "anna"});
    let pinned = with_header(&admin, name, ("X-Model-Version", "2"), &body).await;
    assert_eq!(version_of(&pinned), "2");
    let record = admin.prediction(pinned.json()["prediction_id"].as_str().unwrap()).await.json();
    assert_eq!(record["decision"]["reason"], "pinned");
    let odd = with_header(&admin, name, ("X-Model-Version", "latest"), &body).await;
    odd.expect_problem(400, "bad_request", &["latest"]);
    let none = with_header(&admin, name, ("X-Model-Version", "9"), &body).await;
    none.expect_problem(404, "not_found", &["`9`"]);
    let policy = json!({"version_shown_to": ["admin", "engineer", "analyst"]});
    super::policy::put(&admin, name, &policy).await;
    let client = engine.sign_in_as(Role::Client).await;
    let refused = with_header(&client, name, ("X-Model-Version", "2"), &body).await;
    refused.expect_problem(403, "forbidden", &["does not show versions"]);
    client.predict(name, &body).await.expect_status(200);
    let engineer = engine.sign_in_as(Role::Engineer).await;
    let answer = with_header(&engineer, name, ("X-Model-Version", "2"), &body).await;
    assert_eq!(version_of(&answer), "2");
}

async fn three_routers_split_alike_also_after_a_restart(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.routers = 3;
    setup.set("ENGINE__TELEMETRY__ACCESS_LOG", "false");
    let mut engine = Engine::start(setup).await;
    let client = two_versions(&engine, "iris").await;
    client.put_route("iris", &[(1, 90.0), (2, 10.0)]).await.expect_status(200);
    let (requests, units) = if at_length() { (100_000, 50_000) } else { (3000, 1000) };
    // Several requests of each unit, whichever routers they come to.
    let all = async |client: &Client| {
        let ask = |number: usize| async move {
            let body = json!({"features": FLOWER, "unit": format!("user-{}", number % units)});
            (number % units, version_of(&client.predict("iris", &body).await))
        };
        let answers: Vec<_> =
            stream::iter(0..requests).map(ask).buffer_unordered(16).collect().await;
        let mut found = vec![BTreeSet::new(); units];
        for (unit, version) in answers {
            found[unit].insert(version);
        }
        found
    };
    let before = all(&client).await;
    assert!(before.iter().all(|versions| versions.len() == 1));
    for router in engine.servers().iter().filter(|server| server.name.starts_with("router")) {
        let answered = answered_by(router).await;
        assert!(answered > requests as f64 / 10.0, "{} answered {answered}", router.name);
    }
    let second = before.iter().filter(|versions| versions.contains("2")).count();
    let (first_due, second_due) = (units as f64 * 0.9, units as f64 * 0.1);
    let excess = second as f64 - second_due;
    let chi_square = excess.powi(2) / second_due + excess.powi(2) / first_due;
    eprintln!(
        "{topology:?}: {requests} requests, {second} of {units} units to version 2: \
         chi-square {chi_square:.2}"
    );
    // The salt is new in each run: one in ten million runs is above this.
    assert!(chi_square < 28.4);
    engine.restart().await;
    assert_eq!(all(&engine.admin().await).await, before, "after a restart");
}

/// The requests that versions answered through this router.
async fn answered_by(router: &Server) -> f64 {
    let text = reqwest::get(format!("{}/metrics", router.url)).await.unwrap().text().await.unwrap();
    let counts = text.lines().filter(|line| line.starts_with("model_requests_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

async fn who_names_no_unit_is_remembered_by_a_cookie(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__GATEWAY__UNIT_COOKIE__NAME", "engine_unit");
    setup.routers = 1;
    setup.replicas = 1;
    let engine = Engine::start(setup).await;
    let client = two_versions(&engine, "iris").await;
    client.put_route("iris", &[(1, 1.0), (2, 1.0)]).await.expect_status(200);
    let body = json!({"features": FLOWER});
    let mut units = BTreeSet::new();
    for _ in 0..4 {
        let first = client.predict("iris", &body).await;
        let unit = first.expect_status(200).header("x-unit-id").to_owned();
        let cookie = first.header("set-cookie").to_owned();
        assert!(cookie.starts_with(&format!("engine_unit={unit}; Max-Age=31536000; Path=/; ")));
        let pair = format!("engine_unit={unit}");
        for _ in 0..3 {
            let again = with_header(&client, "iris", ("cookie", &pair), &body).await;
            assert_eq!(version_of(&again), version_of(&first));
            assert_eq!(again.header("x-unit-id"), unit);
        }
        let record = client.prediction(first.json()["prediction_id"].as_str().unwrap()).await;
        let decision = record.json()["decision"].clone();
        assert_eq!((&decision["unit"], &decision["reason"]), (&json!(unit), &json!("unit")));
        units.insert(unit);
    }
    assert_eq!(units.len(), 4, "each a unit of its own");
    let named = client.predict("iris", &json!({"features": FLOWER, "unit": "anna"})).await;
    assert_eq!((named.header("x-unit-id"), named.header("set-cookie")), ("", ""));
}

/// The bodies of `docs/routing.md`, as they stand there.
async fn the_examples_of_the_page_work(topology: Topology) {
    let client = two_versions(shared(topology).await, "targeting-page").await;
    let page = include_str!("../../../docs/routing.md");
    let bodies: Vec<(&str, Value)> = page
        .split("curl -X ")
        .skip(1)
        .map(|example| {
            let (command, rest) = example.split_once(" -d '").unwrap();
            let body = rest.split_once("'\n").unwrap().0;
            (command, serde_json::from_str(body).unwrap())
        })
        .collect();
    assert_eq!(bodies.len(), 3);
    let mut answers = Vec::new();
    for (command, body) in bodies {
        let mut words = command.split(' ');
        let method: Method = words.next().unwrap().parse().unwrap();
        let path = words.next().unwrap().strip_prefix("$ENGINE_URL").unwrap();
        let path = path.replace("/iris/", "/targeting-page/");
        let answer = client.send(client.request(method, &path).json(&body)).await;
        answers.push(answer.expect_status(200).json());
    }
    assert_eq!(answers[1]["model_version"], "2", "anna is staff");
    let steps: Vec<&str> =
        answers[2]["steps"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
    for step in steps.iter().filter(|step| !step.contains("bucket is")) {
        assert!(page.contains(step), "the page does not have: {step}");
    }
}
