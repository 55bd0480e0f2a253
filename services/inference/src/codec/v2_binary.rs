//! Values of a V2 tensor as bytes: little-endian, row-major, no padding.

use domain::manifest::Datatype;
use half::f16;
use models::Values;
use models::onnx::datatype_name;

/// Reads all of `bytes`; the text says what is wrong.
pub(super) fn read(datatype: Datatype, bytes: &[u8]) -> Result<Values, String> {
    macro_rules! numbers {
        ($variant:ident, $kind:ty) => {{
            let (chunks, rest) = bytes.as_chunks::<{ size_of::<$kind>() }>();
            if !rest.is_empty() {
                return Err(odd(datatype, bytes.len(), size_of::<$kind>()));
            }
            Values::$variant(chunks.iter().map(|chunk| <$kind>::from_le_bytes(*chunk)).collect())
        }};
    }
    Ok(match datatype {
        Datatype::Bool => {
            if let Some(other) = bytes.iter().find(|byte| **byte > 1) {
                return Err(format!("must hold bytes of 0 or 1 for `BOOL`, got {other}"));
            }
            Values::Bool(bytes.iter().map(|byte| *byte == 1).collect())
        }
        Datatype::Uint8 => Values::Uint8(bytes.to_vec()),
        Datatype::Uint16 => numbers!(Uint16, u16),
        Datatype::Uint32 => numbers!(Uint32, u32),
        Datatype::Uint64 => numbers!(Uint64, u64),
        Datatype::Int8 => numbers!(Int8, i8),
        Datatype::Int16 => numbers!(Int16, i16),
        Datatype::Int32 => numbers!(Int32, i32),
        Datatype::Int64 => numbers!(Int64, i64),
        Datatype::Fp16 => numbers!(Fp16, f16),
        Datatype::Fp32 => numbers!(Fp32, f32),
        Datatype::Fp64 => numbers!(Fp64, f64),
        Datatype::Bytes => Values::Bytes(texts(bytes)?),
    })
}

fn odd(datatype: Datatype, bytes: usize, each: usize) -> String {
    format!("has {bytes} bytes, must be a multiple of {each} for `{}`", datatype_name(datatype))
}

/// Elements of a 4-byte length with as many bytes behind it.
fn texts(mut bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let element = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        let Some((element, rest)) = element else {
            return Err(format!("is cut short in element {} of `BYTES`", list.len()));
        };
        let Ok(text) = std::str::from_utf8(element) else {
            return Err(format!("must hold text in UTF-8, element {} is not", list.len()));
        };
        list.push(text.to_owned());
        bytes = rest;
    }
    Ok(list)
}

/// Adds the values' bytes to `out`.
pub(super) fn write(values: &Values, out: &mut Vec<u8>) {
    macro_rules! numbers {
        ($list:expr) => {
            $list.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()))
        };
    }
    match values {
        Values::Bool(list) => out.extend(list.iter().map(|value| u8::from(*value))),
        Values::Uint8(list) => out.extend_from_slice(list),
        Values::Uint16(list) => numbers!(list),
        Values::Uint32(list) => numbers!(list),
        Values::Uint64(list) => numbers!(list),
        Values::Int8(list) => numbers!(list),
        Values::Int16(list) => numbers!(list),
        Values::Int32(list) => numbers!(list),
        Values::Int64(list) => numbers!(list),
        Values::Fp16(list) => numbers!(list),
        Values::Fp32(list) => numbers!(list),
        Values::Fp64(list) => numbers!(list),
        Values::Bytes(list) => {
            for text in list {
                // No text here comes near 4 GiB: bodies are bounded far below.
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}
