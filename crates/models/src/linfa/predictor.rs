//! Runs a linfa model: no session to wait for.

use ::linfa::prelude::Predict;
use ndarray::Array2;

use super::{Fitted, INPUT, LABEL, LinfaModel, PROBABILITIES};
use crate::{ModelError, Predictor, Tensor, Values};

impl Predictor for LinfaModel {
    fn run(&self, mut inputs: Vec<Tensor>) -> Result<Vec<Tensor>, ModelError> {
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return Err(ModelError::input(INPUT, "must be the only input"));
        };
        let (width, rows) = (self.features.len(), input.rows());
        let fits = input.name == INPUT && input.shape == [rows, width];
        let Values::Fp32(values) = input.values else {
            return Err(ModelError::input(INPUT, "must be of datatype `FP32`"));
        };
        if !fits {
            return Err(ModelError::input(
                INPUT,
                format!("must be of shape [-1, {width}] (-1: any size), got {:?}", input.shape),
            ));
        }
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let scaled = values.chunks(width).flat_map(|row| self.scaler.scale(row)).collect();
        let matrix = Array2::from_shape_vec((rows, width), scaled)
            .map_err(|error| ModelError::Run { reason: error.to_string() })?;
        match &self.fitted {
            Fitted::Tree(tree) => {
                let classes = tree.predict(&matrix);
                Ok(vec![label(classes.iter().map(|class| *class as i64).collect())])
            }
            Fitted::Logistic(fitted) => {
                let mut table = vec![0.0_f32; rows * self.labels.len()];
                let given = fitted.predict_probabilities(&matrix);
                let mut classes = Vec::with_capacity(rows);
                for (row, out) in given.rows().into_iter().zip(table.chunks_mut(self.labels.len()))
                {
                    for (probability, class) in row.iter().zip(fitted.classes()) {
                        if let Some(cell) = out.get_mut(*class) {
                            #[expect(
                                clippy::cast_possible_truncation,
                                reason = "a probability loses digits, not magnitude"
                            )]
                            let narrow = *probability as f32;
                            *cell = narrow;
                        }
                    }
                    classes.push(crate::outcome::first_maximum(out).unwrap_or_default() as i64);
                }
                let shape = vec![rows, self.labels.len()];
                let probabilities = Tensor::new(PROBABILITIES, shape, Values::Fp32(table))?;
                Ok(vec![label(classes), probabilities])
            }
        }
    }

    fn try_run(&self, inputs: &mut Vec<Tensor>) -> Option<Result<Vec<Tensor>, ModelError>> {
        Some(self.run(std::mem::take(inputs)))
    }

    fn memory_bytes(&self) -> u64 {
        let cells = (self.features.len() + 1) * self.labels.len();
        let nodes = match &self.fitted {
            Fitted::Logistic(_) => 0,
            Fitted::Tree(tree) => tree.num_leaves() * 2,
        };
        (cells * 8 + nodes * 128) as u64 + 4096
    }
}

fn label(classes: Vec<i64>) -> Tensor {
    Tensor { name: LABEL.to_owned(), shape: vec![classes.len()], values: Values::Int64(classes) }
}
