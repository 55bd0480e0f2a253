use ::image::{Rgb, RgbImage};
use serde_json::json;

use super::*;

fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn input(shape: [i64; 4], datatype: Datatype) -> TensorSpec {
    TensorSpec { name: "x".to_owned(), datatype, shape: shape.to_vec() }
}

fn settings(fields: serde_json::Value) -> ImageInput {
    serde_json::from_value(fields).unwrap()
}

#[test]
fn python_rounds_a_half_to_even() {
    let halves: Vec<_> = (0..8).map(half_even).collect();
    assert_eq!(halves, [0, 0, 1, 2, 2, 2, 3, 4]);
}

#[test]
fn channels_layout_and_scaling_are_as_told() {
    let picture = RgbImage::from_pixel(2, 1, Rgb([255, 51, 0]));
    let told = settings(json!({"width": 2, "height": 1, "color": "bgr", "scale": 1.0 / 255.0,
                               "mean": [0.0, 0.2, 0.5], "std": [1.0, 1.0, 0.5]}));
    let made = tensor(&told, &input([-1, 3, 1, 2], Datatype::Fp32), &png(&picture)).unwrap();
    assert_eq!(made.shape, [1, 3, 1, 2]);
    let Values::Fp32(values) = made.values else { panic!() };
    for (got, want) in values.iter().zip([0.0, 0.0, 0.0, 0.0, 1.0, 1.0]) {
        assert!((got - want).abs() < 1e-6, "{values:?}");
    }
    let told = settings(json!({"width": 2, "height": 1, "layout": "nhwc", "scale": 1.0}));
    let made = tensor(&told, &input([-1, 1, 2, 3], Datatype::Uint8), &png(&picture)).unwrap();
    assert_eq!(made.shape, [1, 1, 2, 3]);
    assert_eq!(made.values, Values::Uint8(vec![255, 51, 0, 255, 51, 0]));
}

#[test]
fn the_shorter_side_fits_and_the_middle_is_kept() {
    let picture = RgbImage::from_fn(8, 4, |x, _| Rgb([u8::try_from(x).unwrap() * 10, 0, 0]));
    let told = settings(json!({"width": 4, "height": 4, "color": "gray"}));
    let made = tensor(&told, &input([-1, 1, 4, 4], Datatype::Fp32), &png(&picture)).unwrap();
    assert_eq!(made.shape, [1, 1, 4, 4]);
    assert_eq!(cover(&told, 8, 4), (8, 4));
    assert_eq!(cover(&told, 640, 427), (5, 4));
    assert_eq!(cover(&told, 3, 9), (4, 12));
}

#[test]
fn a_picture_with_too_many_pixels_is_refused_before_decoding() {
    let mut bytes = png(&RgbImage::new(2, 2));
    // Width and height in the header; its checksum is then wrong, but the sizes are read first.
    bytes[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let checksum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    let told = settings(json!({"width": 2, "height": 2}));
    let error = tensor(&told, &input([-1, 3, 2, 2], Datatype::Fp32), &bytes).unwrap_err();
    assert!(error.to_string().contains("at most 50000000 pixels, has 4294836225"), "{error}");
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

#[test]
fn what_is_no_picture_or_damaged_is_refused() {
    let told = settings(json!({"width": 2, "height": 2}));
    let input = input([-1, 3, 2, 2], Datatype::Fp32);
    let whole = png(&RgbImage::new(20, 20));
    for bad in [&b""[..], b"hello", b"GIF89a", &whole[..40]] {
        assert!(matches!(tensor(&told, &input, bad), Err(ModelError::Input { .. })));
    }
}

#[test]
fn settings_that_do_not_fit_the_graph_are_refused() {
    let input = input([-1, 3, 4, 4], Datatype::Fp32);
    for (told, field) in [
        (json!({"width": 5, "height": 4}), "`image`"),
        (json!({"width": 4, "height": 4, "color": "gray"}), "`image`"),
        (json!({"width": 4, "height": 4, "mean": [1.0]}), "`image/mean`"),
        (json!({"width": 4, "height": 4, "std": [1.0, 0.0, 1.0]}), "`image/std`"),
    ] {
        let error = fits(&settings(told), &input).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}
