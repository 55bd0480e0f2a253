//! The published JSON Schema of the manifest is the type's own.

use std::collections::BTreeMap;

use domain::Manifest;
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

/// References point into the document itself, as plain JSON Schema has it.
fn rewrite(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                *target = target.replace("#/components/schemas/", "#/$defs/");
            }
            fields.values_mut().for_each(rewrite);
        }
        Value::Array(list) => list.iter_mut().for_each(rewrite),
        _ => {}
    }
}

fn schema() -> Value {
    let mut parts = Vec::new();
    Manifest::schemas(&mut parts);
    let mut root = serde_json::to_value(Manifest::schema()).unwrap();
    // An author may leave any field out: the engine reads it from the graph.
    root.as_object_mut().unwrap().remove("required");
    let parts: BTreeMap<String, Value> =
        parts.into_iter().map(|(name, part)| (name, serde_json::to_value(part).unwrap())).collect();
    root["$defs"] = json!(parts);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Model manifest");
    rewrite(&mut root);
    root
}

#[test]
fn the_published_schema_is_up_to_date() {
    super::compare("manifest.schema.json", &schema());
}
