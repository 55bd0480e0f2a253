//! [`Registry`].

use std::collections::BTreeMap;

use domain::policy::CachePolicy;
use domain::{FileRef, Manifest, Model, ModelName, ModelPolicy, Role, Version, VersionId};
use futures_util::future::join_all;

use super::{ODD_NUMBERS, Outcome, assert_conflict, assert_not_found, fresh, moment, odd_texts};
use crate::ports::Registry;
use crate::{StoreError, json};

/// Create, read, list; a taken name; numbers counted up; aliases, policies and switches; odd values.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn registry(port: &dyn Registry) -> Outcome {
    models(port).await?;
    versions(port).await?;
    aliases(port).await?;
    policies(port).await?;
    switches(port).await?;
    odd_values(port).await
}

/// Many add versions at once, through two doors: each gets a number of its own, none is left out.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn registry_by_two(first: &dyn Registry, second: &dyn Registry) -> Outcome {
    let name = created_model(first, "contested").await?;
    let sample = version(&name)?;
    let tries = (0..40).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        port.create_version(sample.clone())
    });
    let made: Result<Vec<_>, _> = join_all(tries).await.into_iter().collect();
    let mut numbers: Vec<_> = made?.iter().map(|version| version.version.number()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=40), "{numbers:?}");
    assert_eq!(first.versions(Some(&name)).await?, second.versions(Some(&name)).await?);

    // Aliases set at once do not undo each other.
    let aliases: Vec<_> = (0..20).map(|number| format!("alias-{number}")).collect();
    let tries = aliases.iter().enumerate().map(|(number, alias)| {
        let port = if number % 2 == 0 { first } else { second };
        port.set_alias(&name, alias, VersionId::new(1))
    });
    join_all(tries).await.into_iter().collect::<Result<(), _>>()?;
    let aliases_kept = second.model(&name).await?.map_or(0, |model| model.aliases.len());
    assert_eq!(aliases_kept, aliases.len());

    // Policies set at once get a revision each, and of those based on the same one only one is set.
    let tries = (0..10).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        port.set_policy(&name, ModelPolicy::default())
    });
    let set: Result<Vec<_>, _> = join_all(tries).await.into_iter().collect();
    let mut revisions: Vec<_> = set?.iter().map(|policy| policy.revision).collect();
    revisions.sort_unstable();
    assert!(revisions.iter().copied().eq(1..=10), "{revisions:?}");
    let based = ModelPolicy { revision: 10, ..ModelPolicy::default() };
    let both = [first.set_policy(&name, based.clone()), second.set_policy(&name, based)];
    let set = join_all(both).await.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(set, 1);

    let contested = model(&model_name("contested")?);
    let both = [first.create_model(contested.clone()), second.create_model(contested)];
    let made = join_all(both).await.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(made, 1);
    Ok(())
}

async fn models(port: &dyn Registry) -> Outcome {
    let name = model_name("model")?;
    assert_eq!(port.model(&name).await?, None);
    assert_eq!(port.versions(Some(&name)).await?, []);

    let made = Model { aliases: BTreeMap::new(), ..model(&name) };
    port.create_model(made.clone()).await?;
    assert_eq!(port.model(&name).await?, Some(made.clone()));
    let other = Model { description: "another".to_owned(), ..made.clone() };
    assert_conflict(port.create_model(other).await);
    assert_eq!(port.model(&name).await?, Some(made.clone()));

    created_model(port, "Z").await?;
    created_model(port, "a").await?;
    let listed = port.models().await?;
    assert!(listed.contains(&made));
    assert!(listed.is_sorted_by_key(|model| model.name.clone()), "models are not by name");
    Ok(())
}

async fn versions(port: &dyn Registry) -> Outcome {
    let name = created_model(port, "versions").await?;
    assert_not_found(port.create_version(version(&model_name("absent")?)?).await);

    let sample = version(&name)?;
    for number in 1..=12 {
        let made = port.create_version(sample.clone()).await?;
        assert_eq!(Some(made.version), VersionId::new(number));
        assert_eq!(Version { version: sample.version, ..made }, sample);
    }
    let listed = port.versions(Some(&name)).await?;
    let numbers = listed.iter().map(|version| version.version.number());
    assert!(numbers.eq(1..=12), "versions are not in order");

    let other = created_model(port, "versions").await?;
    let made = port.create_version(version(&other)?).await?;
    assert_eq!(Some(made.version), VersionId::new(1));
    assert_eq!(port.versions(Some(&name)).await?, listed);
    let all = port.versions(None).await?;
    assert!(all.contains(&made) && listed.iter().all(|version| all.contains(version)));
    assert!(all.is_sorted_by_key(|version| (version.model.clone(), version.version)));
    Ok(())
}

async fn aliases(port: &dyn Registry) -> Outcome {
    let name = created_model(port, "aliases").await?;
    let first = port.create_version(version(&name)?).await?.version;
    let second = port.create_version(version(&name)?).await?.version;

    port.set_alias(&name, "champion", Some(first)).await?;
    port.set_alias(&name, "challenger", Some(second)).await?;
    port.set_alias(&name, "champion", Some(second)).await?;
    let expected = [("challenger".to_owned(), second), ("champion".to_owned(), second)];
    assert_eq!(aliases_of(port, &name).await?, BTreeMap::from(expected));

    port.set_alias(&name, "champion", None).await?;
    port.set_alias(&name, "never set", None).await?;
    let expected = [("challenger".to_owned(), second)];
    assert_eq!(aliases_of(port, &name).await?, BTreeMap::from(expected));

    assert_not_found(port.set_alias(&name, "champion", VersionId::new(99)).await);
    assert_not_found(port.set_alias(&model_name("absent")?, "champion", None).await);
    assert_not_found(port.set_alias(&model_name("absent")?, "champion", Some(first)).await);
    Ok(())
}

