//! The facts of an ONNX file, read without ONNX Runtime.
//!
//! Only what is asked for is decoded; weights are skipped, so nothing is allocated for them.

mod wire;

use std::collections::BTreeMap;

use domain::manifest::{Datatype, Tool};
use prost::Message;

use crate::ModelError;

/// The name of an ONNX model in a package.
pub const FILE: &str = "model.onnx";

/// What an ONNX file says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Version of the file format.
    pub ir_version: i64,
    /// What wrote it.
    pub producer: Tool,
    /// Operator set versions by domain; `ai.onnx` for the default one.
    pub opsets: BTreeMap<String, i64>,
    /// Key-value pairs of the author.
    pub metadata: BTreeMap<String, String>,
    /// Operators with how often each occurs, subgraphs included. `ai.onnx` goes without its domain.
    pub operators: BTreeMap<String, u32>,
    /// Inputs, without those that have an initial value.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// Class names (or numbers, as text) found in a classifier or `ZipMap`. Empty if there is none.
    pub class_labels: Vec<String>,
    /// The operator that makes each output, looked for through `Identity` and `Cast`.
    pub made_by: BTreeMap<String, String>,
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: PortKind,
}

/// What an input or output holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortKind {
    /// An array.
    Tensor {
        /// Its element type.
        datatype: Datatype,
        /// Its dimensions, -1 where any size fits; `None` where the graph does not say.
        shape: Option<Vec<i64>>,
    },
    /// One map from class to probability per row, as `ZipMap` makes it.
    Maps,
    /// Something no protocol here can carry.
    Other(&'static str),
}

impl Graph {
    /// Reads the bytes of `model.onnx`.
    ///
    /// # Errors
    /// [`ModelError::File`] if they are no ONNX file, are cut short or damaged, or keep weights in
    /// a second file.
    pub fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        let bad = |reason: String| ModelError::file(FILE, reason);
        let model = wire::Model::decode(bytes)
            .map_err(|error| bad(format!("is not ONNX, or is cut short or damaged: {error}")))?;
        let graph = model.graph.ok_or_else(|| bad("is not ONNX: it has no graph".to_owned()))?;
        if model.ir_version <= 0 || model.opset_import.is_empty() || graph.node.is_empty() {
            return Err(bad(
                "is not ONNX, or is cut short: version, operator sets or nodes are missing"
                    .to_owned(),
            ));
        }
        if let Some(outside) = graph.initializer.iter().find(|tensor| tensor.data_location == 1) {
            return Err(bad(format!(
                "keeps the weights `{}` in a second file: export it with `external_data=False`",
                outside.name
            )));
        }
        let given: Vec<&str> =
            graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs: Vec<_> = graph
            .input
            .iter()
            .filter(|input| !given.contains(&input.name.as_str()))
            .map(port)
            .collect();
        let outputs: Vec<_> = graph.output.iter().map(port).collect();
        if inputs.is_empty() || outputs.is_empty() {
            return Err(bad("has no inputs or no outputs".to_owned()));
        }
        let mut operators = BTreeMap::new();
        count(&graph, &mut operators);
        for function in &model.functions {
            function.node.iter().for_each(|node| count_node(node, &mut operators));
        }
        let opsets: BTreeMap<_, _> = model
            .opset_import
            .into_iter()
            .map(|set| (named_domain(set.domain), set.version))
            .collect();
        // Operator sets come last in the file: one that is used and not named was cut off.
        let used = graph.node.iter().map(|node| named_domain(node.domain.clone()));
        if let Some(domain) = used.into_iter().find(|domain| !opsets.contains_key(domain)) {
            return Err(bad(format!(
                "is cut short or damaged: it uses operators of `{domain}` and names no version"
            )));
        }
        Ok(Self {
            ir_version: model.ir_version,
            producer: Tool { name: model.producer_name, version: model.producer_version },
            opsets,
            metadata: model.metadata_props.into_iter().map(|pair| (pair.key, pair.value)).collect(),
            made_by: outputs
                .iter()
                .filter_map(|output| Some((output.name.clone(), maker(&graph, &output.name)?)))
                .collect(),
            class_labels: class_labels(&graph),
            operators,
            inputs,
            outputs,
        })
    }
}

fn named_domain(domain: String) -> String {
    if domain.is_empty() { "ai.onnx".to_owned() } else { domain }
}

fn operator(node: &wire::Node) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

fn count(graph: &wire::Graph, operators: &mut BTreeMap<String, u32>) {
    graph.node.iter().for_each(|node| count_node(node, operators));
}

