//! What the services say to each other, as an OpenAPI document for whoever reads a trace or writes
//! a service in another language.

use std::collections::BTreeMap;
use std::fs;

use contracts::{ApiError, Endpoint, Framed, Wire, auth, drift, feedback, inference, router};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// What `Framed` puts on the wire, in words.
const FRAMED: &str = "the length of the JSON (4 bytes, little-endian), the JSON, the payload";

#[derive(Default)]
struct Document {
    paths: BTreeMap<&'static str, Value>,
    parts: Vec<(String, RefOr<Schema>)>,
}

/// One body: its content type, its schema, and where it lies on the wire.
struct Body {
    kind: &'static str,
    schema: Value,
    framed: bool,
}

impl Document {
    fn json<T: ToSchema + Wire>(&mut self) -> Body {
        Body { kind: T::CONTENT_TYPE, schema: self.schema::<T>(), framed: false }
    }

    fn framed<T: ToSchema>(&mut self) -> Body
    where
        Framed<T>: Wire,
    {
        let kind = <Framed<T> as Wire>::CONTENT_TYPE;
        Body { kind, schema: self.schema::<T>(), framed: true }
    }

    fn schema<T: ToSchema>(&mut self) -> Value {
        T::schemas(&mut self.parts);
        if T::name() == "()" {
            return json!({"type": "null"});
        }
        self.parts.push((T::name().into_owned(), T::schema()));
        json!({"$ref": format!("#/components/schemas/{}", T::name())})
    }

    fn add(&mut self, path: &'static str, request: &Body, answer: &Body) {
        let content = |body: &Body| {
            let about = if body.framed { FRAMED } else { "JSON" };
            json!({"description": about, "content": {body.kind: {"schema": body.schema}}})
        };
        let operation = json!({
            "operationId": path.trim_start_matches("/internal/").replace(['/', '-'], "_"),
            "requestBody": content(request),
            "responses": {
                "200": content(answer),
                "default": {"description": "Failure.", "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/ApiError"}}}},
            },
        });
        let earlier = self.paths.insert(path, json!({"post": operation}));
        assert!(earlier.is_none(), "{path} is there twice");
    }

    fn plain<Q: ToSchema + Wire, A: ToSchema + Wire>(&mut self, endpoint: &Endpoint<Q, A>) {
        let (request, answer) = (self.json::<Q>(), self.json::<A>());
        self.add(endpoint.path, &request, &answer);
    }

    fn payload<Q: ToSchema, A: ToSchema>(&mut self, endpoint: &Endpoint<Framed<Q>, Framed<A>>)
    where
        Framed<Q>: Wire,
        Framed<A>: Wire,
    {
        let (request, answer) = (self.framed::<Q>(), self.framed::<A>());
        self.add(endpoint.path, &request, &answer);
    }

    fn upload<Q: ToSchema, A: ToSchema + Wire>(&mut self, endpoint: &Endpoint<Framed<Q>, A>)
    where
        Framed<Q>: Wire,
    {
        let (request, answer) = (self.framed::<Q>(), self.json::<A>());
        self.add(endpoint.path, &request, &answer);
    }
}