async fn policies(port: &dyn Registry) -> Outcome {
    let name = created_model(port, "policies").await?;
    let kept = async || Ok::<_, StoreError>(port.model(&name).await?.and_then(|one| one.policy));
    assert_eq!(kept().await?, None);
    let cache = Some(CachePolicy { ttl_s: u32::MAX, shared: true });
    let shown = vec![Role::Admin, Role::Engineer];
    let wanted = ModelPolicy { cache, version_shown_to: shown, ..ModelPolicy::default() };
    let first = port.set_policy(&name, wanted.clone()).await?;
    assert_eq!(first, ModelPolicy { revision: 1, ..wanted.clone() });
    assert_eq!(kept().await?, Some(first.clone()));
    // Aliases and policies leave each other alone.
    let version = port.create_version(version(&name)?).await?.version;
    port.set_alias(&name, "champion", Some(version)).await?;
    let second = port.set_policy(&name, ModelPolicy { cache: None, ..first.clone() }).await?;
    assert_eq!((second.revision, second.cache), (2, None));
    assert_eq!(kept().await?, Some(second.clone()));
    assert_eq!(aliases_of(port, &name).await?.len(), 1);

    assert_conflict(port.set_policy(&name, first).await);
    assert_eq!(kept().await?, Some(second));
    assert_not_found(port.set_policy(&model_name("absent")?, wanted).await);
    Ok(())
}

async fn switches(port: &dyn Registry) -> Outcome {
    let name = created_model(port, "switches").await?;
    assert_not_found(port.set_enabled(&name, None, false).await);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(port.create_version(version(&name)?).await?.version);
    }
    let disabled = Version { enabled: false, ..version(&name)? };
    assert!(!port.create_version(disabled).await?.enabled);
    assert_eq!(enabled(port, &name).await?, [true, true, true, false]);

    port.set_enabled(&name, ids.get(1).copied(), false).await?;
    assert_eq!(enabled(port, &name).await?, [true, false, true, false]);
    port.set_enabled(&name, None, true).await?;
    port.set_enabled(&name, None, true).await?;
    assert_eq!(enabled(port, &name).await?, [true; 4]);
    port.set_enabled(&name, None, false).await?;
    assert_eq!(enabled(port, &name).await?, [false; 4]);

    assert_not_found(port.set_enabled(&name, VersionId::new(99), true).await);
    assert_not_found(port.set_enabled(&model_name("absent")?, None, true).await);
    Ok(())
}

async fn odd_values(port: &dyn Registry) -> Outcome {
    let name = created_model(port, "odd").await?;
    let mut sample = version(&name)?;
    sample.manifest.limitations = odd_texts();
    sample.files = odd_texts()
        .into_iter()
        .map(|text| FileRef { name: text.clone(), sha256: text, bytes: u64::MAX })
        .collect();
    let numbers = serde_json::json!(ODD_NUMBERS);
    sample.manifest.metrics.insert("odd".to_owned(), numbers);
    let made = port.create_version(sample).await?;
    assert_eq!(port.versions(Some(&name)).await?, std::slice::from_ref(&made));

    for text in odd_texts() {
        port.set_alias(&name, &text, Some(made.version)).await?;
    }
    assert_eq!(aliases_of(port, &name).await?.len(), odd_texts().len());
    for text in odd_texts() {
        let odd =
            Model { description: text, created_by: "\0".to_owned(), ..model(&model_name("odd")?) };
        port.create_model(odd.clone()).await?;
        assert_eq!(port.model(&odd.name).await?, Some(odd));
    }
    Ok(())
}

async fn aliases_of(
    port: &dyn Registry,
    name: &ModelName,
) -> Result<BTreeMap<String, VersionId>, StoreError> {
    Ok(port.model(name).await?.map(|model| model.aliases).unwrap_or_default())
}

async fn enabled(port: &dyn Registry, name: &ModelName) -> Result<Vec<bool>, StoreError> {
    Ok(port.versions(Some(name)).await?.iter().map(|version| version.enabled).collect())
}

async fn created_model(port: &dyn Registry, prefix: &str) -> Result<ModelName, StoreError> {
    let name = model_name(prefix)?;
    port.create_model(model(&name)).await?;
    Ok(name)
}

/// A model name that no other run of a suite uses.
pub(super) fn model_name(prefix: &str) -> Result<ModelName, StoreError> {
    json::read("model name", prefix, &format!("\"{}\"", fresh(prefix)))
}

fn model(name: &ModelName) -> Model {
    Model {
        name: name.clone(),
        description: "Tells irises apart.".to_owned(),
        aliases: BTreeMap::new(),
        policy: None,
        created_by: "anna".to_owned(),
        created_at: moment(0),
    }
}

fn version(model: &ModelName) -> Result<Version, StoreError> {
    let manifest: Manifest = json::read(
        "manifest",
        model.as_str(),
        r#"{
            "name": "iris", "version": "1.2.3-rc.1+build.5", "task": "classification",
            "modality": "tabular", "format": "onnx", "inputs": [], "outputs": [],
            "labels": ["setosa", "versicolor"], "metrics": {"accuracy": 0.97}
        }"#,
    )?;
    Ok(Version {
        model: model.clone(),
        // Whatever number it comes with, the registry counts its own.
        version: json::read("version", model.as_str(), "\"77\"")?,
        manifest,
        files: vec![FileRef { name: "model.onnx".to_owned(), sha256: "ab".repeat(32), bytes: 5 }],
        enabled: true,
        created_by: "anna".to_owned(),
        created_at: moment(1),
    })
}
