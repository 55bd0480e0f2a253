//! Named arrays: what goes into a model and what comes out.

use domain::manifest::Datatype;
use half::f16;

use crate::ModelError;

/// A named array, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name in the graph.
    pub name: String,
    /// Its dimensions; their product is the number of values.
    pub shape: Vec<usize>,
    /// Its values, row after row.
    pub values: Values,
}

/// Values of one element type of the Open Inference Protocol V2.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum Values {
    Bool(Vec<bool>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp16(Vec<f16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    /// `BYTES`: every model that takes them takes text, so they are kept as such.
    Bytes(Vec<String>),
}

/// Does the same to the vector inside, whatever its element type.
macro_rules! each {
    ($values:expr, $list:ident => $do:expr) => {
        match $values {
            Values::Bool($list) => $do,
            Values::Uint8($list) => $do,
            Values::Uint16($list) => $do,
            Values::Uint32($list) => $do,
            Values::Uint64($list) => $do,
            Values::Int8($list) => $do,
            Values::Int16($list) => $do,
            Values::Int32($list) => $do,
            Values::Int64($list) => $do,
            Values::Fp16($list) => $do,
            Values::Fp32($list) => $do,
            Values::Fp64($list) => $do,
            Values::Bytes($list) => $do,
        }
    };
}

/// The same as [`each`], giving values of the same element type again.
macro_rules! map {
    ($values:expr, $list:ident => $do:expr) => {
        match $values {
            Values::Bool($list) => Values::Bool($do),
            Values::Uint8($list) => Values::Uint8($do),
            Values::Uint16($list) => Values::Uint16($do),
            Values::Uint32($list) => Values::Uint32($do),
            Values::Uint64($list) => Values::Uint64($do),
            Values::Int8($list) => Values::Int8($do),
            Values::Int16($list) => Values::Int16($do),
            Values::Int32($list) => Values::Int32($do),
            Values::Int64($list) => Values::Int64($do),
            Values::Fp16($list) => Values::Fp16($do),
            Values::Fp32($list) => Values::Fp32($do),
            Values::Fp64($list) => Values::Fp64($do),
            Values::Bytes($list) => Values::Bytes($do),
        }
    };
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        each!(self, list => list.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their element type.
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Bool(_) => Datatype::Bool,
            Self::Uint8(_) => Datatype::Uint8,
            Self::Uint16(_) => Datatype::Uint16,
            Self::Uint32(_) => Datatype::Uint32,
            Self::Uint64(_) => Datatype::Uint64,
            Self::Int8(_) => Datatype::Int8,
            Self::Int16(_) => Datatype::Int16,
            Self::Int32(_) => Datatype::Int32,
            Self::Int64(_) => Datatype::Int64,
            Self::Fp16(_) => Datatype::Fp16,
            Self::Fp32(_) => Datatype::Fp32,
            Self::Fp64(_) => Datatype::Fp64,
            Self::Bytes(_) => Datatype::Bytes,
        }
    }

    /// `count` zeros (`false`, empty texts) of an element type.
    pub fn zeros(datatype: Datatype, count: usize) -> Self {
        match datatype {
            Datatype::Bool => Self::Bool(vec![false; count]),
            Datatype::Uint8 => Self::Uint8(vec![0; count]),
            Datatype::Uint16 => Self::Uint16(vec![0; count]),
            Datatype::Uint32 => Self::Uint32(vec![0; count]),
            Datatype::Uint64 => Self::Uint64(vec![0; count]),
            Datatype::Int8 => Self::Int8(vec![0; count]),
            Datatype::Int16 => Self::Int16(vec![0; count]),
            Datatype::Int32 => Self::Int32(vec![0; count]),
            Datatype::Int64 => Self::Int64(vec![0; count]),
            Datatype::Fp16 => Self::Fp16(vec![f16::ZERO; count]),
            Datatype::Fp32 => Self::Fp32(vec![0.0; count]),
            Datatype::Fp64 => Self::Fp64(vec![0.0; count]),
            Datatype::Bytes => Self::Bytes(vec![String::new(); count]),
        }
    }

    /// Whether a float among them is NaN or infinite.
    pub fn has_non_finite(&self) -> bool {
        match self {
            Self::Fp16(list) => list.iter().any(|value| !value.is_finite()),
            Self::Fp32(list) => list.iter().any(|value| !value.is_finite()),
            Self::Fp64(list) => list.iter().any(|value| !value.is_finite()),
            _ => false,
        }
    }

    /// The values at `range`; empty where it reaches past the end.
    fn part(&self, range: std::ops::Range<usize>) -> Self {
        map!(self, list => list.get(range).unwrap_or_default().to_vec())
    }

    /// Adds another's values behind its own; `false` if they are of another element type.
    fn append(&mut self, other: Self) -> bool {
        macro_rules! same {
            ($($variant:ident)*) => {
                match (self, other) {
                    $((Self::$variant(mine), Self::$variant(theirs)) => {
                        mine.extend(theirs);
                        true
                    })*
                    _ => false,
                }
            };
        }
        same!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Fp32 Fp64 Bytes)
    }
}

