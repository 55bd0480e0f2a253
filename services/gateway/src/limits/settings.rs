//! `[gateway.limits]`: see `settings.default.toml`, which says what each is.

use std::fmt;

use domain::{ModelName, Role};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::concurrency::{ALL, PER_CLIENT};
use super::policy::{Dimension, Policy};

/// `[gateway.limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub mode: Mode,
    pub policies: Policies,
    pub store_timeout_ms: u64,
    pub store_rest_ms: u64,
    pub legacy_headers: bool,
}

/// What happens to what is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It is counted.
    Shadow,
    /// Nothing is looked at.
    Off,
}

/// Policies that each can do something. In the environment they are JSON.
#[derive(Debug, Clone, Default)]
pub struct Policies(pub Vec<Policy>);

/// The most tokens that may come in a second.
const MOST_PER_SECOND: u64 = 1_000_000;
/// Routes that are never limited: whoever watches must see an engine that is busy.
pub(crate) const UNLIMITED: [&str; 9] = [
    "/livez",
    "/readyz",
    "/healthz",
    "/health",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/v2/health/live",
    "/v2/health/ready",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    per: Vec<Dimension>,
    quota: u32,
    window_s: u32,
    burst: Option<u32>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    routes: Vec<String>,
}

impl<'de> Deserialize<'de> for Policies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = deserializer.deserialize_any(ListOrJson)?;
        let routes = crate::http::routes();
        let limited = routes.iter().filter(|route| !UNLIMITED.contains(&route.path));
        let known: Vec<String> = limited.map(|route| route.name()).collect();
        checked(written, &known).map(Self).map_err(D::Error::custom)
    }
}

struct ListOrJson;

