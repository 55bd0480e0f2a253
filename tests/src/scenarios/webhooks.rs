//! What happens is told: in the list of events, and to webhooks, signed, once, and as long as it takes.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Role;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use testkit::topology::Stores;
use testkit::{
    Answer, Client, Engine, Method, PrivateServer, Received, Receiver, Setup, Topology, models,
    run, scenarios, shared, until,
};

scenarios!(
    what_happens_reaches_webhooks_signed_and_once,
    a_failed_delivery_is_tried_again_given_up_and_revived,
    a_webhook_is_changed_switched_off_and_removed,
    a_url_that_leads_inside_is_refused,
);

const LIMIT: Duration = Duration::from_secs(30);
const HOOKS: &str = "/api/v1/webhooks";

/// An engine that may post to this machine, and does not wait for long.
fn setup(topology: Topology) -> Setup {
    let mut setup = Setup::new(topology);
    for (key, value) in [
        ("OUTBOUND__ALLOW", "127.0.0.1"),
        ("EVENTS__ATTEMPTS", "3"),
        ("EVENTS__FIRST_DELAY_MS", "100"),
        ("EVENTS__FACTOR", "1"),
        ("EVENTS__POLL_INTERVAL_MS", "50"),
    ] {
        setup.set(&format!("ENGINE__ROUTER__{key}"), value);
    }
    setup
}

/// A webhook as it was made: its id and its secret.
struct Hook {
    id: String,
    secret: String,
}

async fn make(client: &Client, body: &Value) -> Hook {
    let made = client.post(HOOKS, body).await.expect_status(201).json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    testkit::secrets::remember(&secret);
    Hook { id: made["webhook"]["id"].as_str().unwrap().to_owned(), secret }
}

async fn patch(client: &Client, hook: &Hook, change: &Value) -> Answer {
    let request = client.request(Method::PATCH, &format!("{HOOKS}/{}", hook.id)).json(change);
    client.send(request).await
}

/// What came of this kind, once there are so many.
async fn came(receiver: &Receiver, kind: &str, count: usize) -> Vec<Received> {
    let enough = || async {
        let received = receiver.of_kind(kind);
        (received.len() >= count).then_some(received)
    };
    until(&format!("{count} of `{kind}`"), LIMIT, enough).await
}

/// The deliveries of a webhook, once this many stand so.
async fn deliveries(client: &Client, hook: &Hook, state: &str, count: usize) -> Vec<Value> {
    let path = format!("{HOOKS}/deliveries?state={state}&webhook={}", hook.id);
    let enough = || async {
        let page = client.get(&path).await.expect_status(200).json();
        let found = page["deliveries"].as_array().unwrap().clone();
        (found.len() == count).then_some(found)
    };
    until(&format!("{count} deliveries `{state}`"), LIMIT, enough).await
}

/// Verifies a signature as docs/events.md tells receivers to.
fn assert_signed(received: &Received, secret: &str) {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, timestamp) = (received.header("webhook-id"), received.header("webhook-timestamp"));
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&received.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(received.header("webhook-signature"), expected);
    assert_eq!(received.header("content-type"), "application/json");
    assert!(timestamp.parse::<u64>().unwrap() > 1_700_000_000, "{timestamp}");
}

