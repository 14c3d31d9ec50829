//! The traces that come with the repository keep what their comments promise.

#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use nightgraft_core::session::night::NightEvent;
use nightgraft_policy::{Decision, MemoryMode, Needs, PolicyMemory, ReasonKind, Rules, Usage, decide};
use nightgraft_simulation::{Grant, GrantEnd, Timeline, Trace};

/// Seconds between two looks.
const LOOK: f64 = 5.0;

/// What the policy said about a night, look by look.
struct Replay {
    trace: Trace,
    looks: Vec<(f64, Decision)>,
    timeline: Timeline,
}

fn replay(name: &str) -> Replay {
    // Cargo runs tests in the package's folder.
    let path = Path::new("../../tests/data/nights").join(name).with_extension("csv");
    let trace = Trace::read(&path).unwrap();
    assert!(trace.description().contains("Made up, not recorded."), "{name}");
    let needs = Needs { memory: 700 << 20, small_memory: Some(300 << 20), storage: 120 << 20 };
    let rules = Rules::default();
    let (mut usage, mut memory) = (Usage::default(), PolicyMemory::default());
    let mut timeline = Timeline::new(trace.begins());
    let mut looks = Vec::new();
    for look in 0..(trace.seconds() / LOOK) as u64 {
        let at = look as f64 * LOOK;
        let state = trace.state_at(at);
        timeline.record(&NightEvent::State {
            at,
            temperature: state.temperature,
            battery: state.battery,
            charging: state.charging,
        });
        if !trace.grants().iter().any(|grant| (grant.from..grant.to).contains(&at)) {
            continue;
        }
        let decision = decide(&rules, &state, &needs, &usage, &mut memory);
        timeline.record(&match decision.clone() {
            Decision::Run { duty, memory_mode, reason, .. } => {
                assert_eq!(memory_mode, MemoryMode::Full, "{name}");
                usage.add(&rules, state.time, Duration::from_secs_f64(LOOK * duty), 0);
                NightEvent::Running { at, duty, reason }
            }
            Decision::Wait { reason, .. } => NightEvent::Waiting { at, reason },
        });
        looks.push((at, decision));
    }
    timeline.record(&NightEvent::State {
        at: trace.seconds(),
        temperature: None,
        battery: 1.0,
        charging: false,
    });
    Replay { trace, looks, timeline }
}

impl Replay {
    /// Whether each period ran, from when to when, and for what kind of reason.
    fn periods(&self) -> Vec<(bool, String, String, ReasonKind)> {
        let clock = |seconds: f64| self.trace.state_at(seconds).time;
        let shown = |seconds| {
            let time = clock(seconds);
            let second = time.second_of_day() % 60;
            format!("{}:{second:02}", time.time_of_day())
        };
        self.timeline
            .periods()
            .iter()
            .map(|period| (period.ran, shown(period.from), shown(period.to), period.reason.kind()))
            .collect()
    }

    fn decision_at(&self, clock: &str) -> &Decision {
        let (_, decision) = self
            .looks
            .iter()
            .find(|(at, _)| self.trace.state_at(*at).time.time_of_day().to_string() == clock)
            .unwrap();
        decision
    }

    fn duty_at(&self, clock: &str) -> Option<f64> {
        match self.decision_at(clock) {
            Decision::Run { duty, .. } => Some(*duty),
            Decision::Wait { .. } => None,
        }
    }

    fn reason_at(&self, clock: &str) -> String {
        self.decision_at(clock).reason().to_string()
    }
}

fn period(ran: bool, from: &str, to: &str, kind: ReasonKind) -> (bool, String, String, ReasonKind) {
    (ran, from.to_owned(), to.to_owned(), kind)
}

#[test]
fn good_night() {
    let night = replay("good-night");
    assert_eq!(
        night.periods(),
        [
            period(false, "22:30:00", "23:40:00", ReasonKind::NotCharging),
            // A minute after the owner was last seen, five seconds before 00:50.
            period(false, "23:40:00", "00:50:55", ReasonKind::InUse),
            period(true, "00:50:55", "06:35:00", ReasonKind::Ready),
            period(false, "06:35:00", "06:50:00", ReasonKind::InUse),
            period(false, "06:50:00", "07:00:00", ReasonKind::NotCharging),
        ]
    );
    assert!(night.looks.iter().all(|(_, d)| !matches!(d, Decision::Run { duty, .. } if *duty != 1.0)));
}

