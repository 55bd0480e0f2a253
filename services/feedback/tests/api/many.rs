//! Many at once: each taken or refused by itself.

use std::time::Instant;

use contracts::feedback::ItemAnswer;
use domain::Scope;
use domain::feedback::latest;

use super::*;

pub(crate) async fn send(
    service: &FeedbackService,
    call: Call,
    content_type: &str,
    body: &str,
) -> Result<SubmittedMany, ApiError> {
    let meta = FeedbackForm { content_type: content_type.to_owned() };
    match service.submit(call, Framed { meta, body: body.to_owned().into() }).await? {
        SubmitAnswer::Many(many) => Ok(many),
        SubmitAnswer::One(one) => panic!("one: {one:?}"),
    }
}

pub(crate) async fn list(service: &FeedbackService, call: Call, items: &Value) -> SubmittedMany {
    send(service, call, "application/json", &items.to_string()).await.unwrap()
}

fn accepted(prediction_known: Option<bool>, new: bool) -> ItemAnswer {
    ItemAnswer::Accepted(Submitted { prediction_known, new })
}

fn pointers(answer: &ItemAnswer) -> Vec<&str> {
    match answer {
        ItemAnswer::Accepted(_) => Vec::new(),
        ItemAnswer::Refused { error } => {
            error.errors.iter().map(|error| error.pointer.as_str()).collect()
        }
    }
}

#[tokio::test]
async fn of_many_with_some_bad_ones_the_good_ones_are_kept() {
    let place = Place::new().await;
    let service = place.service();
    let (known, unknown) = (place.logged().await, PredictionId::new());
    let items = json!([
        label(known, "setosa"),
        {"prediction_id": "abc", "label": "setosa"},
        {"model": "iris", "unit": "u1", "value": 2},
        {"prediction_id": known, "label": "x", "at": "2999-01-01T00:00:00Z"},
        label(unknown, "setosa"),
        label(known, "setosa"),
    ]);
    let till = || by("till", Role::Client);
    for (body, new, before) in
        [(items.clone(), true, "#"), (json!({"items": items}), false, "#/items")]
    {
        let answer = list(&service, till(), &body).await;
        assert_eq!((answer.accepted, answer.refused), (4, 2));
        assert_eq!(answer.items[0], accepted(Some(true), new));
        assert_eq!(pointers(&answer.items[1]), [format!("{before}/1/prediction_id")]);
        assert_eq!(answer.items[2], accepted(None, new));
        assert_eq!(pointers(&answer.items[3]), [format!("{before}/3/at")]);
        assert_eq!(answer.items[4], accepted(Some(false), new));
        // The same as the first.
        assert_eq!(answer.items[5], accepted(Some(true), false));
    }
    assert_eq!(place.documents.feedback.of_prediction(known).await.unwrap().len(), 1);

    // As a client sees it.
    let answer = list(&service, till(), &items).await;
    let text = serde_json::to_value(&answer).unwrap();
    assert_eq!(text["items"][0], json!({"prediction_known": true, "new": false}));
    assert_eq!(text["items"][2], json!({"new": false}));
    assert_eq!(text["items"][3]["error"]["errors"][0]["pointer"], "#/3/at");
    let read: SubmitAnswer = serde_json::from_value(text).unwrap();
    assert_eq!(read, SubmitAnswer::Many(answer));
}

#[tokio::test]
async fn if_all_are_bad_all_is_refused() {
    let place = Place::new().await;
    let service = place.service();
    let items: Vec<_> = (0..150).map(|n| json!({"label": n})).collect();
    let body = json!(items).to_string();
    let till = by("till", Role::Client);
    let error = send(&service, till.clone(), "application/json", &body).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unprocessable);
    assert_eq!(error.errors.len(), 100);
    assert_eq!(error.errors[99].pointer, "#/99/label");
    let deps = Deps { ..place.deps() };
    let few = feedback::build(Settings { max_items: 2, ..settings() }, deps);
    let id = PredictionId::new();
    let three = json!([value(id, 1.0), value(id, 2.0), value(id, 3.0)]).to_string();
    let error = send(&few, till, "application/json", &three).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.message.contains("`feedback.max_items`"), "{error}");
    assert!(place.documents.feedback.of_prediction(id).await.unwrap().is_empty());
}

