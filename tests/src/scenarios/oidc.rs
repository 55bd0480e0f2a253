//! Sign-in through an identity provider: a real one, which a person of the tests goes to and comes back
//! from as a browser does.

use std::time::Duration;

use domain::Role;
use serde_json::{Value, json};
use testkit::{Client, Engine, Method, PASSWORD, Provider, Setup, Topology, scenarios, until};
use tokio::sync::OnceCell;

scenarios!(
    a_person_signs_in_with_the_role_of_a_group,
    what_comes_back_wrong_is_refused,
    an_id_token_that_was_changed_is_refused,
    who_is_in_no_group_or_disabled_is_refused,
    a_local_user_is_not_taken_over,
    a_role_changed_at_the_provider_counts_from_the_next_sign_in,
    a_provider_that_is_down_is_503_and_its_new_key_is_found,
    a_provider_with_tls_is_believed_if_the_system_trusts_it,
);

struct Place {
    provider: Provider,
    engine: Engine,
}

/// An engine with its provider, which the scenarios share; each has people of its own.
async fn place(topology: Topology) -> &'static Place {
    static EMBEDDED: OnceCell<Place> = OnceCell::const_new();
    static DISTRIBUTED: OnceCell<Place> = OnceCell::const_new();
    let cell = match topology {
        Topology::Embedded => &EMBEDDED,
        Topology::Distributed => &DISTRIBUTED,
    };
    cell.get_or_init(|| async {
        let provider = Provider::start().await;
        let mut setup = Setup::new(topology);
        provider.set_up(&mut setup);
        Place { engine: Engine::start(setup).await, provider }
    })
    .await
}

impl Place {
    async fn person(&self, subject: &str, name: &str, groups: &[&str]) {
        let claims = json!({"preferred_username": name, "groups": groups});
        self.provider.account(subject, claims, None).await;
    }

    async fn signed_in(&self, subject: &str) -> (Value, Client) {
        let token = self.provider.sign_in(&self.engine, subject).await.expect_status(200).json();
        let client = self.engine.with_token(token["access_token"].as_str().unwrap());
        (token, client)
    }
}

async fn me(client: &Client) -> Value {
    client.get("/api/v1/auth/me").await.expect_status(200).json()
}

async fn until_refused(client: &Client) {
    let out = || async { (client.get("/api/v1/auth/me").await.status == 401).then_some(()) };
    until("the token refused", Duration::from_secs(2), out).await;
}

