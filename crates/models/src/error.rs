//! What can go wrong, by what a caller would do about it.

/// A failure around a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// ONNX Runtime is not there, or not the right one. The installation is to be mended.
    #[error(
        "ONNX models cannot run: {reason}; run `make onnxruntime` in the repository, or set \
         `inference.onnxruntime` to the path of libonnxruntime.so 1.31.1"
    )]
    Library {
        /// What was tried, and what happened.
        reason: String,
    },
    /// A file is not what it must be. Its author is to mend it.
    #[error("file `{file}` {reason}")]
    File {
        /// The file's name in the package.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest contradicts itself or the graph. Its author is to mend it.
    #[error("{} {reason}", place(field))]
    Manifest {
        /// The field, such as `features/3/min`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// ONNX Runtime does not know an operator of the graph.
    #[error(
        "operator `{operator}` of `model.onnx` is not one that ONNX Runtime {runtime} has: export \
         with standard operators and a lower opset"
    )]
    Operator {
        /// The operator, with its version if one was said.
        operator: String,
        /// The runtime's version.
        runtime: &'static str,
    },
    /// The model does not load.
    #[error("failed to load `{file}`: {reason}")]
    Load {
        /// The file's name in the package.
        file: String,
        /// What the runtime said.
        reason: String,
    },
    /// What was asked does not fit the model. The caller is to mend it.
    #[error("input `{input}` {reason}")]
    Input {
        /// The tensor's or feature's name, or `text`, `image`.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model gave something that is no answer, such as NaN.
    #[error("output `{output}` of the model {reason}")]
    Output {
        /// The tensor's name.
        output: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model failed on well-formed input.
    #[error("the model failed: {reason}")]
    Run {
        /// What the runtime said.
        reason: String,
    },
}

fn place(field: &str) -> String {
    if field.is_empty() { "manifest".to_owned() } else { format!("manifest field `{field}`") }
}

impl ModelError {
    pub(crate) fn file(file: &str, reason: impl Into<String>) -> Self {
        Self::File { file: file.to_owned(), reason: reason.into() }
    }

    pub(crate) fn manifest(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Manifest { field: field.into(), reason: reason.into() }
    }

    pub(crate) fn load(file: &str, reason: impl Into<String>) -> Self {
        Self::Load { file: file.to_owned(), reason: reason.into() }
    }

    pub(crate) fn input(input: &str, reason: impl Into<String>) -> Self {
        Self::Input { input: input.to_owned(), reason: reason.into() }
    }

    pub(crate) fn output(output: &str, reason: impl Into<String>) -> Self {
        Self::Output { output: output.to_owned(), reason: reason.into() }
    }
}
