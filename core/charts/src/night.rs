//! A night as an SVG: when it ran and why it waited, the loss, the temperature and the battery over the device's clock.

use std::ops::Range;

use nightgraft_policy::{ReasonKind, TimeOfDay};
use nightgraft_simulation::{DeviceReading, Timeline};
use plotters::{
    coord::{
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
};

use super::picture::{Area, DrawResult, PROBLEM, Point, finite, key, picture, short, thinned};

const WIDTH: u32 = 1000;
/// Heights from the top: title, bands, legend (one line of it), then the panels.
const TITLE: u32 = 64;
const BANDS: u32 = 84;
const LEGEND_LINE: u32 = 22;
const LOSS: u32 = 270;
const TEMPERATURE: u32 = 150;
const BATTERY: u32 = 170;

/// Beside each panel, so that their clocks stand below each other.
const LEFT: u32 = 70;
const RIGHT: u32 = 24;

const GRID: RGBColor = RGBColor(0xe6, 0xe6, 0xe6);
const STEP_COLOR: RGBColor = RGBColor(0x1f, 0x5a, 0x99);
const HELD_OUT_COLOR: RGBColor = RGBColor(0xd0, 0x5a, 0x1e);
const TEMPERATURE_COLOR: RGBColor = RGBColor(0xb0, 0x2a, 0x2a);
const BATTERY_COLOR: RGBColor = RGBColor(0x3b, 0x6e, 0x3b);
const CHARGING_COLOR: RGBColor = RGBColor(0xff, 0xf3, 0xc4);
const RAN_COLOR: RGBColor = RGBColor(0xe3, 0xf1, 0xe6);
const KILL_COLOR: RGBColor = RGBColor(0xc0, 0x00, 0x20);

/// More bands or marks cannot be told apart.
const MAX_MARKS: usize = 1000;

/// Draws a night. What was not recorded is left out; a night without any period or reading says so.
pub fn timeline_svg(timeline: &Timeline) -> String {
    let legend = legend(timeline);
    let lines = legend.last().map_or(0, |entry| entry.line + 1);
    let size = (WIDTH, TITLE + BANDS + lines * LEGEND_LINE + LOSS + TEMPERATURE + BATTERY);
    picture(size, |area| draw(area, timeline, &legend))
}

/// Whether a text is a drawing of [`timeline_svg`].
pub(crate) fn is_timeline_svg(text: &str) -> bool {
    text.starts_with("<svg") && [TITLE_BEGINS, NOTHING, PROBLEM].iter().any(|words| text.contains(words))
}

const TITLE_BEGINS: &str = "Night from ";
const NOTHING: &str = "nothing was recorded of this night";

fn draw<'a>(area: &Area<'a>, timeline: &Timeline, legend: &[LegendEntry]) -> DrawResult<'a> {
    area.fill(&WHITE)?;
    if timeline.periods().is_empty() && timeline.readings().is_empty() {
        return area.draw(&Text::new(NOTHING, (40, 40), font(20)));
    }
    let clock = Clock {
        range: 0.0..timeline.seconds().max(60.0),
        begins: f64::from(timeline.begins().second_of_day()),
    };
    let title = format!("{TITLE_BEGINS}{} to {}", timeline.clock(0.0), timeline.clock(timeline.seconds()));
    area.draw(&Text::new(title, (LEFT as i32, 12), font(25)))?;
    area.draw(&Text::new(timeline.headline(), (LEFT as i32, 42), font(16)))?;
    let (_, rest) = area.split_vertically(TITLE);
    let (bands, rest) = rest.split_vertically(BANDS);
    draw_bands(&bands, timeline, &clock)?;
    let (place, rest) = rest.split_vertically(legend.last().map_or(0, |entry| entry.line + 1) * LEGEND_LINE);
    for entry in legend {
        entry.draw(&place)?;
    }
    let (loss, rest) = rest.split_vertically(LOSS);
    draw_loss(&loss, timeline, &clock)?;
    let (temperature, battery) = rest.split_vertically(TEMPERATURE);
    draw_temperature(&temperature, timeline, &clock)?;
    draw_battery(&battery, timeline, &clock)
}

fn draw_bands<'a>(area: &Area<'a>, timeline: &Timeline, clock: &Clock) -> DrawResult<'a> {
    let mut chart = panel(area, 30).build_cartesian_2d(clock.clone(), 0.0..1.0)?;
    chart.configure_mesh().disable_y_axis().disable_y_mesh().disable_x_mesh().label_style(font(15)).draw()?;
    chart.draw_series(marks(timeline.periods()).map(|period| {
        Rectangle::new([(period.from, 0.0), (period.to, 1.0)], color(period.reason.kind()).filled())
    }))?;
    chart.draw_series(
        marks(timeline.kills())
            .map(|&at| PathElement::new([(at, 0.0), (at, 1.0)], KILL_COLOR.stroke_width(2))),
    )?;
    Ok(())
}

