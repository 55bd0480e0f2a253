//! Small ONNX models made on the spot: four numbers in, one out. They are one another's versions, some
//! of them bad ones.

use bytes::Bytes;
use prost::Message;

use crate::client::Upload;

/// The width of the matrices that take a model's time.
const WIDTH: usize = 128;
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// The mean of the four numbers.
pub fn mean() -> Upload {
    let mean = node("ReduceMean", &["input"], "output").ints("axes", &[1]).int("keepdims", 1);
    upload(vec![mean], vec![])
}

/// Fails for every request whose first number is `every - 1` modulo `every`, and looks the other
/// answers up in a table.
pub fn fails_each(every: u32) -> Upload {
    let places = i64::from(every) - 1;
    let table: Vec<f32> = (0..places).map(|place| place as f32).collect();
    let weights = vec![
        int64("first", &[], &[0]),
        float("every", &[], &[every as f32]),
        float("table", &[places], &table),
        int64("shape", &[2], &[1, 1]),
    ];
    let nodes = vec![
        node("Gather", &["input", "first"], "number").int("axis", 1),
        node("Mod", &["number", "every"], "rest").int("fmod", 1),
        node("Cast", &["rest"], "place").int("to", i64::from(INT64)),
        // The table ends one before the greatest rest.
        node("Gather", &["table", "place"], "found").int("axis", 0),
        node("Reshape", &["found", "shape"], "output"),
    ];
    upload(nodes, weights)
}

/// Multiplies so many matrices: a run takes a time in proportion to their number.
pub fn multiplies(matrices: usize) -> Upload {
    let matrix = vec![1.0 / WIDTH as f32; WIDTH * WIDTH];
    #[expect(clippy::cast_possible_wrap, reason = "a hundred or so")]
    let width = WIDTH as i64;
    let weights = vec![
        int64("first", &[], &[0]),
        float("matrix", &[width, width], &matrix),
        int64("shape", &[2], &[1, 1]),
    ];
    let mut nodes = vec![
        node("Gather", &["input", "first"], "number").int("axis", 1),
        node("Mul", &["matrix", "number"], "product-0"),
    ];
    for at in 1..=matrices {
        let (before, after) = (format!("product-{}", at - 1), format!("product-{at}"));
        nodes.push(node("MatMul", &[&before, "matrix"], &after));
    }
    let last = format!("product-{matrices}");
    nodes.push(node("ReduceMean", &[&last], "mean").ints("axes", &[0, 1]).int("keepdims", 1));
    nodes.push(node("Reshape", &["mean", "shape"], "output"));
    upload(nodes, weights)
}

fn upload(nodes: Vec<Node>, weights: Vec<Tensor>) -> Upload {
    // One row at a time, so that a request that fails takes no other with it.
    let value = |name: &str, width: i64| ValueInfo {
        name: name.to_owned(),
        kind: Some(Kind {
            tensor: Some(TensorKind {
                elements: FLOAT,
                shape: Some(Shape {
                    dimensions: [1, width].map(|size| Dimension { size: Some(size) }).to_vec(),
                }),
            }),
        }),
    };
    let model = Model {
        ir_version: 8,
        producer: "testkit".to_owned(),
        graph: Some(Graph {
            nodes,
            name: "graph".to_owned(),
            weights,
            inputs: vec![value("input", 4)],
            outputs: vec![value("output", 1)],
        }),
        operators: vec![Operators { domain: String::new(), version: 13 }],
    };
    let bytes = Bytes::from(model.encode_to_vec());
    Upload { manifest: None, files: vec![("model.onnx".to_owned(), bytes)] }
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        outputs: vec![output.to_owned()],
        name: output.to_owned(),
        operator: operator.to_owned(),
        attributes: Vec::new(),
    }
}

impl Node {
    fn int(mut self, name: &str, value: i64) -> Self {
        let name = name.to_owned();
        self.attributes.push(Attribute { name, int: Some(value), ints: vec![], kind: 2 });
        self
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Self {
        let (name, ints) = (name.to_owned(), values.to_vec());
        self.attributes.push(Attribute { name, int: None, ints, kind: 7 });
        self
    }
}

fn float(name: &str, sizes: &[i64], values: &[f32]) -> Tensor {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { sizes: sizes.to_vec(), elements: FLOAT, name: name.to_owned(), raw }
}

fn int64(name: &str, sizes: &[i64], values: &[i64]) -> Tensor {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { sizes: sizes.to_vec(), elements: INT64, name: name.to_owned(), raw }
}

// What of onnx.proto is written.

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    operators: Vec<Operators>,
}

#[derive(Clone, PartialEq, Message)]
struct Operators {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    weights: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    outputs: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    operator: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    int: Option<i64>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    sizes: Vec<i64>,
    #[prost(int32, tag = "2")]
    elements: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    elements: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dimensions: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    size: Option<i64>,
}