impl<'de> Visitor<'de> for ListOrJson {
    type Value = Vec<Written>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of policies, or the same as JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Written>, E> {
        serde_json::from_str(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<Written>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
    }
}

/// Refuses a policy that could do nothing, with the reason.
fn checked(written: Vec<Written>, known: &[String]) -> Result<Vec<Policy>, String> {
    let mut policies: Vec<Policy> = Vec::new();
    for one in written {
        let name = one.name.clone();
        let policy = check(one, known).map_err(|fault| format!("policy `{name}`: {fault}"))?;
        if policies.iter().any(|known| known.name == name) {
            return Err(format!("policy `{name}`: there are two of this name: rename one"));
        }
        policies.push(policy);
    }
    Ok(policies)
}

fn check(written: Written, known: &[String]) -> Result<Policy, String> {
    let Written { name, per, quota, window_s, burst, roles, models, routes } = written;
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
        return Err("a name is 1 to 40 of `a` to `z`, `0` to `9` and `-`".to_owned());
    }
    if name == ALL || name == PER_CLIENT {
        return Err("the engine has a limit of this name: take another".to_owned());
    }
    if per.is_empty() {
        return Err("`per` is empty: name at least one of `client`, `key`, `address`, `role`, \
             `model`, `route`"
            .to_owned());
    }
    let burst = burst.unwrap_or(quota);
    for (key, number) in [("quota", quota), ("window_s", window_s), ("burst", burst)] {
        if number == 0 {
            return Err(format!("`{key}` is 0: it must be at least 1"));
        }
    }
    if u64::from(quota) > MOST_PER_SECOND * u64::from(window_s) {
        return Err(format!(
            "`quota` is {quota} in {window_s} s: at most {MOST_PER_SECOND} a second can be counted"
        ));
    }
    for route in &routes {
        if !known.contains(route) {
            return Err(format!(
                "`routes` has `{route}`, which is no route that can be limited: write verb and path as in `/docs`, such as `POST /api/v1/models/{{model}}/predict`"
            ));
        }
    }
    let needs_model = !models.is_empty() || per.contains(&Dimension::Model);
    let has_model = |route: &String| route.contains("{model}") || route == "POST /predict";
    if needs_model && !routes.is_empty() && !routes.iter().any(has_model) {
        return Err("it is about models, but none of its `routes` has one".to_owned());
    }
    let role = |role: &String| match Role::parse(role) {
        Some(known) if known != Role::Service => Ok(known),
        _ => {
            Err(format!("`roles` has `{role}`: there are `admin`, `engineer`, `analyst`, `client`"))
        }
    };
    let roles = roles.iter().map(role).collect::<Result<_, _>>()?;
    let model = |model: &String| {
        model.parse::<ModelName>().map_err(|error| format!("`models` has `{model}`: {error}"))
    };
    let models = models.iter().map(model).collect::<Result<_, _>>()?;
    Ok(Policy { name, per, quota, window_s, burst, roles, models, routes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Policy>, String> {
        let policies: Result<Policies, _> = serde_json::from_value(serde_json::Value::from(text));
        policies.map(|policies| policies.0).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_right_and_limit_sign_in_alone() {
        let file: toml::Table = crate::DEFAULTS.parse().unwrap();
        let limits = file["gateway"]["limits"].clone();
        let settings: Settings = limits.try_into().unwrap();
        let [policy] = &settings.policies.0[..] else { panic!("{settings:?}") };
        let routes = [
            "POST /api/v1/auth/token",
            "GET /api/v1/auth/oidc/login",
            "GET /api/v1/auth/oidc/callback",
        ];
        assert_eq!(policy.routes, routes);
        assert_eq!((settings.mode, policy.burst), (Mode::Enforce, 30));
    }

    #[test]
    fn a_policy_may_be_written_as_json() {
        let text = r#"[{"name": "a", "per": ["client", "model"], "quota": 20, "window_s": 1}]"#;
        let policies = read(text).unwrap();
        assert_eq!(policies[0].burst, 20);
        assert_eq!(policies[0].interval(), std::time::Duration::from_millis(50));
    }

    #[test]
    fn a_policy_that_could_do_nothing_is_refused_with_the_reason() {
        let good = r#""name": "a", "per": ["client"], "quota": 1, "window_s": 1"#;
        assert!(read(&format!("[{{{good}}}]")).is_ok());
        for (from, to, word) in [
            (r#"["client"]"#, "[]", "`per` is empty"),
            (r#"["client"]"#, r#"["colour"]"#, "colour"),
            (r#""quota": 1"#, r#""quota": 0"#, "`quota` is 0"),
            (r#""quota": 1"#, r#""quota": 2000001"#, "a second can be counted"),
            (r#""window_s": 1"#, r#""window_s": 0"#, "`window_s` is 0"),
            (r#""window_s": 1"#, r#""window_s": 1, "burst": 0"#, "`burst` is 0"),
            (r#""window_s": 1"#, r#""window_s": 1, "roles": ["boss"]"#, "boss"),
            (r#""window_s": 1"#, r#""window_s": 1, "roles": ["service"]"#, "service"),
            (r#""window_s": 1"#, r#""window_s": 1, "routes": ["POST /nowhere"]"#, "POST /nowhere"),
            (r#""window_s": 1"#, r#""window_s": 1, "routes": ["GET /metrics"]"#, "GET /metrics"),
            (r#""window_s": 1"#, r#""window_s": 1, "models": ["a b"]"#, "a b"),
            (
                r#""window_s": 1"#,
                r#""window_s": 1, "models": ["iris"], "routes": ["GET /api/v1/users"]"#,
                "about models",
            ),
            (r#""window_s": 1"#, r#""window_s": 1, "bursts": 3"#, "bursts"),
            (r#""name": "a""#, r#""name": "a\"b""#, "1 to 40"),
            (r#""name": "a""#, r#""name": "concurrent-requests""#, "take another"),
        ] {
            let text = format!("[{{{}}}]", good.replace(from, to));
            let error = read(&text).unwrap_err();
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
        let error = read(&format!("[{{{good}}}, {{{good}}}]")).unwrap_err();
        assert!(error.contains("policy `a`: there are two"), "{error}");
    }
}
