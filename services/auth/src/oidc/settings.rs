//! `[auth.oidc]`: see `settings.default.toml`, which says what each is.

use std::str::FromStr as _;

use domain::Role;
use jsonwebtoken::Algorithm;
use runtime::Secret;
use runtime::settings::List;
use serde::Deserialize;

use crate::AuthError;
use crate::settings::{MAX_TOKEN_TTL_S, YEAR_S};

/// `[auth.oidc]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub redirect_url: String,
    pub scopes: List<String>,
    pub groups_claim: String,
    pub roles: Roles,
    pub default_role: String,
    pub username_claim: String,
    pub algorithms: List<String>,
    pub leeway_s: u32,
    pub sign_in_ttl_s: u32,
    pub session_ttl_s: u32,
    pub refresh_s: u32,
    pub timeout_ms: u32,
    pub max_answer_bytes: usize,
}

/// What groups may do. In the environment they are JSON.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Form")]
pub struct Roles(pub Vec<RoleOf>);

/// What one group may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RoleOf {
    pub group: String,
    pub role: Role,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Json(String),
    Items(Vec<RoleOf>),
}

impl TryFrom<Form> for Roles {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Items(items) => Ok(Self(items)),
            Form::Json(text) if text.trim().is_empty() => Ok(Self::default()),
            Form::Json(text) => serde_json::from_str(&text).map(Self).map_err(|error| {
                format!("`auth.oidc.roles` is no list such as [{{\"group\": \"a\", \"role\": \"client\"}}]: {error}")
            }),
        }
    }
}

impl Settings {
    /// Whether there is an identity provider.
    pub(crate) fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// The role of who has these groups.
    pub(super) fn role_of(&self, groups: &[&str]) -> Option<Role> {
        let fits = |of: &&RoleOf| groups.contains(&of.group.as_str());
        let found = self.roles.0.iter().find(fits).map(|of| of.role);
        found.or_else(|| Role::parse(&self.default_role))
    }

    /// The algorithms that are taken.
    pub(super) fn pinned(&self) -> Vec<Algorithm> {
        self.algorithms.0.iter().filter_map(|name| algorithm(name)).collect()
    }