fn draw_loss<'a>(area: &Area<'a>, timeline: &Timeline, clock: &Clock) -> DrawResult<'a> {
    let (steps, held_out) =
        (finite(timeline.steps().iter().copied()), finite(timeline.evaluations().iter().copied()));
    let all: Vec<f64> = steps.iter().chain(&held_out).map(|point| point.1).collect();
    let range = bounds(&all, 0.05).unwrap_or(0.0..1.0);
    let mut chart = panel(area, 30).build_cartesian_2d(clock.clone(), range.clone())?;
    // Where it ran, in the background: the curve has its gaps for a reason.
    chart.draw_series(marks(timeline.periods()).filter(|period| period.ran).map(|period| {
        Rectangle::new([(period.from, range.start), (period.to, range.end)], RAN_COLOR.filled())
    }))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .y_labels(8)
        .y_desc("loss (nats per token)")
        .y_label_formatter(&|loss| short(*loss))
        .axis_desc_style(font(16))
        .label_style(font(15))
        .draw()?;
    if all.is_empty() {
        return area.draw(&Text::new("no finite loss was recorded", (LEFT as i32 + 20, 30), font(16)));
    }
    if !steps.is_empty() {
        chart
            .draw_series(LineSeries::new(thinned(&steps), STEP_COLOR.stroke_width(1)).point_size(1))?
            .label("each step")
            .legend(|at| key(at, STEP_COLOR));
    }
    if !held_out.is_empty() {
        chart.draw_series(LineSeries::new(held_out.iter().copied(), HELD_OUT_COLOR.stroke_width(1)))?;
        chart
            .draw_series(
                thinned(&held_out).into_iter().map(|at| Circle::new(at, 4, HELD_OUT_COLOR.filled())),
            )?
            .label("held out")
            .legend(|at| key(at, HELD_OUT_COLOR));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .label_font(("sans-serif", 15))
        .draw()
}

fn draw_temperature<'a>(area: &Area<'a>, timeline: &Timeline, clock: &Clock) -> DrawResult<'a> {
    let readings = readings(timeline, |look| look.temperature);
    let values: Vec<f64> = readings.iter().map(|point| point.1).collect();
    let range = bounds(&values, 0.1).unwrap_or(20.0..45.0);
    let mut chart = panel(area, 30).build_cartesian_2d(clock.clone(), range)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .y_labels(4)
        .y_desc("temperature (°C)")
        .y_label_formatter(&|degrees| short(*degrees))
        .axis_desc_style(font(16))
        .label_style(font(15))
        .draw()?;
    if readings.is_empty() {
        return area.draw(&Text::new("no temperature was reported", (LEFT as i32 + 20, 30), font(16)));
    }
    let line = stairs(&readings, timeline.seconds());
    chart.draw_series(LineSeries::new(line, TEMPERATURE_COLOR.stroke_width(2)))?;
    Ok(())
}

fn draw_battery<'a>(area: &Area<'a>, timeline: &Timeline, clock: &Clock) -> DrawResult<'a> {
    let mut chart = panel(area, 46).build_cartesian_2d(clock.clone(), 0.0..100.0)?;
    chart.draw_series(
        charging(timeline)
            .into_iter()
            .map(|time| Rectangle::new([(time.start, 0.0), (time.end, 100.0)], CHARGING_COLOR.filled())),
    )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .y_labels(5)
        .x_desc("time of day; yellow: on the charger")
        .y_desc("battery (%)")
        .y_label_formatter(&|charge| format!("{charge:.0}"))
        .axis_desc_style(font(16))
        .label_style(font(15))
        .draw()?;
    let readings =
        readings(timeline, |look| Some(look.battery * 100.0).filter(|c| (0.0..=100.0).contains(c)));
    if !readings.is_empty() {
        let line = stairs(&readings, timeline.seconds());
        chart.draw_series(LineSeries::new(line, BATTERY_COLOR.stroke_width(2)))?;
    }
    Ok(())
}

fn panel<'a, 'b>(area: &'b Area<'a>, below: u32) -> ChartBuilder<'b, 'b, SVGBackend<'a>>
where
    'a: 'b,
{
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_left(6)
        .margin_top(8)
        .margin_right(RIGHT)
        .x_label_area_size(below)
        .y_label_area_size(LEFT - 6);
    builder
}

/// An axis of seconds whose marks are at round times of the device's clock.
#[derive(Clone)]
struct Clock {
    range: Range<f64>,
    begins: f64,
}

impl ValueFormatter<f64> for Clock {
    fn format_ext(&self, seconds: &f64) -> String {
        TimeOfDay::from_seconds((self.begins + seconds).round().rem_euclid(86_400.0) as u32).to_string()
    }
}

