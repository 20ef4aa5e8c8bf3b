//! Values of a sweep as numbers on an axis.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

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

/// How the values of an axis are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// Equal differences are equally far apart.
    Even,
    /// Equal ratios are.
    Log,
    /// They are cells in a row, numbered from 0.
    Cells,
}

/// An axis of a picture, from its lowest to its highest value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    low: f64,
    high: f64,
    spread: Spread,
    /// Whether only whole numbers are on it.
    whole: bool,
}

impl Span {
    /// The axis that has room for all these, with equal ratios where none of them is 0.
    pub(super) fn log(values: impl Iterator<Item = f64> + Clone) -> Self {
        let whole = values.clone().all(|value| value.fract() == 0.0);
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = values.fold(ends, |(low, high), value| (low.min(value), high.max(value)));
        let spread = match low > 0.0 {
            true => Spread::Log,
            false => Spread::Even,
        };
        Self {
            low,
            high,
            spread,
            whole,
        }
    }

    /// From 0 up to a value.
    pub(super) const fn even(high: f64) -> Self {
        Self {
            low: 0.0,
            high,
            spread: Spread::Even,
            whole: false,
        }
    }

    /// Cells in a row.
    pub(super) fn cells(count: usize) -> Self {
        Self {
            low: 0.0,
            high: count as f64,
            spread: Spread::Cells,
            whole: false,
        }
    }

    /// Whether it has more than one value.
    pub(super) fn is_wide(&self) -> bool {
        self.low < self.high
    }

    /// Where a value stands.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.spread {
            Spread::Even | Spread::Cells => value,
            Spread::Log => value.ln(),
        }
    }

    /// The value that stands there.
    pub(super) fn value(&self, place: f64) -> f64 {
        match self.spread {
            Spread::Even | Spread::Cells => place,
            Spread::Log => place.exp(),
        }
    }

    /// Pixels that the ticks and the title of a vertical axis take, at 14 to the line.
    pub(super) fn room(&self) -> u32 {
        let lengths = self.ticks().into_iter().map(|tick| digits(tick).len());
        38 + 8 * lengths.max().unwrap_or(1) as u32
    }

    /// Round values within, or the middles of cells.
    fn ticks(&self) -> Vec<f64> {
        let mut ticks = match self.spread {
            Spread::Even => even(self.low, self.high),
            Spread::Log => self.decades(),
            Spread::Cells => middles(self.high as usize),
        };
        ticks.retain(|tick| !self.whole || tick.fract() == 0.0);
        ticks
    }

    /// 1, 2 and 5 of each decade; over few decades more of them, over many less.
    fn decades(&self) -> Vec<f64> {
        let Self { low, high, .. } = *self;
        let steps: &[f64] = match (high / low).log10() {
            decades if decades < 0.5 => &[
                1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0,
            ],
            decades if decades < 1.0 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
            decades if decades < 3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all =
            decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
        all.filter(|tick| (low..=high).contains(tick)).collect()
    }
}

impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let [low, high, place] = [self.low, self.high, *value].map(|value| self.place(value));
        let share = (place - low) / (high - low);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

/// The middles of cells, as many as have room and equally far apart.
fn middles(cells: usize) -> Vec<f64> {
    const MOST: usize = 12;
    let every = cells.div_ceil(MOST).max(1);
    let cells = (0..cells).step_by(every);
    cells.map(|cell| cell as f64 + 0.5).collect()
}

/// Multiples of 1, 2 or 5 times a power of ten, about eight of them.
fn even(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 8.0;
    if !(rough > 0.0 && rough.is_finite()) {
        return vec![low];
    }
    let power = 10f64.powi(rough.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    let all = (0..=10).map(|index| (first + f64::from(index)) * step);
    all.filter(|tick| *tick <= high).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_begin_and_end_with_their_values() {
        let span = |values: &[f64]| Span::log(values.iter().copied());
        assert_eq!(
            span(&[7.0, 1.0, 4.5]).ticks(),
            [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0]
        );
        assert_eq!(span(&[1.0, 900.0]).ticks().len(), 9);
        assert_eq!(span(&[1.0, 2.0, 4.0]).ticks(), [1.0, 2.0, 3.0, 4.0]);
        // No value of 0 has a logarithm.
        let even = span(&[0.0, 10.0]);
        assert_eq!(even.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert!(even.is_wide() && !span(&[3.0]).is_wide());
        assert!(!span(&[]).is_wide());
        assert_eq!(Span::cells(3).ticks(), [0.5, 1.5, 2.5]);
        assert_eq!(Span::cells(30).ticks().len(), 10);
        assert_eq!(span(&[1.0, 100.0]).map(&10.0, (0, 90)), 45);
    }

    #[test]
    fn very_large_and_small_numbers_are_short() {
        for (number, text) in [
            (1.21e298, "1.21e298"),
            (0.00013, "0.00013"),
            (85.66, "85.7"),
            (9.999999, "10"),
        ] {
            assert_eq!(digits(number), text);
        }
    }
}
