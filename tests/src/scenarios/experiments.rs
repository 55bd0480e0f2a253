//! Experiments, from the plan to the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Role;
use serde_json::{Value, json};
use testkit::{Client, Method, Topology, scenarios, shared, until};

use super::credentials::run;
use super::routing::two_versions;

scenarios!(
    the_better_version_is_found_and_shipped,
    an_experiment_is_paused_resumed_and_broken_off,
    lost_units_make_a_report_invalid,
    a_guardrail_of_outcomes_stops_what_sells_more,
    a_shadow_of_the_control_takes_variance_away,
    experiments_of_a_layer_share_no_unit,
    what_is_wrong_with_a_plan_is_told_at_once,
    the_command_line_runs_an_experiment,
);

const AT: &str = "/api/v1/experiments";

fn plan(model: &str) -> Value {
    json!({"name": format!("{model}: which one?"), "model": model,
        "hypothesis": "the forest is right more often than the regression",
        "arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 1}], "control": "1",
        "primary": {"name": "bought", "of": {"measure": "named", "metric": "bought"}},
        "guardrails": [{"metric": {"name": "errors", "of": {"measure": "error"}, "better": "lower"},
            "margin": 0.05}],
        "minimum_effect": 0.05, "minimum_units": 50, "minimum_runtime_s": 0})
}

/// Plans an experiment and starts it; its id.
async fn started(client: &Client, plan: &Value) -> String {
    let draft = client.post(AT, plan).await.expect_status(201).json();
    let id = draft["id"].as_str().unwrap().to_owned();
    act(client, &id, "start", &json!({})).await;
    id
}

async fn act(client: &Client, id: &str, what: &str, body: &Value) -> Value {
    client.post(&format!("{AT}/{id}/{what}"), body).await.expect_status(200).json()
}

/// Asks for each unit; which version answered, and the prediction's id.
async fn ask(client: &Client, model: &str, units: usize) -> Vec<(String, String)> {
    let mut answers = Vec::new();
    for unit in 0..units {
        let body = json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": format!("user-{unit}")});
        let answer = client.predict(model, &body).await.expect_status(200).json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        answers.push((text("model_version"), text("prediction_id")));
    }
    answers
}

/// Says of each prediction what came of it: of version 1's every fifth unit bought, of version 2's three of five.
async fn tell(client: &Client, answers: &[(String, String)]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut items = Vec::new();
    for (version, id) in answers {
        let count = counts.entry(version).or_default();
        let bought = if version == "2" { *count % 5 < 3 } else { *count % 5 < 1 };
        *count += 1;
        let value = u8::from(bought);
        items.push(json!({"prediction_id": id, "metric": "bought", "value": value}));
    }
    for some in items.chunks(100) {
        client.post("/api/v1/feedback", &json!({"items": some})).await.expect_status(202);
    }
}

async fn report(client: &Client, id: &str) -> Value {
    client.get(&format!("{AT}/{id}/report")).await.expect_status(200).json()
}

