//! Pictures into tensors: decode, resize, crop, scale, normalise, lay out.

use std::io::Cursor;

use ::image::{DynamicImage, ImageFormat, ImageReader};
use domain::manifest::{Color, Datatype, Filter, ImageInput, Layout, Resize, TensorSpec};
use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use half::f16;

use crate::{ModelError, Tensor, Values};

/// One picture as a tensor of one row for `input`.
///
/// # Errors
/// [`ModelError::Input`] if the bytes are no JPEG, PNG or WebP, have more pixels than
/// `image.max_pixels` (found out before decoding), or are damaged.
pub fn tensor(image: &ImageInput, input: &TensorSpec, bytes: &[u8]) -> Result<Tensor, ModelError> {
    let picture = decode(image, bytes)?;
    let pixels = to_size(image, &picture)?;
    let channels = channels(image.color);
    let (width, height) = (image.width as usize, image.height as usize);
    let values = normalise(image, &pixels, channels);
    let shape = match image.layout {
        Layout::Nchw => vec![1, channels, height, width],
        Layout::Nhwc => vec![1, height, width, channels],
    };
    let values = match input.datatype {
        Datatype::Fp16 => Values::Fp16(values.into_iter().map(f16::from_f32).collect()),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the range of a byte"
        )]
        Datatype::Uint8 => Values::Uint8(
            values.into_iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect(),
        ),
        _ => Values::Fp32(values),
    };
    Tensor::new(&input.name, shape, values)
}

/// Whether the manifest's `image` fits the graph's input.
///
/// # Errors
/// [`ModelError::Manifest`] naming the field.
pub fn fits(image: &ImageInput, input: &TensorSpec) -> Result<(), ModelError> {
    let channels = channels(image.color);
    let size = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let (width, height) = (i64::from(image.width), i64::from(image.height));
    let told = match image.layout {
        Layout::Nchw => [size(channels), height, width],
        Layout::Nhwc => [height, width, size(channels)],
    };
    let [_, real @ ..] = input.shape.as_slice() else {
        return Err(ModelError::manifest("image", "needs an input of four dimensions"));
    };
    let same =
        real.len() == 3 && real.iter().zip(told).all(|(real, told)| *real < 0 || *real == told);
    if !same {
        return Err(ModelError::manifest(
            "image",
            format!("makes rows of {told:?}, input `{}` takes {real:?}", input.name),
        ));
    }
    if !matches!(input.datatype, Datatype::Fp32 | Datatype::Fp16 | Datatype::Uint8) {
        return Err(ModelError::manifest("image", "needs an input of FP32, FP16 or UINT8"));
    }
    if width == 0 || height == 0 || width > 8192 || height > 8192 {
        return Err(ModelError::manifest("image", "must be of 1 to 8192 pixels each way"));
    }
    for (field, list) in [("image/mean", &image.mean), ("image/std", &image.std)] {
        if !list.is_empty() && list.len() != channels {
            return Err(ModelError::manifest(
                field,
                format!("must be {channels}, one per channel"),
            ));
        }
    }
    if image.std.iter().any(|std| !std.is_finite() || *std == 0.0) || !image.scale.is_finite() {
        return Err(ModelError::manifest("image/std", "must not be zero"));
    }
    Ok(())
}

fn channels(color: Color) -> usize {
    match color {
        Color::Rgb | Color::Bgr => 3,
        Color::Gray => 1,
    }
}

fn bad(reason: impl Into<String>) -> ModelError {
    ModelError::input("image", reason)
}

fn decode(image: &ImageInput, bytes: &[u8]) -> Result<DynamicImage, ModelError> {
    let open = || {
        ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| bad(format!("cannot be read: {error}")))
    };
    let reader = open()?;
    if !matches!(reader.format(), Some(ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) {
        return Err(bad("must be a JPEG, PNG or WebP picture"));
    }
    let (width, height) =
        reader.into_dimensions().map_err(|error| bad(format!("is damaged: {error}")))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > image.max_pixels {
        return Err(bad(format!(
            "must have at most {} pixels, has {pixels} ({width} x {height})",
            image.max_pixels
        )));
    }
    let mut reader = open()?;
    if reader.format() == Some(ImageFormat::Jpeg) && !ends(bytes) {
        return Err(bad("is damaged: the JPEG ends before its picture does"));
    }
    let mut limits = ::image::Limits::default();
    // Eight bytes a pixel is the largest sample layout (16-bit RGBA); some are decoded twice.
    limits.max_alloc = Some(pixels.saturating_mul(16).saturating_add(1 << 20));
    reader.limits(limits);
    reader.decode().map_err(|error| bad(format!("is damaged: {error}")))
}

