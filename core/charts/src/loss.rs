//! The loss curve of a run as an SVG: plain markup, no fonts needed to write it.

use std::ops::Range;

use plotters::prelude::*;

use super::picture::{Area, DrawResult, PROBLEM, Point, finite, key, picture, short, thinned};

const SIZE: (u32, u32) = (960, 540);
const STEP_COLOR: RGBColor = RGBColor(0xb5, 0xc7, 0xd9);
const SMOOTH_COLOR: RGBColor = RGBColor(0x1f, 0x5a, 0x99);
const HELD_OUT_COLOR: RGBColor = RGBColor(0xd0, 0x5a, 0x1e);

/// The smoothed curve averages this fraction of the run on each side of a step.
const SMOOTHING: f64 = 0.05;

/// Draws the loss over the optimizer steps: each step (light), a moving average of them, and the evaluations
/// on held-out examples. Points whose loss is not finite are left out; without any point the
/// picture says so.
pub fn loss_svg(steps: &[(u64, f64)], held_out: &[(u64, f64)]) -> String {
    // Steps stay whole numbers up to 2⁵³, more than any run has.
    let points = |series: &[(u64, f64)]| finite(series.iter().map(|&(step, loss)| (step as f64, loss)));
    let (steps, held_out) = (points(steps), points(held_out));
    picture(SIZE, |area| draw(area, &steps, &held_out))
}

/// Whether a text is a drawing of [`loss_svg`].
pub(crate) fn is_loss_svg(text: &str) -> bool {
    text.starts_with("<svg") && [CAPTION, NOTHING, PROBLEM].iter().any(|words| text.contains(words))
}

const CAPTION: &str = "Training loss";
const NOTHING: &str = "no finite loss was recorded";

fn draw<'a>(area: &Area<'a>, steps: &[Point], held_out: &[Point]) -> DrawResult<'a> {
    area.fill(&WHITE)?;
    let all = || steps.iter().chain(held_out);
    if all().next().is_none() {
        let style = ("sans-serif", 20).into_font().color(&BLACK);
        return area.draw(&Text::new(NOTHING, (40, 40), style));
    }
    let x = bounds(all().map(|point| point.0), 1.0);
    let y = bounds(all().map(|point| point.1), 0.05);
    let mut chart = ChartBuilder::on(area)
        .caption(CAPTION, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(0xe6, 0xe6, 0xe6))
        .x_desc("optimizer step")
        .y_desc("loss (nats per supervised token)")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|loss| short(*loss))
        .axis_desc_style(("sans-serif", 15))
        .label_style(("sans-serif", 13))
        .draw()?;
    if !steps.is_empty() {
        chart
            .draw_series(LineSeries::new(thinned(steps), STEP_COLOR.stroke_width(1)).point_size(1))?
            .label("each step")
            .legend(|at| key(at, STEP_COLOR));
        chart
            .draw_series(LineSeries::new(thinned(&smoothed(steps)), SMOOTH_COLOR.stroke_width(2)))?
            .label("smoothed")
            .legend(|at| key(at, SMOOTH_COLOR));
    }
    if !held_out.is_empty() {
        chart.draw_series(LineSeries::new(held_out.iter().copied(), HELD_OUT_COLOR.stroke_width(1)))?;
        chart
            .draw_series(held_out.iter().map(|&at| Circle::new(at, 4, HELD_OUT_COLOR.filled())))?
            .label("held out")
            .legend(|at| key(at, HELD_OUT_COLOR));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .label_font(("sans-serif", 13))
        .draw()
}

/// The range of the values, widened by the fraction `margin` on both sides; never empty.
fn bounds(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let margin = if high > low { (high - low) * margin.min(0.05) } else { high.abs().max(1.0) * 0.5 };
    low - margin..high + margin
}

/// A centred moving average, with as many steps before a step as after it: no lag, and the ends stay where they are.
fn smoothed(points: &[Point]) -> Vec<Point> {
    let widest = (points.len() as f64 * SMOOTHING).ceil() as usize;
    let mut sums = Vec::with_capacity(points.len() + 1);
    sums.push(0.0);
    for &(_, loss) in points {
        sums.push(sums[sums.len() - 1] + loss);
    }
    let mean = |(index, &(step, _)): (usize, &Point)| {
        let side = widest.min(index).min(points.len() - 1 - index);
        (step, (sums[index + side + 1] - sums[index - side]) / (2 * side + 1) as f64)
    };
    points.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_run_shows_its_three_series() {
        let steps: Vec<_> = (1..=50).map(|step| (step, 3.0 - step as f64 / 40.0)).collect();
        let svg = loss_svg(&steps, &[(0, 3.1), (25, 2.5), (50, 2.1)]);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in
            ["Training loss", "optimizer step", "loss (nats per supervised token)", "smoothed", "held out"]
        {
            assert!(svg.contains(text), "{text}");
        }
        let circles = svg.matches("<circle").count();
        assert_eq!(circles, 50 + 3, "a dot for each step and each evaluation");
        assert!(svg.matches("<polyline").count() >= 3);
    }

    #[test]
    fn awkward_data_makes_a_picture_too() {
        let cases: [&[(u64, f64)]; 7] = [
            &[],
            &[(1, 2.0)],
            &[(1, 2.0), (2, 2.0)],
            &[(1, f64::NAN), (2, f64::INFINITY)],
            &[(1, 2.0), (2, f64::NAN), (3, 1.0)],
            &[(1, 1e38), (2, -1e38)],
            &[(u64::MAX, 1e-300), (0, 0.0), (7, -3.0)],
        ];
        for steps in cases {
            for held_out in cases {
                let svg = loss_svg(steps, held_out);
                assert!(
                    svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
                    "{steps:?} {held_out:?}"
                );
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{steps:?} {held_out:?}: {svg}");
            }
        }
        assert!(loss_svg(&[(1, f64::NAN)], &[]).contains("no finite loss"));
    }

    #[test]
    fn smoothing_keeps_a_line_and_halves_a_zigzag() {
        let line: Vec<_> = (0..100).map(|i| (f64::from(i), 5.0 - 0.02 * f64::from(i))).collect();
        for (smooth, exact) in smoothed(&line).iter().zip(&line) {
            assert!((smooth.1 - exact.1).abs() < 1e-9, "{smooth:?} {exact:?}");
        }
        let zigzag: Vec<_> = (0..100).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let inner = &smoothed(&zigzag)[10..90];
        assert!(inner.iter().all(|point| (point.1 - 0.5).abs() < 0.06), "{inner:?}");
        assert_eq!(smoothed(&[(1.0, 4.0)]), [(1.0, 4.0)]);
        assert_eq!(smoothed(&[]), []);
    }

    #[test]
    fn long_runs_make_files_of_bounded_size() {
        let steps: Vec<_> = (0..200_000).map(|step| (step, 2.0 + (step as f64 / 1000.0).sin())).collect();
        let svg = loss_svg(&steps, &[]);
        assert!(svg.len() < 400_000, "{} bytes", svg.len());
    }
}