async fn a_person_signs_in_with_the_role_of_a_group(topology: Topology) {
    let place = place(topology).await;
    let engine = &place.engine;
    let begun = engine.anonymous().request(Method::GET, "/api/v1/auth/oidc/login");
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let begun = http.unwrap().execute(begun.build().unwrap()).await.unwrap();
    assert_eq!(begun.status(), 302);
    let to = begun.headers()["location"].to_str().unwrap();
    assert!(to.starts_with(&format!("{}/auth?response_type=code&", place.provider.issuer)), "{to}");
    assert!(to.contains("&code_challenge_method=S256"), "{to}");
    let cookie = begun.headers()["set-cookie"].to_str().unwrap();
    for attribute in [
        "; HttpOnly",
        "; Secure",
        "; SameSite=Lax",
        "; Path=/api/v1/auth/oidc/callback",
        "; Max-Age=600",
    ] {
        assert!(cookie.contains(attribute), "{cookie}");
    }

    place.person("s-anna", "anna", &["staff", "engineers", "clients"]).await;
    let returned = place.provider.go(engine, "s-anna", |_| {}).await;
    let answer = returned.finish(engine).await;
    assert_eq!(answer.expect_status(200).header("cache-control"), "no-store");
    let token = answer.json();
    assert_eq!((&token["role"], &token["token_type"]), (&json!("engineer"), &json!("Bearer")));
    assert!(token["refresh_expires_in"].as_u64().unwrap() <= 43_200);
    let anna = engine.with_token(token["access_token"].as_str().unwrap());
    let who = me(&anna).await;
    assert_eq!((&who["name"], &who["kind"]), (&json!("oidc:anna"), &json!("user")));
    anna.create_model("of-anna").await.expect_status(201);
    anna.get("/api/v1/users").await.expect_status(403);
    let refresh = json!({"refresh_token": token["refresh_token"]});
    let next = engine.anonymous().post("/api/v1/auth/refresh", &refresh).await;
    assert_eq!(next.expect_status(200).json()["role"], "engineer");

    // What the ID token does not hold is asked for.
    let hidden = json!({"sign": "own", "claims": {"groups": null, "preferred_username": null}});
    let claims = json!({"preferred_username": "bert", "groups": "clients"});
    place.provider.account("s-bert", claims, Some(hidden)).await;
    let (token, bert) = place.signed_in("s-bert").await;
    assert_eq!((&token["role"], &me(&bert).await["name"]), (&json!("client"), &json!("oidc:bert")));

    let admin = engine.admin().await;
    let users = admin.get("/api/v1/users").await.expect_status(200).json();
    let user =
        users["users"].as_array().unwrap().iter().find(|user| user["username"] == "oidc:anna");
    let user = user.unwrap();
    assert_eq!(user["identity"], format!("{} s-anna", place.provider.issuer));
    assert_eq!(
        (&user["role"], &user["created_by"]),
        (&json!("engineer"), &json!("identity provider"))
    );
    let page = admin.get("/api/v1/audit?target=user:oidc:anna&after=0").await;
    let page = page.expect_status(200).json();
    let entries = page["entries"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["user.create", "session.begin"], "{page}");
    assert_eq!(entries[0]["actor"]["name"], "oidc:anna");
}

async fn what_comes_back_wrong_is_refused(topology: Topology) {
    let Place { provider, engine } = place(topology).await;
    place(topology).await.person("s-wrong", "wrong", &["admins"]).await;
    let go = async |change: fn(&mut std::collections::BTreeMap<String, String>)| {
        provider.go(engine, "s-wrong", change).await
    };
    let set = |name: &'static str, value: &'static str| (name.to_owned(), value.to_owned());
    let refused = async |returned: &testkit::Returned, words: &[&str]| {
        let answer = returned.finish(engine).await;
        answer.expect_problem(401, "unauthenticated", words);
        assert!(answer.text().contains("GET /api/v1/auth/oidc/login"), "{}", answer.text());
    };

    // The same thing twice.
    let good = go(|_| {}).await;
    good.finish(engine).await.expect_status(200);
    refused(&good, &["came back before"]).await;
    // A code that was used, in a sign-in that was not.
    let mut other = go(|_| {}).await;
    other.query.insert("code".to_owned(), good.query["code"].clone());
    refused(&other, &["does not take the code"]).await;

    let mut returned = go(|_| {}).await;
    returned.query.extend([set("state", "another")]);
    refused(&returned, &["`state`"]).await;
    returned.query.remove("state");
    refused(&returned, &["`state`"]).await;
    // Somebody else's browser, with and without a sign-in of its own; and a cookie that was made up.
    let (mut ours, theirs) = (go(|_| {}).await, go(|_| {}).await);
    ours.cookie.clone_from(&theirs.cookie);
    refused(&ours, &["`state`"]).await;
    for cookie in ["", "engine-sign-in=", "engine-sign-in=1.x.y", "a=b"] {
        let returned = testkit::Returned { cookie: cookie.to_owned(), ..theirs.clone() };
        refused(&returned, &["this browser did not begin it"]).await;
    }
    // None of this used it up.
    theirs.finish(engine).await.expect_status(200);

    let returned = go(|query| drop(query.insert("nonce".to_owned(), "another".to_owned()))).await;
    refused(&returned, &["ID token", "`nonce`"]).await;
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned();
    let returned = provider
        .go(engine, "s-wrong", |query| drop(query.insert("code_challenge".to_owned(), challenge)))
        .await;
    refused(&returned, &["does not take the code"]).await;
    let mut returned = go(|_| {}).await;
    returned.query.extend([set("iss", "https://evil.example")]);
    refused(&returned, &["`iss`"]).await;
    let mut returned = go(|_| {}).await;
    returned.query.remove("iss");
    refused(&returned, &["`iss`"]).await;
    let mut returned = go(|_| {}).await;
    returned.query.remove("code");
    refused(&returned, &["no code"]).await;
    // The provider knows nobody of this name.
    let returned = provider.go(engine, "s-nobody", |_| {}).await;
    refused(&returned, &["`access_denied`"]).await;
    // An answer holds a secret, which is kept nowhere.
    let path = "/api/v1/auth/oidc/callback?code=a&state=b";
    let client = engine.anonymous();
    let request = client.request(Method::GET, path).header("Idempotency-Key", "0123456789abcdef");
    client.send(request).await.expect_problem(400, "bad_request", &["secret"]);
    // It is on record.
    let admin = engine.admin().await;
    let page = admin.get("/api/v1/audit?action=session.begin&limit=1000").await;
    assert!(page.expect_status(200).text().contains("came back before"), "{}", page.text());
}

