#![allow(clippy::unwrap_used)]

use nightgraft_core::session::night::NightEvent;
use nightgraft_policy::{LocalTime, Reason};

use super::*;

/// 22:30.
const BEGINS: LocalTime = LocalTime { unix: 22 * 3600 + 1800, utc_offset: 0 };

fn ready() -> Reason {
    Reason::Ready { charging: true, battery: 0.81, idle: true }
}

fn step(at: f64, step: u64, loss: f64) -> NightEvent {
    NightEvent::Step { at, step, loss, tokens_per_second: 110.0, seconds: 1.0, rss_bytes: 1 }
}

/// A night with some of everything.
fn eventful() -> Timeline {
    let mut timeline = Timeline::new(BEGINS);
    let events = include_str!("../../../simulation/src/timeline/eventful.jsonl").lines();
    events.for_each(|line| timeline.record(&serde_json::from_str(line).unwrap()));
    timeline
}

fn clock(begins_minutes: u32, minutes: f64) -> Clock {
    Clock { range: 0.0..minutes * 60.0, begins: f64::from(begins_minutes) * 60.0 }
}

fn labels(clock: &Clock) -> Vec<String> {
    clock
        .key_points(plotters::coord::ranged1d::BoldPoints(10))
        .iter()
        .map(|at| clock.format_ext(at))
        .collect()
}

#[test]
fn an_eventful_night_shows_everything() {
    let svg = timeline_svg(&eventful());
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in [
        "Night from 22:30 to 01:45",
        "loss (nats per token)",
        "temperature (°C)",
        "battery (%)",
        "time of day; yellow: on the charger",
        "23:00",
        "00:30",
        "ran",
        "ran slower: warm",
        "no charger",
        "in use",
        "too warm",
        "no time granted",
        "killed",
        "each step",
        "held out",
    ] {
        assert!(svg.contains(&format!("\n{text}\n")), "{text}");
    }
    for missing in ["battery low", "no finite loss", "no temperature"] {
        assert!(!svg.contains(missing), "{missing}");
    }
    assert_eq!(svg.matches("<circle").count(), 45 + 2, "a dot for each step and each evaluation");
    for colour in ["#2E7D4F", "#8AB83A", "#E88A6A", "#C00020"] {
        assert!(svg.contains(colour), "{colour}");
    }
}

#[test]
fn the_clock_has_round_marks() {
    assert_eq!(
        labels(&clock(22 * 60 + 47, 40.0)),
        ["22:50", "22:55", "23:00", "23:05", "23:10", "23:15", "23:20", "23:25"]
    );
    assert_eq!(
        labels(&clock(22 * 60 + 30, 510.0)),
        ["23:00", "00:00", "01:00", "02:00", "03:00", "04:00", "05:00", "06:00", "07:00"]
    );
    for minutes in [1.0, 3.0, 17.0, 90.0, 1000.0, 2879.0] {
        let marks = labels(&clock(1, minutes)).len();
        assert!((1..=13).contains(&marks), "{minutes}: {marks}");
    }
}

#[test]
fn empty_and_awkward_nights_are_pictures_too() {
    let svg = timeline_svg(&Timeline::new(BEGINS));
    assert!(svg.contains("nothing was recorded"));
    let mut timeline = Timeline::new(BEGINS);
    for (at, value) in [(0.0, f64::NAN), (10.0, f64::INFINITY), (20.0, 1e300), (1e12, -1.0)] {
        timeline.record(&NightEvent::State { at, temperature: Some(value), battery: value, charging: true });
        timeline.record(&NightEvent::Running { at, duty: value, reason: ready() });
        timeline.record(&step(at, 1, value));
        let svg = timeline_svg(&timeline);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(
            !svg.contains("NaN")
                && !svg.replace("no finite", "").contains("inf")
                && !svg.contains("no drawing"),
            "{svg}"
        );
    }
}

#[test]
fn long_nights_make_files_of_bounded_size() {
    let mut timeline = Timeline::new(BEGINS);
    for i in 0..50_000u32 {
        let at = f64::from(i);
        let reason = if i % 2 == 0 { ready() } else { Reason::Warm { temperature: None, duty: 0.5 } };
        timeline.record(&NightEvent::Running { at: 2.0 * at, duty: 0.5, reason });
        timeline.record(&NightEvent::State {
            at,
            temperature: Some(30.0),
            battery: 0.5,
            charging: i % 2 == 0,
        });
        timeline.record(&step(at, u64::from(i), 2.0));
    }
    let svg = timeline_svg(&timeline);
    assert!(svg.len() < 2_000_000, "{} bytes", svg.len());
}

#[test]
fn charging_is_drawn_from_look_to_look() {
    let mut timeline = Timeline::new(BEGINS);
    for (at, charging) in
        [(0.0, false), (10.0, true), (20.0, true), (30.0, false), (40.0, true), (50.0, true)]
    {
        timeline.record(&NightEvent::State { at, temperature: None, battery: 0.5, charging });
    }
    assert_eq!(charging(&timeline), [10.0..30.0, 40.0..50.0]);
    assert_eq!(stairs(&[(0.0, 1.0), (5.0, 2.0)], 9.0), [(0.0, 1.0), (5.0, 1.0), (5.0, 2.0), (9.0, 2.0)]);
}
