//! Rollouts under load: bad versions are found and taken back with no person involved, good ones get
//! everything, whoever drives may die, and people can step in at every point.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, Engine, Gatekeeper, Setup, Topology, Upload, graphs, run, scenarios, until};
use tokio::task::JoinHandle;

scenarios!(
    a_canary_that_fails_every_tenth_request_is_taken_back,
    a_canary_that_is_five_times_slower_is_taken_back,
    a_good_canary_is_promoted,
    a_restart_in_mid_rollout_loses_nothing_but_time,
    people_can_step_in_at_every_point,
    a_gate_is_asked_until_it_says_yes,
);

const MODEL: &str = "score";
/// Callers that ask at the same time.
const CALLERS: u64 = 4;
/// How long something may take that takes a few seconds: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(120);

/// What one caller saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    took: Duration,
    status: u16,
}

/// Callers that ask on and on, each request for itself, until stopped.
struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Seen>>>::default());
        let number = Arc::<AtomicU64>::default();
        let callers = (0..CALLERS).map(|_| {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            let (seen, number) = (Arc::clone(&seen), Arc::clone(&number));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let first = number.fetch_add(1, Ordering::Relaxed) % 1_000;
                    let body = json!({"features": [first, 0.5, 0.5, 0.5]});
                    let path = format!("/api/v1/models/{MODEL}/predict");
                    let request = client.request(Method::POST, &path).json(&body);
                    let began = Instant::now();
                    let status = client.try_send(request).await.map_or(0, |answer| answer.status);
                    let took = began.elapsed();
                    seen.lock().unwrap().push(Seen { at: Instant::now(), took, status });
                }
            })
        });
        let callers = callers.collect();
        Self { stop, seen, callers }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn until_more(&self, answers: usize) {
        let wanted = self.seen.lock().unwrap().len() + answers;
        let enough = || async { (self.seen.lock().unwrap().len() >= wanted).then_some(()) };
        until("more answers", LIMIT, enough).await;
    }

    async fn end(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let seen = self.seen.lock().unwrap();
        seen.clone()
    }
}

fn setup(topology: Topology) -> Setup {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__TELEMETRY__ACCESS_LOG", "false");
    setup.set("ENGINE__ROUTER__PLANS__TICK_MS", "100");
    setup.set("ENGINE__ROUTER__PLANS__FLUSH_MS", "200");
    setup.set("ENGINE__ROUTER__PLANS__LEASE_MS", "1500");
    setup.set("ENGINE__ROUTER__ROLLOUTS__GATE_INTERVAL_MS", "200");
    setup.set("ENGINE__ROUTER__ROLLOUTS__SETTLED_S", "2");
    setup.set("ENGINE__ROUTER__ROLLOUTS__BASELINE_LEAST_RECORDS", "200");
    setup.set("ENGINE__ROUTER__OUTBOUND__ALLOW", "127.0.0.1");
    // A slow model is slow, not hung.
    setup.set("ENGINE__ROUTER__REPLICAS__HEDGE_AFTER_MS", "10000");
    setup
}

/// An engine with a model of two versions.
async fn engine_with(setup: Setup, first: Upload, second: Upload) -> (Engine, Client) {
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    client.create_model_with(MODEL, &first).await;
    let answer = client.upload_version(MODEL, &second).await;
    assert_eq!(answer.expect_status(201).json()["version"], "2");
    (engine, client)
}

/// Begins a rollout of version 2 and returns it.
async fn begin(client: &Client, plan: Value) -> Value {
    let body = json!({"model": MODEL, "canary": "2", "plan": plan, "reason": "a scenario"});
    client.post("/api/v1/rollouts", &body).await.expect_status(201).json()
}

fn path(rollout: &Value) -> String {
    format!("/api/v1/rollouts/{}", rollout["id"].as_str().unwrap())
}

