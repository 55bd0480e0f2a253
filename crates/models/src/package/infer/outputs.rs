//! What each output of a graph means, by its type, its shape, its name and what makes it.

use domain::manifest::{Datatype, OutputRole, OutputSpec, Task};

use crate::ModelError;
use crate::graph::{FILE, Graph, Port, PortKind};

pub(super) fn specs(
    graph: &Graph,
    labels: &[String],
    assumptions: &mut Vec<(&'static str, String)>,
) -> Result<Vec<OutputSpec>, ModelError> {
    let classes = i64::try_from(labels.len()).ok().filter(|count| *count > 0).unwrap_or(-1);
    let mut specs = Vec::new();
    for port in &graph.outputs {
        let (datatype, shape) = match &port.kind {
            PortKind::Tensor { datatype, shape } => (*datatype, shape.clone().unwrap_or_default()),
            PortKind::Maps => {
                if labels.is_empty() {
                    return Err(ModelError::file(
                        FILE,
                        "has a ZipMap without class names: export it with `zipmap: False`",
                    ));
                }
                (Datatype::Fp32, vec![-1, classes])
            }
            PortKind::Other(what) => {
                return Err(ModelError::file(
                    FILE,
                    format!("has the output `{}`, a {what}: remove it from the graph", port.name),
                ));
            }
        };
        specs.push(OutputSpec {
            name: port.name.clone(),
            datatype,
            shape,
            role: OutputRole::Other,
        });
    }
    let label = graph.outputs.iter().position(is_label);
    if let Some(spec) = label.and_then(|index| specs.get_mut(index)) {
        spec.role = OutputRole::Label;
    }
    let matrices = specs.iter().filter(|spec| is_float(spec) && spec.shape.len() == 2).count();
    let beside_label =
        BesideLabel { label: label.is_some(), only: label.is_some() && matrices == 1 };
    for (spec, port) in specs.iter_mut().zip(&graph.outputs) {
        if spec.role == OutputRole::Other {
            let made_by = graph.made_by.get(&spec.name).map(String::as_str);
            spec.role = role(spec, port, made_by, &beside_label, classes, assumptions);
        }
    }
    // A role that decides the answer belongs to one output: the first.
    for wanted in
        [OutputRole::Probabilities, OutputRole::Logits, OutputRole::Value, OutputRole::Embedding]
    {
        let mut seen = false;
        for spec in specs.iter_mut().filter(|spec| spec.role == wanted) {
            if seen {
                spec.role = OutputRole::Other;
            }
            seen = true;
        }
    }
    Ok(specs)
}

fn is_label(port: &Port) -> bool {
    let PortKind::Tensor { datatype, shape } = &port.kind else { return false };
    let one_per_row = match shape.as_deref() {
        None | Some([] | [_] | [_, 1]) => true,
        Some(_) => false,
    };
    let whole = matches!(datatype, Datatype::Int64 | Datatype::Int32 | Datatype::Bytes);
    whole && one_per_row
}

/// What else the graph gives.
struct BesideLabel {
    /// There is an output with the label.
    label: bool,
    /// There is one, and a single float matrix beside it.
    only: bool,
}

fn is_float(spec: &OutputSpec) -> bool {
    matches!(spec.datatype, Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64)
}

fn role(
    spec: &OutputSpec,
    port: &Port,
    made_by: Option<&str>,
    beside: &BesideLabel,
    classes: i64,
    assumptions: &mut Vec<(&'static str, String)>,
) -> OutputRole {
    if port.kind == PortKind::Maps {
        return OutputRole::Probabilities;
    }
    if !is_float(spec) {
        return OutputRole::Other;
    }
    let name = spec.name.to_ascii_lowercase();
    if name.contains("logit") {
        return OutputRole::Logits;
    }
    if name.contains("embedding") {
        return OutputRole::Embedding;
    }
    match spec.shape.as_slice() {
        [] | [_] | [_, 1] if beside.label => OutputRole::Other,
        [] | [_] | [_, 1] => OutputRole::Value,
        [_, columns] => {
            let fits = classes < 0 || *columns < 0 || *columns == classes;
            let named = made_by == Some("Softmax") || name.contains("prob");
            if named || beside.only || (beside.label && fits) {
                return OutputRole::Probabilities;
            }
            if classes > 0 && *columns == classes {
                let text =
                    format!("output `{}` is taken for logits: one column per label", spec.name);
                assumptions.push(("outputs", text));
                return OutputRole::Logits;
            }
            let text = format!("output `{}` is taken for an embedding", spec.name);
            assumptions.push(("outputs", text));
            OutputRole::Embedding
        }
        _ => OutputRole::Other,
    }
}

pub(super) fn task(outputs: &[OutputSpec], assumptions: &mut Vec<(&'static str, String)>) -> Task {
    let any = |role: OutputRole| outputs.iter().any(|output| output.role == role);
    if any(OutputRole::Label) || any(OutputRole::Probabilities) || any(OutputRole::Logits) {
        return Task::Classification;
    }
    if any(OutputRole::Value) {
        return Task::Regression;
    }
    if !any(OutputRole::Embedding) {
        let text =
            "no output could be read as an answer: all are given out over the V2 protocol only";
        assumptions.push(("outputs", text.to_owned()));
    }
    Task::Embedding
}
