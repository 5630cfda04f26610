//! Numeric arrays: results that Python would hold in a numpy array.

use super::Value;

/// A dense array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// The numbers, as many as the product of `shape`.
    pub data: Vec<f64>,
    /// Whether the numbers are whole (written to JSON without a fraction).
    pub integer: bool,
}

impl Array {
    /// An array of floats. `data` must hold as many numbers as the product of `shape`.
    pub fn floats(shape: Vec<usize>, data: Vec<f64>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self {
            shape,
            data,
            integer: false,
        }
    }

    /// An array of whole numbers. `data` must hold as many numbers as the product of `shape`.
    pub fn integers(shape: Vec<usize>, data: Vec<f64>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self {
            shape,
            data,
            integer: true,
        }
    }
}

/// The numbers of a list, a tuple or an array, row by row; `None` if something else stands there.
pub fn numbers(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(array) => Some(array.data.clone()),
        other => other.as_slice()?.iter().map(Value::as_f64).collect(),
    }
}
