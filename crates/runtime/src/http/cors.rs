//! Which pages of other origins may ask, from a browser.

use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use serde::Deserialize;

use crate::settings::List;

/// `[gateway.cors]`, checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Raw")]
pub struct CorsSettings {
    origins: Vec<String>,
    methods: Vec<Method>,
    headers: Vec<HeaderName>,
    exposed: Vec<HeaderName>,
    max_age_s: usize,
    credentials: bool,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    allowed_origins: List<String>,
    allowed_methods: List<String>,
    allowed_headers: List<String>,
    exposed_headers: List<String>,
    max_age_s: usize,
    allow_credentials: bool,
}

const ANY: &str = "*";

impl TryFrom<Raw> for CorsSettings {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let origins = raw.allowed_origins.0;
        if let Some(wrong) = origins.iter().find(|origin| *origin != ANY && !is_origin(origin)) {
            return Err(format!(
                "`{wrong}` in `gateway.cors.allowed_origins` is no origin: write it as browsers do, `https://app.example.com` or `http://localhost:3000`, in lower case and without a path or `/` at the end"
            ));
        }
        let any = origins.iter().any(|origin| origin == ANY);
        if any && origins.len() > 1 {
            return Err(
                "`gateway.cors.allowed_origins` holds `*` and more: `*` alone is any".to_owned()
            );
        }
        if any && raw.allow_credentials {
            return Err(
                "`gateway.cors.allow_credentials` needs origins by name, not `*`: any page could act for whoever is signed in".to_owned(),
            );
        }
        let methods = raw.allowed_methods.0.iter().map(|name| {
            name.parse::<Method>().map_err(|_wrong| {
                format!("`{name}` in `gateway.cors.allowed_methods` is no method")
            })
        });
        Ok(Self {
            methods: methods.collect::<Result<_, _>>()?,
            headers: names("allowed_headers", &raw.allowed_headers)?,
            exposed: names("exposed_headers", &raw.exposed_headers)?,
            max_age_s: raw.max_age_s,
            credentials: raw.allow_credentials,
            origins,
        })
    }
}

fn names(setting: &str, list: &List<String>) -> Result<Vec<HeaderName>, String> {
    let name = |text: &String| {
        text.parse().map_err(|_wrong| format!("`{text}` in `gateway.cors.{setting}` is no header"))
    };
    list.0.iter().map(name).collect()
}

/// Whether it is what a browser writes into `Origin`: it is compared letter by letter.
fn is_origin(text: &str) -> bool {
    let Some((scheme, place)) = text.split_once("://") else { return false };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let host_fits = !host.is_empty()
        && host.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-[]:_".contains(&byte)
        });
    // A browser leaves out the usual port.
    let port_fits = |port: &str| {
        port.parse::<u16>().is_ok_and(|number| number != usual && number.to_string() == port)
    };
    host_fits && port.is_none_or(port_fits)
}

impl CorsSettings {
    /// Whether any other origin may ask.
    pub(super) fn is_on(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Answers preflights, which carry no token, and tells browsers who may read an answer.
    pub(super) fn layer(&self) -> Cors {
        let mut cors = Cors::default()
            .allowed_methods(self.methods.iter())
            .allowed_headers(self.headers.clone())
            .expose_headers(self.exposed.iter())
            .max_age(self.max_age_s)
            .block_on_origin_mismatch(false);
        if self.credentials {
            cors = cors.supports_credentials();
        }
        for origin in &self.origins {
            cors = match origin.as_str() {
                ANY => cors.allow_any_origin().send_wildcard(),
                origin => cors.allowed_origin(origin),
            };
        }
        cors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(origins: &[&str], allow_credentials: bool) -> Result<CorsSettings, String> {
        let list = |words: &[&str]| List(words.iter().map(|word| (*word).to_owned()).collect());
        Raw {
            allowed_origins: list(origins),
            allowed_methods: list(&["GET"]),
            allowed_headers: list(&["authorization"]),
            exposed_headers: list(&["x-request-id"]),
            max_age_s: 60,
            allow_credentials,
        }
        .try_into()
    }

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://[::1]:3000",
            "http://[::1]",
        ] {
            assert!(read(&[good], true).unwrap().is_on(), "{good}");
        }
        for bad in [
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "https://a.example.com:443",
            "http://a:b@c",
            "ftp://a",
            "https://",
            "https://a:0080",
            "https://*.example.com",
            "null",
            "",
        ] {
            let error = read(&[bad], false).unwrap_err();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
    }

    #[test]
    fn any_origin_stands_alone_and_goes_without_credentials() {
        assert!(read(&["*"], false).unwrap().is_on());
        assert!(read(&["*"], true).unwrap_err().contains("allow_credentials"));
        assert!(read(&["*", "https://a"], false).unwrap_err().contains("`*` alone"));
        assert!(!read(&[], false).unwrap().is_on());
    }
}