fn document() -> Value {
    let mut all = Document::default();
    all.plain(&auth::SIGN_IN);
    all.plain(&auth::OIDC_BEGIN);
    all.plain(&auth::OIDC_FINISH);
    all.plain(&auth::SERVICE_TOKEN);
    all.plain(&auth::JWKS);
    all.plain(&auth::USERS);
    all.plain(&auth::CREATE_USER);
    all.plain(&auth::REFRESH);
    all.plain(&auth::SIGN_OUT);
    all.plain(&auth::CHANGE_PASSWORD);
    all.plain(&auth::EXCHANGE_KEY);
    all.plain(&auth::ROTATE_SIGNING_KEY);
    all.plain(&auth::REVOCATIONS);
    all.plain(&auth::CHANGE_USER);
    all.plain(&auth::API_KEYS);
    all.plain(&auth::CREATE_API_KEY);
    all.plain(&auth::ROTATE_API_KEY);
    all.plain(&auth::REVOKE_API_KEY);
    all.plain(&auth::RECORD);
    all.plain(&auth::AUDIT);
    all.plain(&auth::VERIFY_AUDIT);
    all.plain(&drift::SUMMARY);
    all.upload(&feedback::SUBMIT);
    all.plain(&feedback::OF_PREDICTION);
    all.plain(&feedback::SUMMARY);
    all.plain(&feedback::PENDING);
    all.payload(&inference::PREDICT);
    all.plain(&inference::CHECK);
    all.plain(&inference::LOAD);
    all.plain(&inference::UNLOAD);
    all.plain(&inference::LOADED);
    all.payload(&router::PREDICT);
    all.plain(&router::PREDICTION);
    all.plain(&router::MODELS);
    all.plain(&router::MODEL);
    all.plain(&router::CREATE_MODEL);
    all.upload(&router::CREATE_VERSION);
    all.plain(&router::VERSION);
    all.plain(&router::SET_ALIAS);
    all.plain(&router::ROUTE);
    all.plain(&router::PUT_ROUTE);
    all.plain(&router::POLICY);
    all.plain(&router::PUT_POLICY);
    all.plain(&router::SET_ENABLED);
    all.plain(&router::FOLLOW);
    all.plain(&router::FLUSH);
    all.plain(&router::READINESS);
    all.plain(&router::EXPLAIN);
    all.plain(&router::ROLLBACK);
    all.plain(&router::SWITCH);
    all.plain(&router::CLEAR_BLOCK);
    all.plain(&router::HISTORY);
    all.plain(&router::IMPOSE);
    all.plain(&router::SHADOW_REPORT);
    all.plain(&router::EXPERIMENTS);
    all.plain(&router::EXPERIMENT);
    all.plain(&router::CREATE_EXPERIMENT);
    all.plain(&router::ACT_ON_EXPERIMENT);
    all.plain(&router::REPORT);
    all.plain(&router::WHAT_IF);
    all.plain(&router::LAYERS);
    all.plain(&router::PUT_LAYER);
    all.plain(&router::ROLLOUTS);
    all.plain(&router::ROLLOUT);
    all.plain(&router::CREATE_ROLLOUT);
    all.plain(&router::ACT_ON_ROLLOUT);
    all.plain(&router::EVENTS);
    all.plain(&router::WEBHOOKS);
    all.plain(&router::CREATE_WEBHOOK);
    all.plain(&router::CHANGE_WEBHOOK);
    all.plain(&router::REMOVE_WEBHOOK);
    all.plain(&router::TEST_WEBHOOK);
    all.plain(&router::DELIVERIES);
    all.plain(&router::RETRY_DELIVERY);
    all.schema::<ApiError>();
    let schemas: BTreeMap<String, Value> = all
        .parts
        .into_iter()
        .map(|(name, part)| (name, serde_json::to_value(part).unwrap()))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "AI Decision Engine, between its services",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Not for the public: the gateway's API is. Every call is a POST with the \
                            caller's token, or a service's own, as a bearer token.",
        },
        "paths": all.paths,
        "components": {"schemas": schemas},
    })
}

#[test]
fn the_internal_description_is_up_to_date() {
    super::compare("openapi/internal.json", &document());
}

#[test]
fn every_endpoint_is_in_the_internal_description() {
    let mut declared = Vec::new();
    let entries = fs::read_dir(format!("{}/src", super::FOLDER)).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let source = fs::read_to_string(path).unwrap();
        for kind in ["Endpoint::new(\"", "Endpoint::repeatable(\""] {
            let paths = source.split(kind).skip(1);
            declared.extend(paths.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    declared.sort();
    let document = document();
    let described: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(described, declared.iter().collect::<Vec<_>>());
}

#[test]
fn no_reference_leads_nowhere() {
    let document = document();
    let text = document.to_string();
    for target in text.split("#/components/schemas/").skip(1) {
        let name = target.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "`{name}` is not there");
    }
}
