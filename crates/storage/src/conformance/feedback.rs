//! [`FeedbackStore`].

#![expect(clippy::indexing_slicing, reason = "of lists that are made here")]

use std::collections::HashMap;

use domain::{
    Feedback, ModelName, Outcome as What, Pending, PredictionId, Subject, Tally, feedback,
};
use futures_util::future::join_all;

use super::registry::model_name;
use super::{ODD_NUMBERS, Outcome, assert_invalid, fresh, moment, odd_texts};
use crate::StoreError;
use crate::ports::FeedbackStore;

/// Add, read in order; the same again; many at once; units; what is pending; odd values.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn feedback(port: &dyn FeedbackStore) -> Outcome {
    let id = PredictionId::new();
    assert_eq!(port.of_prediction(id).await?, []);
    assert!(port.add_all(&[], &HashMap::new()).await?.is_empty());

    let late = says(id, What::Label("setosa".to_owned()), "anna", 5);
    let early = says(id, What::Value(1.5), "anna", 2);
    let other_source = says(id, What::Label("setosa".to_owned()), "till", 3);
    for one in [&late, &early, &other_source] {
        assert!(add(port, one).await?);
        // The same, heard again later.
        assert!(!add(port, &Feedback { received_at: moment(60), ..one.clone() }).await?);
    }
    let other_prediction = says(PredictionId::new(), late.outcome.clone(), "anna", 5);
    assert!(add(port, &other_prediction).await?);
    assert_eq!(port.of_prediction(id).await?, [early, other_source, late]);

    many(port).await?;
    units(port).await?;
    pending(port).await?;
    tallies(port).await?;
    odd_values(port).await
}

/// Many add the same at once, through two doors: one does.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn feedback_by_two(first: &dyn FeedbackStore, second: &dyn FeedbackStore) -> Outcome {
    let id = PredictionId::new();
    let all: Vec<_> = (0..50).map(|n| says(id, What::Value(f64::from(n)), "anna", 0)).collect();
    let known = HashMap::new();
    let tries = (0..20).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        port.add_all(&all, &known)
    });
    let told: Vec<_> = join_all(tries).await.into_iter().collect::<Result<_, _>>()?;
    for place in 0..all.len() {
        let new = told.iter().filter(|new| new.get(place) == Some(&true)).count();
        assert_eq!(new, 1, "of {place}");
    }
    for port in [first, second] {
        let found = port.of_prediction(id).await?;
        assert_eq!(found.len(), all.len());
        assert!(all.iter().all(|one| found.contains(one)));
    }
    Ok(())
}