fn count_node(node: &wire::Node, operators: &mut BTreeMap<String, u32>) {
    *operators.entry(operator(node)).or_default() += 1;
    for attribute in &node.attribute {
        attribute.g.iter().chain(&attribute.graphs).for_each(|graph| count(graph, operators));
    }
}

fn port(info: &wire::ValueInfo) -> Port {
    let kind = match info.r#type.as_ref() {
        Some(wire::Type { tensor_type: Some(tensor), .. }) => tensor_kind(tensor),
        Some(wire::Type { sequence_type: Some(sequence), .. }) => {
            match sequence.elem_type.as_deref() {
                Some(wire::Type { map_type: Some(_), .. }) => PortKind::Maps,
                _ => PortKind::Other("sequence of tensors"),
            }
        }
        Some(wire::Type { map_type: Some(_), .. }) => PortKind::Other("map"),
        _ => PortKind::Other("value without a type"),
    };
    Port { name: info.name.clone(), kind }
}

fn tensor_kind(tensor: &wire::TensorType) -> PortKind {
    // Numbers of `TensorProto.DataType` in onnx.proto.
    let datatype = match tensor.elem_type {
        1 => Datatype::Fp32,
        2 => Datatype::Uint8,
        3 => Datatype::Int8,
        4 => Datatype::Uint16,
        5 => Datatype::Int16,
        6 => Datatype::Int32,
        7 => Datatype::Int64,
        8 => Datatype::Bytes,
        9 => Datatype::Bool,
        10 => Datatype::Fp16,
        11 => Datatype::Fp64,
        12 => Datatype::Uint32,
        13 => Datatype::Uint64,
        _ => return PortKind::Other("tensor of an element type that the V2 protocol lacks"),
    };
    let dimension = |size: &wire::Dimension| match size.dim_value {
        Some(size) if size >= 0 => size,
        _ => -1,
    };
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dimension).collect());
    PortKind::Tensor { datatype, shape }
}

/// The operator that makes `name`, looked for through operators that change nothing that matters.
fn maker(graph: &wire::Graph, name: &str) -> Option<String> {
    let mut name = name;
    // A damaged graph may run in circles: no chain is longer than the graph has nodes.
    for _ in 0..graph.node.len() {
        let node = graph.node.iter().find(|node| node.output.iter().any(|made| made == name))?;
        match (node.op_type.as_str(), node.input.first()) {
            ("Identity" | "Cast", Some(input)) => name = input,
            _ => return Some(operator(node)),
        }
    }
    None
}

fn class_labels(graph: &wire::Graph) -> Vec<String> {
    for node in graph.node.iter().rev() {
        for attribute in &node.attribute {
            match attribute.name.as_str() {
                "classlabels_strings" if !attribute.strings.is_empty() => {
                    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                    return attribute.strings.iter().map(text).collect();
                }
                "classlabels_int64s" | "classlabels_ints" if !attribute.ints.is_empty() => {
                    return attribute.ints.iter().map(ToString::to_string).collect();
                }
                _ => {}
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IRIS: &[u8] = include_bytes!("../../../tests/models/iris-logreg/model.onnx");
    const ZIPMAP: &[u8] = include_bytes!("../../../tests/models/iris-logreg-zipmap/model.onnx");

    #[test]
    fn reads_what_the_file_says() {
        let graph = Graph::read(IRIS).unwrap();
        assert_eq!(graph.producer, Tool { name: "skl2onnx".into(), version: "1.20.0".into() });
        assert_eq!(graph.opsets.get("ai.onnx"), Some(&17));
        assert_eq!(graph.operators.get("ai.onnx.ml.Scaler"), Some(&1));
        assert_eq!(graph.inputs.len(), 1);
        let kind = PortKind::Tensor { datatype: Datatype::Fp32, shape: Some(vec![-1, 4]) };
        assert_eq!(graph.inputs[0], Port { name: "input".into(), kind });
    }

    #[test]
    fn finds_class_names_of_a_zipmap() {
        let graph = Graph::read(ZIPMAP).unwrap();
        assert_eq!(graph.class_labels, ["setosa", "versicolor", "virginica"]);
        assert_eq!(graph.outputs[1].kind, PortKind::Maps);
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        // The last twelve bytes name an operator set that no node uses, twice.
        for length in 0..IRIS.len() - 12 {
            assert!(Graph::read(&IRIS[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn a_flipped_bit_never_panics() {
        for position in 0..ZIPMAP.len() {
            for bit in 0..8 {
                let mut bytes = ZIPMAP.to_vec();
                bytes[position] ^= 1 << bit;
                let _ = Graph::read(&bytes);
            }
        }
    }
}
