//! [`FeedbackStore`].

use domain::{Feedback, Outcome as What, PredictionId};
use futures_util::future::join_all;

use super::{ODD_NUMBERS, Outcome, assert_invalid, moment, odd_texts};
use crate::ports::FeedbackStore;

/// Add, read in order; the same again; odd values.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn feedback(port: &dyn FeedbackStore) -> Outcome {
    let id = PredictionId::new();
    assert_eq!(port.of_prediction(id).await?, []);

    let late = says(id, What::Label("setosa".to_owned()), "anna", 5);
    let early = says(id, What::Value(1.5), "anna", 2);
    let other_source = says(id, What::Label("setosa".to_owned()), "till", 3);
    for one in [&late, &early, &other_source] {
        assert!(port.add(one.clone()).await?);
        // The same, heard again later.
        assert!(!port.add(Feedback { received_at: moment(60), ..one.clone() }).await?);
    }
    let other_prediction = says(PredictionId::new(), late.outcome.clone(), "anna", 5);
    assert!(port.add(other_prediction).await?);
    assert_eq!(port.of_prediction(id).await?, [early, other_source, late]);

    odd_values(port).await
}

/// Many add the same at once, through two doors: one does.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn feedback_by_two(first: &dyn FeedbackStore, second: &dyn FeedbackStore) -> Outcome {
    let one = says(PredictionId::new(), What::Value(7.0), "anna", 0);
    let tries = (0..20).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        port.add(one.clone())
    });
    let new: Vec<_> = join_all(tries).await.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(new.iter().filter(|new| **new).count(), 1);
    for port in [first, second] {
        assert_eq!(port.of_prediction(one.prediction_id).await?, std::slice::from_ref(&one));
    }
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
    for one in &all {
        assert!(port.add(one.clone()).await?, "took {:?} for known", one.outcome);
    }
    assert_eq!(port.of_prediction(id).await?, all);

    // A label and a value are two things; the two zeros are one.
    let id = PredictionId::new();
    assert!(port.add(says(id, What::Value(0.0), "anna", 0)).await?);
    assert!(port.add(says(id, What::Label("0.0".to_owned()), "anna", 0)).await?);
    assert!(!port.add(says(id, What::Value(-0.0), "anna", 0)).await?);
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_invalid(port.add(says(id, What::Value(number), "anna", 0)).await);
    }
    assert_eq!(port.of_prediction(id).await?.len(), 2);
    Ok(())
}

fn says(prediction_id: PredictionId, outcome: What, source: &str, seconds: i64) -> Feedback {
    Feedback { prediction_id, outcome, source: source.to_owned(), received_at: moment(seconds) }
}
