//! [`PredictionLog`].

use std::collections::HashMap;

use domain::prediction::{Decision, Exposure, Payload, Reason};
use domain::{ModelName, PlanId, PlanKind, PredictionId, PredictionRecord, RequestId};
use futures_util::future::join_all;
use time::Duration;

use super::registry::model_name;
use super::{ODD_NUMBERS, Outcome, assert_invalid, moment, odd_texts};
use crate::ports::PredictionLog;
use crate::{StoreError, json};

/// Append, read, read a window; replays; a full page; odd values.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn predictions(port: &dyn PredictionLog) -> Outcome {
    let name = model_name("log")?;
    port.append(&[]).await?;
    assert!(port.get(PredictionId::new()).await?.is_none());
    assert!(port.since(&name, moment(0), 10).await?.is_empty());

    let one = record(&name, 0)?;
    port.append(std::slice::from_ref(&one)).await?;
    assert_eq!(text(port.get(one.prediction_id).await?)?, text(Some(one.clone()))?);

    // What is known is passed over, whatever else it now says; what is new beside it is kept.
    let replay = PredictionRecord { rows: 99, ..one.clone() };
    let new = record(&name, 1)?;
    port.append(&[replay.clone(), new.clone(), new.clone(), replay]).await?;
    assert_eq!(text(port.get(one.prediction_id).await?)?, text(Some(one))?);
    assert_eq!(port.since(&name, moment(0), 10).await?.len(), 2);

    window(port).await?;
    known(port).await?;
    exposures(port).await?;
    odd_values(port).await
}

/// The same batches through two doors at once: each record is kept once.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn predictions_by_two(first: &dyn PredictionLog, second: &dyn PredictionLog) -> Outcome {
    let name = model_name("contested")?;
    let records = (0..100).map(|second| record(&name, second)).collect::<Result<Vec<_>, _>>()?;
    let tries = (0..12).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        port.append(&records)
    });
    join_all(tries).await.into_iter().collect::<Result<(), _>>()?;
    assert_eq!(first.since(&name, moment(0), 1000).await?.len(), 100);
    assert_eq!(second.since(&name, moment(0), 1000).await?.len(), 100);
    Ok(())
}

async fn window(port: &dyn PredictionLog) -> Outcome {
    let name = model_name("window")?;
    let other = model_name("window")?;
    // More than one statement's worth, in no order.
    let mut records = Vec::new();
    for number in 0..1100 {
        records.push(record(&name, number * 7 % 1100)?);
    }
    records.push(record(&other, 500)?);
    port.append(&records).await?;

    let page = port.since(&name, moment(0), 50).await?;
    assert!(page.iter().map(|record| record.at).eq((1050..1100).rev().map(moment)));
    let all = port.since(&name, moment(0), 5000).await?;
    assert_eq!(all.len(), 1100);
    assert!(all.is_sorted_by(|newer, older| newer.at >= older.at), "not newest first");
    assert_eq!(port.since(&name, moment(0), u32::MAX).await?.len(), 1100);
    assert!(port.since(&name, moment(0), 0).await?.is_empty());
    // The moment itself counts, to the microsecond.
    assert_eq!(port.since(&name, moment(1090), 5000).await?.len(), 10);
    assert_eq!(port.since(&name, moment(1090) + Duration::MICROSECOND, 5000).await?.len(), 9);
    assert!(port.since(&name, moment(1100), 5000).await?.is_empty());
    assert_eq!(port.since(&other, moment(0), 5000).await?.len(), 1);
    Ok(())
}

async fn known(port: &dyn PredictionLog) -> Outcome {
    let (name, other) = (model_name("known")?, model_name("known")?);
    let (one, two) = (record(&name, 0)?, record(&other, 0)?);
    port.append(&[one.clone(), two.clone()]).await?;
    let (one, two) = (one.prediction_id, two.prediction_id);
    // More than one query's worth of ids that are not there.
    let mut asked: Vec<_> = (0..12_000).map(|_| PredictionId::new()).collect();
    asked.extend([one, two, one]);
    let found = port.known(&asked).await?;
    assert_eq!(found, HashMap::from([(one, name), (two, other)]));
    assert!(port.known(&[]).await?.is_empty());
    Ok(())
}

