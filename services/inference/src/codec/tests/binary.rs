use bytes::Bytes;
use contracts::inference::{Answered, Protocol};
use contracts::{ApiError, Framed};
use domain::manifest::Datatype;
use half::f16;
use models::Values;

use super::super::{v2_binary, v2_data};
use super::*;

fn row() -> Vec<u8> {
    [5.1_f32, 3.5, 1.4, 0.2].iter().flat_map(|value| value.to_le_bytes()).collect()
}

async fn send(stage: &Stage, header: &Value, tail: &[u8]) -> Result<Framed<Answered>, ApiError> {
    let mut body = header.to_string().into_bytes();
    let protocol = Protocol::V2 { header_length: Some(body.len() as u64) };
    body.extend_from_slice(tail);
    stage.send("iris", protocol, "application/octet-stream", body).await
}

fn header(size: usize) -> Value {
    json!({"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32",
        "parameters": {"binary_data_size": size}}]})
}

#[tokio::test]
async fn bytes_in_and_json_out() {
    let stage = iris().await;
    let answer = send(&stage, &header(16), &row()).await.unwrap();
    assert_eq!(answer.meta.header_length, None);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["outputs"][0]["data"], json!([0]));
}

#[tokio::test]
async fn the_setting_of_an_output_wins_over_the_requests() {
    let stage = iris().await;
    let mut header = header(16);
    header["parameters"] = json!({"binary_data_output": true});
    header["outputs"] =
        json!([{"name": "probabilities"}, {"name": "label", "parameters": {"binary_data": false}}]);
    let answer = send(&stage, &header, &row()).await.unwrap();
    assert_eq!(answer.meta.content_type, "application/octet-stream");
    let at = usize::try_from(answer.meta.header_length.unwrap()).unwrap();
    let (json, tail) = answer.body.split_at(at);
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 12);
    assert!(json["outputs"][0].get("data").is_none());
    assert_eq!(json["outputs"][1]["data"], json!([0]));
    let Values::Fp32(values) = v2_binary::read(Datatype::Fp32, tail).unwrap() else { panic!() };
    assert!((values.iter().sum::<f32>() - 1.0).abs() < 1e-5 && values[0] > 0.9);
}

#[tokio::test]
async fn a_raw_request_is_the_single_inputs_bytes() {
    let stage = iris().await;
    let protocol = Protocol::V2 { header_length: Some(0) };
    let body = [row(), row()].concat();
    let answer = stage.send("iris", protocol.clone(), "", body).await.unwrap();
    let at = usize::try_from(answer.meta.header_length.unwrap()).unwrap();
    let json: Value = serde_json::from_slice(&answer.body[..at]).unwrap();
    assert_eq!(json["outputs"][0]["shape"], json!([2]));
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 16);
    assert_eq!(answer.body.len() - at, 16 + 24);
    for bad in [&row()[..12], &row()[..15], &[]] {
        let body = Bytes::copy_from_slice(bad);
        assert!(stage.send("iris", protocol.clone(), "", body).await.is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn sizes_that_do_not_add_up_are_bad_requests() {
    let stage = iris().await;
    for (header, tail) in [
        (header(17), row()),
        (header(12), row()),
        (header(16), [row(), vec![0]].concat()),
        (
            json!({"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32",
            "parameters": {"binary_data_size": -16}}]}),
            row(),
        ),
        (
            json!({"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32",
            "parameters": {"binary_data_size": "16"}}]}),
            row(),
        ),
    ] {
        let error = send(&stage, &header, &tail).await.unwrap_err();
        let codes = [ErrorCode::BadRequest, ErrorCode::Unprocessable];
        assert!(codes.contains(&error.code), "{header}: {error}");
    }
    let protocol = Protocol::V2 { header_length: Some(1 << 40) };
    let error = stage.send("iris", protocol, "", "{}").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    let protocol = Protocol::V2 { header_length: None };
    let error = stage.send("iris", protocol, "", header(16).to_string()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
}

#[test]
fn every_datatype_goes_through_bytes_and_json_unchanged() {
    for values in [
        Values::Bool(vec![true, false]),
        Values::Uint8(vec![0, u8::MAX]),
        Values::Uint16(vec![0, u16::MAX]),
        Values::Uint32(vec![0, u32::MAX]),
        Values::Uint64(vec![0, u64::MAX]),
        Values::Int8(vec![i8::MIN, i8::MAX]),
        Values::Int16(vec![i16::MIN, i16::MAX]),
        Values::Int32(vec![i32::MIN, i32::MAX]),
        Values::Int64(vec![i64::MIN, i64::MAX]),
        Values::Fp16(vec![f16::from_f32(0.1), f16::MAX]),
        Values::Fp32(vec![0.1, f32::MIN_POSITIVE]),
        Values::Fp64(vec![0.1, f64::MAX]),
        Values::Bytes(vec!["é\"\n".to_owned(), String::new()]),
    ] {
        let datatype = values.datatype();
        let mut bytes = Vec::new();
        v2_binary::write(&values, &mut bytes);
        assert_eq!(v2_binary::read(datatype, &bytes).unwrap(), values);
        let json = serde_json::value::to_raw_value(&v2_data::Data(&values)).unwrap();
        assert_eq!(v2_data::read(datatype, &json).unwrap(), values);
    }
}

#[test]
fn bytes_that_are_no_values_are_refused() {
    for (datatype, bytes) in [
        (Datatype::Bool, &[2_u8][..]),
        (Datatype::Fp32, &[0; 5]),
        (Datatype::Bytes, &[1, 0, 0]),
        (Datatype::Bytes, &[2, 0, 0, 0, b'x']),
        (Datatype::Bytes, &[1, 0, 0, 0, 0xff]),
        (Datatype::Bytes, &[0xff, 0xff, 0xff, 0xff]),
    ] {
        assert!(v2_binary::read(datatype, bytes).is_err(), "{bytes:?}");
    }
}