async fn an_id_token_that_was_changed_is_refused(topology: Topology) {
    let Place { provider, engine } = place(topology).await;
    let claims = json!({"preferred_username": "eve", "groups": ["clients"]});
    for (forge, words) in [
        (json!({"sign": "keep", "claims": {"groups": ["admins"]}}), &["signature"][..]),
        (json!({"sign": "keep", "claims": {"sub": "s-anna"}}), &["signature"]),
        (json!({"sign": "other", "claims": {"groups": ["admins"]}}), &["signature"]),
        (json!({"sign": "none", "claims": {"groups": ["admins"]}}), &["no signed JWT"]),
        (json!({"sign": "hmac", "claims": {"groups": ["admins"]}}), &["auth.oidc.algorithms"]),
        (json!({"sign": "own", "claims": {"aud": "another client"}}), &["`aud`"]),
        (json!({"sign": "own", "claims": {"aud": ["decision engine", "another"]}}), &["`azp`"]),
        (json!({"sign": "own", "claims": {"iss": "https://evil.example"}}), &["`iss`"]),
        (json!({"sign": "own", "claims": {"exp": 1_700_000_000}}), &["`exp`"]),
        (json!({"sign": "own", "claims": {"exp": null}}), &["`exp`"]),
        (json!({"sign": "own", "claims": {"iat": 4_000_000_000_u32}}), &["not valid yet"]),
        (json!({"sign": "own", "claims": {"nonce": null}}), &["`nonce`"]),
    ] {
        provider.account("s-eve", claims.clone(), Some(forge)).await;
        let answer = provider.sign_in(engine, "s-eve").await;
        answer.expect_problem(401, "unauthenticated", words);
    }
    // What is told at `userinfo` is about who the ID token names.
    let forge = json!({"sign": "own", "claims": {"sub": "s-other", "groups": null}});
    provider.account("s-eve", claims.clone(), Some(forge)).await;
    let answer = provider.sign_in(engine, "s-eve").await;
    answer.expect_problem(401, "unauthenticated", &["somebody else"]);
    // The same way with nothing changed but a signature of the same key.
    let forge = json!({"sign": "own", "claims": {}});
    provider.account("s-eve", claims, Some(forge)).await;
    assert_eq!(provider.sign_in(engine, "s-eve").await.expect_status(200).json()["role"], "client");
}