async fn the_better_version_is_found_and_shipped(topology: Topology) {
    let engine = shared(topology).await;
    let client = two_versions(engine, "exp-ship").await;
    let id = started(&client, &plan("exp-ship")).await;
    let answers = ask(&client, "exp-ship", 400).await;
    let record = client.prediction(&answers[0].1).await.expect_status(200).json();
    assert_eq!(record["decision"]["plan"], id.as_str(), "{record}");
    assert_eq!(
        (&record["decision"]["epoch"], &record["decision"]["propensity"]),
        (&json!(1), &json!(0.5))
    );
    tell(&client, &answers).await;
    let said = report(&client, &id).await;
    let units: Vec<u64> =
        said["arms"].as_array().unwrap().iter().map(|arm| arm["units"].as_u64().unwrap()).collect();
    for version in ["1", "2"] {
        let served = answers.iter().filter(|(answered, _)| answered == version).count() as u64;
        assert_eq!(units[usize::from(version == "2")], served, "{said}");
    }
    assert_eq!(said["recommendation"]["action"], "ship", "{said}");
    assert_eq!(said["recommendation"]["version"], "2", "{said}");
    let reason = said["recommendation"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("Version 2 is better and no guardrail is lost: `bought` differs by 0."),
        "{reason}"
    );
    let comparison = &said["metrics"][0]["comparisons"][0];
    // By how many units each version got, the last of its fives may not be whole.
    assert!((comparison["difference"].as_f64().unwrap() - 0.4).abs() < 0.02, "{comparison}");
    assert!(comparison["lower"].as_f64().unwrap() > 0.0, "{comparison}");
    assert!(comparison["p_corrected"].as_f64().unwrap() < 0.05, "{comparison}");
    assert_eq!(said["sample_ratio"]["mismatch"], false, "{said}");
    // An analyst reads, and writes nothing.
    let analyst = engine.sign_in_as(Role::Analyst).await;
    let page = analyst.get(&format!("{AT}/{id}/report?format=html")).await;
    page.expect_status(200);
    assert!(page.text().contains("<svg") && page.text().contains("Version 2 is better"));
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!page.text().contains("<script"));
    let picture = analyst.get(&format!("{AT}/{id}/report?format=svg")).await;
    picture.expect_status(200);
    assert_eq!(picture.header("content-type"), "image/svg+xml");
    analyst.get(&format!("{AT}/{id}/report?format=pdf")).await.expect_problem(
        422,
        "unprocessable",
        &["`pdf`"],
    );
    let what_if = json!({"policy": [{"version": "2", "weight": 1}]});
    let answer =
        analyst.post(&format!("{AT}/{id}/what-if"), &what_if).await.expect_status(200).json();
    assert!((answer["snips"]["value"].as_f64().unwrap() - 0.6).abs() < 0.02, "{answer}");
    let verdict = json!({"version": "2", "reason": "it sells more"});
    let path = format!("{AT}/{id}/promote");
    analyst.post(&path, &verdict).await.expect_problem(403, "forbidden", &[]);
    let (one, two) = tokio::join!(client.post(&path, &verdict), client.post(&path, &verdict));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "two at once: {} {}", one.text(), two.text());
    let after = ask(&client, "exp-ship", 20).await;
    assert!(after.iter().all(|(version, _)| version == "2"), "everybody gets it: {after:?}");
    let now = client.get(&format!("{AT}/{id}")).await.expect_status(200).json();
    assert_eq!((&now["state"], &now["verdict"]["version"]), (&json!("decided"), &json!("2")));
    let said = report(&client, &id).await;
    assert_eq!((&said["verdict"], &said["ended_at"]), (&now["verdict"], &now["ended_at"]));
    let page = analyst.get(&format!("{AT}/{id}/report?format=html")).await.text();
    assert!(page.contains("<b>Decided: version 2 answers everybody</b>"), "{page}");
    assert!(!page.contains("advice ship") && page.contains("What the evidence said"), "{page}");
    let audit = client.get("/api/v1/audit?target=model:exp-ship&action=experiment").await.json();
    let done: Vec<_> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    for action in ["experiment.create", "experiment.start", "experiment.promote"] {
        assert!(done.contains(&action), "{done:?}");
    }
}

async fn an_experiment_is_paused_resumed_and_broken_off(topology: Topology) {
    let client = two_versions(shared(topology).await, "exp-life").await;
    let id = started(&client, &plan("exp-life")).await;
    let first = ask(&client, "exp-life", 40).await;
    let versions = |answers: &[(String, String)]| -> Vec<String> {
        answers.iter().map(|(version, _)| version.clone()).collect()
    };
    assert!(versions(&first).contains(&"2".to_owned()));
    act(&client, &id, "pause", &json!({})).await;
    let paused = ask(&client, "exp-life", 40).await;
    assert!(paused.iter().all(|(version, _)| version == "1"), "the route answers: {paused:?}");
    act(&client, &id, "resume", &json!({})).await;
    assert_eq!(versions(&ask(&client, "exp-life", 40).await), versions(&first));
    let weights = json!({"reason": "a larger share", "arms": [{"version": "1", "weight": 1},
        {"version": "2", "weight": 3}]});
    let path = format!("{AT}/{id}/weights");
    let weighed = client.put(&path, &weights).await.expect_status(200).json();
    assert_eq!(weighed["epochs"].as_array().unwrap().len(), 2, "{weighed}");
    let more = versions(&ask(&client, "exp-life", 40).await);
    let back = more.iter().zip(versions(&first)).filter(|(now, was)| was == "2" && *now != "2");
    assert_eq!(back.count(), 0, "nobody leaves an arm that grows");
    let broken = act(&client, &id, "abort", &json!({"reason": "enough"})).await;
    assert_eq!(
        (&broken["state"], &broken["verdict"]["version"]),
        (&json!("stopped"), &Value::Null)
    );
    let after = ask(&client, "exp-life", 20).await;
    assert!(after.iter().all(|(version, _)| version == "1"), "{after:?}");
    for (what, body) in [("resume", json!({})), ("abort", json!({"reason": "x"}))] {
        let path = format!("{AT}/{id}/{what}");
        client.post(&path, &body).await.expect_problem(409, "conflict", &["`stopped`"]);
    }
}

