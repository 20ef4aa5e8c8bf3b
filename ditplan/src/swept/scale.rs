//! Values of a sweep as numbers on an axis.

/// The number of a value: pixels of a size in millions, rates in GB/s, times in microseconds, else what is typed.
pub(super) fn number(value: &str) -> f64 {
    if let Some((width, height)) = value.split_once('x')
        && let (Ok(width), Ok(height)) = (width.parse::<f64>(), height.parse::<f64>())
    {
        return width * height / 1e6;
    }
    if let Some(price) = value.strip_suffix("/h") {
        return price.parse().unwrap_or(f64::NAN);
    }
    let (digits, unit) = value.split_once(' ').unwrap_or((value, ""));
    let scale = match unit {
        "B/s" => 1e-9,
        "kB/s" => 1e-6,
        "MB/s" => 1e-3,
        "TB/s" => 1e3,
        "ns" => 1e-3,
        "ms" => 1e3,
        "s" => 1e6,
        _ => 1.0,
    };
    digits
        .parse::<f64>()
        .map_or(f64::NAN, |digits| digits * scale)
}

/// The axis with the unit of [`number`].
pub(super) fn described(axis: &str) -> String {
    let field = axis.parse::<planner::sweep::Field>();
    match field.map_or("", planner::sweep::Field::unit) {
        "" => axis.to_owned(),
        unit => format!("{axis}, {unit}"),
    }
}

/// A number with at most three digits behind the point.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number with three significant digits, in powers of ten where it is very large or small: `1.21e296`.
pub(super) fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    if !(1e-9..1e9).contains(&value.abs()) {
        return format!("{value:.2e}");
    }
    let places = (2.0 - value.abs().log10().floor()).clamp(0.0, 12.0);
    let text = format!("{value:.*}", places as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Colours of kinds and curves.
pub(super) const COLOURS: [plotters::style::RGBColor; 9] = [
    plotters::style::RGBColor(66, 114, 196),
    plotters::style::RGBColor(230, 126, 34),
    plotters::style::RGBColor(88, 160, 80),
    plotters::style::RGBColor(192, 80, 77),
    plotters::style::RGBColor(128, 100, 162),
    plotters::style::RGBColor(75, 172, 198),
    plotters::style::RGBColor(160, 120, 60),
    plotters::style::RGBColor(220, 140, 190),
    plotters::style::RGBColor(190, 190, 60),
];
/// Whatever is not one of the nine.
pub(super) const REST: plotters::style::RGBColor = plotters::style::RGBColor(150, 150, 150);