async fn who_is_in_no_group_or_disabled_is_refused(topology: Topology) {
    let place = place(topology).await;
    let Place { provider, engine } = place;
    place.person("s-carl", "carl", &["Admins", "strangers"]).await;
    let answer = provider.sign_in(engine, "s-carl").await;
    answer.expect_problem(403, "forbidden", &["`oidc:carl` may not sign in", "auth.oidc.roles"]);
    provider.account("s-carl", json!({"preferred_username": "carl"}), None).await;
    provider.sign_in(engine, "s-carl").await.expect_problem(403, "forbidden", &["oidc:carl"]);
    let users = engine.admin().await.get("/api/v1/users").await.text();
    assert!(!users.contains("oidc:carl"), "who may not sign in is no user: {users}");

    place.person("s-carl", "carl", &["clients"]).await;
    let (_, carl) = place.signed_in("s-carl").await;
    let admin = engine.admin().await;
    let patch = async |body: Value| {
        let request = admin.request(Method::PATCH, "/api/v1/users/oidc:carl").json(&body);
        admin.send(request).await
    };
    patch(json!({"disabled": true})).await.expect_status(200);
    until_refused(&carl).await;
    provider.sign_in(engine, "s-carl").await.expect_problem(403, "forbidden", &["disabled"]);
    // Another name at the provider does not make another user.
    place.person("s-carl", "karl", &["admins"]).await;
    let answer = provider.sign_in(engine, "s-carl").await;
    answer.expect_problem(403, "forbidden", &["`oidc:carl`", "disabled"]);
    patch(json!({"disabled": false})).await.expect_status(200);
    let (token, carl) = place.signed_in("s-carl").await;
    assert_eq!((&token["role"], &me(&carl).await["name"]), (&json!("admin"), &json!("oidc:carl")));
    // The provider vouches, and nobody else: there is no password beside it.
    patch(json!({"password": PASSWORD})).await.expect_problem(
        422,
        "unprocessable",
        &["#/password"],
    );
    let body = json!({"username": "oidc:carl", "password": ""});
    engine.anonymous().post("/api/v1/auth/token", &body).await.expect_status(401);
    // It is on record.
    let page = admin.get("/api/v1/audit?target=user:oidc:carl&after=0").await;
    let refused = |entry: &&Value| entry["outcome"] == "refused";
    assert!(
        page.expect_status(200).json()["entries"]
            .as_array()
            .unwrap()
            .iter()
            .filter(refused)
            .count()
            >= 2
    );

    for (name, words) in [(json!("a b"), "a b"), (json!(null), "tells no"), (json!("a/b"), "a/b")] {
        let claims = json!({"preferred_username": name, "groups": ["clients"]});
        provider.account("s-odd", claims, None).await;
        let answer = provider.sign_in(engine, "s-odd").await;
        answer.expect_problem(403, "forbidden", &["preferred_username", words]);
    }
}

async fn a_local_user_is_not_taken_over(topology: Topology) {
    let place = place(topology).await;
    let Place { provider, engine } = place;
    let local = me(&engine.admin().await).await;
    place.person("s-false-admin", "admin", &["clients"]).await;
    let (token, client) = place.signed_in("s-false-admin").await;
    let who = me(&client).await;
    assert_eq!((&who["name"], &token["role"]), (&json!("oidc:admin"), &json!("client")));
    assert_ne!(who["id"], local["id"]);
    client.get("/api/v1/users").await.expect_status(403);
    assert_eq!(me(&engine.admin().await).await, local);
    // Nor can an admin make a user who is taken for one of the provider.
    let body = json!({"username": "oidc:dora", "password": PASSWORD, "role": "client"});
    let answer = engine.admin().await.post("/api/v1/users", &body).await;
    answer.expect_problem(422, "unprocessable", &["#/username"]);
    // Somebody else of the same name at the provider is another person.
    place.person("s-dora", "dora", &["clients"]).await;
    let (_, dora) = place.signed_in("s-dora").await;
    place.person("s-dora-2", "dora", &["admins"]).await;
    let answer = provider.sign_in(engine, "s-dora-2").await;
    answer.expect_problem(403, "forbidden", &["`oidc:dora`", "somebody else"]);
    assert_eq!(me(&dora).await["role"], "client");
    // With another name there, that one comes in.
    place.person("s-dora-2", "dora-2", &["clients"]).await;
    let (_, second) = place.signed_in("s-dora-2").await;
    assert_ne!(me(&second).await["id"], me(&dora).await["id"]);
}