#[tokio::test]
async fn files_of_lines_and_tables_are_taken_too() {
    let place = Place::new().await;
    let service = place.service();
    let ids: Vec<_> = (0..3000).map(|_| PredictionId::new()).collect();
    let mut table = "prediction_id,label,value\n".to_owned();
    let mut lines = String::new();
    for (n, id) in ids.iter().enumerate() {
        table += &if n == 1000 { format!("{id},,x\n") } else { format!("{id},setosa,\n") };
        lines += &format!("{}\n", label(*id, "setosa"));
    }
    let till = || by("till", Role::Client);
    let began = Instant::now();
    let answer = send(&service, till(), "text/csv", &table).await.unwrap();
    let rate = 3000.0 / began.elapsed().as_secs_f64();
    println!("a table of 3000 in {:.2?}: {rate:.0} a second", began.elapsed());
    assert_eq!((answer.accepted, answer.refused), (2999, 1));
    assert_eq!(pointers(&answer.items[1000]), ["#/1000/value"]);
    // The one that was bad is the one that is new.
    let answer = send(&service, till(), "application/x-ndjson", &lines).await.unwrap();
    assert_eq!(answer.items.len(), 3000);
    let new = |item: &ItemAnswer| *item == accepted(Some(false), true);
    assert_eq!(answer.items.iter().position(new), Some(1000));
    assert_eq!(answer.items.iter().filter(|item| new(item)).count(), 1);
}

#[tokio::test]
async fn a_caller_speaks_of_its_models_only() {
    let place = Place::new().await;
    let service = place.service();
    let (iris, unknown) = (place.logged().await, PredictionId::new());
    let scoped = |model: &str, role| {
        let mut principal = Principal::user("till", "till", role);
        principal.scope = Scope { models: [model.parse().unwrap()].into(), ..Scope::default() };
        Call { principal: Some(principal), ..by("till", role) }
    };
    let items = json!([
        label(iris, "a"),
        label(unknown, "a"),
        {"model": "iris", "unit": "u", "label": "a"},
        {"model": "house", "unit": "u", "label": "a"},
    ]);
    let taken = |answer: &SubmittedMany| -> Vec<bool> {
        answer.items.iter().map(|item| matches!(item, ItemAnswer::Accepted(_))).collect()
    };
    let answer = list(&service, scoped("house", Role::Client), &items).await;
    assert_eq!(taken(&answer), [false, true, false, true]);
    assert!(
        matches!(&answer.items[0], ItemAnswer::Refused { error } if error.code == ErrorCode::Forbidden)
    );
    let answer = list(&service, scoped("iris", Role::Client), &items).await;
    assert_eq!(taken(&answer), [true, true, true, false]);
    let one = service.submit(scoped("house", Role::Client), form(label(iris, "b"))).await;
    assert_eq!(one.unwrap_err().code, ErrorCode::Forbidden);
    let all = json!([label(iris, "b"), label(iris, "c")]).to_string();
    let all = send(&service, scoped("house", Role::Client), "application/json", &all).await;
    assert_eq!(all.unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(place.documents.feedback.of_prediction(iris).await.unwrap().len(), 1);

    let code = |result: Result<(), ApiError>| result.err().map(|error| error.code);
    let forbidden = Some(ErrorCode::Forbidden);
    let stranger = || scoped("house", Role::Analyst);
    assert_eq!(code(service.of_prediction(stranger(), iris).await.map(drop)), forbidden);
    let of = |model: Option<&str>| FeedbackQuery {
        model: model.map(|model| model.parse().unwrap()),
        window_s: 60,
    };
    assert_eq!(code(service.summary(stranger(), of(Some("iris"))).await.map(drop)), forbidden);
    assert_eq!(code(service.summary(stranger(), of(None)).await.map(drop)), forbidden);
    assert_eq!(service.summary(stranger(), of(Some("house"))).await.unwrap().received, 1);
    let page = PendingQuery { after: None, limit: 10 };
    assert_eq!(code(service.pending(stranger(), page).await.map(drop)), forbidden);
}

#[tokio::test]
async fn late_repeated_and_out_of_order_corrections_end_at_what_happened_last() {
    let place = Place::new().await;
    let service = place.service();
    let id = place.logged().await;
    let says = |label: &str, at: &str| json!({"prediction_id": id, "label": label, "at": at});
    // Months late, backwards and twice.
    place.clock.0.fetch_add(90 * 86_400, Ordering::SeqCst);
    for (label, at) in [
        ("third", "2023-11-14T22:16:00Z"),
        ("first", "2023-11-14T22:14:00Z"),
        ("second", "2023-11-14T22:15:00Z"),
        ("first", "2023-11-14T22:14:00Z"),
    ] {
        one(&service, "till", says(label, at)).await.unwrap();
        place.clock.0.fetch_add(1, Ordering::SeqCst);
    }
    one(&service, "door", label(id, "of another")).await.unwrap();
    let found = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap().feedback;
    assert_eq!(found.len(), 4);
    let labels: Vec<_> = latest(&found).iter().map(|one| one.outcome.label().unwrap()).collect();
    assert_eq!(labels, ["third", "of another"]);
    // Back to the first, now.
    place.clock.0.fetch_add(1, Ordering::SeqCst);
    let back = says("first", "2024-02-12T22:13:20Z");
    assert!(one(&service, "till", back).await.unwrap().new);
    let found = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap().feedback;
    let labels: Vec<_> = latest(&found).iter().map(|one| one.outcome.label().unwrap()).collect();
    assert_eq!(labels, ["of another", "first"]);
}
