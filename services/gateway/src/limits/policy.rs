//! A policy: what is limited, for whom, to how much.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use domain::{ModelName, Principal, PrincipalKind, Role};
use serde::Deserialize;

/// Of what a bucket's key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The user or the API key.
    Client,
    /// The API key; users are not limited.
    Key,
    /// The address of the client.
    Address,
    /// The caller's role.
    Role,
    /// The model that is asked.
    Model,
    /// The route.
    Route,
}

/// A limit on those requests to which it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// In headers, metrics and answers.
    pub name: String,
    /// Each distinct value has a bucket.
    pub per: Vec<Dimension>,
    /// Tokens that come in a window.
    pub quota: u32,
    /// The window, seconds.
    pub window_s: u32,
    /// Tokens of a full bucket.
    pub burst: u32,
    /// Only for these roles; empty for all, and for those who have not signed in.
    pub roles: Vec<Role>,
    /// Only for these models; empty for all, and for routes without one.
    pub models: Vec<ModelName>,
    /// Only for these routes; empty for all.
    pub routes: Vec<String>,
}

/// What a policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Verb and path, `POST /api/v1/models/{model}/predict`.
    pub route: &'a str,
    /// Who asks.
    pub principal: Option<&'a Principal>,
    /// From where.
    pub address: Option<IpAddr>,
    /// Which model is asked.
    pub model: Option<&'a str>,
}

impl Policy {
    /// How long one token takes to come.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.window_s)) / self.quota.max(1)
    }

    /// Whether it can apply to requests of this route.
    pub fn is_for(&self, route: &str) -> bool {
        self.routes.is_empty() || self.routes.iter().any(|known| known == route)
    }

    /// The bucket of a request; `None` if the policy does not apply to it.
    pub fn bucket(&self, asked: &Asked<'_>) -> Option<String> {
        if !self.is_for(asked.route) {
            return None;
        }
        let role = asked.principal.map(|principal| principal.role);
        if !self.roles.is_empty() && !role.is_some_and(|role| self.roles.contains(&role)) {
            return None;
        }
        let is_named = |model: &str| self.models.iter().any(|known| known.as_str() == model);
        if !self.models.is_empty() && !asked.model.is_some_and(is_named) {
            return None;
        }
        // With its numbers: after they were changed, buckets begin anew.
        let Self { name, quota, window_s, burst, .. } = self;
        let mut key = format!("{name}:{quota}/{window_s}/{burst}");
        for dimension in &self.per {
            key.push(':');
            key.push_str(&dimension.value(asked)?);
        }
        Some(key)
    }
}

impl Dimension {
    fn value(self, asked: &Asked<'_>) -> Option<String> {
        match self {
            Self::Client => asked.principal.map(|principal| principal.id.clone()),
            Self::Key => asked
                .principal
                .filter(|principal| principal.kind == PrincipalKind::ApiKey)
                .map(|principal| principal.id.clone()),
            Self::Address => asked.address.map(|address| network(address).to_string()),
            Self::Role => asked.principal.map(|principal| principal.role.as_str().to_owned()),
            // What is no name is refused further on, and makes no bucket.
            Self::Model => asked.model?.parse::<ModelName>().ok().map(|name| name.to_string()),
            Self::Route => Some(asked.route.to_owned()),
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Key => "key",
            Self::Address => "address",
            Self::Role => "role",
            Self::Model => "model",
            Self::Route => "route",
        })
    }
}

/// Who has one IPv6 address has the 2^64 around it, too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREDICT: &str = "POST /api/v1/models/{model}/predict";

    fn policy(per: &[Dimension]) -> Policy {
        Policy {
            name: "p".to_owned(),
            per: per.to_vec(),
            quota: 20,
            window_s: 1,
            burst: 5,
            roles: vec![],
            models: vec![],
            routes: vec![],
        }
    }

    #[test]
    fn the_bucket_is_made_of_what_per_names() {
        use Dimension::{Address, Client, Key, Model, Route};
        let ada = Principal::user("7", "ada", Role::Client);
        let key = Principal { kind: PrincipalKind::ApiKey, ..ada.clone() };
        let asked = Asked {
            route: PREDICT,
            principal: Some(&ada),
            address: Some("2001:db8:1:2:3:4:5:6".parse().unwrap()),
            model: Some("iris"),
        };
        let bucket = |per: &[Dimension], asked: &Asked<'_>| policy(per).bucket(asked);
        assert_eq!(bucket(&[Client], &asked).unwrap(), "p:20/1/5:7");
        assert_eq!(bucket(&[Client, Model], &asked).unwrap(), "p:20/1/5:7:iris");
        assert_eq!(bucket(&[Address], &asked).unwrap(), "p:20/1/5:2001:db8:1:2::");
        assert_eq!(
            bucket(&[Dimension::Role, Route], &asked).unwrap(),
            format!("p:20/1/5:client:{PREDICT}")
        );
        assert_eq!(bucket(&[Key], &asked), None, "a user is no key");
        let with_key = Asked { principal: Some(&key), ..asked };
        assert_eq!(bucket(&[Key], &with_key).unwrap(), "p:20/1/5:7");
        let nobody = Asked { principal: None, model: Some("no model!"), ..asked };
        assert_eq!(bucket(&[Client], &nobody), None);
        assert_eq!(bucket(&[Model], &nobody), None);
        let mapped = Asked { address: Some("::ffff:10.0.0.1".parse().unwrap()), ..asked };
        assert_eq!(bucket(&[Address], &mapped).unwrap(), "p:20/1/5:10.0.0.1");
    }

    #[test]
    fn filters_leave_others_alone() {
        let ada = Principal::user("7", "ada", Role::Analyst);
        let asked =
            Asked { route: PREDICT, principal: Some(&ada), address: None, model: Some("iris") };
        let nobody = Asked { principal: None, model: None, ..asked };
        let applies = |policy: &Policy, asked: &Asked<'_>| policy.bucket(asked).is_some();
        let plain = policy(&[Dimension::Route]);
        assert!(applies(&plain, &asked) && applies(&plain, &nobody));
        for (role, wanted) in [(Role::Analyst, true), (Role::Client, false)] {
            let filtered = Policy { roles: vec![role], ..plain.clone() };
            assert_eq!((applies(&filtered, &asked), applies(&filtered, &nobody)), (wanted, false));
        }
        for (model, wanted) in [("iris", true), ("other", false)] {
            let filtered = Policy { models: vec![model.parse().unwrap()], ..plain.clone() };
            assert_eq!((applies(&filtered, &asked), applies(&filtered, &nobody)), (wanted, false));
        }
        for (route, wanted) in [(PREDICT, true), ("POST /predict", false)] {
            let filtered = Policy { routes: vec![route.to_owned()], ..plain.clone() };
            assert_eq!(applies(&filtered, &asked), wanted);
        }
    }
}
