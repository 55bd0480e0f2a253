use serde_json::json;

use super::*;

fn context() -> Context {
    serde_json::from_value(json!({
        "fields": {"country": "PT", "age": 41, "beta": true, "code": "41"},
        "headers": {"x-app-version": "12", "user-agent": "curl/8.1"},
    }))
    .unwrap()
}

fn audiences() -> BTreeMap<String, Audience> {
    serde_json::from_value(json!({
        "staff": {"units": ["anna", "7"]},
        "iberia": {"when": [{"field": "context.country", "in": ["PT", "ES"]}]},
        "nobody": {},
    }))
    .unwrap()
}

/// Whether a condition holds for anna, an analyst called `Anna A.`, or for nobody in particular.
fn holds(condition: Value, unit: Option<&str>) -> bool {
    let condition: Condition = serde_json::from_value(condition).unwrap();
    let context = context();
    let who = Who { unit, role: Role::Analyst, caller: "Anna A.", context: &context };
    Tests::new(&[condition], &Members::all(&audiences())).hold(&who)
}

#[test]
fn every_comparison_holds_for_whom_it_should_and_for_nobody_else() {
    let cases = [
        (json!({"field": "unit", "equals": "anna"}), true),
        (json!({"field": "unit", "equals": "Anna"}), false),
        (json!({"field": "role", "in": ["admin", "analyst"]}), true),
        (json!({"field": "role", "equals": "client"}), false),
        (json!({"field": "caller", "prefix": "Anna"}), true),
        (json!({"field": "context.country", "equals": "PT"}), true),
        (json!({"field": "context.country", "equals": "pt"}), false),
        (json!({"field": "context.country", "in": ["ES", "PT"]}), true),
        (json!({"field": "context.beta", "equals": true}), true),
        (json!({"field": "context.beta", "equals": "true"}), false),
        (json!({"field": "context.age", "equals": 41.0}), true),
        (json!({"field": "context.age", "equals": "41"}), false),
        (json!({"field": "context.code", "equals": 41}), false),
        (json!({"field": "context.age", "range": {"min": 41}}), true),
        (json!({"field": "context.age", "range": {"max": 41}}), false),
        (json!({"field": "context.age", "range": {"min": 18, "max": 41.5}}), true),
        (json!({"field": "context.code", "range": {"min": 18}}), false),
        (json!({"field": "header.x-app-version", "range": {"min": 12, "max": 13}}), true),
        (json!({"field": "header.X-App-Version", "equals": 12}), true),
        (json!({"field": "header.x-app-version", "equals": "12"}), true),
        (json!({"field": "header.user-agent", "range": {"min": 0}}), false),
        (json!({"field": "header.user-agent", "prefix": "curl/"}), true),
        (json!({"field": "context.age", "prefix": "4"}), false),
        (json!({"field": "context.country", "exists": true}), true),
        (json!({"field": "context.none", "exists": true}), false),
        (json!({"field": "context.none", "exists": false}), true),
        (json!({"audience": "staff"}), true),
        (json!({"audience": "iberia"}), true),
        (json!({"audience": "nobody"}), false),
    ];
    for (condition, expected) in cases {
        assert_eq!(holds(condition.clone(), Some("anna")), expected, "{condition}");
        let mut negated = condition.clone();
        negated["not"] = json!(true);
        assert_eq!(holds(negated.clone(), Some("anna")), !expected, "{negated}");
    }
}

#[test]
fn what_is_not_there_meets_no_comparison_and_so_every_negated_one() {
    assert!(!holds(json!({"field": "unit", "equals": "anna"}), None));
    assert!(holds(json!({"field": "unit", "equals": "anna", "not": true}), None));
    assert!(holds(json!({"field": "unit", "exists": false}), None));
    assert!(!holds(json!({"audience": "staff"}), None));
    assert!(!holds(json!({"field": "header.x-tier", "range": {"max": 9}}), None));
    assert!(holds(json!({"field": "unit", "range": {"min": 7, "max": 8}}), Some("7")));
}

#[test]
fn a_condition_that_makes_no_sense_never_holds() {
    for condition in [
        json!({"field": "nonsense", "equals": 1}),
        json!({"field": "unit"}),
        json!({"audience": "unknown"}),
        json!({"audience": "unknown", "not": true}),
    ] {
        assert!(!holds(condition.clone(), Some("anna")), "{condition}");
    }
}

#[test]
fn words_say_what_a_condition_asks() {
    let words = |condition: Value| in_words(&serde_json::from_value(condition).unwrap());
    let range = json!({"field": "context.age", "range": {"min": 18}, "not": true});
    assert_eq!(words(range), "not: `context.age` is 18 or more");
    assert_eq!(words(json!({"audience": "staff"})), "it is in the audience `staff`");
}