/// Waits until the rollout is as it is waited for.
async fn when(
    client: &Client,
    rollout: &Value,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    let path = path(rollout);
    let deadline = Instant::now() + LIMIT;
    loop {
        let request = client.request(Method::GET, &path);
        // Whoever asked may be the one that died.
        if let Ok(answer) = client.try_send(request).await
            && answer.status == 200
        {
            let now = answer.json();
            if is_so(&now) {
                return now;
            }
            assert!(Instant::now() < deadline, "{what}: {now:#}");
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is(state: &'static str) -> impl Fn(&Value) -> bool {
    move |rollout| {
        let now = rollout["state"].as_str().unwrap();
        assert!(now == state || now == "running" || now == "paused", "{rollout:#}");
        now == state
    }
}

fn shares(rollout: &Value) -> Vec<f64> {
    let moves = rollout["moves"].as_array().unwrap();
    moves.iter().map(|step| step["share"].as_f64().unwrap()).collect()
}

fn quick() -> Value {
    json!({"steps": [0.1, 0.5, 1.0], "harm_budget": 0.02, "minimum_step_s": 1, "warm_up_s": 0,
        "warm_up_requests": 10})
}

async fn is_blocked(client: &Client) {
    let route = client.get(&format!("/api/v1/models/{MODEL}/route")).await.json();
    assert_eq!(route["blocked"][0]["version"], "2", "{route:#}");
    assert!(route["rollout"].is_null(), "{route:#}");
    let body = json!({"model": MODEL, "canary": "2"});
    let again = client.post("/api/v1/rollouts", &body).await;
    again.expect_problem(409, "conflict", &["version `2` of model `score` is blocked"]);
}

async fn a_canary_that_fails_every_tenth_request_is_taken_back(topology: Topology) {
    let (_engine, client) =
        engine_with(setup(topology), graphs::mean(), graphs::fails_each(10)).await;
    let load = Load::start(&client);
    load.until_more(100).await;
    let began = Instant::now();
    let rollout = begin(&client, quick()).await;
    let ended = when(&client, &rollout, "rolled back", is("rolled_back")).await;
    let over = Instant::now();
    load.until_more(300).await;
    let seen = load.end().await;
    let status = ended["status"].as_str().unwrap();
    assert!(status.starts_with("rolled back: errors "), "{status}");
    assert!(status.contains("with 99 % confidence, after "), "{status}");
    let during: Vec<_> = seen.iter().filter(|one| one.at > began && one.at <= over).collect();
    let failed = during.iter().filter(|one| one.status != 200).count();
    assert!(during.iter().all(|one| matches!(one.status, 200 | 500)), "{during:?}");
    // One that was under way is answered by who it was given to.
    let later = seen.iter().filter(|one| one.at > over + Duration::from_secs(1));
    let late: Vec<_> = later.filter(|one| one.status != 200).collect();
    assert!(late.is_empty(), "{late:?}");
    assert_eq!(ended["moves"].as_array().unwrap().last().unwrap()["share"], 0.0);
    is_blocked(&client).await;
    eprintln!(
        "{topology:?}: fails every tenth at {:?}: gone after {:.1?}; users saw {failed} of {} requests fail; {status}",
        shares(&ended),
        over - began,
        during.len(),
    );
}

async fn a_canary_that_is_five_times_slower_is_taken_back(topology: Topology) {
    let (_engine, client) =
        engine_with(setup(topology), graphs::multiplies(10), graphs::multiplies(150)).await;
    let load = Load::start(&client);
    load.until_more(400).await;
    let before = load.seen();
    let mut plan = quick();
    plan["guardrails"] = json!([{"guardrail": "errors"}, {"guardrail": "slow"}]);
    let began = Instant::now();
    let rollout = begin(&client, plan).await;
    let over_ms = rollout["plan"]["guardrails"][1]["over_ms"].as_f64().unwrap();
    let ended = when(&client, &rollout, "rolled back", is("rolled_back")).await;
    let over = Instant::now();
    let seen = load.end().await;
    let status = ended["status"].as_str().unwrap();
    assert!(status.starts_with("rolled back: slow "), "{status}");
    let during: Vec<_> = seen.iter().filter(|one| one.at > began && one.at <= over).collect();
    assert!(seen.iter().all(|one| one.status == 200));
    let slow = during.iter().filter(|one| one.took.as_secs_f64() * 1e3 > over_ms).count();
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    is_blocked(&client).await;
    eprintln!(
        "{topology:?}: slow at {:?}: slow is over {over_ms:.1} ms; median before {:.1?}; gone after {:.1?}; {slow} of {} requests of users were slow; {status}",
        shares(&ended),
        median(before.iter().map(|one| one.took).collect()),
        over - began,
        during.len(),
    );
}

async fn a_good_canary_is_promoted(topology: Topology) {
    let (_engine, client) = engine_with(setup(topology), graphs::mean(), graphs::mean()).await;
    let load = Load::start(&client);
    load.until_more(20).await;
    let began = Instant::now();
    let rollout = begin(&client, quick()).await;
    let ended = when(&client, &rollout, "promoted", is("promoted")).await;
    let took = began.elapsed();
    let seen = load.end().await;
    assert!(seen.iter().all(|one| one.status == 200));
    assert_eq!(shares(&ended), [0.1, 0.5, 1.0]);
    let route = client.get(&format!("/api/v1/models/{MODEL}/route")).await.json();
    assert_eq!(route["arms"][0]["version"], "2");
    assert_eq!(route["arms"].as_array().unwrap().len(), 1);
    assert_eq!(route["updated_by"], rollout["id"]);
    let entries = client.get("/api/v1/audit?action=rollout").await.json();
    let actions: Vec<_> = entries["entries"].as_array().unwrap().iter().collect();
    let of = |action: &str| actions.iter().filter(|entry| entry["action"] == action).count();
    let counts = ["rollout.started", "rollout.advanced", "rollout.promoted"].map(of);
    assert_eq!(counts, [1, 1, 1], "{entries:#}");
    eprintln!(
        "{topology:?}: a good canary has everything after {took:.1?} and {} + {} requests",
        ended["canary_requests"], ended["baseline_requests"]
    );
}

async fn a_restart_in_mid_rollout_loses_nothing_but_time(topology: Topology) {
    let (mut engine, client) = engine_with(setup(topology), graphs::mean(), graphs::mean()).await;
    let load = Load::start(&client);
    let rollout = begin(&client, quick()).await;
    let counted = |now: &Value| now["canary_requests"].as_u64().unwrap() > 20;
    when(&client, &rollout, "counts", counted).await;
    load.end().await;
    engine.kill9();
    engine.launch().await;
    let client = engine.admin().await;
    let load = Load::start(&client);
    let ended = when(&client, &rollout, "promoted", is("promoted")).await;
    load.end().await;
    assert_eq!(shares(&ended), [0.1, 0.5, 1.0]);
}

#[test]
fn another_router_goes_on_when_the_one_that_drives_is_killed() {
    run(Topology::Distributed, async {
        let (mut engine, client) =
            engine_with(setup(Topology::Distributed), graphs::mean(), graphs::mean()).await;
        let drives = |engine: &Engine, name: &str| {
            engine.server(name).log().contains("this router drives rollouts")
        };
        let load = Load::start(&client);
        let mut plan = quick();
        plan["minimum_step_s"] = json!(3);
        let rollout = begin(&client, plan).await;
        let counted = |now: &Value| now["canary_requests"].as_u64().unwrap() > 20;
        let before = when(&client, &rollout, "counts", counted).await;
        let (driver, other) =
            if drives(&engine, "router") { ("router", "router-2") } else { ("router-2", "router") };
        assert!(drives(&engine, driver) && !drives(&engine, other));
        engine.server_mut(driver).kill();
        let killed = Instant::now();
        let counts = |now: &Value| {
            now["canary_requests"].as_u64().unwrap() + now["baseline_requests"].as_u64().unwrap()
        };
        let more = |now: &Value| counts(now) > counts(&before) + 200;
        when(&client, &rollout, "more counts", more).await;
        let took_over = killed.elapsed();
        let ended = when(&client, &rollout, "promoted", is("promoted")).await;
        assert!(drives(&engine, other));
        let seen = load.end().await;
        let answered = seen.iter().filter(|one| one.status == 200).count() as u64;
        assert_eq!(shares(&ended), [0.1, 0.5, 1.0]);
        assert!(counts(&ended) <= answered + 10, "{} counted of {answered}", counts(&ended));
        let failed = seen.iter().filter(|one| one.status != 200).count();
        eprintln!(
            "the router that drove was killed: the other went on, with more counts after {took_over:.1?}; {} of {answered} requests counted, {failed} failed",
            counts(&ended)
        );
    });
}

async fn people_can_step_in_at_every_point(topology: Topology) {
    let mut plan = quick();
    plan["approve"] = json!([0.5]);
    let (_engine, client) = engine_with(setup(topology), graphs::mean(), graphs::mean()).await;
    let load = Load::start(&client);
    let rollout = begin(&client, plan).await;
    let path = path(&rollout);
    let act =
        async |action: &str, body: Value| client.post(&format!("{path}/{action}"), &body).await;
    act("pause", json!({"reason": "lunch"})).await.expect_status(200);
    let again = client.post("/api/v1/rollouts", &json!({"model": MODEL, "canary": "2"})).await;
    again.expect_problem(409, "conflict", &["is not over"]);
    let paused = client.get(&path).await.json();
    assert_eq!((&paused["state"], &paused["step"]), (&json!("paused"), &json!(0)), "{paused:#}");
    load.until_more(500).await;
    assert_eq!(client.get(&path).await.json()["step"], 0, "it holds");
    act("resume", json!({})).await.expect_status(200);
    let waits = |now: &Value| now["status"].as_str().unwrap().contains("waits for a person");
    when(&client, &rollout, "it waits for approval", waits).await;
    act("approve", json!({})).await.expect_status(200);
    let at_half = |now: &Value| now["step"] == 1 || now["state"] == "promoted";
    when(&client, &rollout, "it goes on", at_half).await;
    let ended = act("abort", json!({"reason": "enough"})).await;
    let ended = ended.expect_status(200).json();
    assert_eq!(ended["state"], "aborted", "{ended:#}");
    let route = client.get(&format!("/api/v1/models/{MODEL}/route")).await.json();
    assert_eq!(route["arms"].as_array().unwrap().len(), 1, "{route:#}");
    assert_eq!(route["arms"][0]["version"], "1");
    act("resume", json!({})).await.expect_problem(409, "conflict", &["is over: aborted by admin"]);
    // Nothing was blocked: again, and this time by hand to the end.
    let rollout = begin(&client, quick()).await;
    let promote = format!("{}/promote", self::path(&rollout));
    client.post(&promote, &json!({"reasn": ""})).await.expect_status(400);
    let ended = client.post(&promote, &json!({"reason": "seen enough"})).await;
    let ended = ended.expect_status(200).json();
    assert_eq!(ended["state"], "promoted");
    assert_eq!(ended["status"], "promoted by admin: seen enough");
    load.end().await;
}

async fn a_gate_is_asked_until_it_says_yes(topology: Topology) {
    let gate = Gatekeeper::start().await;
    let (_engine, client) = engine_with(setup(topology), graphs::mean(), graphs::mean()).await;
    let body = json!({"model": MODEL, "canary": "2",
        "plan": {"gates": [{"name": "inside", "url": "http://10.0.0.1/"}]}});
    let refused = client.post("/api/v1/rollouts", &body).await;
    refused.expect_problem(422, "unprocessable", &["#/plan/gates/0/url", "10.0.0.1"]);
    let load = Load::start(&client);
    let mut plan = quick();
    plan["gates"] = json!([{"name": "change board", "url": gate.url}]);
    let rollout = begin(&client, plan).await;
    let says_no = |now: &Value| {
        let status = now["status"].as_str().unwrap();
        status.contains("gate `change board` says no: freeze over the weekend")
    };
    let held = when(&client, &rollout, "the gate says no", says_no).await;
    assert_eq!(held["step"], 0);
    let asked = gate.asked();
    assert_eq!(asked[0]["next_share"], 0.5, "{asked:?}");
    assert_eq!(asked[0]["rollout"], rollout["id"]);
    gate.open();
    when(&client, &rollout, "promoted", is("promoted")).await;
    load.end().await;
}
