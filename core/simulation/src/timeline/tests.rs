#![allow(clippy::unwrap_used)]

use nightgraft_core::session::night::SliceEnd;
use proptest::prelude::*;

use super::*;

/// 22:30.
const BEGINS: LocalTime = LocalTime { unix: 22 * 3600 + 1800, utc_offset: 0 };

fn ready() -> Reason {
    Reason::Ready { charging: true, battery: 0.81, idle: true }
}

fn warm(degrees: f64, duty: f64) -> Reason {
    Reason::Warm { temperature: Some(degrees), duty }
}

fn step(at: f64, step: u64, loss: f64) -> NightEvent {
    NightEvent::Step { at, step, loss, tokens_per_second: 110.0, seconds: 1.0, rss_bytes: 1 }
}

fn running(at: f64, duty: f64, reason: Reason) -> NightEvent {
    NightEvent::Running { at, duty, reason }
}

fn waiting(at: f64, reason: Reason) -> NightEvent {
    NightEvent::Waiting { at, reason }
}

/// A made-up night with some of everything.
fn eventful() -> Timeline {
    let mut timeline = Timeline::new(BEGINS);
    for line in include_str!("eventful.jsonl").lines() {
        let event: NightEvent = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        timeline.record(&event);
    }
    timeline
}

#[test]
fn the_table_of_an_eventful_night() {
    insta::assert_snapshot!(eventful().to_string(), @r#"
    from   to         length  what         steps  loss           why
    22:30  23:40  1 h 10 min  waited                             waiting for the charger
    23:40  23:41        90 s  waited                             waiting until nobody uses the device
    23:41  00:26      45 min  ran             40  2.992 → 2.688  on the charger (81 %), cool and not in use
    00:26  01:00      33 min  ran 62 %         2  2.580 → 2.570  warm (40.9 °C): working 50 % of the time
    01:00  01:05       5 min  waited                             too warm (41.5 °C): cooling down until 38 °C
    01:05  01:16      11 min  ran, killed      1  2.500 → 2.500  on the charger (81 %), cool and not in use
    01:16  01:30      14 min  waited                             waiting for the system to grant time
    01:30  01:45      15 min  ran              2  2.500 → 2.490  on the charger (81 %), cool and not in use

    ran 1 h 45 min, 45 steps, loss 2.992 → 2.490
    held-out loss 3.100 → 2.700 in 2 evaluations
    waited: no charger 1 h 10 min, no time granted 14 min, too warm 5 min, in use 90 s
    3 slices, 2 saves, 1 kill, 1 step made again, 110 tokens/s while working
    quality gate: promoted
      held-out: better by 0.4
    the training is finished
    time left: all steps are made
    "#);
}

#[test]
fn periods_add_up() {
    let timeline = eventful();
    let periods = timeline.periods();
    let spans: Vec<_> = periods.iter().map(|p| (p.ran, p.from, p.to, p.steps, p.killed)).collect();
    assert_eq!(
        spans,
        [
            (false, 0.0, 4200.0, 0, false),
            (false, 4200.0, 4290.0, 0, false),
            (true, 4290.0, 7000.0, 40, false),
            (true, 7000.0, 9000.0, 2, false),
            (false, 9000.0, 9300.0, 0, false),
            (true, 9300.0, 9960.0, 1, true),
            (false, 9960.0, 10_800.0, 0, false),
            (true, 10_800.0, 11_700.0, 2, false),
        ]
    );
    assert_eq!(periods[3].worked, 1000.0 * 0.75 + 1000.0 * 0.5);
    assert_eq!(periods[3].reason, warm(40.9, 0.5), "the warmest moment");
    assert_eq!(periods[7].loss, Some((2.5, 2.49)));
    assert_eq!(timeline.ran_seconds(), 2710.0 + 2000.0 + 660.0 + 900.0);
    assert_eq!(timeline.seconds(), 11_720.0);
}

#[test]
fn slices_without_a_break_are_one_period() {
    let mut timeline = Timeline::new(BEGINS);
    for slice in 0..5 {
        let at = 600.0 * f64::from(slice);
        timeline.record(&NightEvent::Slice { at });
        timeline.record(&running(at + 0.5, 1.0, ready()));
        timeline.record(&step(at + 100.0, slice as u64 + 1, 2.0));
        timeline.record(&NightEvent::SliceEnded { at: at + 600.0, outcome: SliceEnd::TimeUp });
    }
    assert_eq!(timeline.periods().len(), 1);
    assert_eq!(timeline.periods()[0].steps, 5);
    assert_eq!(timeline.to_string().lines().last(), Some("5 slices, 0 saves, 110 tokens/s while working"));
}

#[test]
fn an_empty_night_is_a_table_too() {
    let text = Timeline::new(BEGINS).to_string();
    assert!(text.starts_with("from  to  length  what  steps  loss  why\n"), "{text}");
    assert!(text.contains("ran 0 s, 0 steps"), "{text}");
}

fn any_event() -> impl Strategy<Value = NightEvent> {
    let number = || prop_oneof![4 => -10.0..50_000.0f64, 1 => any::<f64>()];
    (number(), number(), 0..9usize, any::<u64>()).prop_map(|(at, value, kind, count)| match kind {
        0 => {
            NightEvent::State { at, temperature: Some(value), battery: value / 5e4, charging: count % 2 == 0 }
        }
        1 => NightEvent::Slice { at },
        2 => running(at, value / 5e4, warm(40.0, 0.5)),
        3 => running(at, 1.0, ready()),
        4 => waiting(at, Reason::InUse),
        5 => step(at, count, value),
        6 => NightEvent::Killed { at },
        7 => NightEvent::Evaluated { at, step: count, loss: value },
        _ => NightEvent::SliceEnded { at, outcome: SliceEnd::Paused },
    })
}

proptest! {
    /// Events in any order, with any numbers: periods stay in order, and there is a table.
    #[test]
    fn any_events_make_a_timeline(events in prop::collection::vec(any_event(), 0..60)) {
        let mut timeline = Timeline::new(BEGINS);
        for event in &events {
            timeline.record(event);
        }
        let mut end = 0.0;
        for period in timeline.periods() {
            prop_assert!(period.from >= end && period.to >= period.from);
            prop_assert!(period.worked >= 0.0 && period.worked <= period.seconds() * (1.0 + 1e-9));
            end = period.to;
        }
        prop_assert!(end <= timeline.seconds());
        prop_assert!(timeline.to_string().lines().count() > timeline.periods().len());
    }
}