impl Ranged for Clock {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        const MINUTES: [f64; 12] =
            [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 360.0, 720.0, 1440.0];
        let length = self.range.end - self.range.start;
        let step =
            MINUTES.into_iter().map(|m| m * 60.0).find(|step| length / step <= 12.0).unwrap_or(length / 12.0);
        let first = (self.begins / step).ceil() * step - self.begins;
        (0..=12).map(|mark| first + f64::from(mark) * step).filter(|at| *at <= self.range.end).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

struct LegendEntry {
    x: i32,
    line: u32,
    color: RGBColor,
    text: &'static str,
}

/// One entry for each kind of period and one for kills, in lines that fit the width.
fn legend(timeline: &Timeline) -> Vec<LegendEntry> {
    /// A character of the legend is about this wide.
    const CHARACTER: i32 = 8;
    let periods = timeline.periods();
    let mut kinds = Vec::new();
    for period in periods.iter().filter(|p| p.ran).chain(periods.iter().filter(|p| !p.ran)) {
        let kind = period.reason.kind();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let killed = (!timeline.kills().is_empty()).then_some(("killed", KILL_COLOR));
    let kinds = kinds.into_iter().map(|kind| (kind.label(), color(kind))).chain(killed);
    let (mut x, mut line) = (LEFT as i32, 0);
    let mut entries = Vec::new();
    for (text, color) in kinds {
        let width = 36 + CHARACTER * text.len() as i32;
        if x + width > (WIDTH - RIGHT) as i32 {
            (x, line) = (LEFT as i32, line + 1);
        }
        entries.push(LegendEntry { x, line, color, text });
        x += width;
    }
    entries
}

impl LegendEntry {
    fn draw<'a>(&self, area: &Area<'a>) -> DrawResult<'a> {
        let y = (self.line * LEGEND_LINE) as i32;
        area.draw(&Rectangle::new([(self.x, y + 2), (self.x + 14, y + 14)], self.color.filled()))?;
        area.draw(&Text::new(self.text, (self.x + 20, y + 2), font(15)))
    }
}

/// Strong colours for running, pale ones for waiting; alike for alike reasons.
fn color(kind: ReasonKind) -> RGBColor {
    match kind {
        ReasonKind::Ready => RGBColor(0x2e, 0x7d, 0x4f),
        ReasonKind::Warm => RGBColor(0x8a, 0xb8, 0x3a),
        ReasonKind::LittleMemory => RGBColor(0x2a, 0x8c, 0x9c),
        ReasonKind::TooWarm => RGBColor(0xe8, 0x8a, 0x6a),
        ReasonKind::BatteryLow => RGBColor(0xf0, 0xc2, 0x4a),
        ReasonKind::NotCharging => RGBColor(0xc3, 0xc7, 0xcc),
        ReasonKind::InUse => RGBColor(0xb9, 0xc9, 0xe4),
        ReasonKind::NotGranted => RGBColor(0xe9, 0xe9, 0xee),
        ReasonKind::LowPowerMode => RGBColor(0xe6, 0xd8, 0x9c),
        ReasonKind::StorageLow | ReasonKind::MemoryLow => RGBColor(0xcf, 0xb3, 0xd9),
        ReasonKind::Unreadable => RGBColor(0x8f, 0x8f, 0x8f),
        // What the owner set.
        ReasonKind::OutsideWindow
        | ReasonKind::MinutesUsedUp
        | ReasonKind::EnergyUsedUp
        | ReasonKind::FlashUsedUp => RGBColor(0xd9, 0xc7, 0xb4),
    }
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

fn readings(timeline: &Timeline, of: impl Fn(&DeviceReading) -> Option<f64>) -> Vec<Point> {
    let points = timeline.readings().iter().filter_map(|look| Some((look.at, of(look)?)));
    thinned(&finite(points))
}

/// A reading holds until the next, the last one until the end.
fn stairs(readings: &[Point], end: f64) -> Vec<Point> {
    let nexts = readings.iter().skip(1).map(|point| point.0).chain([end]);
    readings.iter().zip(nexts).flat_map(|(&(at, value), next)| [(at, value), (next, value)]).collect()
}

/// The stretches of time on the charger.
fn charging(timeline: &Timeline) -> Vec<Range<f64>> {
    let mut stretches: Vec<Range<f64>> = Vec::new();
    let mut was = false;
    for look in timeline.readings() {
        if let Some(stretch) = stretches.last_mut().filter(|_| was) {
            stretch.end = look.at;
        } else if look.charging {
            stretches.push(look.at..look.at);
        }
        was = look.charging;
    }
    if let Some(stretch) = stretches.last_mut().filter(|_| was) {
        stretch.end = timeline.seconds();
    }
    stretches.truncate(MAX_MARKS);
    stretches
}

fn bounds(values: &[f64], margin: f64) -> Option<Range<f64>> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    let margin = if high > low { (high - low) * margin } else { high.abs().max(1.0) * 0.1 };
    Some(low - margin..high + margin)
}

fn marks<T>(all: &[T]) -> impl Iterator<Item = &T> {
    all.iter().take(MAX_MARKS)
}

#[cfg(test)]
mod tests;
