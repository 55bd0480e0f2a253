//! ONNX models: a pool of ONNX Runtime sessions of one thread each.

mod limit;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use domain::manifest::{Datatype, Manifest, TensorSpec};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynSequence, DynValue, Tensor as OrtTensor, TensorElementType, ValueType};

use self::limit::Slot;
use crate::graph::FILE;
use crate::{ModelError, Predictor, Tensor, Values, library};

/// A session with what breaks its runs off.
#[derive(Debug)]
struct Limited {
    session: Session,
    slot: Arc<Slot>,
}

/// Sessions of one model. Each runs one call at a time; more calls wait.
#[derive(Debug)]
pub struct OnnxPredictor {
    free: Mutex<Vec<Limited>>,
    freed: Condvar,
    inputs: Vec<TensorSpec>,
    outputs: Vec<(String, Datatype)>,
    labels: Vec<String>,
    memory_bytes: u64,
}

impl OnnxPredictor {
    /// Loads `bytes` into `sessions` sessions (at least one). A run that takes longer than
    /// `run_limit` is broken off.
    ///
    /// # Errors
    /// [`ModelError::Library`] if ONNX Runtime was not started, [`ModelError::Operator`] if it lacks
    /// an operator, [`ModelError::Load`] for anything else that it refuses.
    pub fn load(
        manifest: &Manifest,
        bytes: &[u8],
        sessions: usize,
        run_limit: Duration,
    ) -> Result<Self, ModelError> {
        let sessions = sessions.max(1);
        let limited = |_| Ok(Limited { session: session(bytes)?, slot: Slot::new(run_limit)? });
        let free = (0..sessions).map(limited).collect::<Result<Vec<_>, ModelError>>()?;
        Ok(Self {
            free: Mutex::new(free),
            freed: Condvar::new(),
            inputs: manifest.inputs.clone(),
            outputs: manifest
                .outputs
                .iter()
                .map(|output| (output.name.clone(), output.datatype))
                .collect(),
            labels: manifest.labels.clone(),
            memory_bytes: memory_estimate(bytes.len() as u64, sessions),
        })
    }

    fn with(&self, session: Limited, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, ModelError> {
        // A session is given back even if a run should panic.
        let mut lent = Lent { pool: self, session: Some(session) };
        match &mut lent.session {
            Some(session) => self.run_in(session, inputs),
            None => Err(ModelError::Run { reason: "the session is gone".to_owned() }),
        }
    }

    fn run_in(
        &self,
        limited: &mut Limited,
        inputs: Vec<Tensor>,
    ) -> Result<Vec<Tensor>, ModelError> {
        let inputs = inputs
            .into_iter()
            .map(|tensor| Ok((tensor.name.clone(), to_ort(tensor)?)))
            .collect::<Result<Vec<_>, ModelError>>()?;
        let Limited { session, slot } = limited;
        let outputs = slot.within(|| {
            let ran = session.run_with_options(inputs, &slot.options);
            ran.map_err(|error| run_error(error.message()))
        })?;
        self.outputs
            .iter()
            .map(|(name, datatype)| {
                let value = outputs
                    .get(name)
                    .ok_or_else(|| ModelError::output(name, "is missing from the answer"))?;
                from_ort(name, *datatype, value, &self.labels)
            })
            .collect()
    }

    /// Refuses what the graph does not take, with names, before the runtime would.
    fn check(&self, inputs: &[Tensor]) -> Result<(), ModelError> {
        for spec in &self.inputs {
            let Some(tensor) = inputs.iter().find(|tensor| tensor.name == spec.name) else {
                return Err(ModelError::input(&spec.name, "is missing"));
            };
            spec_fits(spec, tensor)?;
        }
        match inputs.iter().find(|tensor| self.inputs.iter().all(|spec| spec.name != tensor.name)) {
            Some(extra) => Err(ModelError::input(&extra.name, "is not an input of the model")),
            None => Ok(()),
        }
    }
}

/// A session in use.
struct Lent<'a> {
    pool: &'a OnnxPredictor,
    session: Option<Limited>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            self.pool.freed.notify_one();
        }
    }
}

