//! Pictures as SVG and PNG, the same on every machine: the font is embedded.

use std::path::Path;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use traces::whole::{self, Half};

static FONT: &[u8] = include_bytes!("../../fonts/DejaVuSans-subset.ttf");
/// Pixels of every picture.
const SIZE: (u32, u32) = (900, 700);

/// What a backend says when it cannot draw or write.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Something that can be drawn.
pub trait Figure {
    /// Draws it on a white area.
    ///
    /// # Errors
    /// What the backend says.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static;
}

/// The error of a picture that was asked for by `--plot`.
pub fn undrawn(path: &Path, failure: Failure) -> anyhow::Error {
    anyhow::Error::from_boxed(failure).context(format!("--plot {}", path.display()))
}

/// Writes a figure as SVG or PNG, as the name ends.
///
/// # Errors
/// What the backend says, or which endings there are.
pub fn write(figure: &impl Figure, path: &Path) -> Result<(), Failure> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => write_svg(figure, path),
        Some("png") => write_png(figure, path),
        _ => Err("give a name that ends in .svg or .png".into()),
    }
}

/// Writes a figure as SVG.
///
/// # Errors
/// What the backend says when the file cannot be written.
pub fn write_svg(figure: &impl Figure, path: &Path) -> Result<(), Failure> {
    let mut text = String::new();
    draw(
        figure,
        &SVGBackend::with_string(&mut text, SIZE).into_drawing_area(),
    )?;
    Ok(whole::write(path, text)?)
}

/// Writes a figure as PNG.
///
/// # Errors
/// What the encoder says when the file cannot be written.
pub fn write_png(figure: &impl Figure, path: &Path) -> Result<(), Failure> {
    let mut pixels = vec![0; 3 * SIZE.0 as usize * SIZE.1 as usize];
    draw(
        figure,
        &BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(),
    )?;
    let mut half = Half::create(path)?;
    let mut encoder = png::Encoder::new(&mut half, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(half.finish()?)
}

fn draw<B: DrawingBackend>(
    figure: &impl Figure,
    area: &DrawingArea<B, Shift>,
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let known = register_font("sans-serif", FontStyle::Normal, FONT);
        assert!(known.is_ok(), "the embedded font is a TrueType font");
    });
    area.fill(&WHITE)?;
    figure.draw(area)?;
    area.present()?;
    Ok(())
}
