//! The safe default of a route, as an answer.

use bytes::Bytes;
use contracts::Framed;
use contracts::inference::{Answered, PredictTask, Protocol};
use domain::{ModelName, PredictionId};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The envelope that a version would have written, with the default in the place of each row's
/// prediction.
#[derive(Serialize)]
struct Envelope<'a> {
    prediction_id: PredictionId,
    model: &'a ModelName,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Vec<Row<'a>>>,
    cached: bool,
    degraded: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    prediction: &'a Value,
}

/// As much of a body as tells how many rows it asks for.
#[derive(Deserialize)]
struct Rows {
    instances: Option<Vec<IgnoredAny>>,
    texts: Option<Vec<IgnoredAny>>,
}

/// `None` for requests whose answers have no place for it: the V2 protocol's tensors, tables, and
/// what is no good JSON.
pub(super) fn answer(request: &Framed<PredictTask>, value: &Value) -> Option<Framed<Answered>> {
    let task = &request.meta;
    if task.protocol != Protocol::Natural {
        return None;
    }
    let kind = task.content_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let list = if matches!(kind.as_str(), "" | "application/json") || kind.ends_with("+json") {
        let rows: Rows = serde_json::from_slice(&request.body).ok()?;
        rows.instances.or(rows.texts).map(|list| list.len())
    } else if kind.ends_with("/csv") {
        return None;
    } else {
        None
    };
    let rows = list.unwrap_or(1);
    let envelope = Envelope {
        prediction_id: task.prediction_id,
        model: &task.target.model,
        prediction: list.is_none().then_some(value),
        predictions: list.map(|rows| (0..rows).map(|_| Row { prediction: value }).collect()),
        cached: false,
        degraded: true,
    };
    let meta = Answered {
        content_type: "application/json".to_owned(),
        header_length: None,
        rows: u32::try_from(rows).unwrap_or(u32::MAX),
        label: None,
        confidence: None,
        value: None,
        compute_us: 0,
        cache: None,
        output_rule: false,
    };
    let body = serde_json::to_vec(&envelope).ok()?;
    Some(Framed { meta, body: Bytes::from(body) })
}

#[cfg(test)]
mod tests {
    use contracts::inference::Target;
    use domain::VersionId;
    use serde_json::json;

    use super::*;

    fn asked(content_type: &str, protocol: Protocol, body: &str) -> Option<Value> {
        let target = Target { model: "iris".parse().unwrap(), version: VersionId::new(2).unwrap() };
        let meta = PredictTask {
            target,
            prediction_id: PredictionId::new(),
            protocol,
            content_type: content_type.to_owned(),
            show_version: true,
            degraded: false,
            rules: None,
            background: false,
        };
        let request = Framed { meta, body: Bytes::copy_from_slice(body.as_bytes()) };
        let answer = answer(&request, &json!("unknown"))?;
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["prediction_id"], json!(request.meta.prediction_id));
        assert_eq!((&body["degraded"], &body["cached"]), (&json!(true), &json!(false)));
        assert!(body.get("model_version").is_none(), "no version answered: {body}");
        let shown = body["predictions"].take();
        Some(if shown.is_null() { body["prediction"].take() } else { shown })
    }

    #[test]
    fn it_has_the_shape_of_the_answer_in_whose_place_it_is() {
        let natural = || Protocol::Natural;
        let json_type = "application/json; charset=utf-8";
        assert_eq!(asked(json_type, natural(), "{\"features\":[1]}"), Some(json!("unknown")));
        assert_eq!(asked("image/png", natural(), "png"), Some(json!("unknown")));
        let row = json!({"prediction": "unknown"});
        let two = asked("application/json", natural(), "{\"instances\":[[1],[2]]}");
        assert_eq!(two, Some(json!([row, row])));
    }

    #[test]
    fn what_it_does_not_fit_gets_the_failure() {
        assert_eq!(asked("text/csv", Protocol::Natural, "a,b\n1,2\n"), None);
        assert_eq!(asked("application/json", Protocol::Natural, "{\"features\":"), None);
        let v2 = Protocol::V2 { header_length: None };
        assert_eq!(asked("application/json", v2, "{\"inputs\":[]}"), None);
    }
}