impl Predictor for OnnxPredictor {
    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, ModelError> {
        self.check(&inputs)?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let session = loop {
            match free.pop() {
                Some(session) => break session,
                None => free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(free);
        self.with(session, inputs)
    }

    fn try_run(&self, inputs: &mut Vec<Tensor>) -> Option<Result<Vec<Tensor>, ModelError>> {
        if let Err(error) = self.check(inputs) {
            return Some(Err(error));
        }
        let session = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(self.with(session, std::mem::take(inputs)))
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

/// Memory that `sessions` sessions of a file of this size are taken to need, bytes. Measured: weights
/// are held about twice once optimised, plus the session's own state.
pub fn memory_estimate(file_bytes: u64, sessions: usize) -> u64 {
    file_bytes.saturating_mul(2).saturating_add(1 << 20).saturating_mul(sessions.max(1) as u64)
}

/// Whether a tensor is of the element type and the dimensions that the graph declares.
///
/// # Errors
/// [`ModelError::Input`] that says what was declared and what came.
pub fn spec_fits(spec: &TensorSpec, tensor: &Tensor) -> Result<(), ModelError> {
    if tensor.values.datatype() != spec.datatype {
        return Err(ModelError::input(
            &spec.name,
            format!(
                "must be of datatype `{}`, got `{}`",
                datatype_name(spec.datatype),
                datatype_name(tensor.values.datatype())
            ),
        ));
    }
    let fits = spec.shape.len() == tensor.shape.len()
        && spec.shape.iter().zip(&tensor.shape).all(|(declared, size)| {
            *declared < 0 || usize::try_from(*declared).is_ok_and(|declared| declared == *size)
        });
    if fits {
        return Ok(());
    }
    Err(ModelError::input(
        &spec.name,
        format!("must be of shape {:?} (-1: any size), got {:?}", spec.shape, tensor.shape),
    ))
}

/// The name of an element type in the V2 protocol.
pub fn datatype_name(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "BOOL",
        Datatype::Uint8 => "UINT8",
        Datatype::Uint16 => "UINT16",
        Datatype::Uint32 => "UINT32",
        Datatype::Uint64 => "UINT64",
        Datatype::Int8 => "INT8",
        Datatype::Int16 => "INT16",
        Datatype::Int32 => "INT32",
        Datatype::Int64 => "INT64",
        Datatype::Fp16 => "FP16",
        Datatype::Fp32 => "FP32",
        Datatype::Fp64 => "FP64",
        Datatype::Bytes => "BYTES",
    }
}

fn session(bytes: &[u8]) -> Result<Session, ModelError> {
    let environment = library::environment()?;
    let build = || -> Result<Session, String> {
        let text = |error: ort::Error<_>| -> String { ort::Error::message(&error).to_owned() };
        Session::builder(environment)
            .map_err(|error| error.message().to_owned())?
            .with_intra_threads(1)
            .map_err(text)?
            .with_inter_threads(1)
            .map_err(text)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(text)?
            .with_log_level(ort::logging::LogLevel::Fatal)
            .map_err(text)?
            .commit_from_memory(bytes)
            .map_err(|error| error.message().to_owned())
    };
    build().map_err(|message| load_error(&message))
}

/// Names the operator where ONNX Runtime's message holds one. It says either `Fatal error:
/// domain:Name(1) is not a registered function/op`, or `Could not find an implementation for
/// Name(7) node with name ''`, or `No Op registered for Name with domain_version of 17`.
fn load_error(message: &str) -> ModelError {
    let after = |start: &str| message.split_once(start).map(|(_, rest)| rest);
    let before_registered = message
        .split_once(" is not a registered function/op")
        .and_then(|(head, _)| head.rsplit(' ').next());
    let operator = before_registered
        .or_else(|| after("find an implementation for ").and_then(|rest| rest.split(' ').next()))
        .or_else(|| after("No Op registered for ").and_then(|rest| rest.split(' ').next()));
    match operator {
        Some(operator) if !operator.is_empty() => {
            ModelError::Operator { operator: operator.to_owned(), runtime: library::VERSION }
        }
        _ => ModelError::load(FILE, message),
    }
}

fn run_error(message: &str) -> ModelError {
    ModelError::Run { reason: message.lines().next().unwrap_or_default().to_owned() }
}

fn to_ort(tensor: Tensor) -> Result<SessionInputValue<'static>, ModelError> {
    let Tensor { name, shape, values } = tensor;
    let made: ort::Result<DynValue> = match values {
        Values::Bool(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Uint8(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Uint16(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Uint32(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Uint64(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Int8(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Int16(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Int32(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Int64(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Fp16(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Fp32(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Fp64(list) => OrtTensor::from_array((shape, list)).map(|made| made.into_dyn()),
        Values::Bytes(list) => {
            if list.iter().any(|text| text.contains('\0')) {
                return Err(ModelError::input(&name, "must not hold a NUL character"));
            }
            OrtTensor::from_string_array((shape, list.as_slice())).map(|made| made.into_dyn())
        }
    };
    match made {
        Ok(value) => Ok(value.into()),
        Err(error) => Err(ModelError::input(&name, format!("does not fit: {}", error.message()))),
    }
}

fn from_ort(
    name: &str,
    declared: Datatype,
    value: &DynValue,
    labels: &[String],
) -> Result<Tensor, ModelError> {
    let failed = |error: ort::Error| ModelError::output(name, error.message());
    let element = match value.dtype() {
        ValueType::Tensor { ty, .. } => *ty,
        ValueType::Sequence(_) => return from_maps(name, value, labels),
        _ => return Err(ModelError::output(name, "is neither a tensor nor a sequence of maps")),
    };
    macro_rules! plain {
        ($variant:ident) => {{
            let (shape, values) = value.try_extract_tensor().map_err(failed)?;
            (sizes(name, shape)?, Values::$variant(values.to_vec()))
        }};
    }
    let (shape, values) = match element {
        TensorElementType::Bool => plain!(Bool),
        TensorElementType::Uint8 => plain!(Uint8),
        TensorElementType::Uint16 => plain!(Uint16),
        TensorElementType::Uint32 => plain!(Uint32),
        TensorElementType::Uint64 => plain!(Uint64),
        TensorElementType::Int8 => plain!(Int8),
        TensorElementType::Int16 => plain!(Int16),
        TensorElementType::Int32 => plain!(Int32),
        TensorElementType::Int64 => plain!(Int64),
        TensorElementType::Float16 => plain!(Fp16),
        TensorElementType::Float32 => plain!(Fp32),
        TensorElementType::Float64 => plain!(Fp64),
        TensorElementType::String => {
            let (shape, values) = value.try_extract_strings().map_err(failed)?;
            (sizes(name, shape)?, Values::Bytes(values))
        }
        other => {
            return Err(ModelError::output(
                name,
                format!("is of element type `{other}`, declared was `{}`", datatype_name(declared)),
            ));
        }
    };
    Ok(Tensor { name: name.to_owned(), shape, values })
}

fn sizes(name: &str, shape: &[i64]) -> Result<Vec<usize>, ModelError> {
    let size = |size: &i64| match usize::try_from(*size) {
        Ok(size) => Ok(size),
        Err(_) => Err(ModelError::output(name, format!("has the shape {shape:?}"))),
    };
    shape.iter().map(size).collect()
}

/// `ZipMap`'s sequence of maps as a matrix: a row per map, a column per label.
fn from_maps(name: &str, value: &DynValue, labels: &[String]) -> Result<Tensor, ModelError> {
    let failed = |error: ort::Error| ModelError::output(name, error.message());
    let sequence = value.view().downcast::<ort::value::DynSequenceValueType>().map_err(failed)?;
    let maps: Vec<ort::value::DynMap> =
        DynSequence::try_extract_sequence(&sequence).map_err(failed)?;
    let mut values = Vec::with_capacity(maps.len() * labels.len());
    for map in &maps {
        let pairs: Vec<(String, f32)> = match map.dtype() {
            ValueType::Map { key: TensorElementType::String, .. } => {
                map.try_extract_key_values::<String, f32>().map_err(failed)?
            }
            _ => map
                .try_extract_key_values::<i64, f32>()
                .map_err(failed)?
                .into_iter()
                .map(|(key, value)| (key.to_string(), value))
                .collect(),
        };
        for (column, label) in labels.iter().enumerate() {
            // Renamed labels (a labels.json beside integer classes) go by position.
            let found = pairs
                .iter()
                .find(|(key, _)| key == label)
                .or_else(|| pairs.iter().find(|(key, _)| *key == column.to_string()))
                .ok_or_else(|| ModelError::output(name, format!("has no class `{label}`")))?;
            values.push(found.1);
        }
    }
    Tensor::new(name, vec![maps.len(), labels.len()], Values::Fp32(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Package;

    #[test]
    fn a_busy_pool_says_so_and_keeps_the_input() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        let library = format!("{root}target/onnxruntime/libonnxruntime.so");
        library::start(Some(library.as_ref()), &[]).unwrap();
        let bytes = include_bytes!("../../../tests/models/iris-logreg/model.onnx");
        let files = [(FILE.to_owned(), bytes::Bytes::from_static(bytes))].into();
        let package = Package::assemble("iris", None, files).unwrap();
        let pool =
            OnnxPredictor::load(&package.manifest, bytes, 1, Duration::from_secs(60)).unwrap();
        let row = Tensor::new("input", vec![1, 4], Values::Fp32(vec![0.0; 4])).unwrap();
        let mut inputs = vec![row];
        let taken = pool.free.lock().unwrap().pop();
        assert!(pool.try_run(&mut inputs).is_none());
        assert_eq!(inputs.len(), 1);
        pool.free.lock().unwrap().extend(taken);
        assert!(pool.try_run(&mut inputs).unwrap().is_ok());
        assert!(inputs.is_empty(), "a run takes its input");
        assert_eq!(pool.free.lock().unwrap().len(), 1, "and gives the session back");
    }

    #[test]
    fn the_missing_operator_is_named() {
        for (message, operator) in [
            (
                "Fatal error: com.acme:Magic(-1) is not a registered function/op",
                "com.acme:Magic(-1)",
            ),
            ("Could not find an implementation for Celu(12) node with name 'c'", "Celu(12)"),
            ("No Op registered for Nope with domain_version of 17", "Nope"),
        ] {
            let ModelError::Operator { operator: named, .. } = load_error(message) else {
                panic!("{message}");
            };
            assert_eq!(named, operator);
        }
        assert!(matches!(load_error("out of memory"), ModelError::Load { .. }));
    }
}
