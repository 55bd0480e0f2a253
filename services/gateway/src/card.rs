//! A version's model card: its manifest as Markdown, for people.

use std::fmt::Write;

use domain::manifest::{Feature, FeatureKind, Tool};
use domain::{Modality, Task, Version};
use time::format_description::well_known::Rfc3339;

/// Renders the card. What the manifest does not say is left out.
pub fn render(version: &Version) -> String {
    let manifest = &version.manifest;
    let mut card = format!("# {} {}\n", version.model, version.version);
    let mut line = |text: String| {
        let _ = writeln!(card, "{text}");
    };
    if !manifest.description.is_empty() {
        line(format!("\n{}", manifest.description));
    }
    line("\n## Facts\n".to_owned());
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            line(format!("- **{name}**: {value}"));
        }
    };
    let tool = |tool: &Option<Tool>| {
        tool.as_ref().map(|tool| format!("{} {}", tool.name, tool.version)).unwrap_or_default()
    };
    let task = match manifest.task {
        Task::Classification => "classification",
        Task::Regression => "regression",
        Task::Embedding => "embedding",
    };
    let modality = match manifest.modality {
        Modality::Tabular => "rows of features",
        Modality::Text => "texts",
        Modality::Image => "pictures",
    };
    fact("Task", format!("{task} of {modality}"));
    fact(
        "Author's version",
        manifest.version.as_ref().map(ToString::to_string).unwrap_or_default(),
    );
    fact("Framework", tool(&manifest.framework));
    fact("Converter", tool(&manifest.converter));
    let when = version.created_at.format(&Rfc3339).unwrap_or_default();
    fact("Registered", format!("by {} at {when}", version.created_by));
    fact("Licence", manifest.licence.clone());
    fact("Source", manifest.source.clone());
    fact("Intended use", manifest.intended_use.clone());
    fact("Training data", manifest.data.training.join(", "));
    fact("Validation data", manifest.data.validation.join(", "));
    fact("Classes", shortened(&manifest.labels));
    for file in &version.files {
        fact("File", format!("`{}`, {} bytes, SHA-256 `{}`", file.name, file.bytes, file.sha256));
    }
    if !manifest.features.is_empty() {
        line(
            "\n## Features\n\n| name | type | allowed | seen in training |\n|---|---|---|---|"
                .to_owned(),
        );
        for feature in &manifest.features {
            line(row(feature));
        }
    }
    for (title, values) in [("Metrics", &manifest.metrics), ("Parameters", &manifest.parameters)] {
        if !values.is_empty() {
            line(format!("\n## {title}\n"));
            for (name, value) in values {
                line(format!("- {name}: {value}"));
            }
        }
    }
    for (title, texts) in [
        ("Limitations", &manifest.limitations),
        ("Assumptions of the engine", &manifest.assumptions),
    ] {
        if !texts.is_empty() {
            line(format!("\n## {title}\n"));
            for text in texts {
                line(format!("- {text}"));
            }
        }
    }
    card
}

fn row(feature: &Feature) -> String {
    let kind = match feature.kind {
        FeatureKind::Number => "number",
        FeatureKind::Integer => "integer",
        FeatureKind::Boolean => "boolean",
        FeatureKind::Category => "category",
        FeatureKind::String => "text",
    };
    let mut allowed = match (feature.min, feature.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("from {min}"),
        (None, Some(max)) => format!("to {max}"),
        (None, None) => shortened(&feature.categories),
    };
    if feature.optional {
        allowed.push_str(if allowed.is_empty() { "may be missing" } else { ", may be missing" });
    }
    let seen = feature
        .training
        .map(|seen| format!("{:.4} to {:.4}", seen.min, seen.max))
        .unwrap_or_default();
    format!("| {} | {kind} | {allowed} | {seen} |", feature.name)
}

/// At most ten names.
fn shortened(names: &[String]) -> String {
    match names.get(..10) {
        Some(first) if names.len() > 10 => {
            format!("{} and {} more", first.join(", "), names.len() - 10)
        }
        _ => names.join(", "),
    }
}
