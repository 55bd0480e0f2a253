//! Bodies that nobody meant, in every form: an answer, or a refusal in our words.

use std::time::Duration;

use contracts::inference::Protocol;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use testkit::fuzz::{cases, mutated, within};

use super::*;

/// A header with inputs of these kinds and sizes, and what follows it.
fn binary(inputs: &Value, tail: &[u8]) -> (Vec<u8>, u64) {
    let mut body = json!({"id": "1", "inputs": inputs, "parameters": {"binary_data_output": true}})
        .to_string()
        .into_bytes();
    let length = body.len() as u64;
    body.extend_from_slice(tail);
    (body, length)
}

fn input(name: &str, datatype: &str, shape: &[usize], size: usize) -> Value {
    json!([{"name": name, "shape": shape, "datatype": datatype,
        "parameters": {"binary_data_size": size}}])
}

fn check(
    stage: &Stage,
    runtime: &tokio::runtime::Runtime,
    protocol: Protocol,
    kind: &str,
    body: Vec<u8>,
) -> Result<(), TestCaseError> {
    let sent = within(Duration::from_secs(10), || {
        runtime.block_on(stage.send("fuzz", protocol, kind, body))
    });
    if let Err(error) = sent {
        let ours = matches!(
            error.code,
            ErrorCode::BadRequest | ErrorCode::Unprocessable | ErrorCode::TooLarge
        );
        prop_assert!(ours, "{error:?}");
    }
    Ok(())
}

#[test]
fn a_strange_v2_body_is_answered_or_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let row: Vec<u8> = [5.1_f32, 3.5, 1.4, 0.2].iter().flat_map(|v| v.to_le_bytes()).collect();
    let text = b"\x04\0\0\0good\x03\0\0\0bad".to_vec();
    let sentiment = "services/all-in-one/demo/sentiment";
    for (folder, inputs, tail) in [
        (IRIS, input("input", "FP32", &[1, 4], 16), row),
        (sentiment, input("text", "BYTES", &[2, 1], 15), text),
    ] {
        let stage = runtime.block_on(Stage::of("fuzz", folder, None));
        let (body, length) = binary(&inputs, &tail);
        let whole = Protocol::V2 { header_length: Some(length) };
        runtime.block_on(stage.send("fuzz", whole, "", body.clone())).expect("the sample itself");
        let lengths = prop_oneof![
            6 => Just(Some(length)),
            1 => Just(None),
            1 => (0..length * 2).prop_map(Some),
            1 => any::<u64>().prop_map(Some),
        ];
        let strange = (mutated(body), lengths);
        TestRunner::new(cases(600))
            .run(&strange, |(body, header_length)| {
                let kind = "application/octet-stream";
                check(&stage, &runtime, Protocol::V2 { header_length }, kind, body)
            })
            .unwrap();
        // The same with a whole header, and only what follows it changed.
        let (head, _) = binary(&inputs, &[]);
        TestRunner::new(cases(300))
            .run(&mutated(tail), |tail| {
                let body = [head.clone(), tail].concat();
                let header_length = Some(head.len() as u64);
                check(&stage, &runtime, Protocol::V2 { header_length }, "", body)
            })
            .unwrap();
    }
}

#[test]
fn a_strange_natural_body_is_answered_or_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::of("fuzz", IRIS, None));
    let json =
        br#"{"instances":[[5.1,3.5,1.4,0.2],[1,2,3,4e0]],"unit":"a","context":{"b":[null,true]}}"#;
    let csv = b"sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm\n5.1,3.5,1.4,0.2\n";
    for (kind, sample) in [("application/json", json.to_vec()), ("text/csv", csv.to_vec())] {
        let sent = stage.send("fuzz", Protocol::Natural, kind, sample.clone());
        runtime.block_on(sent).expect("the sample itself");
        TestRunner::new(cases(600))
            .run(&mutated(sample), |body| check(&stage, &runtime, Protocol::Natural, kind, body))
            .unwrap();
    }
}
