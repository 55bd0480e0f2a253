//! Every form of request and answer, through the whole service.

mod binary;
mod fuzz;
mod natural;
mod tokens;
mod v2;

use contracts::{ApiError, ErrorCode};
use serde_json::{Value, json};

use crate::stage::Stage;

const IRIS: &str = "services/all-in-one/demo/iris";
const SETOSA: [f64; 4] = [5.1, 3.5, 1.4, 0.2];

/// The pointers of a refusal.
fn pointers(error: &ApiError) -> Vec<&str> {
    assert_eq!(error.code, ErrorCode::Unprocessable, "{error}");
    error.errors.iter().map(|fault| fault.pointer.as_str()).collect()
}

async fn iris() -> Stage {
    Stage::of("iris", IRIS, None).await
}

/// Fields whose value differs from call to call.
fn without_id(mut answer: Value) -> Value {
    let fields = answer.as_object_mut().unwrap();
    if let Some(parameters) = fields.get_mut("parameters") {
        assert!(parameters.as_object_mut().unwrap().remove("prediction_id").is_some());
    } else {
        assert!(fields.remove("prediction_id").is_some());
    }
    answer
}

fn near(value: &Value, want: f64) {
    let got = value.as_f64().unwrap();
    assert!((got - want).abs() < 1e-3, "got {got}, want {want}");
}

/// A row with one column more.
fn too_long() -> Value {
    json!([1, 2, 3, 4, 5])
}
