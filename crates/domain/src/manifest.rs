//! The manifest: all that must be known of a model to serve it, check its input and judge it.
//!
//! One JSON document per version. Whatever the author leaves out is read from the graph
//! (`models::package`), so a bare `model.onnx` is enough.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A model version's manifest. Unknown fields are refused, so that a misspelt one is noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The model's name, as its author calls it.
    pub name: String,
    /// The author's semantic version. The registry counts its own beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1.2.0")]
    pub version: Option<semver::Version>,
    /// What the model does, in a sentence or two.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it answers.
    pub task: Task,
    /// What it is asked with.
    pub modality: Modality,
    /// The format of its file.
    pub format: Format,
    /// What it was trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<Tool>,
    /// What wrote the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converter: Option<Tool>,
    /// Input features in the order of the model's columns. Empty for images and text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// Input tensors, as the graph declares them.
    pub inputs: Vec<TensorSpec>,
    /// Output tensors, as the graph declares them, and what each means.
    pub outputs: Vec<OutputSpec>,
    /// Class names in the order of the probabilities. Empty if the model has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// How a picture becomes the input tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageInput>,
    /// How a text becomes the input tensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextInput>,
    /// Whether rows of several requests may run together. False where an answer would depend on
    /// its neighbours, as with dynamic quantization.
    #[serde(default)]
    pub batchable: bool,
    /// Where its data lie.
    #[serde(default, skip_serializing_if = "Data::is_empty")]
    pub data: Data,
    /// Training parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: BTreeMap<String, Value>,
    /// Measured quality, as the author reports it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub metrics: BTreeMap<String, Value>,
    /// Licence of the model, and of its data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// Where the model and its data come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What it is meant for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub intended_use: String,
    /// What it is not good at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limitations: Vec<String>,
    /// Operators of the graph with how often each occurs; written by the engine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operators: BTreeMap<String, u32>,
    /// What the engine had to assume, for the author to check; written by the engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumptions: Vec<String>,
}

/// What a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of a fixed list of classes.
    Classification,
    /// A number.
    Regression,
    /// A vector.
    Embedding,
}

/// What a model is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// Rows of features.
    Tabular,
    /// Texts.
    Text,
    /// Pictures.
    Image,
}

/// The format of a model file. None of these runs code when loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `model.onnx`, run by ONNX Runtime.
    Onnx,
    /// `model.linfa.json`, a linfa model saved by this engine.
    Linfa,
}

/// A program with its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name, such as `scikit-learn`.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// One column of the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name; unique in the model.
    pub name: String,
    /// What a value must be.
    #[serde(default, rename = "type")]
    pub kind: FeatureKind,
    /// Values below are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Values above are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The values allowed, for a category. A numeric model input receives the value's position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Whether the value may be missing (`null`, or left out by name): the model then gets NaN.
    #[serde(default)]
    pub optional: bool,
    /// The range seen in training: for people and for drift, never for refusing a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRange>,
    /// What it means, with its unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// What a feature's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// A finite number.
    #[default]
    Number,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of `categories`.
    Category,
    /// Any text; the graph itself takes strings.
    String,
}

/// What training data looked like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingRange {
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
}

/// A tensor of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Its name in the graph.
    pub name: String,
    /// Its element type.
    pub datatype: Datatype,
    /// Its dimensions; -1 where any size fits.
    pub shape: Vec<i64>,
}

/// An output tensor and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Its name in the graph.
    pub name: String,
    /// Its element type.
    pub datatype: Datatype,
    /// Its dimensions; -1 where any size fits.
    pub shape: Vec<i64>,
    /// What it means.
    pub role: OutputRole,
}

/// What an output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputRole {
    /// The class, as a number or a name, one per row.
    Label,
    /// A probability per class and row.
    Probabilities,
    /// A score per class and row, to be put through softmax.
    Logits,
    /// The predicted number, one per row.
    Value,
    /// A vector per row.
    Embedding,
    /// Anything else; given out over the V2 protocol only.
    Other,
}

/// Element types of the Open Inference Protocol V2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

/// How a picture becomes a tensor: decode, resize, crop, scale, normalise, lay out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Width of the tensor, pixels.
    pub width: u32,
    /// Height of the tensor, pixels.
    pub height: u32,
    /// Channels after decoding.
    #[serde(default)]
    pub color: Color,
    /// How the picture is brought to size.
    #[serde(default)]
    pub resize: Resize,
    /// The interpolation.
    #[serde(default)]
    pub filter: Filter,
    /// Pixel values 0..255 are multiplied by this first.
    #[serde(default = "one")]
    pub scale: f32,
    /// Then this is taken off, per channel; empty for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// Then it is divided by this, per channel; empty for 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
    /// The order of the tensor's axes.
    #[serde(default)]
    pub layout: Layout,
    /// Pictures with more pixels are refused before they are decoded.
    #[serde(default = "fifty_million")]
    pub max_pixels: u64,
}

fn one() -> f32 {
    1.0
}

fn fifty_million() -> u64 {
    50_000_000
}

/// Channels of a decoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One grey channel.
    Gray,
}

/// How a picture is brought to size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The shorter side is brought to size, then the centre is cropped.
    #[default]
    ShorterSide,
    /// Both sides are brought to size; the aspect ratio may change.
    Stretch,
}

/// Interpolation of a resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Nearest neighbour.
    Nearest,
    /// Linear.
    #[default]
    Bilinear,
    /// Cubic (Catmull-Rom, as Pillow's bicubic).
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos3,
}

/// Order of an image tensor's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Batch, channel, row, column.
    #[default]
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

/// How a text becomes tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextInput {
    /// The tokenizer's file in the package; absent if the graph takes strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Longest input in tokens, special ones included. More are cut off and the answer says
    /// `truncated`.
    #[serde(default = "max_tokens")]
    pub max_length: usize,
    /// The token that fills up shorter rows of a request.
    #[serde(default)]
    pub pad_id: u32,
    /// Longer texts, in characters, are refused.
    #[serde(default = "max_chars")]
    pub max_chars: usize,
}

fn max_tokens() -> usize {
    512
}

fn max_chars() -> usize {
    10_000
}

/// Where a model's data lie.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// URIs of the training data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<String>,
    /// URIs of the validation data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<String>,
}

impl Data {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
