//! What waits for its prediction, and what is known of it all.

use super::*;

fn all() -> FeedbackQuery {
    FeedbackQuery { model: None, window_s: 60 }
}

fn analyst() -> Call {
    by("anna", Role::Analyst)
}

#[tokio::test]
async fn feedback_waits_until_the_log_knows_its_prediction() {
    let place = Place::new().await;
    let service = place.service();
    let (early, never) = (record(), PredictionId::new());
    one(&service, "till", label(early.prediction_id, "a")).await.unwrap();
    place.clock.0.fetch_add(5, Ordering::SeqCst);
    for body in [label(never, "a"), value(never, 2.0), label(place.logged().await, "b")] {
        one(&service, "till", body).await.unwrap();
    }
    one(&service, "till", json!({"model": "iris", "unit": "u", "metric": "revenue", "value": 1}))
        .await
        .unwrap();

    let tally = |kind: &str, matched, pending, of_units| Tally {
        kind: kind.to_owned(),
        matched,
        pending,
        of_units,
    };
    let moment = |seconds| OffsetDateTime::from_unix_timestamp(START + seconds).unwrap();
    let summary = service.summary(analyst(), all()).await.unwrap();
    assert_eq!(
        (summary.received, summary.matched, summary.pending, summary.of_units),
        (5, 1, 3, 1)
    );
    assert_eq!(summary.oldest_pending, Some(moment(0)));
    let kinds = [tally("label", 1, 2, 0), tally("revenue", 0, 0, 1), tally("value", 0, 1, 0)];
    assert_eq!(summary.kinds, kinds);

    // Now the record comes.
    let waits = |prediction_id, outcomes, seconds| Pending {
        prediction_id,
        outcomes,
        since: moment(seconds),
    };
    let page = || service.pending(analyst(), PendingQuery { after: None, limit: 10 });
    let before = [waits(early.prediction_id, 1, 0), waits(never, 2, 5)];
    assert_eq!(page().await.unwrap().pending, before);
    place.documents.predictions.append(std::slice::from_ref(&early)).await.unwrap();
    assert_eq!(page().await.unwrap().pending, before[1..]);
    let summary = service.summary(analyst(), all()).await.unwrap();
    assert_eq!((summary.matched, summary.pending), (2, 2));
    assert_eq!(summary.oldest_pending, Some(moment(5)));

    // By model, and by time.
    let of = |model: &str| FeedbackQuery { model: Some(model.parse().unwrap()), ..all() };
    let iris = service.summary(analyst(), of("iris")).await.unwrap();
    assert_eq!((iris.received, iris.matched, iris.of_units, iris.pending), (3, 2, 1, 0));
    assert_eq!(service.summary(analyst(), of("house")).await.unwrap().received, 0);
    place.clock.0.fetch_add(57, Ordering::SeqCst);
    let summary = service.summary(analyst(), all()).await.unwrap();
    assert_eq!((summary.received, summary.oldest_pending), (4, Some(moment(5))));
    let wrong = FeedbackQuery { window_s: 0, ..all() };
    let error = service.summary(analyst(), wrong).await.unwrap_err();
    assert_eq!(error.errors[0].pointer, "#/window_s");
    let ever = FeedbackQuery { window_s: u64::MAX, ..all() };
    assert_eq!(service.summary(analyst(), ever).await.unwrap().received, 5);
}

#[tokio::test]
async fn what_waits_is_read_page_by_page_and_what_does_not_is_passed_over() {
    let place = Place::new().await;
    let service = place.service();
    let records: Vec<_> = (0..50).map(|_| record()).collect();
    for one_of_them in &records {
        one(&service, "till", label(one_of_them.prediction_id, "a")).await.unwrap();
    }
    // Every second one, and the whole begin, comes after all.
    let comes = |n: usize| n < 20 || n.is_multiple_of(2);
    let (late, waiting): (Vec<_>, Vec<_>) =
        records.into_iter().enumerate().partition(|(n, _)| comes(*n));
    let late: Vec<_> = late.into_iter().map(|(_, record)| record).collect();
    place.documents.predictions.append(&late).await.unwrap();
    let (mut read, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = service.pending(analyst(), PendingQuery { after, limit: 5 }).await.unwrap();
        read.extend(page.pending.iter().map(|one| one.prediction_id));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
        assert_eq!(page.pending.len(), 5);
    }
    let expected: Vec<_> = waiting.iter().map(|(_, record)| record.prediction_id).collect();
    assert_eq!((read, pages), (expected, 3));
    for limit in [0, 1001] {
        let error = service.pending(analyst(), PendingQuery { after: None, limit }).await;
        assert_eq!(error.unwrap_err().errors[0].pointer, "#/limit");
    }
}
