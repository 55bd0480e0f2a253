//! What people send into what models take.

pub mod image;
pub mod tabular;
pub mod text;
