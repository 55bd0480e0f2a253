//! What ships to watch the engine asks for what the engine has: every query of the dashboards, every
//! rule, and the table of metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use promql_parser::parser::{self, Expr};
use serde_json::{Value, json};
use testkit::{Client, Engine, Prometheus, Setup, Topology, models, run, scenarios, until};

scenarios!(a_hostile_caller_makes_no_series);

/// How long data may take to come: a few rounds of asking, one a second.
const LIMIT: Duration = Duration::from_secs(60);
/// How often a hostile caller tries, each time with other words.
const ATTACKS: usize = 40;
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../monitoring");

/// A query with where it stands.
struct Query {
    place: String,
    text: String,
}

#[test]
fn every_query_of_the_dashboards_and_rules_has_data() {
    run(Topology::Distributed, async {
        let mut setup = Setup::new(Topology::Distributed);
        (setup.routers, setup.replicas, setup.gateways) = (2, 2, 2);
        let engine = Engine::start(setup).await;
        let prometheus = Prometheus::watching(&engine).await;
        let client = engine.admin().await;
        client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
        let rules = prometheus.rules().await;
        let mut open = in_dashboards();
        assert!(open.len() > 50, "{} queries in the dashboards", open.len());
        open.extend(in_rules(&rules));
        let all = open.len();
        let deadline = Instant::now() + LIMIT;
        while !open.is_empty() {
            traffic(&client).await;
            let mut missing = Vec::new();
            let mut faults = Vec::new();
            for query in open {
                if let Err(fault) = answers(&prometheus, &query.text).await {
                    faults.push(format!("{}: {fault}: {}", query.place, query.text));
                    missing.push(query);
                }
            }
            open = missing;
            assert!(Instant::now() < deadline, "of {all} queries:\n{}", faults.join("\n"));
        }
        for rule in prometheus.rules().await {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
        every_metric_is_in_the_table(&engine).await;
    });
}

/// Predictions, right ones and wrong ones, and what else dashboards show.
async fn traffic(client: &Client) {
    for _ in 0..5 {
        client.predict("iris", &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await;
    }
    client.predict("iris", &json!({"features": ["wrong"]})).await.expect_status(422);
    client.predict("nobody", &json!({"features": [1.0]})).await.expect_status(404);
    let tensor = json!({"name": "input", "shape": [1, 4], "datatype": "FP32",
        "data": [5.1, 3.5, 1.4, 0.2]});
    client.infer("iris", &json!({"inputs": [tensor]})).await;
    client.get("/api/v1/models").await.expect_status(200);
}

/// Whether a query gives at least one number.
async fn answers(prometheus: &Prometheus, query: &str) -> Result<(), String> {
    let values = prometheus.query(query).await?;
    if values.is_empty() {
        return Err("no data".to_owned());
    }
    if values.iter().all(|value| value.is_nan()) {
        return Err("no number".to_owned());
    }
    Ok(())
}

fn in_dashboards() -> Vec<Query> {
    let mut queries = Vec::new();
    for path in files("grafana/dashboards", ".json") {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let board: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for variable in board["templating"]["list"].as_array().unwrap() {
            let place = format!("{file}, variable {}", variable["name"]);
            let definition = variable["definition"].as_str().unwrap();
            let asked = definition.strip_prefix("label_values(").and_then(|d| d.strip_suffix(')'));
            let (metric, label) = asked
                .and_then(|asked| asked.rsplit_once(','))
                .unwrap_or_else(|| panic!("{place}: must be label_values(METRIC, LABEL)"));
            let text = filled(&format!("count by ({}) ({metric})", label.trim()));
            queries.push(Query { place, text });
        }
        panels(&board, &mut |panel, query| {
            let place = format!("{file}, panel {panel}");
            queries.push(Query { place, text: filled(query) });
        });
    }
    queries
}

fn panels(holder: &Value, found: &mut impl FnMut(&Value, &str)) {
    for panel in holder["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found(&panel["title"], target["expr"].as_str().unwrap());
        }
        panels(panel, found);
    }
}

/// The query as Grafana sends it, each variable at "all".
fn filled(query: &str) -> String {
    let query = query.replace("$__rate_interval", "1m").replace("$__interval", "15s");
    ["$model", "$version", "$service"].iter().fold(query, |query, name| query.replace(name, ".*"))
}

/// A recorded rule has to give data. An alert gives none while all is well: so each series that it
/// looks at has to be there.
fn in_rules(rules: &[Value]) -> Vec<Query> {
    let mut shipped = BTreeSet::new();
    for path in files("prometheus/rules", ".rules.yml") {
        for line in fs::read_to_string(path).unwrap().lines() {
            let line = line.trim().trim_start_matches("- ");
            let named = line.strip_prefix("alert: ").or_else(|| line.strip_prefix("record: "));
            shipped.extend(named.map(str::to_owned));
        }
    }
    let name = |rule: &Value| rule["name"].as_str().unwrap().to_owned();
    let loaded: BTreeSet<String> = rules.iter().map(name).collect();
    assert_eq!(loaded, shipped, "the rules that Prometheus has, and those in the files");
    let mut queries = Vec::new();
    for rule in rules {
        let name = name(rule);
        if rule["type"] == "recording" {
            queries.push(Query { place: format!("rule {name}"), text: name });
            continue;
        }
        let text = rule["query"].as_str().unwrap();
        let parsed = parser::parse(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
        let mut series = BTreeSet::new();
        selectors(&parsed, &mut series);
        assert!(!series.is_empty(), "{name} looks at nothing");
        let place = |text| Query { place: format!("alert {name}"), text };
        queries.extend(series.into_iter().map(place));
    }
    queries
}

/// The series that an expression looks at, as of now.
fn selectors(expression: &Expr, found: &mut BTreeSet<String>) {
    let mut keep = |selector: &parser::VectorSelector| {
        let mut selector = selector.clone();
        selector.offset = None;
        found.insert(selector.to_string());
    };
    match expression {
        Expr::VectorSelector(selector) => keep(selector),
        Expr::MatrixSelector(matrix) => keep(&matrix.vs),
        Expr::Aggregate(aggregate) => selectors(&aggregate.expr, found),
        Expr::Unary(unary) => selectors(&unary.expr, found),
        Expr::Binary(binary) => {
            selectors(&binary.lhs, found);
            selectors(&binary.rhs, found);
        }
        Expr::Paren(paren) => selectors(&paren.expr, found),
        Expr::Subquery(subquery) => selectors(&subquery.expr, found),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| selectors(argument, found)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(FOLDER).join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(end));
    files.sort();
    assert!(!files.is_empty(), "no file in `{folder}` ends in `{end}`");
    files
}

const ONLY_IF_ASKED_FOR: [&str; 5] = [
    "engine_trace_export_failures_total",
    "engine_response_cache_requests_total",
    "engine_degraded_answers_total",
    "engine_sticky_assignments_total",
    "output_filter_total",
];

/// What the services report is described, and what is described is reported.
async fn every_metric_is_in_the_table(engine: &Engine) {
    let readme = fs::read_to_string(Path::new(FOLDER).join("README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
    let described: BTreeSet<&str> = rows.filter_map(|row| row.split(['`', '{']).next()).collect();
    let mut reported = BTreeSet::new();
    for server in engine.servers().iter().filter(|server| server.name != "nginx") {
        let text = reqwest::get(format!("{}/metrics", server.url)).await.unwrap();
        for line in text.text().await.unwrap().lines() {
            let name = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next());
            reported.extend(name.map(str::to_owned));
        }
    }
    let unknown: Vec<_> =
        reported.iter().filter(|name| !described.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "not in monitoring/README.md: {unknown:?}");
    let gone: Vec<_> = described
        .iter()
        .filter(|name| name.contains('_') && !name.contains('/') && !reported.contains(**name))
        // Are there only where a collector of traces is named, or a model's policy asks for it.
        .filter(|name| !ONLY_IF_ASKED_FOR.contains(name))
        .collect();
    assert!(gone.is_empty(), "in monitoring/README.md, but not reported: {gone:?}");
}

async fn a_hostile_caller_makes_no_series(topology: Topology) {
    let engine = Engine::start(Setup::new(topology)).await;
    let client = engine.admin().await;
    client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
    attack(&client, 0).await;
    series(&engine).await;
    let before = series(&engine).await;
    for number in 1..=ATTACKS {
        attack(&client, number).await;
    }
    let after = series(&engine).await;
    let made: Vec<&String> = after.difference(&before).collect();
    // What the engine does by itself may have come for the first time.
    assert!(made.len() < ATTACKS / 2, "{made:#?}");
    assert!(!after.iter().any(|series| series.contains("word")), "{after:#?}");
}

/// Words of the caller's in all places that could become a label.
async fn attack(client: &Client, number: usize) {
    let word = format!("word{number}");
    let method = testkit::Method::from_bytes(word.to_uppercase().as_bytes()).unwrap();
    client.send(client.request(method, "/api/v1/models")).await;
    client.get(&format!("/{word}")).await.expect_status(404);
    let features = json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": word});
    client.predict(&word, &features).await.expect_status(404);
    client.predict("iris", &features).await.expect_status(200);
    let path = format!("/v2/models/iris/versions/{}/infer", number + 2);
    client.post(&path, &json!({"inputs": []})).await.expect_status(404);
    client.get(&format!("/api/v1/models/{word}/route?{word}={word}")).await.expect_status(404);
    let odd = client.request(testkit::Method::GET, "/livez");
    let odd = odd.header("x-request-id", &word).header("user-agent", &word).header("host", &word);
    client.send(odd).await.expect_status(200);
}

/// The series of all processes; each histogram counts once, and not once for each of its bounds.
async fn series(engine: &Engine) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for server in engine.servers() {
        let read = || async {
            let text = reqwest::get(format!("{}/metrics", server.url)).await.ok()?;
            text.text().await.ok()
        };
        let text = until("metrics", LIMIT, read).await;
        let lines = text.lines();
        let lines = lines.filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
        let names = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0));
        all.extend(names.map(|name| format!("{}: {name}", server.name)));
    }
    all
}
