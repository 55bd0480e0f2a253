//! Traces: one request is one trace on all its hops, and a collector can do no harm.

use std::time::Duration;

use serde_json::json;
use testkit::collector::Span;
use testkit::{Client, Collector, Engine, Method, Setup, Topology, models, run, scenarios, until};

scenarios!(a_collector_that_is_gone_costs_no_request);

const CLIENTS_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENTS_SPAN: &str = "00f067aa0ba902b7";

async fn traced(topology: Topology, endpoint: &str) -> Engine {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__TELEMETRY__OTLP_ENDPOINT", endpoint);
    setup.set("ENGINE__TELEMETRY__TRACE_RATIO", "1");
    Engine::start(setup).await
}

async fn predict(client: &Client, traceparent: Option<&str>) -> u16 {
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let mut request = client.request(Method::POST, "/api/v1/models/iris/predict").json(&body);
    if let Some(parent) = traceparent {
        request = request.header("traceparent", parent);
    }
    client.send(request).await.status
}

/// The span of this service, kind and name, once it came.
fn find<'a>(spans: &'a [Span], service: &str, kind: &str, name: &str) -> &'a Span {
    let wanted = |span: &&Span| {
        span.service == service && span.kind == format!("SPAN_KIND_{kind}") && span.name == name
    };
    spans
        .iter()
        .find(wanted)
        .unwrap_or_else(|| panic!("no {kind} `{name}` of {service}: {spans:#?}"))
}

/// The spans of a trace, once the last one of them came: that of the gateway.
async fn trace(collector: &Collector, of: impl Fn(&Span) -> bool) -> Vec<Span> {
    let whole = || async {
        let spans = collector.spans();
        let door = spans.iter().find(|span| of(span))?;
        let of_trace = spans.iter().filter(|span| span.trace == door.trace);
        let of_trace: Vec<Span> = of_trace.cloned().collect();
        (of_trace.len() >= 7).then_some(of_trace)
    };
    until("the spans of a prediction", Duration::from_secs(20), whole).await
}

