//! Golden tensors, and the two forms of the Open Inference Protocol V2: JSON and binary.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::client::Answer;

/// A tensor as golden files have it: element type, shape, values in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The name in the graph.
    pub name: String,
    /// The element type, as the protocol names it.
    pub datatype: String,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The values: numbers or texts.
    pub values: Vec<Value>,
}

impl Tensor {
    /// A tensor of a golden file: `{"dtype": "f32", "shape": [..], "data": [..]}`.
    pub fn golden(name: &str, tensor: &Value) -> Self {
        let datatype = match tensor["dtype"].as_str().unwrap() {
            "f32" => "FP32",
            "f64" => "FP64",
            "i32" => "INT32",
            "i64" => "INT64",
            "string" => "BYTES",
            other => panic!("golden files hold no `{other}`"),
        };
        Self {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: sizes(&tensor["shape"]),
            values: tensor["data"].as_array().unwrap().clone(),
        }
    }

    /// The values as numbers.
    pub fn numbers(&self) -> Vec<f64> {
        self.values.iter().map(|value| value.as_f64().unwrap()).collect()
    }

    /// The rows of a matrix.
    pub fn rows(&self) -> Vec<Vec<Value>> {
        let width: usize = self.shape.iter().skip(1).product();
        self.values.chunks(width.max(1)).map(<[Value]>::to_vec).collect()
    }

    fn json(&self) -> Value {
        json!({"name": self.name, "datatype": self.datatype, "shape": self.shape, "data": self.values})
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in &self.values {
            match self.datatype.as_str() {
                #[expect(clippy::cast_possible_truncation, reason = "golden values are floats")]
                "FP32" => bytes.extend((value.as_f64().unwrap() as f32).to_le_bytes()),
                "FP64" => bytes.extend(value.as_f64().unwrap().to_le_bytes()),
                "INT32" => {
                    bytes.extend(i32::try_from(value.as_i64().unwrap()).unwrap().to_le_bytes());
                }
                "INT64" => bytes.extend(value.as_i64().unwrap().to_le_bytes()),
                _ => {
                    let text = value.as_str().unwrap();
                    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }
}

/// A request in JSON.
pub fn request(inputs: &[Tensor]) -> Value {
    json!({"id": "golden", "inputs": inputs.iter().map(Tensor::json).collect::<Vec<_>>()})
}

/// A request with binary tensors that asks for binary outputs: its JSON, and what follows.
pub fn binary_request(inputs: &[Tensor]) -> (Value, Vec<u8>) {
    let mut tail = Vec::new();
    let mut listed = Vec::new();
    for input in inputs {
        let bytes = input.bytes();
        listed.push(json!({
            "name": input.name, "datatype": input.datatype, "shape": input.shape,
            "parameters": {"binary_data_size": bytes.len()},
        }));
        tail.extend(bytes);
    }
    let header =
        json!({"id": "golden", "inputs": listed, "parameters": {"binary_data_output": true}});
    (header, tail)
}

/// The outputs of an answer in either form, by name.
pub fn outputs(answer: &Answer) -> BTreeMap<String, Tensor> {
    answer.expect_status(200);
    let length: usize = match answer.header("inference-header-content-length") {
        "" => answer.body.len(),
        length => length.parse().unwrap(),
    };
    let header: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
    assert_eq!(header["id"], "golden", "the request's id comes back: {header}");
    let mut tail = &answer.body[length..];
    let mut found = BTreeMap::new();
    for output in header["outputs"].as_array().unwrap() {
        let tensor = read(output.as_object().unwrap(), &mut tail);
        found.insert(tensor.name.clone(), tensor);
    }
    assert!(tail.is_empty(), "{} bytes belong to no output", tail.len());
    found
}

fn read(output: &Map<String, Value>, tail: &mut &[u8]) -> Tensor {
    let datatype = output["datatype"].as_str().unwrap().to_owned();
    let size = output.get("parameters").and_then(|all| all.get("binary_data_size"));
    let values = match size {
        None => output["data"].as_array().unwrap().clone(),
        Some(size) => {
            let (bytes, rest) = tail.split_at(usize::try_from(size.as_u64().unwrap()).unwrap());
            *tail = rest;
            decode(&datatype, bytes)
        }
    };
    let shape = sizes(&output["shape"]);
    assert_eq!(shape.iter().product::<usize>(), values.len(), "{output:?}");
    Tensor { name: output["name"].as_str().unwrap().to_owned(), datatype, shape, values }
}

fn sizes(shape: &Value) -> Vec<usize> {
    let size = |size: &Value| usize::try_from(size.as_u64().unwrap()).unwrap();
    shape.as_array().unwrap().iter().map(size).collect()
}

fn decode(datatype: &str, mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(match datatype {
            "FP32" => json!(f32::from_le_bytes(take(&mut bytes))),
            "FP64" => json!(f64::from_le_bytes(take(&mut bytes))),
            "INT32" => json!(i32::from_le_bytes(take(&mut bytes))),
            "INT64" => json!(i64::from_le_bytes(take(&mut bytes))),
            "BYTES" => {
                let length = u32::from_le_bytes(take(&mut bytes)) as usize;
                let (text, rest) = bytes.split_at(length);
                bytes = rest;
                json!(std::str::from_utf8(text).unwrap())
            }
            other => panic!("no golden output is of `{other}`"),
        });
    }
    values
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_first_chunk::<N>().unwrap();
    *bytes = rest;
    *head
}