/// More than one statement's worth; some of it known, some twice.
async fn many(port: &dyn FeedbackStore) -> Outcome {
    let ids: Vec<_> = (0..1100).map(|_| PredictionId::new()).collect();
    // Received backwards.
    let all: Vec<_> =
        (0..).zip(&ids).map(|(n, id)| says(*id, What::Value(0.5), "anna", 2000 - n)).collect();
    assert!(add(port, &all[7]).await?);
    let twice: Vec<_> = all.iter().chain(&all[1000..]).cloned().collect();
    let new = port.add_all(&twice, &HashMap::new()).await?;
    let expected = (0..1200).map(|place| place != 7 && place < 1100);
    assert!(new.iter().copied().eq(expected), "{new:?}");
    assert!(!port.add_all(&all, &HashMap::new()).await?.contains(&true));

    let unheard_of = PredictionId::new();
    let asked: Vec<_> = ids.iter().copied().chain([unheard_of]).collect();
    let found = port.of_predictions(&asked).await?;
    assert_eq!(found, all.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(port.of_predictions(&ids[3..4]).await?, all[3..4]);
    assert!(port.of_predictions(&[]).await?.is_empty());

    // A correction is kept beside what it corrects; the same at another moment is another.
    let id = ids[0];
    let label = |text: &str| What::Label(text.to_owned());
    let at = |one: Feedback, seconds| Feedback { occurred_at: Some(moment(seconds)), ..one };
    let first = says(id, label("a"), "till", 3000);
    let second = says(id, label("b"), "till", 3001);
    let third = at(says(id, label("a"), "till", 3002), 3002);
    let corrections = [first.clone(), second, third.clone(), at(first, 1)];
    assert_eq!(port.add_all(&corrections, &HashMap::new()).await?, [true; 4]);
    assert!(!add(port, &Feedback { received_at: moment(4000), ..third.clone() }).await?);
    let found: Vec<_> =
        port.of_prediction(id).await?.into_iter().filter(|one| one.source == "till").collect();
    assert_eq!(found.len(), 4);
    assert_eq!(feedback::latest(&found), [&third]);
    Ok(())
}

async fn units(port: &dyn FeedbackStore) -> Outcome {
    let (model, other) = (model_name("units")?, model_name("units")?);
    let revenue = |value| metric("revenue", value);
    let of = |model: &ModelName, unit: &str, outcome: What, seconds| Feedback {
        subject: Subject::Unit { model: model.clone(), unit: unit.to_owned() },
        ..says(PredictionId::new(), outcome, "till", seconds)
    };
    let all = [
        of(&model, "u/1", revenue(12.5)?, 9),
        of(&model, "u/1", metric("visits", 12.5)?, 3),
        of(&model, "u/1", What::Value(12.5), 4),
        of(&model, "", revenue(12.5)?, 5),
        of(&other, "u/1", revenue(12.5)?, 6),
    ];
    // Those of a prediction beside them.
    let id = PredictionId::new();
    let mixed: Vec<_> = all.iter().cloned().chain([says(id, revenue(12.5)?, "till", 7)]).collect();
    assert_eq!(port.add_all(&mixed, &HashMap::new()).await?, [true; 6]);
    assert_eq!(port.add_all(&mixed, &HashMap::new()).await?, [false; 6]);
    assert_eq!(port.of_prediction(id).await?, mixed[5..]);

    let names = ["u/1".to_owned(), String::new(), "u/2".to_owned()];
    let found = port.of_units(&model, &names, moment(0)).await?;
    assert_eq!(found, [1, 2, 3, 0].map(|place: usize| all[place].clone()));
    assert_eq!(port.of_units(&model, &names[..1], moment(4)).await?.len(), 2);
    assert_eq!(port.of_units(&other, &names, moment(0)).await?, all[4..]);
    assert!(port.of_units(&model, &names, moment(10)).await?.is_empty());
    assert!(port.of_units(&model, &[], moment(0)).await?.is_empty());
    Ok(())
}

async fn pending(port: &dyn FeedbackStore) -> Outcome {
    let model = model_name("pending")?;
    let before = PredictionId::new();
    let ids: Vec<_> = (0..5).map(|_| PredictionId::new()).collect();
    let mut all = Vec::new();
    for (n, id) in (1..).zip(&ids) {
        for outcome in 0..n {
            all.push(says(*id, What::Value(f64::from(outcome)), "anna", 100 - i64::from(outcome)));
        }
    }
    let known = HashMap::from([(ids[1], model.clone())]);
    port.add_all(&all, &known).await?;
    let waits = |place: u32| Pending {
        prediction_id: ids[usize::try_from(place).unwrap_or_default()],
        outcomes: u64::from(place) + 1,
        since: moment(100 - i64::from(place)),
    };
    assert_eq!(port.pending(Some(before), 10).await?, [0, 2, 3, 4].map(waits));
    assert!(port.pending(Some(ids[4]), 10).await?.is_empty());
    assert!(port.pending(Some(before), 0).await?.is_empty());

    // Page after page, each row whole.
    let (mut read, mut after) = (Vec::new(), before);
    loop {
        let page = port.pending(Some(after), 2).await?;
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.prediction_id;
        read.extend(page);
    }
    assert_eq!(read, [0, 2, 3, 4].map(waits));

    port.settle(&HashMap::new()).await?;
    port.settle(&HashMap::from([(ids[0], model.clone()), (ids[3], model)])).await?;
    assert_eq!(port.pending(Some(before), 10).await?, [2, 4].map(waits));
    // And what is settled is as it was.
    assert_eq!(port.of_prediction(ids[0]).await?, all[..1]);
    Ok(())
}

async fn tallies(port: &dyn FeedbackStore) -> Outcome {
    let (model, other) = (model_name("tally")?, model_name("tally")?);
    let of_unit = |seconds| -> Result<Feedback, StoreError> {
        let subject = Subject::Unit { model: model.clone(), unit: fresh("unit") };
        Ok(Feedback { subject, ..says(PredictionId::new(), metric("revenue", 1.0)?, "a", seconds) })
    };
    let ids = [PredictionId::new(), PredictionId::new(), PredictionId::new()];
    let all = [
        says(ids[0], What::Label("a".to_owned()), "anna", 10),
        says(ids[0], What::Label("b".to_owned()), "anna", 20),
        says(ids[0], metric("revenue", 1.0)?, "anna", 20),
        says(ids[1], What::Value(1.0), "anna", 20),
        says(ids[2], What::Value(1.0), "anna", 20),
        of_unit(20)?,
        of_unit(20)?,
        of_unit(10)?,
    ];
    let before = port.tally(None, moment(0)).await?;
    let known = HashMap::from([(ids[0], model.clone()), (ids[1], other.clone())]);
    port.add_all(&all, &known).await?;

    let tally = |kind: &str, matched, pending, of_units| Tally {
        kind: kind.to_owned(),
        matched,
        pending,
        of_units,
    };
    let found = port.tally(Some(&model), moment(0)).await?;
    assert_eq!(found, [tally("label", 2, 0, 0), tally("revenue", 1, 0, 3)]);
    let found = port.tally(Some(&model), moment(20)).await?;
    assert_eq!(found, [tally("label", 1, 0, 0), tally("revenue", 1, 0, 2)]);
    assert_eq!(port.tally(Some(&other), moment(0)).await?, [tally("value", 1, 0, 0)]);
    assert!(port.tally(Some(&model), moment(21)).await?.is_empty());

    // Of all models: what is pending, too.
    let values = |tallies: &[Tally]| {
        let value = tallies.iter().find(|tally| tally.kind == "value");
        value.map_or((0, 0), |tally| (tally.matched, tally.pending))
    };
    let (matched, pending) = values(&before);
    let after = port.tally(None, moment(0)).await?;
    assert_eq!(values(&after), (matched + 1, pending + 1));
    Ok(())
}

async fn odd_values(port: &dyn FeedbackStore) -> Outcome {
    let id = PredictionId::new();
    let mut all = Vec::new();
    for text in odd_texts() {
        all.push(says(id, What::Label(text.clone()), &text, 0));
    }
    for number in ODD_NUMBERS {
        all.push(says(id, What::Value(number), "anna", 1));
    }
    assert_eq!(port.add_all(&all, &HashMap::new()).await?, vec![true; all.len()]);
    assert_eq!(port.of_prediction(id).await?, all);
    let model = model_name("odd")?;
    let texts = odd_texts();
    let of_unit = |unit: &String| Feedback {
        subject: Subject::Unit { model: model.clone(), unit: unit.clone() },
        ..says(id, What::Label(unit.clone()), unit, 0)
    };
    let all: Vec<_> = texts.iter().map(of_unit).collect();
    assert_eq!(port.add_all(&all, &HashMap::new()).await?, vec![true; all.len()]);
    assert_eq!(port.of_units(&model, &texts, moment(0)).await?, all);

    // A label and a value are two things; the two zeros are one.
    let id = PredictionId::new();
    assert!(add(port, &says(id, What::Value(0.0), "anna", 0)).await?);
    assert!(add(port, &says(id, What::Label("0.0".to_owned()), "anna", 0)).await?);
    assert!(!add(port, &says(id, What::Value(-0.0), "anna", 0)).await?);
    assert!(add(port, &says(id, metric("zero", -0.0)?, "anna", 0)).await?);
    assert!(!add(port, &says(id, metric("zero", 0.0)?, "anna", 0)).await?);
    let sound = says(id, What::Value(1.0), "anna", 0);
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for outcome in [What::Value(number), metric("zero", number)?] {
            let batch = [sound.clone(), says(id, outcome, "anna", 0)];
            assert_invalid(port.add_all(&batch, &HashMap::new()).await);
        }
    }
    assert_eq!(port.of_prediction(id).await?.len(), 3, "half a batch was kept");
    Ok(())
}

async fn add(port: &dyn FeedbackStore, one: &Feedback) -> Result<bool, StoreError> {
    let new = port.add_all(std::slice::from_ref(one), &HashMap::new()).await?;
    assert_eq!(new.len(), 1);
    Ok(new == [true])
}

fn metric(name: &str, value: f64) -> Result<What, StoreError> {
    let name = crate::json::read("metric", name, &format!("\"{name}\""))?;
    Ok(What::Metric { name, value })
}

fn says(id: PredictionId, outcome: What, source: &str, seconds: i64) -> Feedback {
    Feedback {
        subject: id.into(),
        outcome,
        source: source.to_owned(),
        occurred_at: None,
        received_at: moment(seconds),
    }
}