async fn odd_values(port: &dyn PredictionLog) -> Outcome {
    let name = model_name("odd")?;
    for text in odd_texts() {
        let mut odd = record(&name, 0)?;
        odd.principal.clone_from(&text);
        odd.label = Some(text.clone());
        odd.decision.unit = Some(text.clone());
        odd.input.content_type = text;
        kept(port, odd).await?;
    }
    for number in ODD_NUMBERS {
        let mut odd = record(&name, 0)?;
        odd.value = Some(number);
        odd.confidence = Some(number);
        odd.decision.propensity = number;
        odd.latency_us = u64::MAX;
        kept(port, odd).await?;
    }
    // Bodies are kept to the letter: key order, spaces, numbers beyond any type.
    for body in ["0", "{ \"b\": 1.0,\n \"a\": [1e400, 0.1000] }", "\"\\u0000\"", "[]"] {
        let mut odd = record(&name, 0)?;
        odd.input.json = Some(json::read("body", body, body)?);
        kept(port, odd).await?;
    }
    let sound = record(&name, 0)?;
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut refused = record(&name, 0)?;
        refused.value = Some(number);
        assert_invalid(port.append(&[sound.clone(), refused]).await);
        let mut refused = record(&name, 0)?;
        refused.decision.propensity = number;
        assert_invalid(port.append(&[sound.clone(), refused]).await);
    }
    assert!(port.get(sound.prediction_id).await?.is_none(), "half a batch was kept");
    Ok(())
}

async fn kept(port: &dyn PredictionLog, record: PredictionRecord) -> Outcome {
    port.append(std::slice::from_ref(&record)).await?;
    let found = port.get(record.prediction_id).await?;
    assert_eq!(text(found)?, text(Some(record))?);
    Ok(())
}

async fn exposures(port: &dyn PredictionLog) -> Outcome {
    let name = model_name("exposed")?;
    let (plan, other) = (PlanId::new(PlanKind::Experiment), PlanId::new(PlanKind::Experiment));
    let mut records = Vec::new();
    for number in 0..1100 {
        let mut one = record(&name, number)?;
        one.decision.plan =
            (number % 10 > 0).then(|| if number % 2 == 0 { &other } else { &plan }.clone());
        one.decision.epoch = Some(1);
        records.push(one);
    }
    port.append(&records).await?;
    let wanted: Vec<Exposure> = records
        .iter()
        .filter(|record| record.decision.plan.as_ref() == Some(&plan))
        .map(Exposure::from)
        .collect();
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = port.exposures(&plan, after, 200).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.prediction_id);
        read.extend(page);
    }
    assert_eq!(read, wanted);
    assert!(port.exposures(&plan, None, 0).await?.is_empty());
    Ok(())
}

/// The record to compare it by: its numbers exact, its bodies to the letter.
fn text(record: Option<PredictionRecord>) -> Result<String, StoreError> {
    json::write("prediction", "compared", &record)
}

fn record(model: &ModelName, seconds: i64) -> Result<PredictionRecord, StoreError> {
    let input = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
    Ok(PredictionRecord {
        prediction_id: PredictionId::new(),
        request_id: RequestId::new(),
        at: moment(seconds),
        principal: "0199".to_owned(),
        model: model.clone(),
        version: json::read("version", model.as_str(), "\"1\"")?,
        decision: Decision::new(1, Reason::Unit, 0.9, Some("user-1".to_owned())),
        input: Payload {
            content_type: "application/json".to_owned(),
            bytes: 30,
            json: Some(json::read("body", "input", input)?),
        },
        output: Payload { content_type: "application/json".to_owned(), bytes: 200, json: None },
        rows: 1,
        label: Some("setosa".to_owned()),
        confidence: Some(0.98),
        value: None,
        latency_us: 1500,
        compute_us: 300,
        cached: true,
        degraded: None,
        error: None,
    })
}
