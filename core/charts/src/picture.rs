//! What both drawings are made of: an SVG in memory, points that can be drawn, labels and keys.

use std::fmt::Display;

use plotters::{coord::Shift, prelude::*};

/// More points than a picture has columns would only make the file large.
pub(crate) const MAX_POINTS: usize = 2000;
/// What a picture begins with that says why there is no drawing.
pub(crate) const PROBLEM: &str = "no drawing: ";

/// A place on a chart.
pub(crate) type Point = (f64, f64);
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type DrawResult<'a> =
    Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// The SVG of this size that `draw` makes. A drawing that the library refuses is one that says so.
pub(crate) fn picture(size: (u32, u32), draw: impl for<'a> FnOnce(&Area<'a>) -> DrawResult<'a>) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = draw(&area).and_then(|()| area.present());
    drop(area);
    match drawn {
        Ok(()) => svg,
        Err(error) => problem_svg(&error),
    }
}

/// The points that can be drawn. Their values are in the range of f32: a larger one would leave no digits for the drawing's own
/// arithmetic.
pub(crate) fn finite(points: impl IntoIterator<Item = Point>) -> Vec<Point> {
    points.into_iter().filter(|(_, value)| (*value as f32).is_finite()).collect()
}

/// Evenly chosen points, the first and the last among them.
pub(crate) fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    (0..MAX_POINTS).map(|i| points[i * (points.len() - 1) / (MAX_POINTS - 1)]).collect()
}

/// Axis labels of three to four digits, whatever the magnitude.
pub(crate) fn short(loss: f64) -> String {
    match loss.abs() {
        0.0 => "0".to_owned(),
        size if (0.001..10_000.0).contains(&size) => {
            format!("{loss:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{loss:.1e}"),
    }
}

/// The patch of colour before a line's name.
pub(crate) fn key((x, y): (i32, i32), color: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 2), (x + 16, y + 2)], color.filled())
}

fn problem_svg(problem: &dyn Display) -> String {
    let text = problem.to_string().replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"80\"><text x=\"20\" y=\"40\">{PROBLEM}{text}</text></svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_thinned_from_the_first_to_the_last() {
        let thin = thinned(&(0..5001).map(|i| (f64::from(i), 0.0)).collect::<Vec<_>>());
        assert_eq!((thin.len(), thin[0].0, thin[MAX_POINTS - 1].0), (MAX_POINTS, 0.0, 5000.0));
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(short(2.5), "2.5");
        assert_eq!(short(0.0), "0");
        assert_eq!(short(123456.0), "1.2e5");
    }
}
