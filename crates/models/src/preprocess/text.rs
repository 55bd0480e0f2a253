//! Texts into tensors: as strings, or as token ids.

use std::fmt;

use domain::Manifest;
use domain::manifest::TextInput;
use tokenizers::TruncationParams;

use crate::{ModelError, Tensor, Values};

/// The input that takes token ids.
pub const IDS: &str = "input_ids";
/// The inputs that a tokenizer can fill.
pub const TOKEN_INPUTS: [&str; 3] = [IDS, "attention_mask", "token_type_ids"];

/// A tokenizer, ready to be used from many threads.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pad_id: i64,
    max_chars: usize,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("max_chars", &self.max_chars).finish_non_exhaustive()
    }
}

/// Texts as tensors, and what became of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokenized {
    /// The model's inputs, one row per text.
    pub tensors: Vec<Tensor>,
    /// Which texts were cut off at `max_length` tokens.
    pub truncated: Vec<bool>,
}

impl Tokenizer {
    /// Reads the tokenizer's file (the `tokenizer.json` of Hugging Face).
    ///
    /// # Errors
    /// [`ModelError::File`] if it is damaged; [`ModelError::Manifest`] if `max_length` leaves no
    /// room beside the special tokens.
    pub fn load(file: &str, bytes: &[u8], text: &TextInput) -> Result<Self, ModelError> {
        let damaged = |error: tokenizers::Error| {
            ModelError::file(file, format!("is not a tokenizer: {error}"))
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(damaged)?;
        let special = inner
            .get_post_processor()
            .map_or(0, |processor| tokenizers::PostProcessor::added_tokens(processor, false));
        if text.max_length <= special {
            return Err(ModelError::manifest(
                "text/max_length",
                format!("must be above {special}, the tokenizer's special tokens"),
            ));
        }
        inner.with_padding(None);
        inner
            .with_truncation(Some(TruncationParams {
                max_length: text.max_length,
                ..TruncationParams::default()
            }))
            .map_err(damaged)?;
        Ok(Self { inner, pad_id: i64::from(text.pad_id), max_chars: text.max_chars })
    }

    /// Token ids and masks for the manifest's inputs, shorter rows padded to the longest.
    ///
    /// # Errors
    /// [`ModelError::Input`] if a text is too long, or cannot be tokenized.
    pub fn tensors<T: AsRef<str>>(
        &self,
        manifest: &Manifest,
        texts: &[T],
    ) -> Result<Tokenized, ModelError> {
        let mut encodings = Vec::with_capacity(texts.len());
        for text in texts {
            let text = text.as_ref();
            check_length(text, self.max_chars)?;
            let encoding = self.inner.encode(text, true).map_err(|error| {
                ModelError::input("text", format!("cannot be tokenized: {error}"))
            })?;
            encodings.push(encoding);
        }
        // A fixed second dimension asks for rows of just that length.
        let fixed = manifest.inputs.iter().find_map(|input| input.shape.get(1).copied());
        let fixed = fixed.and_then(|length| usize::try_from(length).ok());
        let longest = encodings.iter().map(tokenizers::Encoding::len).max().unwrap_or(0);
        let length = fixed.unwrap_or(longest).max(1);
        let mut tensors = Vec::with_capacity(manifest.inputs.len());
        for input in &manifest.inputs {
            let mut values = Vec::with_capacity(length * texts.len());
            for encoding in &encodings {
                let (row, filler) = match input.name.as_str() {
                    IDS => (encoding.get_ids(), self.pad_id),
                    "attention_mask" => (encoding.get_attention_mask(), 0),
                    _ => (encoding.get_type_ids(), 0),
                };
                let filled = row.iter().map(|id| i64::from(*id)).take(length);
                values.extend(filled.chain(std::iter::repeat(filler)).take(length));
            }
            let shape = vec![texts.len(), length];
            tensors.push(Tensor::new(&input.name, shape, Values::Int64(values))?);
        }
        let truncated = encodings
            .iter()
            .map(|encoding| !encoding.get_overflowing().is_empty() || encoding.len() > length)
            .collect();
        Ok(Tokenized { tensors, truncated })
    }
}

/// The tensor of a model that takes strings itself.
///
/// # Errors
/// [`ModelError::Input`] if a text is too long or holds a NUL character, or the model takes token
/// ids and came without a tokenizer.
pub fn strings<T: AsRef<str>>(
    manifest: &Manifest,
    text: &TextInput,
    texts: &[T],
) -> Result<Tokenized, ModelError> {
    let [input] = manifest.inputs.as_slice() else {
        return Err(ModelError::input(
            "text",
            "cannot be given: the model came without a tokenizer, send its token ids over V2",
        ));
    };
    let mut list = Vec::with_capacity(texts.len());
    for given in texts {
        let given = given.as_ref();
        check_length(given, text.max_chars)?;
        if given.contains('\0') {
            return Err(ModelError::input("text", "must not hold a NUL character"));
        }
        list.push(given.to_owned());
    }
    let shape = if input.shape.len() == 1 { vec![list.len()] } else { vec![list.len(), 1] };
    let truncated = vec![false; list.len()];
    Ok(Tokenized {
        tensors: vec![Tensor::new(&input.name, shape, Values::Bytes(list))?],
        truncated,
    })
}

fn check_length(text: &str, max_chars: usize) -> Result<(), ModelError> {
    // Bytes bound characters from above: most texts need no counting.
    if text.len() <= max_chars {
        return Ok(());
    }
    match text.chars().count() {
        count if count <= max_chars => Ok(()),
        count => Err(ModelError::input(
            "text",
            format!("must have at most {max_chars} characters, has {count}"),
        )),
    }
}