/// Whether a JPEG's last scan comes to its end; the decoder would fill up what is missing in grey.
/// Within a scan neither marker can occur, as 0xFF is followed by a stuffed zero.
fn ends(jpeg: &[u8]) -> bool {
    let last = |marker: [u8; 2]| jpeg.windows(2).rposition(|pair| pair == marker);
    last([0xFF, 0xD9]) > last([0xFF, 0xDA])
}

/// The pixels at the model's size, channels interleaved.
fn to_size(image: &ImageInput, picture: &DynamicImage) -> Result<Vec<u8>, ModelError> {
    let (width, height) = (picture.width(), picture.height());
    let (pixel, raw) = match image.color {
        Color::Gray => (PixelType::U8, picture.to_luma8().into_raw()),
        Color::Rgb | Color::Bgr => (PixelType::U8x3, picture.to_rgb8().into_raw()),
    };
    let (new_width, new_height) = match image.resize {
        Resize::Stretch => (image.width, image.height),
        Resize::ShorterSide => cover(image, width, height),
    };
    let pixels = u64::from(new_width) * u64::from(new_height);
    if pixels > image.max_pixels {
        return Err(bad(format!(
            "is too narrow: {width} x {height} becomes {new_width} x {new_height} for this model, \
             and may have at most {} pixels",
            image.max_pixels
        )));
    }
    let raw = if (new_width, new_height) == (width, height) {
        raw
    } else {
        let failed = |reason: String| bad(format!("cannot be resized: {reason}"));
        let from = Image::from_vec_u8(width, height, raw, pixel)
            .map_err(|error| failed(error.to_string()))?;
        let mut to = Image::new(new_width, new_height, pixel);
        let options = ResizeOptions::new().resize_alg(algorithm(image.filter));
        Resizer::new()
            .resize(&from, &mut to, &options)
            .map_err(|error| failed(error.to_string()))?;
        to.into_vec()
    };
    let left = half_even(new_width.saturating_sub(image.width)) as usize;
    let top = half_even(new_height.saturating_sub(image.height)) as usize;
    let channels = channels(image.color);
    let line = new_width as usize * channels;
    let wanted = image.width as usize * channels;
    Ok(raw
        .chunks(line)
        .skip(top)
        .take(image.height as usize)
        .filter_map(|line| line.get(left * channels..left * channels + wanted))
        .flatten()
        .copied()
        .collect())
}

/// The size at which the picture just covers the model's, its aspect ratio kept. The longer side is
/// cut down to a whole number, as torchvision does.
fn cover(image: &ImageInput, width: u32, height: u32) -> (u32, u32) {
    let (width, height) = (u64::from(width), u64::from(height));
    let (want_width, want_height) = (u64::from(image.width), u64::from(image.height));
    let side = |size: u64| u32::try_from(size).unwrap_or(u32::MAX).max(1);
    if want_width * height >= want_height * width {
        (image.width, side(height * want_width / width).max(image.height))
    } else {
        (side(width * want_height / height).max(image.width), image.height)
    }
}

/// Half of `rest`, a half rounded to the even neighbour, as Python's `round`.
fn half_even(rest: u32) -> u32 {
    match rest % 4 {
        3 => rest / 2 + 1,
        _ => rest / 2,
    }
}

fn algorithm(filter: Filter) -> ResizeAlg {
    match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
    }
}

fn normalise(image: &ImageInput, pixels: &[u8], channels: usize) -> Vec<f32> {
    let places = pixels.len() / channels;
    // From the channel in the tensor to the byte of the pixel.
    let source = |channel: usize| match image.color {
        Color::Bgr => channels - 1 - channel,
        Color::Rgb | Color::Gray => channel,
    };
    let value = |place: usize, channel: usize| {
        let raw = pixels.get(place * channels + source(channel)).copied().unwrap_or_default();
        let mean = image.mean.get(channel).copied().unwrap_or(0.0);
        let std = image.std.get(channel).copied().unwrap_or(1.0);
        (f32::from(raw) * image.scale - mean) / std
    };
    let mut values = Vec::with_capacity(pixels.len());
    match image.layout {
        Layout::Nchw => {
            for channel in 0..channels {
                values.extend((0..places).map(|place| value(place, channel)));
            }
        }
        Layout::Nhwc => {
            for place in 0..places {
                values.extend((0..channels).map(|channel| value(place, channel)));
            }
        }
    }
    values
}

#[cfg(test)]
mod tests;