#[test]
fn hot_room() {
    let night = replay("hot-room");
    assert_eq!(
        night.periods(),
        [
            period(true, "23:00:00", "23:45:00", ReasonKind::Ready),
            period(true, "23:45:00", "00:20:00", ReasonKind::Warm),
            period(false, "00:20:00", "01:10:00", ReasonKind::TooWarm),
            period(true, "01:10:00", "01:30:00", ReasonKind::Warm),
            period(true, "01:30:00", "02:30:00", ReasonKind::Ready),
            period(false, "02:30:00", "02:35:00", ReasonKind::TooWarm),
            period(true, "02:35:00", "03:30:00", ReasonKind::Warm),
            period(true, "03:30:00", "06:00:00", ReasonKind::Ready),
        ]
    );
    let duties = ["23:44", "23:45", "00:00", "00:20", "00:55", "01:10", "02:35", "03:30"]
        .map(|at| night.duty_at(at).map(|duty| (duty * 1e9).round() / 1e9));
    assert_eq!(duties, [Some(1.0), Some(0.875), Some(0.625), None, None, Some(0.9), Some(0.5), Some(1.0)]);
    assert_eq!(night.reason_at("00:20"), "too warm (41.5 °C): cooling down until 38 °C");
    assert_eq!(night.reason_at("00:55"), "too warm (39 °C): cooling down until 38 °C");
    assert_eq!(night.reason_at("02:30"), "too warm (36.5 °C): cooling down, the system says it is hot");
    assert_eq!(night.reason_at("02:34"), "was too warm: cooling down for another 60 s");
}

#[test]
fn unplugged_at_three() {
    let night = replay("unplugged-at-three");
    assert_eq!(
        night.periods(),
        [
            period(true, "00:00:00", "03:00:00", ReasonKind::Ready),
            period(false, "03:00:00", "05:10:00", ReasonKind::NotCharging),
            period(true, "05:10:00", "06:30:00", ReasonKind::Ready),
        ]
    );
    for (at, decision) in &night.looks {
        assert_eq!(decision.runs(), night.trace.state_at(*at).charging, "{at}");
    }
}

/// All grants are used, whole, and nothing else is.
fn only_the_grants(night: &Replay) {
    let ran: Vec<_> = night.looks.iter().filter(|(_, d)| d.runs()).map(|(at, _)| *at).collect();
    assert_eq!(ran.len(), night.looks.len(), "no look in a grant waits");
    let in_grants: usize = night
        .trace
        .grants()
        .iter()
        .map(|grant| ran.iter().filter(|at| (grant.from..grant.to).contains(at)).count())
        .sum();
    assert_eq!(in_grants, ran.len());
    assert!(night.looks.iter().all(|(_, d)| matches!(d, Decision::Run { duty, .. } if *duty == 1.0)));
}

fn kills(grants: &[Grant]) -> usize {
    grants.iter().filter(|grant| grant.how == GrantEnd::Kill).count()
}

#[test]
fn android_ten_minutes() {
    let night = replay("android-ten-minutes");
    let grants = night.trace.grants();
    assert_eq!((grants.len(), kills(grants)), (12, 2));
    assert!(grants.iter().all(|grant| grant.to - grant.from == 600.0), "{grants:?}");
    only_the_grants(&night);
}

#[test]
fn ios_two_minutes() {
    let night = replay("ios-two-minutes");
    let grants = night.trace.grants();
    assert_eq!((grants.len(), kills(grants)), (16, 2));
    assert_eq!(grants.iter().filter(|grant| grant.to - grant.from == 120.0).count(), 13);
    assert_eq!(grants.iter().filter(|grant| grant.to - grant.from < 120.0).count(), 3);
    only_the_grants(&night);
}

#[test]
fn low_battery() {
    let night = replay("low-battery");
    assert_eq!(
        night.periods(),
        [
            period(false, "23:15:00", "01:00:00", ReasonKind::BatteryLow),
            period(true, "01:00:00", "02:40:00", ReasonKind::Ready),
            period(false, "02:40:00", "04:10:00", ReasonKind::BatteryLow),
            period(true, "04:10:00", "06:00:00", ReasonKind::Ready),
        ]
    );
    assert!(night.looks.iter().all(|(at, _)| night.trace.state_at(*at).charging), "on the charger all night");
    assert_eq!(night.reason_at("02:40"), "battery low (29 %): waiting for 40 %");
    assert_eq!(night.reason_at("03:20"), "battery low (35 %): waiting for 40 %");
}

#[test]
fn nearly_full_disk() {
    let night = replay("nearly-full-disk");
    assert_eq!(
        night.periods(),
        [
            period(false, "23:00:00", "00:30:00", ReasonKind::StorageLow),
            period(true, "00:30:00", "03:20:00", ReasonKind::Ready),
            period(false, "03:20:00", "05:30:00", ReasonKind::StorageLow),
        ]
    );
    assert_eq!(
        night.reason_at("03:20"),
        "too little free storage (755 MB): waiting for 1.3 GB; deleting what is not needed helps"
    );
}

#[test]
fn no_night_is_left_out() {
    let mut names: Vec<_> = std::fs::read_dir("../../tests/data/nights")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "android-ten-minutes.csv",
        "good-night.csv",
        "hot-room.csv",
        "ios-two-minutes.csv",
        "low-battery.csv",
        "nearly-full-disk.csv",
        "unplugged-at-three.csv",
    ];
    assert_eq!(names, expected);
}
