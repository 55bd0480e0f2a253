//! [`Shadows`].

use domain::shadow::{Said, ShadowRecord};
use domain::{ModelName, PredictionId};

use super::registry::model_name;
use super::{Outcome, moment, odd_texts};
use crate::ports::Shadows;
use crate::{StoreError, json};

/// Append, read a window, replays, odd texts.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn shadows(port: &dyn Shadows) -> Outcome {
    let name = model_name("shadowed")?;
    port.append(&[]).await?;
    let mut records = Vec::new();
    for number in 0..1100 {
        records.push(record(&name, "2", number, "setosa")?);
    }
    records.push(record(&name, "3", 5, "setosa")?);
    port.append(&records).await?;
    // What is known is passed over.
    port.append(records.get(..10).unwrap_or_default()).await?;

    let (second, third) = (json::read("v", "2", "\"2\"")?, json::read("v", "3", "\"3\"")?);
    assert_eq!(port.compared(&name, second, moment(0), 2000).await?.len(), 1100);
    assert_eq!(port.compared(&name, third, moment(0), 2000).await?.len(), 1);
    assert!(port.compared(&name, second, moment(0), 0).await?.is_empty());
    let newest = port.compared(&name, second, moment(1090), 5).await?;
    let at: Vec<_> = newest.iter().map(|record| record.at).collect();
    assert_eq!(at, [1099, 1098, 1097, 1096, 1095].map(moment));

    for (number, odd) in (2000..).zip(odd_texts()) {
        let odd = record(&name, "2", number, &odd)?;
        port.append(std::slice::from_ref(&odd)).await?;
        let read = port.compared(&name, second, moment(number), 1).await?;
        let text = |record| json::write("comparison", "compared", &record);
        assert_eq!(text(read.first())?, text(Some(&odd))?);
    }
    Ok(())
}

fn record(
    model: &ModelName,
    shadow: &str,
    seconds: i64,
    label: &str,
) -> Result<ShadowRecord, StoreError> {
    let said = |confidence| Said {
        label: Some(label.to_owned()),
        confidence: Some(confidence),
        value: None,
        compute_us: 7,
    };
    Ok(ShadowRecord {
        prediction_id: PredictionId::new(),
        at: moment(seconds),
        model: model.clone(),
        live_version: json::read("version", "1", "\"1\"")?,
        shadow_version: json::read("version", shadow, &format!("\"{shadow}\""))?,
        live: said(0.1 + 0.2),
        shadow: Some(said(1.0 / 3.0)),
        error: None,
        input: Some(json::read("body", "input", r#"{"features":[5.1, 3.5]}"#)?),
    })
}