#[test]
fn a_prediction_is_one_trace_from_the_door_to_the_model() {
    run(Topology::Distributed, async {
        let collector = Collector::start().await;
        let mut engine = traced(Topology::Distributed, &collector.url).await;
        let client = engine.admin().await;
        client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
        assert_eq!(predict(&client, None).await, 200);

        const DOOR: &str = "POST /api/v1/models/{model}/predict";
        let spans = trace(&collector, |span| span.name == DOOR).await;
        let chain = [
            ("gateway", "SERVER", DOOR),
            ("gateway", "CLIENT", "POST /internal/router/predict"),
            ("router", "SERVER", "POST /internal/router/predict"),
            ("router", "INTERNAL", "engine.predict"),
            ("router", "CLIENT", "POST /internal/inference/predict"),
            ("inference", "SERVER", "POST /internal/inference/predict"),
            ("inference", "INTERNAL", "engine.infer"),
        ];
        let chain = chain.map(|(service, kind, name)| find(&spans, service, kind, name));
        assert_eq!(chain[0].parent, "", "nobody called the gateway");
        for [caller, called] in chain.windows(2).map(|pair| [pair[0], pair[1]]) {
            assert_eq!(called.parent, caller.id, "{} calls {}", caller.name, called.name);
        }
        let decision = chain[3];
        assert_eq!(decision.attribute("engine.model"), "iris");
        assert_eq!(decision.attribute("engine.model.version"), "1");
        assert_eq!(decision.attribute("engine.decision.reason"), "request");
        // Who was given what: all to one version, by each request itself.
        let exposure = decision.event("feature_flag.evaluation").expect("an exposure");
        assert_eq!(
            exposure,
            [
                ("feature_flag.key", "iris"),
                ("feature_flag.result.variant", "1"),
                ("feature_flag.result.reason", "static"),
                ("feature_flag.provider.name", "decision-engine"),
                ("feature_flag.version", "1"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        let id = decision.attribute("engine.prediction.id");
        assert_eq!(chain[6].attribute("engine.prediction.id"), id);
        client.prediction(id).await.expect_status(200);
        assert_eq!(chain[0].attribute("http.response.status_code"), "200");
        assert_eq!(chain[4].attribute("server.address"), "inference");
        assert!(chain.iter().all(|span| !span.failed));

        // A trace that the client began goes on; what failed says so.
        let parent = format!("00-{CLIENTS_TRACE}-{CLIENTS_SPAN}-01");
        assert_eq!(predict(&client, Some(&parent)).await, 200);
        let spans = trace(&collector, |span| span.trace == CLIENTS_TRACE).await;
        assert_eq!(find(&spans, "gateway", "SERVER", DOOR).parent, CLIENTS_SPAN);
        let logged = || async {
            let inference = engine.servers().iter().filter(|server| server.name.starts_with("inf"));
            inference
                .map(|server| server.log())
                .any(|log| log.contains(CLIENTS_TRACE))
                .then_some(())
        };
        until("the access log names the trace", Duration::from_secs(30), logged).await;

        // One of two versions, by a unit that is not told.
        client.upload_version("iris", &models::committed("iris-logreg").upload()).await;
        client.put_route("iris", &[(1, 50.0), (2, 50.0)]).await.expect_status(200);
        let split = "6".repeat(32);
        let parent = format!("00-{split}-{CLIENTS_SPAN}-01");
        let body = json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": "anna@example.com"});
        let request = client.request(Method::POST, "/api/v1/models/iris/predict").json(&body);
        let answer = client.send(request.header("traceparent", parent)).await;
        let version =
            answer.expect_status(200).json()["model_version"].as_str().unwrap().to_owned();
        let spans = trace(&collector, |span| span.trace == split).await;
        let decision = find(&spans, "router", "INTERNAL", "engine.predict");
        let exposure = decision.event("feature_flag.evaluation").expect("an exposure");
        let says = |key: &str| {
            let found = exposure.iter().find(|(known, _)| known == key);
            found.map_or("", |(_, value)| value.as_str())
        };
        assert_eq!(says("feature_flag.result.variant"), version);
        assert_eq!(says("feature_flag.result.reason"), "split");
        assert_eq!(says("feature_flag.version"), "2");
        // The first 16 digits of the unit's SHA-256.
        assert_eq!(says("feature_flag.context.id"), "f7d54c22dda5b178");
        assert!(!format!("{spans:?}").contains("anna@"));

        // What the client does not record is not recorded; what waits at the stop is sent.
        let unsampled = "5".repeat(32);
        let parent = format!("00-{unsampled}-{CLIENTS_SPAN}-00");
        assert_eq!(predict(&client, Some(&parent)).await, 200);
        let missing = json!({"features": [1.0]});
        client.predict("iris", &missing).await.expect_status(422);
        engine.stop().await;
        let spans = collector.spans();
        assert!(!spans.iter().any(|span| span.trace == unsampled));
        let refused = |span: &&Span| span.attribute("http.response.status_code") == "422";
        let refused: Vec<&Span> = spans.iter().filter(refused).collect();
        assert!(refused.iter().any(|span| span.service == "inference"), "{refused:#?}");
        for span in refused {
            // The convention: a refusal is the caller's failure, and not the server's.
            assert_eq!(span.failed, span.kind == "SPAN_KIND_CLIENT", "{span:?}");
        }
        assert!(!spans.iter().any(|span| span.name.contains("livez")), "probes are not traced");
    });
}

async fn a_collector_that_is_gone_costs_no_request(topology: Topology) {
    // Nobody answers at one, and the other takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:9", silent.as_str()] {
        let mut engine = traced(topology, endpoint).await;
        let client = engine.admin().await;
        client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
        let began = std::time::Instant::now();
        for _ in 0..200 {
            assert_eq!(predict(&client, None).await, 200);
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "200 predictions took {took:?}");
        let said = || async { engine.logs().contains("takes no traces").then_some(()) };
        until("a line in the log", Duration::from_secs(20), said).await;
        let began = std::time::Instant::now();
        engine.stop().await;
        let took = began.elapsed();
        eprintln!("stopped within {took:.1?}, with `{endpoint}` as collector");
    }
}