async fn a_role_changed_at_the_provider_counts_from_the_next_sign_in(topology: Topology) {
    let place = place(topology).await;
    let Place { provider, engine } = place;
    place.person("s-fred", "fred", &["engineers"]).await;
    let (token, engineer) = place.signed_in("s-fred").await;
    assert_eq!(token["role"], "engineer");
    place.person("s-fred", "fred", &["clients"]).await;
    assert_eq!(me(&engineer).await["role"], "engineer", "nobody asks before that");
    let (token, client) = place.signed_in("s-fred").await;
    assert_eq!(token["role"], "client");
    // What was got with the old role is over.
    until_refused(&engineer).await;
    assert_eq!(me(&client).await["role"], "client");
    client.create_model("of-fred").await.expect_status(403);
    // The same role once more ends nothing.
    let (_, again) = place.signed_in("s-fred").await;
    assert_eq!(me(&again).await["id"], me(&client).await["id"]);
    // In no group any more: no way in, and what is open is closed.
    place.person("s-fred", "fred", &[]).await;
    provider.sign_in(engine, "s-fred").await.expect_problem(403, "forbidden", &["oidc:fred"]);
    until_refused(&client).await;
    until_refused(&again).await;
    let refresh = json!({"refresh_token": token["refresh_token"]});
    engine.anonymous().post("/api/v1/auth/refresh", &refresh).await.expect_status(401);
}

async fn a_provider_that_is_down_is_503_and_its_new_key_is_found(topology: Topology) {
    let mut provider = Provider::start().await;
    let mut setup = Setup::new(topology);
    provider.set_up(&mut setup);
    provider.stop();
    // It need not be there when the engine starts.
    let engine = Engine::start(setup).await;
    let login = engine.anonymous().get("/api/v1/auth/oidc/login").await;
    login.expect_problem(503, "unavailable", &["identity provider cannot be reached"]);
    assert_eq!(login.header("retry-after"), "1");
    engine.sign_in_as(Role::Admin).await.get("/api/v1/users").await.expect_status(200);

    provider.start_again().await;
    let claims = json!({"preferred_username": "gina", "groups": ["clients"]});
    provider.account("s-gina", claims.clone(), None).await;
    provider.sign_in(&engine, "s-gina").await.expect_status(200);
    let returned = provider.go(&engine, "s-gina", |_| {}).await;
    provider.stop();
    let answer = returned.finish(&engine).await;
    answer.expect_problem(503, "unavailable", &["identity provider cannot be reached"]);

    // It signs with another key now.
    provider.start_again().await;
    provider.account("s-gina", claims, None).await;
    let signed_in = || async {
        let answer = provider.sign_in(&engine, "s-gina").await;
        assert!([200, 401].contains(&answer.status), "{}", answer.text());
        (answer.status == 200).then_some(())
    };
    until("the new key known", Duration::from_secs(30), signed_in).await;
}

async fn a_provider_with_tls_is_believed_if_the_system_trusts_it(topology: Topology) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let provider = Provider::start_with_tls(&certificate, &key).await;
    let claims = json!({"preferred_username": "hugo", "groups": ["clients"]});
    provider.account("s-hugo", claims, None).await;
    for trusted in [true, false] {
        let mut setup = Setup::new(topology);
        provider.set_up(&mut setup);
        if trusted {
            setup.set("SSL_CERT_FILE", &certificate.display().to_string());
            setup.set("SSL_CERT_DIR", &folder.path().display().to_string());
        }
        let engine = Engine::start(setup).await;
        if trusted {
            let answer = provider.sign_in(&engine, "s-hugo").await;
            assert_eq!(answer.expect_status(200).json()["role"], "client");
        } else {
            let login = engine.anonymous().get("/api/v1/auth/oidc/login").await;
            login.expect_problem(503, "unavailable", &["identity provider"]);
            let said = || async { engine.logs().contains("failed to").then_some(()) };
            until("the log says why", Duration::from_secs(10), said).await;
        }
    }
}
