//! Back to a good version: at once, everywhere, in every state; and blue-green.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use testkit::topology::Stores;
use testkit::{
    Answer, Client, Engine, Method, PrivateServer, Setup, Topology, at_length, run, scenarios,
    until,
};

use asking::{Asked, Load};

mod asking;

scenarios!(
    under_load_no_request_reaches_the_old_version_once_it_returned,
    a_second_one_never_returns_to_the_bad_version,
    it_wins_against_who_keeps_changing_the_route,
    blue_and_green_change_places_under_load,
    the_history_names_the_version_of_a_prediction,
    no_kept_answer_of_the_old_version_is_left,
    the_command_line_rolls_back_and_shows_it,
);

/// An engine of three routers where routers run apart, in which a version is stable at once.
fn setup(topology: Topology) -> Setup {
    let mut setup = Setup::new(topology);
    setup.routers = 3;
    setup.set("ENGINE__ROUTER__STABLE_AFTER_S", "0");
    setup.set("ENGINE__TELEMETRY__ACCESS_LOG", "false");
    setup
}

/// An engine in which neither the safety net nor its speed does what the call has to do.
async fn engine(topology: Topology) -> Engine {
    let mut setup = setup(topology);
    setup.set("ENGINE__ROUTER__POLL_INTERVAL_S", "600");
    Engine::start(setup).await
}

async fn roll_back(client: &Client, body: &Value) -> Answer {
    client.post("/api/v1/models/iris/rollback", body).await
}

async fn rolled_back(client: &Client, body: &Value) -> Value {
    roll_back(client, body).await.expect_status(200).json()
}

async fn clear(client: &Client, version: &str) -> Answer {
    let path = format!("/api/v1/models/iris/blocks/{version}?reason=looked+into+it");
    client.send(client.request(Method::DELETE, &path)).await
}

fn quantile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = (share * times.len() as f64) as usize;
    times.get(index).or(times.last()).copied().unwrap_or_default()
}

async fn under_load_no_request_reaches_the_old_version_once_it_returned(topology: Topology) {
    let engine = engine(topology).await;
    let routers = if topology == Topology::Embedded { 1 } else { 3 };
    roll_back_under_load(&engine, routers).await;
}

#[test]
fn how_long_it_takes_with_one_router() {
    run(Topology::Distributed, async {
        let mut setup = setup(Topology::Distributed);
        setup.routers = 1;
        roll_back_under_load(&Engine::start(setup).await, 1).await;
    });
}

