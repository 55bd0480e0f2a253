//! The API's description is true.

use std::collections::BTreeSet;

use gateway::http::{openapi, routes};
use testkit::{Topology, scenarios, shared};

scenarios!(the_description_lists_the_routes_there_are, the_page_to_read_it_answers);

async fn the_description_lists_the_routes_there_are(topology: Topology) {
    let client = shared(topology).await.anonymous();
    let document = client.get("/openapi.json").await.expect_status(200).json();
    let mut told = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            told.insert(format!("{} {path}", method.to_uppercase()));
            assert!(operation["x-roles"].is_array(), "{method} {path} says for whom it is");
        }
    }
    let there: BTreeSet<String> =
        routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(told, there);
    assert_eq!(document, openapi());
}

async fn the_page_to_read_it_answers(topology: Topology) {
    let client = shared(topology).await.anonymous();
    for path in ["/docs/", "/docs", "/docs/index.html"] {
        let answer = client.get(path).await;
        assert!(answer.expect_status(200).header("content-type").starts_with("text/html"));
    }
    assert!(client.get("/docs/").await.text().to_lowercase().contains("swagger"));
}