impl Tensor {
    /// A tensor whose values fit its shape.
    ///
    /// # Errors
    /// [`ModelError::Input`] if the product of `shape` is not the number of values.
    pub fn new(
        name: impl Into<String>,
        shape: Vec<usize>,
        values: Values,
    ) -> Result<Self, ModelError> {
        let name = name.into();
        let product = shape.iter().try_fold(1_usize, |sum, size| sum.checked_mul(*size));
        if product != Some(values.len()) {
            return Err(ModelError::input(
                &name,
                format!("has {} values, its shape {shape:?} asks for another number", values.len()),
            ));
        }
        Ok(Self { name, shape, values })
    }

    /// The first dimension; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// `rows` rows from row `start`.
    #[must_use]
    pub fn rows_from(&self, start: usize, rows: usize) -> Self {
        let width = self.width();
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows;
        }
        let values = self.values.part(start * width..(start + rows) * width);
        Self { name: self.name.clone(), shape, values }
    }

    /// Puts the rows of `next` under its own; gives it back if it does not fit.
    pub fn stack(&mut self, next: Self) -> Result<(), Box<Self>> {
        let fits = self.name == next.name
            && !self.shape.is_empty()
            && self.shape.get(1..) == next.shape.get(1..)
            && self.values.datatype() == next.values.datatype();
        if !fits {
            return Err(Box::new(next));
        }
        let more = next.rows();
        self.values.append(next.values);
        if let Some(first) = self.shape.first_mut() {
            *first += more;
        }
        Ok(())
    }

    /// Values per row.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rows: usize, first: f32) -> Tensor {
        let mut value = first;
        let values = (0..rows * 2).map(|_| {
            value += 1.0;
            value
        });
        Tensor::new("x", vec![rows, 2], Values::Fp32(values.collect())).unwrap()
    }

    #[test]
    fn stacked_rows_come_apart_again() {
        let (one, two) = (numbers(1, 0.0), numbers(3, 10.0));
        let mut both = one.clone();
        both.stack(two.clone()).unwrap();
        assert_eq!(both.shape, [4, 2]);
        assert_eq!(both.rows_from(0, 1), one);
        assert_eq!(both.rows_from(1, 3), two);
    }

    #[test]
    fn another_width_or_type_does_not_stack() {
        let mut one = numbers(1, 0.0);
        let wide = Tensor::new("x", vec![1, 3], Values::Fp32(vec![0.0; 3])).unwrap();
        let ints = Tensor::new("x", vec![1, 2], Values::Int64(vec![0; 2])).unwrap();
        assert!(one.stack(wide).is_err());
        assert!(one.stack(ints).is_err());
        assert_eq!(one, numbers(1, 0.0));
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        assert!(Tensor::new("x", vec![usize::MAX, 2], Values::Fp32(vec![])).is_err());
    }
}