async fn what_happens_reaches_webhooks_signed_and_once(topology: Topology) {
    let engine = Engine::start(setup(topology)).await;
    let client = engine.admin().await;
    let (all, routes) = (Receiver::start().await, Receiver::start().await);
    let everything = make(&client, &json!({"url": all.url, "description": "all of it"})).await;
    client.create_model("iris").await.expect_status(201);
    let secret = format!("whsec_{}", STANDARD.encode([7; 24]));
    let some =
        json!({"url": routes.url, "kinds": ["route."], "models": ["iris"], "secret": secret});
    let some = make(&client, &some).await;
    assert_eq!(some.secret, secret);

    for version in ["iris-logreg", "iris-rf100"] {
        let upload = models::committed(version).upload();
        client.upload_version("iris", &upload).await.expect_status(201);
    }
    client.create_model_with("other", &models::committed("iris-logreg").upload()).await;
    for turn in 0..10 {
        client.put_route("iris", &[(1 + turn % 2, 1.0)]).await.expect_status(200);
    }
    client.put("/api/v1/models/iris/policy", &json!({})).await.expect_status(200);
    let alias = "/api/v1/models/iris/aliases/champion";
    client.put(alias, &json!({"version": "1"})).await.expect_status(200);
    for step in ["unload", "load"] {
        let path = format!("/v2/repository/models/other/{step}");
        client.post(&path, &json!({})).await.expect_status(200);
    }

    // Eleven changes of the route of `iris`, with the one that its first version brought.
    let changes = came(&routes, "route.changed", 11).await;
    for kind in ["alias.changed", "policy.changed", "version.loaded", "version.unloaded"] {
        came(&all, kind, 1).await;
    }
    came(&all, "webhook.created", 2).await;
    came(&all, "model.created", 2).await;
    came(&all, "version.registered", 3).await;
    came(&all, "route.changed", 12).await;
    for (receiver, secret) in [(&all, &everything.secret), (&routes, &some.secret)] {
        receiver.received().iter().for_each(|received| assert_signed(received, secret));
    }
    let last = changes
        .iter()
        .map(Received::json)
        .find(|body| body["data"]["details"]["after"]["generation"] == 11);
    let last = last.expect("the last change");
    assert_eq!((&last["data"]["model"], &last["data"]["actor"]), (&json!("iris"), &json!("admin")));
    assert_eq!(last["data"]["subject"], "model:iris");
    assert_eq!(last["data"]["details"]["before"]["generation"], 10);
    assert!(last["timestamp"].as_str().unwrap().ends_with('Z'), "{last}");

    // Everything is there once, whoever of the routers sent it.
    deliveries(&client, &everything, "waiting", 0).await;
    deliveries(&client, &some, "waiting", 0).await;
    for receiver in [&all, &routes] {
        let received = receiver.received();
        let ids: BTreeSet<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
        assert_eq!(ids.len(), received.len(), "an event came twice");
    }
    assert_eq!(routes.received().len(), 11, "of others it gets none");

    // The log of events says the same, page by page, to analysts.
    let analyst = engine.sign_in_as(Role::Analyst).await;
    let mut listed = Vec::new();
    let mut path = "/api/v1/events?after=0&limit=7".to_owned();
    loop {
        let page = analyst.get(&path).await.expect_status(200).json();
        listed.extend(page["events"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/api/v1/events?after={next}&limit=7");
    }
    assert_eq!(listed.len(), all.received().len(), "{listed:#?}");
    assert!(listed.is_sorted_by_key(|event| event["place"].as_u64()));
    let ids = |events: &[Value]| {
        events.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let received = all.received();
    let sent = received.iter().map(|one| one.header("webhook-id").to_owned()).collect();
    assert_eq!(ids(&listed), sent);
    let query = "/api/v1/events?kind=route.&model=iris&limit=3";
    let newest = analyst.get(query).await.expect_status(200).json();
    let newest = newest["events"].as_array().unwrap();
    let generation = |event: &Value| event["data"]["after"]["generation"].as_u64().unwrap();
    assert_eq!(newest.iter().map(generation).collect::<Vec<_>>(), [11, 10, 9]);
    for bad in ["kind=Route", "model=..", "after=1&before=2", "from=yesterday", "limit=0", "x=1"] {
        let status = analyst.get(&format!("/api/v1/events?{bad}")).await.status;
        assert!((400..=422).contains(&status), "{bad}: {status}");
    }
    assert!(!engine.logs().contains(&some.secret));
    let counted = engine.servers().iter().filter(|one| one.name != "nginx");
    let mut text = String::new();
    for server in counted {
        let metrics = reqwest::get(format!("{}/metrics", server.url)).await.unwrap();
        text += &metrics.text().await.unwrap();
    }
    assert!(text.contains("engine_events_total{kind=\"route.changed\"}"), "{text}");
    assert!(text.contains("engine_webhook_deliveries_total{outcome=\"delivered\"}"), "{text}");
}

async fn a_failed_delivery_is_tried_again_given_up_and_revived(topology: Topology) {
    let engine = Engine::start(setup(topology)).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url, "kinds": ["route.changed"]});
    let hook = make(&client, &body).await;

    // 500, then taken: the same event, signed anew.
    receiver.answer(&[500], 200);
    client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
    let tries = came(&receiver, "route.changed", 2).await;
    assert_eq!((tries[0].answered, tries[1].answered), (500, 200));
    assert_eq!(tries[0].header("webhook-id"), tries[1].header("webhook-id"));
    assert_eq!(tries[0].body, tries[1].body);
    tries.iter().for_each(|one| assert_signed(one, &hook.secret));
    let done = deliveries(&client, &hook, "delivered", 1).await;
    assert_eq!((&done[0]["attempts"], &done[0]["last_status"]), (&json!(2), &json!(200)));

    // Three times 503, and it is dead; what it redirects to is not followed.
    receiver.answer(&[307, 503], 503);
    client.put_route("iris", &[(1, 1.0)]).await.expect_status(200);
    let dead = deliveries(&client, &hook, "dead", 1).await;
    assert_eq!((&dead[0]["attempts"], &dead[0]["last_status"]), (&json!(3), &json!(503)));
    assert_eq!(dead[0]["last_error"], "the receiver answered 503");
    assert_eq!(came(&receiver, "route.changed", 5).await.len(), 5);

    // A person has it tried again, once it is mended.
    receiver.answer(&[], 204);
    let id = dead[0]["id"].as_str().unwrap();
    let retry = format!("{HOOKS}/deliveries/{id}/retry");
    engine.sign_in_as(Role::Analyst).await.post(&retry, &json!({})).await.expect_status(403);
    let again = client.post(&retry, &json!({})).await.expect_status(200).json();
    assert_eq!((&again["state"], &again["attempts"]), (&json!("waiting"), &json!(0)));
    let revived = came(&receiver, "route.changed", 6).await;
    assert_eq!(revived[5].header("webhook-id"), dead[0]["event_id"].as_str().unwrap());
    deliveries(&client, &hook, "delivered", 2).await;
    client.post(&retry, &json!({})).await.expect_problem(409, "conflict", &["`delivered`"]);
    let entry = || async {
        let audit = client.get("/api/v1/audit?action=delivery.retry").await.json();
        audit["entries"].as_array().unwrap().first().cloned()
    };
    let entry = until("it is on record", LIMIT, entry).await;
    assert_eq!(entry["target"], format!("webhook:{}", hook.id));

    // A receiver that is gone for good gets no more.
    receiver.answer(&[], 410);
    client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
    let gone = deliveries(&client, &hook, "dead", 1).await;
    assert_eq!(gone[0]["attempts"], 1);
    let off = || async {
        let listed = client.get(HOOKS).await.expect_status(200).json()["webhooks"][0].clone();
        (listed["enabled"] == false).then_some(listed)
    };
    let off = until("it is off", LIMIT, off).await;
    assert!(off["disabled_because"].as_str().unwrap().contains("410"), "{off}");
    let told = || async {
        let told = client.get("/api/v1/events?kind=webhook.disabled").await.json();
        (told["events"].as_array().unwrap().len() == 1).then_some(())
    };
    until("it is told", LIMIT, told).await;
}

async fn a_webhook_is_changed_switched_off_and_removed(topology: Topology) {
    let engine = Engine::start(setup(topology)).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let hook = make(&client, &json!({"url": first.url, "kinds": ["route.changed"]})).await;
    let listed = client.get(HOOKS).await;
    listed.expect_status(200);
    assert!(!listed.text().contains("whsec_"), "{}", listed.text());
    assert_eq!(listed.json()["webhooks"][0]["revision"], 1);

    let tested = format!("{HOOKS}/{}/test", hook.id);
    let told = client.post(&tested, &json!({})).await.expect_status(200).json();
    assert_eq!(told, json!({"delivered": true, "status": 204}));
    assert_signed(&first.received()[0], &hook.secret);
    assert_eq!(first.received()[0].kind(), "webhook.test");
    first.answer(&[], 500);
    let told = client.post(&tested, &json!({})).await.expect_status(200).json();
    assert_eq!((&told["delivered"], &told["status"]), (&json!(false), &json!(500)));
    first.answer(&[], 204);

    // Off it gets nothing, and what happens meanwhile it never gets.
    let off = patch(&client, &hook, &json!({"enabled": false, "revision": 1})).await;
    assert_eq!(off.expect_status(200).json()["revision"], 2);
    patch(&client, &hook, &json!({"enabled": true, "revision": 1})).await.expect_problem(
        409,
        "conflict",
        &["revision 2, not 1"],
    );
    client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
    let stored = || async {
        let page = client.get("/api/v1/events?kind=route.changed&limit=1").await.json();
        (page["events"][0]["data"]["after"]["generation"] == 2).then_some(())
    };
    until("the change is told", LIMIT, stored).await;
    // Moved and on again, the next one comes, and comes to the new place alone.
    let moved = json!({"enabled": true, "url": second.url, "description": "moved"});
    patch(&client, &hook, &moved).await.expect_status(200);
    client.put_route("iris", &[(1, 1.0)]).await.expect_status(200);
    let came = came(&second, "route.changed", 1).await;
    assert_eq!(came[0].json()["data"]["details"]["after"]["generation"], 3);
    assert_eq!(first.of_kind("route.changed").len(), 0);

    let path = format!("{HOOKS}/{}", hook.id);
    let remove = || client.request(Method::DELETE, &path);
    client.send(remove()).await.expect_status(204);
    client.send(remove()).await.expect_problem(404, "not_found", &[&hook.id]);
    client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
    deliveries(&client, &hook, "delivered", 0).await;
    assert_eq!(second.of_kind("route.changed").len(), 1);
    let audited = || async {
        let audit = client.get("/api/v1/audit?action=webhook").await;
        audit.expect_status(200);
        assert!(!audit.text().contains("/hook") && !audit.text().contains("whsec_"));
        (audit.json()["entries"].as_array().unwrap().len() == 4).then_some(())
    };
    until("each change is on record, without secrets", LIMIT, audited).await;

    // An engineer of some models has webhooks of these alone.
    client.create_model("other").await.expect_status(201);
    let scope = json!({"name": "hooks", "role": "engineer", "scope": {"models": ["other"]}});
    let key = client.post("/api/v1/api-keys", &scope).await.expect_status(201).json();
    let scoped = engine.with_token(key["key"].as_str().unwrap());
    let mine = make(&client, &json!({"url": first.url})).await;
    assert_eq!(scoped.get(HOOKS).await.expect_status(200).json()["webhooks"], json!([]));
    patch(&scoped, &mine, &json!({"enabled": false})).await.expect_status(404);
    for models in [json!([]), json!(["iris"]), json!(["other", "iris"])] {
        let body = json!({"url": first.url, "models": models});
        scoped.post(HOOKS, &body).await.expect_problem(403, "forbidden", &["its own models"]);
    }
    make(&scoped, &json!({"url": first.url, "models": ["other"]})).await;
    let seen = scoped.get("/api/v1/events").await.expect_status(200).json();
    let seen = seen["events"].as_array().unwrap();
    assert!(seen.iter().all(|event| event["model"] == "other"), "{seen:?}");
    scoped.get("/api/v1/events?model=iris").await.expect_status(403);
}

async fn a_url_that_leads_inside_is_refused(topology: Topology) {
    let engine = shared(topology).await;
    let client = engine.sign_in_as(Role::Engineer).await;
    let receiver = Receiver::start().await;
    let decimal = receiver.url.replace("127.0.0.1", "2130706433");
    let named = receiver.url.replace("127.0.0.1", "localhost");
    let mapped = receiver.url.replace("127.0.0.1", "[::ffff:7f00:1]");
    for url in [
        receiver.url.as_str(),
        &decimal,
        &named,
        &mapped,
        "http://169.254.169.254/latest/meta-data/iam",
        "http://[fd00:ec2::254]/",
        "http://10.0.0.1/",
        "https://192.168.1.1/",
        "http://0.0.0.0:8000/",
        "http://100.64.0.1/",
    ] {
        let answer = client.post(HOOKS, &json!({"url": url})).await;
        answer.expect_problem(422, "unprocessable", &["#/url", "router.outbound.allow"]);
    }
    for (url, word) in [
        ("ftp://example.com/", "https://<host>"),
        ("hook", "https://<host>"),
        ("http://anna:hush@example.com/", "no password"),
        ("http://no-such-host.invalid/", "does not resolve"),
    ] {
        let answer = client.post(HOOKS, &json!({"url": url})).await;
        answer.expect_problem(422, "unprocessable", &["#/url", word]);
        assert!(!answer.text().contains("hush"));
    }
    let secret = json!({"url": "http://example.com", "secret": "whsec_c2hvcnQ="});
    client.post(HOOKS, &secret).await.expect_problem(422, "unprocessable", &["#/secret"]);
    let listed = client.get(HOOKS).await.expect_status(200).json();
    assert_eq!(listed, json!({"webhooks": []}));
    assert_eq!(receiver.received().len(), 0, "nobody called");
}

#[test]
fn deliveries_outlast_the_store_and_a_router_that_is_killed() {
    run(Topology::Distributed, async {
        let mut postgres = PrivateServer::postgres().await;
        let mut setup = setup(Topology::Distributed);
        setup.set("ENGINE__ROUTER__EVENTS__ATTEMPTS", "1000");
        setup.set("ENGINE__ROUTER__EVENTS__TIMEOUT_MS", "1000");
        setup.set("ENGINE__ROUTER__EVENTS__LEASE_S", "1");
        let relational = postgres.url().to_owned();
        setup.stores = Some(Stores { relational, ..Stores::fresh().await });
        let mut engine = Engine::start(setup).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        let receiver = Receiver::start().await;
        receiver.answer(&[], 503);
        let body = json!({"url": receiver.url, "kinds": ["route.changed"]});
        let hook = make(&client, &body).await;
        client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
        came(&receiver, "route.changed", 2).await;

        postgres.stop().await;
        receiver.answer(&[], 204);
        postgres.start_again().await;
        let done = deliveries(&client, &hook, "delivered", 1).await;
        assert_eq!(done[0]["last_status"], 204);

        // Killed at work: the other one goes on when the lease has ended.
        receiver.answer(&[], 503);
        client.put_route("iris", &[(1, 1.0)]).await.expect_status(200);
        let tried = receiver.received().len() + 2;
        came(&receiver, "route.changed", tried).await;
        engine.server_mut("router-2").kill();
        receiver.answer(&[], 204);
        deliveries(&client, &hook, "delivered", 2).await;
        let taken = receiver.received().into_iter().filter(|one| one.answered == 204);
        let ids: Vec<String> = taken.map(|one| one.header("webhook-id").to_owned()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 2, "{ids:?}");
    });
}