/// Turns a model to version 2 and rolls back, again and again, while callers ask all the time.
async fn roll_back_under_load(engine: &Engine, routers: usize) {
    let client = super::routing::two_versions(engine, "iris").await;
    let load = Load::start(&client);
    load.until_more(50).await;
    let (mut took, mut waited, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..if at_length() { 50 } else { 6 } {
        client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
        load.until_more(30).await;
        let began = Instant::now();
        let done = rolled_back(&client, &json!({"reason": format!("drill {turn}")})).await;
        let (returned, returned_at) = (Instant::now(), asking::now());
        assert_eq!(done["acknowledged"].as_array().unwrap().len(), routers, "{done}");
        assert_eq!((&done["version"], &done["blocked"]), (&json!("1"), &json!(["2"])), "{done}");
        waited.push((returned - began).as_secs_f64() * 1000.0);
        took.push(done["took_ms"].as_f64().unwrap());
        load.until_more(60).await;
        let since = load.since(returned);
        assert!(since.len() >= 20, "{}", since.len());
        assert!(since.iter().all(|asked| asked.version == "1"), "begun after the return");
        held.push((returned_at, asking::now(), done["generation"].as_u64().unwrap()));
        clear(&client, "2").await.expect_status(200);
    }
    let all = load.end().await;
    eprintln!(
        "{routers} routers, {} rollbacks under load: took p50 {:.1} ms, p99 {:.1} ms; \
         the caller waited p50 {:.1} ms, p99 {:.1} ms",
        took.len(),
        quantile(&mut took, 0.5),
        quantile(&mut took, 0.99),
        quantile(&mut waited, 0.5),
        quantile(&mut waited, 0.99),
    );

    // The log says the same: nothing of the old version begins between a return and the next change.
    let client = &client;
    let read = all.iter().map(|asked| async move {
        (asked, client.prediction(&asked.id).await.expect_status(200).json())
    });
    let records: Vec<_> = stream::iter(read).buffer_unordered(8).collect().await;
    let (mut after, mut old) = (0, 0);
    for (asked, record) in &records {
        assert_eq!(record["version"], asked.version, "{record}");
        let begun = asking::begun(record);
        let decided = record["decision"]["generation"].as_u64().unwrap();
        old += usize::from(record["version"] == "2");
        let window = held.iter().find(|(from, until, _)| begun > *from && begun < *until);
        if let Some((_, _, generation)) = window {
            after += 1;
            assert_eq!(record["version"], "1", "{record}");
            assert!(decided >= *generation, "{record}");
        }
    }
    eprintln!(
        "{routers} routers: {} records in the log, {old} of the old version, and of the {after} \
         begun after a return none",
        records.len(),
    );
    assert!(after >= 60 && old > 0, "{after} {old}");
}

async fn a_second_one_never_returns_to_the_bad_version(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    client.put_route("iris", &[(1, 90.0), (2, 10.0)]).await.expect_status(200);
    let done = rolled_back(&client, &json!({"reason": "odd answers"})).await;
    assert_eq!((&done["version"], &done["blocked"]), (&json!("1"), &json!(["2"])), "{done}");
    assert_eq!((&done["stable"], &done["stored"]), (&json!(true), &json!(true)), "{done}");
    // Somebody else who saw the same trouble, a moment later: it goes no further back.
    let again = rolled_back(&client, &json!({"reason": "odd answers, too"})).await;
    assert_eq!((&again["version"], &again["repeated"]), (&json!("1"), &json!(true)), "{again}");
    assert_eq!((&done["repeated"], &again["generation"]), (&json!(false), &done["generation"]));
    let words = ["`2`", "odd answers", "DELETE /api/v1/models/iris/blocks/2"];
    roll_back(&client, &json!({"to": "2"})).await.expect_problem(409, "conflict", &words);
    roll_back(&client, &json!({"to": "9"})).await.expect_problem(404, "not_found", &["`9`"]);
    let route = client.get("/api/v1/models/iris/route").await.expect_status(200).json();
    assert_eq!(route["blocked"][0]["version"], "2", "{route}");
    assert_eq!((&route["cause"], &route["reason"]), (&json!("rollback"), &json!("odd answers")));
    let cleared = clear(&client, "2").await.expect_status(200).json();
    assert_eq!((&cleared["cause"], &cleared["blocked"]), (&json!("clear"), &Value::Null));
    clear(&client, "2").await.expect_problem(404, "not_found", &["not blocked"]);
    let done = rolled_back(&client, &json!({"to": "2", "reason": "it was the data"})).await;
    assert_eq!((&done["version"], &done["stable"]), (&json!("2"), &json!(false)), "{done}");
    // All of it is on record, with the reasons.
    let trail = client.get("/api/v1/audit?action=route&limit=100").await.expect_status(200).json();
    let entries = trail["entries"].as_array().unwrap();
    let seen: Vec<_> = entries
        .iter()
        .filter(|entry| entry["target"] == "model:iris" && entry["action"] != "route.put")
        .map(|entry| (entry["action"].as_str().unwrap(), entry["reason"].as_str().unwrap_or("")))
        .collect();
    let wanted = [
        ("route.rollback", "it was the data"),
        ("route.clear", "looked into it"),
        ("route.rollback", "odd answers, too"),
        ("route.rollback", "odd answers"),
    ];
    assert_eq!(seen, wanted);
    let metrics = client.at(&engine.server("router").url).get("/metrics").await.text();
    assert!(metrics.contains("engine_route_generation{model=\"iris\"} 5"), "{metrics}");
}

async fn it_wins_against_who_keeps_changing_the_route(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
    let hammer = async |weight: f64| {
        let mut statuses = Vec::new();
        for turn in 0..20 {
            let arms = [(1, weight), (2, f64::from(turn))];
            statuses.push(client.put_route("iris", &arms).await.status);
        }
        statuses
    };
    let body = json!({"to": "1", "reason": "now"});
    let rollbacks = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::join!(rolled_back(&client, &body), rolled_back(&client, &body))
    };
    let (one, two, (first, second)) = tokio::join!(hammer(1.0), hammer(2.0), rollbacks);
    eprintln!("{topology:?}: rolled back among 40 puts: {first} {second}; {one:?} {two:?}");
    let history = client.get("/api/v1/models/iris/history?limit=200").await;
    let history = history.expect_status(200).json();
    let routes = history["routes"].as_array().unwrap();
    let generations: Vec<_> =
        routes.iter().map(|served| served["route"]["generation"].as_u64().unwrap()).collect();
    let count = u64::try_from(routes.len()).unwrap();
    assert_eq!(generations, (1..=count).rev().collect::<Vec<_>>(), "none is lost, none is twice");
    for done in [first, second] {
        let found = routes.iter().find(|one| one["route"]["generation"] == done["generation"]);
        let found = found.unwrap();
        assert_eq!(found["cause"], "rollback", "{found}");
        assert_eq!(found["route"]["arms"][0]["version"], "1", "{found}");
    }
}