    /// Refuses values that cannot work, and a section that was filled in by halves.
    pub(crate) fn check(&self) -> Result<(), AuthError> {
        let refuse = |setting, value: &str, must_be: &str| {
            Err(AuthError::Setting {
                setting,
                value: value.to_owned(),
                must_be: must_be.to_owned(),
            })
        };
        let needed = [
            ("auth.oidc.issuer", self.issuer.as_str()),
            ("auth.oidc.client_id", self.client_id.as_str()),
            ("auth.oidc.client_secret", self.client_secret.reveal()),
            ("auth.oidc.redirect_url", self.redirect_url.as_str()),
        ];
        let rules = !self.roles.0.is_empty() || !self.default_role.is_empty();
        let given = needed.iter().find(|(_, value)| !value.is_empty()).map(|(setting, _)| *setting);
        let Some(given) = given.or(rules.then_some("auth.oidc.roles` or `auth.oidc.default_role"))
        else {
            return Ok(());
        };
        if let Some((setting, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            let must_be =
                format!("given, as `{given}` is: fill in the section [auth.oidc], or leave it out");
            return refuse(setting, "", &must_be);
        }
        if !rules {
            let must_be = "a list with one group at least, or `auth.oidc.default_role` be a role: nobody could sign in";
            return refuse("auth.oidc.roles", "[]", must_be);
        }
        for (setting, value) in
            [("auth.oidc.issuer", &self.issuer), ("auth.oidc.redirect_url", &self.redirect_url)]
        {
            if !is_safe(value) || value.contains('?') {
                let must_be = "a URL `https://host/path` without a query; http is for 127.0.0.1, [::1] and localhost alone";
                return refuse(setting, value, must_be);
            }
        }
        let person = "`admin`, `engineer`, `analyst` or `client`";
        let of_person = |role: Role| role != Role::Service;
        if !self.default_role.is_empty() && !Role::parse(&self.default_role).is_some_and(of_person)
        {
            return refuse(
                "auth.oidc.default_role",
                &self.default_role,
                &format!("{person}, or empty"),
            );
        }
        if let Some(of) = self.roles.0.iter().find(|of| of.group.is_empty() || !of_person(of.role))
        {
            let must_be = format!("a list of groups that have a name, each with one of {person}");
            let value = format!("{} = {}", of.group, of.role.as_str());
            return refuse("auth.oidc.roles", &value, &must_be);
        }
        for (setting, value) in [
            ("auth.oidc.groups_claim", &self.groups_claim),
            ("auth.oidc.username_claim", &self.username_claim),
        ] {
            if value.is_empty() {
                return refuse(setting, "", "the name of a claim, or a JSON pointer to one");
            }
        }
        let word = |scope: &String| scope.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.scopes.0.iter().any(|scope| scope == "openid") || !self.scopes.0.iter().all(word) {
            return refuse(
                "auth.oidc.scopes",
                &self.scopes.0.join(", "),
                "a list of words with `openid` among them",
            );
        }
        let unknown = self.algorithms.0.iter().find(|name| algorithm(name).is_none());
        if unknown.is_some() || self.algorithms.0.is_empty() {
            let value = unknown.map_or("", String::as_str);
            let must_be = "a list of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
            return refuse("auth.oidc.algorithms", value, must_be);
        }
        for (setting, value, range) in [
            ("auth.oidc.leeway_s", self.leeway_s, 0..=600),
            ("auth.oidc.sign_in_ttl_s", self.sign_in_ttl_s, 10..=MAX_TOKEN_TTL_S),
            ("auth.oidc.session_ttl_s", self.session_ttl_s, 60..=YEAR_S),
            ("auth.oidc.refresh_s", self.refresh_s, 10..=MAX_TOKEN_TTL_S),
            ("auth.oidc.timeout_ms", self.timeout_ms, 10..=60_000),
        ] {
            if !range.contains(&value) {
                let must_be = format!("{} to {}", range.start(), range.end());
                return refuse(setting, &value.to_string(), &must_be);
            }
        }
        if !(1024..=64 << 20).contains(&self.max_answer_bytes) {
            return refuse(
                "auth.oidc.max_answer_bytes",
                &self.max_answer_bytes.to_string(),
                "1024 to 67108864",
            );
        }
        Ok(())
    }
}

/// An algorithm by its name, if it is one with a public key.
fn algorithm(name: &str) -> Option<Algorithm> {
    if name.starts_with("HS") { None } else { Algorithm::from_str(name).ok() }
}

/// Whether it is a URL that nobody on the way can listen to: https, or http on this machine.
pub(super) fn is_safe(url: &str) -> bool {
    let odd = |byte: u8| {
        !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'#' | b'@' | b'"' | b'<' | b'>')
    };
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let of_host =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'[' | b']' | b':');
    let known = match scheme {
        "https" => !host.is_empty() && host.bytes().all(of_host),
        "http" => matches!(host, "127.0.0.1" | "[::1]" | "localhost"),
        _ => false,
    };
    known && is_port && !url.bytes().any(odd)
}

/// The path of a URL.
pub(super) fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    rest.find('/').and_then(|place| rest.get(place..)).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_can_listen_to_is_safe() {
        for good in [
            "https://id.example",
            "https://id.example:8443/realms/a?b=c",
            "https://[2001:db8::1]:8443/",
            "http://127.0.0.1:9000/x",
            "http://[::1]:9000",
            "http://localhost/",
        ] {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "",
            "id.example",
            "ftp://id.example",
            "http://id.example",
            "http://10.0.0.7:9000",
            "http://127.0.0.1@evil.example/",
            "http://127.0.0.1.evil.example/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a\\b/",
            "https://a/#b",
            "https://a:x/",
            "https://a:0/",
            "http://localhost:9000:9000/",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }

    #[test]
    fn the_path_is_what_follows_the_host() {
        assert_eq!(path_of("https://a:1/b/c"), "/b/c");
        assert_eq!(path_of("https://a"), "/");
    }
}
