//! `docs/rights.md`: every public route, and whom it is for.

use std::fmt::Write as _;
use std::fs;

use domain::Role;
use gateway::http::routes;
use runtime::http::{Access, PublicRoute};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rights.md");
const PEOPLE: [Role; 4] = [Role::Admin, Role::Engineer, Role::Analyst, Role::Client];

const HEAD: &str = "\
# Rights

Every route of the public API, the role that it asks for, and what of a scope counts there.
Generated from the table of routes in `services/gateway/src/http.rs` by `make openapi`; do not edit.

- A role may also do what is asked of those that it stands in for: \"open to\" lists them all.
- Where \"scope\" says `route`, a user or an API key with a list of routes needs this one in it.
- Where it says `model`, one with a list of models needs the model of the path in it; what lists and records hold of other models is left out, not found or refused.
- Every service behind the gateway asks for the role again, and for the model, also where the path names none.

| route | asks for | open to | scope |
|---|---|---|---|
";

fn row(route: &PublicRoute) -> String {
    let (asks, roles): (String, Vec<Role>) = match route.access {
        Access::Anyone => ("nothing".to_owned(), Vec::new()),
        Access::SignedIn => ("a credential".to_owned(), PEOPLE.to_vec()),
        Access::Roles(asked) => {
            let names: Vec<_> = asked.iter().map(|role| format!("`{}`", role.as_str())).collect();
            let may = |role: &Role| asked.iter().any(|asked| role.may(*asked));
            (names.join(" or "), PEOPLE.into_iter().filter(may).collect())
        }
    };
    let open_to = match route.access {
        Access::Anyone => "anyone".to_owned(),
        _ => roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", "),
    };
    let scope = match (route.access, route.path.contains("{model}")) {
        (Access::Anyone, _) => "",
        (_, true) => "route, model",
        (_, false) => "route",
    };
    format!("| `{}` | {asks} | {open_to} | {scope} |", route.name())
}

#[test]
fn the_table_of_rights_is_up_to_date() {
    let mut routes = routes();
    routes.sort_by(|one, other| {
        (one.path, one.method.as_str()).cmp(&(other.path, other.method.as_str()))
    });
    let mut real = HEAD.to_owned();
    for route in &routes {
        writeln!(real, "{}", row(route)).unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(FILE, &real).unwrap();
    }
    let committed = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == real,
        "docs/rights.md is not what the code says: run `make openapi`, then read the diff"
    );
}