async fn blue_and_green_change_places_under_load(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let path = "/api/v1/models/iris/route/switch";
    let words = ["`standby`", "PUT /api/v1/models/iris/route"];
    client.post(path, &json!({})).await.expect_problem(409, "conflict", &words);
    let both = json!({"arms": [{"version": "1", "weight": 1}],
        "standby": [{"version": "2", "weight": 1}], "reason": "blue and green"});
    client.put("/api/v1/models/iris/route", &both).await.expect_status(200);
    let load = Load::start(&client);
    load.until_more(50).await;
    let mut times = Vec::new();
    for turn in 1..=10 {
        let (serves, stands_by) = if turn % 2 == 1 { ("2", "1") } else { ("1", "2") };
        let began = Instant::now();
        let route = client.post(path, &json!({"reason": "switch"})).await.expect_status(200).json();
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        let returned = Instant::now();
        assert_eq!(route["arms"][0]["version"], serves, "{route}");
        assert_eq!(route["standby"][0]["version"], stands_by, "{route}");
        assert_eq!(route["cause"], "switch", "{route}");
        load.until_more(30).await;
        for Asked { version, .. } in load.since(returned) {
            assert_eq!(version, serves, "turn {turn}");
        }
    }
    let answered = load.end().await.len();
    eprintln!(
        "{topology:?}: 10 switches under {answered} requests, none failed: p50 {:.1} ms, slowest {:.1} ms",
        quantile(&mut times, 0.5),
        quantile(&mut times, 1.0),
    );
}

async fn the_history_names_the_version_of_a_prediction(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let input = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    for turn in 0..6 {
        client.put_route("iris", &[(2 - turn % 2, 1.0)]).await.expect_status(200);
        let answer = client.predict("iris", &input).await.expect_status(200).json();
        let id = answer["prediction_id"].as_str().unwrap();
        let record = client.prediction(id).await.expect_status(200).json();
        let at = record["at"].as_str().unwrap();
        let history = client.get(&format!("/api/v1/models/iris/history?at={at}")).await;
        let history = history.expect_status(200).json();
        let served = &history["routes"][0];
        assert_eq!(served["route"]["arms"][0]["version"], record["version"], "{served}");
        assert_eq!(served["route"]["generation"], record["decision"]["generation"], "{served}");
    }
    let page = client.get("/api/v1/models/iris/history?before=5&limit=2").await;
    let page = page.expect_status(200).json();
    let routes = page["routes"].as_array().unwrap();
    let generations: Vec<_> = routes.iter().map(|one| one["route"]["generation"].clone()).collect();
    assert_eq!(generations, [4, 3]);
    assert_eq!(routes[1]["until"], routes[0]["route"]["updated_at"]);
    for (query, word) in [("at=yesterday", "`at`"), ("limit=0", "`limit`"), ("at=x&limit=1", "at")]
    {
        let answer = client.get(&format!("/api/v1/models/iris/history?{query}")).await;
        answer.expect_problem(422, "unprocessable", &[word]);
    }
}

async fn no_kept_answer_of_the_old_version_is_left(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let policy = json!({"cache": {"ttl_s": 3600, "shared": true}});
    super::policy::put(&client, "iris", &policy).await;
    let input = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let version = async || {
        let answer = client.predict("iris", &input).await.expect_status(200).json();
        answer["model_version"].as_str().unwrap().to_owned()
    };
    assert_eq!(version().await, "1");
    client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
    for _ in 0..5 {
        assert_eq!(version().await, "2");
    }
    rolled_back(&client, &json!({})).await;
    for _ in 0..10 {
        assert_eq!(version().await, "1");
    }
}