async fn lost_units_make_a_report_invalid(topology: Topology) {
    let client = two_versions(shared(topology).await, "exp-lost").await;
    let id = started(&client, &plan("exp-lost")).await;
    // A client that loses two of three requests that version 2 would get: `explain` tells which, and logs nothing.
    let mut asked = 0;
    for unit in 0..900 {
        let explained = json!({"unit": format!("u{unit}")});
        let path = "/api/v1/models/exp-lost/route/explain";
        let version = client.post(path, &explained).await.expect_status(200).json();
        if version["version"] == "2" && unit % 3 != 0 {
            continue;
        }
        let body = json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": format!("u{unit}")});
        client.predict("exp-lost", &body).await.expect_status(200);
        asked += 1;
    }
    let said = report(&client, &id).await;
    assert_eq!(said["sample_ratio"]["mismatch"], true, "{said}");
    assert!(said["sample_ratio"]["p_value"].as_f64().unwrap() < 0.001, "{said}");
    assert_eq!(said["recommendation"]["action"], "invalid", "{asked}: {said}");
}

/// What came of the units, said of each by its name.
async fn tell_of_units(client: &Client, model: &str, said: &[(String, &str, f64)]) {
    let item = |(unit, metric, value): &(String, &str, f64)| json!({"model": model, "unit": unit, "metric": metric, "value": value});
    let items: Vec<Value> = said.iter().map(item).collect();
    for some in items.chunks(500) {
        client.post("/api/v1/feedback", &json!({"items": some})).await.expect_status(202);
    }
}

async fn a_guardrail_of_outcomes_stops_what_sells_more(topology: Topology) {
    let client = two_versions(shared(topology).await, "exp-harm").await;
    let mut plan = plan("exp-harm");
    plan["guardrails"] = json!([{"margin": 0.05, "metric": {"name": "complained", "better": "lower",
        "of": {"measure": "named", "metric": "complained"}}}]);
    let id = started(&client, &plan).await;
    let answers = ask(&client, "exp-harm", 400).await;
    let mut said = Vec::new();
    for (number, (version, _)) in answers.iter().enumerate() {
        let (bought, complained) =
            if version == "2" { (number % 5 < 3, number % 5 < 2) } else { (number % 5 < 1, false) };
        let unit = format!("user-{number}");
        said.push((unit.clone(), "bought", f64::from(u8::from(bought))));
        said.push((unit, "complained", f64::from(u8::from(complained))));
    }
    tell_of_units(&client, "exp-harm", &said).await;
    let report = report(&client, &id).await;
    let metrics = report["metrics"].as_array().unwrap();
    let of = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
    assert!(of("bought")["comparisons"][0]["lower"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(of("complained")["comparisons"][0]["guardrail"], "lost", "{report}");
    let advice = &report["recommendation"];
    assert_eq!((&advice["action"], &advice["version"]), (&json!("roll_back"), &json!("2")));
    assert!(advice["reason"].as_str().unwrap().contains("`complained`"), "{advice}");
}

async fn a_shadow_of_the_control_takes_variance_away(topology: Topology) {
    let client = two_versions(shared(topology).await, "exp-cuped").await;
    let mut plan = plan("exp-cuped");
    plan["cuped"] = json!(true);
    plan["guardrails"] = json!([]);
    let id = started(&client, &plan).await;
    let route = json!({"arms": [{"version": "1", "weight": 1}],
        "shadows": [{"version": "1", "share": 1}]});
    client.put("/api/v1/models/exp-cuped/route", &route).await.expect_status(200);
    // Flowers that the control is sure of, and flowers that it is not: the sure ones earn more.
    let mut said = Vec::new();
    for number in 0..400 {
        let unit = format!("user-{number}");
        let sure = number % 2 == 0;
        let features = if sure { [5.1, 3.5, 1.4, 0.2] } else { [6.0, 2.7, 5.0, 1.65] };
        let body = json!({"features": features, "unit": unit});
        let answer = client.predict("exp-cuped", &body).await.expect_status(200).json();
        let effect = if answer["model_version"] == "2" { 1.0 } else { 0.0 };
        let earned = if sure { 10.0 } else { 1.0 } + effect + f64::from(number % 7) / 7.0;
        said.push((unit, "bought", earned));
    }
    tell_of_units(&client, "exp-cuped", &said).await;
    let compared = || async {
        let report = report(&client, &id).await;
        let compared = report["metrics"][0]["comparisons"][0].clone();
        (compared["variance_saved"].as_f64()? > 0.9).then_some(compared)
    };
    let compared =
        until("the shadow's answers take variance away", Duration::from_secs(30), compared).await;
    // Within five standard errors or so: who is in which arm is another draw in each run.
    assert!((compared["difference"].as_f64().unwrap() - 1.0).abs() < 0.5, "{compared}");
    assert!(compared["lower"].as_f64().unwrap() > 0.0, "{compared}");
}

async fn experiments_of_a_layer_share_no_unit(topology: Topology) {
    let client = two_versions(shared(topology).await, "exp-layer").await;
    let layer = json!({"name": "exp-layer-one", "holdout": 0.2});
    client.put("/api/v1/layers", &layer).await.expect_status(200);
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let mut plan = plan("exp-layer");
        plan["name"] = json!(format!("exp-layer {name}"));
        plan["layer"] = json!("exp-layer-one");
        plan["traffic"] = json!(0.4);
        ids.push(started(&client, &plan).await);
    }
    let mut third = plan("exp-layer");
    third["layer"] = json!("exp-layer-one");
    third["traffic"] = json!(0.1);
    client.post(AT, &third).await.expect_problem(
        409,
        "conflict",
        &["exp-layer a", "hold-out 20 %"],
    );
    let answers = ask(&client, "exp-layer", 100).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (_, id) in &answers {
        let record = client.prediction(id).await.expect_status(200).json();
        let plan = record["decision"]["plan"].as_str().unwrap_or("none").to_owned();
        *counts.entry(plan).or_default() += 1;
    }
    assert!(ids.iter().all(|id| counts[id] > 20), "{counts:?}");
    assert!((5..40).contains(&counts["none"]), "a fifth is held out: {counts:?}");
    for id in ids {
        act(&client, &id, "abort", &json!({"reason": "done"})).await;
    }
}

async fn what_is_wrong_with_a_plan_is_told_at_once(topology: Topology) {
    let client = two_versions(shared(topology).await, "exp-bad").await;
    let mut bad = plan("exp-bad");
    bad["control"] = json!("9");
    bad["alpha"] = json!(0.7);
    bad["arms"] = json!([{"version": "1", "weight": 1}, {"version": "7", "weight": -1}]);
    let words = ["#/arms/1/version", "#/arms/1/weight", "#/control", "#/alpha"];
    client.post(AT, &bad).await.expect_problem(422, "unprocessable", &words);
    let mut nowhere = plan("exp-nowhere");
    nowhere["name"] = json!("x");
    client.post(AT, &nowhere).await.expect_problem(404, "not_found", &["exp-nowhere"]);
    let id = "exp_0199c1d2e3f47abc8def0123456789ab";
    client.get(&format!("{AT}/{id}")).await.expect_problem(404, "not_found", &[id]);
    let request = client.request(Method::GET, &format!("{AT}/1234"));
    assert_eq!(client.send(request).await.status, 400);
}

async fn the_command_line_runs_an_experiment(topology: Topology) {
    let engine = shared(topology).await;
    let client = two_versions(engine, "exp-cli").await;
    let said = |arguments: &[&str]| {
        let output = run(engine, client.token(), arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let file = engine.folder().join("exp-cli.json");
    std::fs::write(&file, plan("exp-cli").to_string()).unwrap();
    let made = said(&["experiment", "create", file.to_str().unwrap(), "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let id = made["id"].as_str().unwrap();
    assert!(said(&["experiment", "start", id]).contains("running"));
    ask(&client, "exp-cli", 20).await;
    let report = said(&["experiment", "report", id]);
    for words in ["keep going:", "bought (primary)", "errors (guardrail)", "split fits the weights"]
    {
        assert!(report.contains(words), "`{words}` is not in: {report}");
    }
    assert!(said(&["experiment", "watch", id, "--once"]).contains("bought (primary)"));
    let report: Value =
        serde_json::from_str(&said(&["experiment", "report", id, "--json"])).unwrap();
    assert_eq!(report["experiment"], id, "{report}");
    said(&["experiment", "weights", id, "1=1", "2=3", "--reason", "a larger share"]);
    assert!(said(&["experiment", "what-if", id, "2"]).contains("no verdict"));
    said(&["experiment", "pause", id]);
    said(&["experiment", "resume", id]);
    assert!(said(&["experiment", "abort", id, "--reason", "enough"]).contains("stopped"));
    let report = said(&["experiment", "report", id]);
    for words in ["Stopped: no version was chosen", ": enough", "what the evidence said: "] {
        assert!(report.contains(words), "`{words}` is not in: {report}");
    }
    let shown = said(&["experiment", "show", id]);
    for words in ["hypothesis  ", "1: 25 %, 2: 75 %", "a larger share", "of the layer", "promoted"]
    {
        assert!(shown.contains(words), "`{words}` is not in: {shown}");
    }
    let listed = said(&["experiment", "list", "--model", "exp-cli"]);
    assert!(listed.contains(id) && listed.contains("2: 75 %"), "{listed}");
    let refused = run(engine, client.token(), &["experiment", "start", id]);
    assert!(!refused.status.success());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("`stopped`"), "{error}");
}