async fn the_command_line_rolls_back_and_shows_it(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(testkit::server::program("decision-engine"));
        command.args(arguments).current_dir(engine.folder());
        command.env("ENGINE_URL", &engine.base_url).env("ENGINE_TOKEN", client.token());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let does = |arguments: &[&str], words: &[&str]| {
        let (success, said, error) = ask(arguments);
        assert!(success, "{arguments:?}: {error}");
        words.iter().for_each(|word| assert!(said.contains(word), "`{word}` is not in:\n{said}"));
        said
    };
    let put = ["route", "put", "iris", "--arm", "2=1", "--standby", "1=1", "--reason", "new"];
    does(&put, &["generation 2", "2: 100 %", "standby"]);
    does(&["route", "switch", "iris"], &["generation 3", "1: 100 %", "switch"]);
    does(&["route", "switch", "iris"], &["generation 4", "2: 100 %"]);
    let said = does(&["rollback", "iris", "--reason", "drill", "--json"], &[]);
    let done: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&done["version"], &done["generation"]), (&json!("1"), &json!(5)), "{done}");
    does(&["route", "show", "iris"], &["1: 100 %", "blocked", "drill (by admin"]);
    let said = does(&["route", "history", "iris", "--limit", "2"], &["rollback", "drill", "now"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    let (success, _, error) = ask(&["rollback", "iris", "--to", "2", "--reason", "no"]);
    assert!(!success && error.contains("blocks/2"), "{error}");
    does(&["route", "clear", "iris", "2", "--reason", "fine"], &["clear by admin"]);
    does(&["rollback", "iris", "--to", "2", "--reason", "yes"], &["took", "in force at", "2"]);
    let (success, _, error) = ask(&["route", "put", "iris"]);
    assert!(!success && error.contains("--arm"), "{error}");
}

#[test]
fn with_the_store_down_it_is_in_force_at_once_and_stored_later() {
    run(Topology::Distributed, async {
        let mut postgres = PrivateServer::postgres().await;
        let mut setup = setup(Topology::Distributed);
        let stores = Stores::fresh().await;
        setup.stores = Some(Stores { relational: postgres.url().to_owned(), ..stores });
        let engine = Engine::start(setup).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
        let load = Load::start(&client);
        load.until_more(50).await;
        postgres.stop().await;
        let began = Instant::now();
        let done = rolled_back(&client, &json!({"reason": "the store is down, too"})).await;
        let (took, returned) = (began.elapsed(), Instant::now());
        assert_eq!((&done["version"], &done["stored"]), (&json!("1"), &json!(false)), "{done}");
        assert_eq!(done["acknowledged"].as_array().unwrap().len(), 3, "{done}");
        eprintln!("with PostgreSQL down: {} ms, {took:.1?} to the caller", done["took_ms"]);
        load.until_more(100).await;
        for Asked { version, .. } in load.since(returned) {
            assert_eq!(version, "1");
        }
        postgres.start_again().await;
        let stored = || async {
            let history = client.get("/api/v1/models/iris/history").await;
            (history.status == 200 && history.json()["routes"][0]["cause"] == "rollback")
                .then(|| history.json())
        };
        let history = until("it is stored", Duration::from_secs(60), stored).await;
        let routes = history["routes"].as_array().unwrap();
        let seen: Vec<_> = routes
            .iter()
            .map(|one| (&one["route"]["generation"], &one["route"]["arms"][0]["version"]))
            .collect();
        let wanted = [(json!(3), json!("1")), (json!(2), json!("2")), (json!(1), json!("1"))];
        assert_eq!(seen, wanted.each_ref().map(|(generation, version)| (generation, version)));
        assert_eq!(routes[0]["route"]["reason"], "the store is down, too");
        load.until_more(50).await;
        for Asked { version, .. } in load.since(returned) {
            assert_eq!(version, "1", "also once the store is read again");
        }
        load.end().await;
    });
}

#[test]
fn a_router_that_hangs_is_named_and_follows() {
    run(Topology::Distributed, async {
        let mut setup = setup(Topology::Distributed);
        setup.set("ENGINE__ROUTER__PUSH_TIMEOUT_MS", "500");
        setup.set("ENGINE__ROUTER__POLL_INTERVAL_S", "600");
        let engine = Engine::start(setup).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
        let paused = engine.server("router-3");
        paused.signal("STOP");
        // One that does not hang is asked: whom the gateway asks is left to chance.
        let first = client.at(&engine.server("router").url);
        let body = json!({"model": "iris", "rollback": {"reason": "drill"}});
        let done = first.post("/internal/router/rollback", &body).await.expect_status(200).json();
        paused.signal("CONT");
        eprintln!("with a router paused: {done}");
        let unconfirmed: Vec<_> =
            done["unconfirmed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(unconfirmed, [paused.url.as_str()], "{done}");
        assert_eq!(done["acknowledged"].as_array().unwrap().len(), 2, "{done}");
        let everywhere = || async {
            let answers = super::routing::versions(&client, "iris", 20).await;
            answers.values().all(|answered| answered == "1").then_some(())
        };
        until("it follows", Duration::from_secs(10), everywhere).await;
    });
}
