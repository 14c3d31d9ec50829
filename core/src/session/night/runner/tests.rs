//! Nights of work that takes simulated time, on a simulated device: what happens when, and what is kept of it.

#![allow(clippy::unwrap_used)]

mod simulation;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nightgraft_policy::ReasonKind;
use nightgraft_policy::gate::GateReport;
use nightgraft_store::StoreOptions;

use self::simulation::{GIB, Simulation, ready};
use super::*;
use crate::Error;
use crate::session::NothingToDo;
use crate::session::night::{NightEnd, NightRecord, NightWait, nights};

fn paused(reason: Pause) -> SliceOutcome {
    SliceOutcome::Paused { reason }
}

#[test]
fn it_waits_for_the_charger_works_and_ends_with_its_grant() {
    let mut simulation = Simulation::new(100, 10);
    let outcome = simulation.whole_night(300, |now| DeviceState { charging: now >= 130, ..ready() });
    assert_eq!(outcome, paused(Pause::Deadline));
    let steps = (1..=12).map(|step| format!("{} step {step}", 180 + 10 * step));
    let before = ["0 waits NotCharging", "180 runs 1 Ready"].map(str::to_owned);
    let after = ["300 slice TimeUp", "300 about 7 more nights at tonight's pace", "300 done GoesOn"]
        .map(str::to_owned);
    assert_eq!(simulation.told(), before.into_iter().chain(steps).chain(after).collect::<Vec<_>>());
    // Every minute while it waits; then before each step, as the work asks.
    let looks = (0..4).map(|minute| 60 * minute).chain((0..12).map(|step| 180 + 10 * step));
    assert_eq!(simulation.looks(), looks.map(f64::from).collect::<Vec<_>>());
    assert_eq!(simulation.work.slices, [Duration::from_secs(120)]);

    let store = &simulation.work.store;
    let usage: Usage = document(store, USAGE).unwrap();
    let [spent] = usage.days() else { unreachable!("{usage:?}") };
    assert_eq!((spent.day, spent.seconds), (20_000, 120.0));
    assert!((spent.energy_wh - 4.0 * 120.0 / 3600.0).abs() < 1e-9 && spent.bytes_written > 0, "{spent:?}");
    let nights: Vec<NightPace> = document(store, PACES).unwrap();
    let [NightPace { day, pace }] = nights[..] else { unreachable!("{nights:?}") };
    assert_eq!((day, pace), (20_000, Pace { steps: 12, running: Duration::from_secs(120) }));
}

#[test]
fn a_night_is_cut_into_slices_of_a_quarter_of_an_hour() {
    let mut simulation = Simulation::new(1000, 100);
    simulation.whole_night(3000, |_| ready());
    assert_eq!(simulation.work.slices, [900, 900, 900, 300].map(Duration::from_secs));
    // That is for the ledger alone, and no slice of the device's.
    let told =
        ["0 runs 1 Ready", "900 runs 1 Ready", "1800 runs 1 Ready", "2700 runs 1 Ready", "3000 slice TimeUp"];
    assert_eq!(simulation.told_besides_steps()[..5], told);
    assert_eq!((simulation.work.steps, simulation.work.spent()), (30, 3000.0));
}

#[test]
fn the_ledger_is_ahead_of_a_slice_and_exact_after_it() {
    let mut simulation = Simulation::new(100, 20);
    simulation.whole_night(140, |_| ready());
    assert_eq!(simulation.work.ledger, [60.0, 60.0, 60.0, 120.0, 120.0, 120.0, 180.0]);
    assert_eq!(simulation.work.spent(), 140.0);
}

#[test]
fn a_warm_device_works_a_part_of_the_time_and_spends_no_more() {
    let mut simulation = Simulation::new(100, 30);
    // Half the way from where it slows down to where it pauses; then so little more that it is not worth a word.
    let warmth = |now: u64| match now {
        ..60 => 25.0,
        60..220 => 39.0,
        _ => 39.25,
    };
    let device = |now: u64| DeviceState { temperature: Some(warmth(now)), ..ready() };
    simulation.whole_night(220, device);
    let steps = ["30 step 1", "60 step 2", "100 step 3", "140 step 4", "180 step 5", "220 step 6"];
    let told = simulation.told();
    assert_eq!(told[1..3], steps[..2]);
    assert_eq!((told[0].as_str(), told[3].as_str()), ("0 runs 1 Ready", "60 runs 0.75 Warm"));
    assert_eq!(told[4..8], steps[2..]);
    assert_eq!(simulation.work.spent(), 180.0, "it rested for the other 40 s");

    simulation.whole_night(60, device);
    assert_eq!(simulation.told()[0], "0 runs 0.71875 Warm", "another night says how it is");
    let mut simulation = Simulation::new(100, 30);
    simulation.whole_night(400, device);
    let runs = simulation.told().into_iter().filter(|told| told.contains("runs"));
    assert_eq!(runs.collect::<Vec<_>>(), ["0 runs 1 Ready", "60 runs 0.75 Warm"]);
}

#[test]
fn heat_ends_a_slice_and_work_goes_on_when_it_has_cooled_down() {
    let mut simulation = Simulation::new(100, 10);
    let device = |now: u64| {
        let temperature = Some(if (100..200).contains(&now) { 42.0 } else { 30.0 });
        DeviceState { temperature, ..ready() }
    };
    simulation.whole_night(500, device);
    let told = [
        "0 runs 1 Ready",
        "100 slice Paused",
        "100 waits TooWarm",
        "220 waits CoolingDown",
        "280 waits CoolingDown",
        "340 waits CoolingDown",
        "400 runs 1 Ready",
        "500 slice TimeUp",
    ];
    assert_eq!(simulation.told_besides_steps()[..8], told);
    assert_eq!((simulation.work.steps, simulation.work.spent()), (20, 200.0));
}

#[test]
fn the_heat_is_remembered_by_the_next_process() {
    let mut simulation = Simulation::new(100, 10);
    simulation.rules.cool_down_seconds = 600;
    let device = |now: u64| {
        let temperature = Some(if (60..120).contains(&now) { 42.0 } else { 30.0 });
        DeviceState { temperature, ..ready() }
    };
    simulation.whole_night(120, device);
    assert_eq!(simulation.told_besides_steps()[1..3], ["60 slice Paused", "60 waits TooWarm"]);
    simulation.whole_night(600, device);
    let told = simulation.told_besides_steps();
    let waits = (0..9).map(|minute| format!("{} waits CoolingDown", 60 * minute));
    assert_eq!(told[..9], waits.collect::<Vec<_>>());
    assert_eq!(told[9], "540 runs 1 Ready", "ten minutes after it was too warm");
}

#[test]
fn little_memory_begins_another_slice_with_less() {
    let mut simulation = Simulation::new(100, 10);
    // Once it was too little for the whole plan, it has to be an eighth more than enough.
    let available = |now: u64| match now {
        50..100 => 2 * GIB,
        100..150 => (2 * GIB + 256 * (1 << 20)) * 9 / 8 - 1,
        _ => 8 * GIB,
    };
    simulation.whole_night(200, |now| DeviceState { memory_available: available(now), ..ready() });
    assert_eq!(simulation.work.small, [false, true, false]);
    let told = ["0 runs 1 Ready", "50 runs 1 LittleMemory", "150 runs 1 Ready", "200 slice TimeUp"];
    assert_eq!(simulation.told_besides_steps()[..4], told);
    assert_eq!(simulation.work.steps, 20);
}

#[test]
fn a_day_has_its_budget_once() {
    let mut simulation = Simulation::new(1000, 10);
    simulation.rules.minutes_per_day = 10;
    simulation.whole_night(3600, |_| ready());
    let told = ["0 runs 1 Ready", "600 waits MinutesUsedUp"];
    assert_eq!(simulation.told_besides_steps()[..2], told);
    assert_eq!((simulation.work.steps, simulation.work.spent()), (60, 600.0));
    // At midnight it is still the same day; at noon, another one.
    simulation.whole_night(3600, |_| ready());
    assert_eq!(simulation.told_besides_steps()[0], "0 waits MinutesUsedUp");
    simulation.work.clock.pass(Duration::from_secs(11 * 3600));
    simulation.whole_night(3600, |_| ready());
    assert_eq!(simulation.told_besides_steps()[0], "0 runs 1 Ready");
    assert_eq!((simulation.work.steps, simulation.work.spent()), (120, 1200.0));
}

#[test]
fn a_stop_ends_a_wait_and_a_slice() {
    let mut simulation = Simulation::new(100, 10);
    let waits = |event: &NightEvent| matches!(event, NightEvent::Waiting { .. });
    let unplugged = |_| Ok(DeviceState { charging: false, ..ready() });
    assert_eq!(simulation.night(3600, unplugged, waits).unwrap(), paused(Pause::Stopped));
    assert_eq!(simulation.told().last().unwrap(), "60 done Stopped");
    assert!(simulation.work.slices.is_empty());

    let third_step = |event: &NightEvent| matches!(event, NightEvent::Step { step: 3, .. });
    assert_eq!(simulation.night(3600, |_| Ok(ready()), third_step).unwrap(), paused(Pause::Stopped));
    let told = simulation.told_besides_steps();
    assert_eq!((told[1].as_str(), told.last().unwrap().as_str()), ("30 slice Stopped", "30 done Stopped"));
    assert_eq!(simulation.work.spent(), 30.0);
}

#[test]
fn it_ends_when_all_steps_are_made_and_has_nothing_to_do_then() {
    let mut simulation = Simulation::new(3, 10);
    assert!(matches!(simulation.whole_night(3600, |_| ready()), SliceOutcome::Finished { .. }));
    let told = ["0 runs 1 Ready", "30 slice Finished", "30 all steps are made", "30 done Finished"];
    assert_eq!(simulation.told_besides_steps(), told);

    let reason = NothingToDo::EverythingLearned;
    simulation.work.nothing = Some(reason);
    // Nobody waits for the charger to hear that.
    let outcome = simulation.whole_night(3600, |_| DeviceState { charging: false, ..ready() });
    assert_eq!(outcome, SliceOutcome::NothingToDo { reason });
    assert_eq!(simulation.told(), ["0 EverythingLearned", "0 done NothingToDo"]);
}

#[test]
fn a_device_that_cannot_be_asked_ends_the_night_and_what_it_has_spent_is_entered() {
    let mut simulation = Simulation::new(100, 10);
    let device = |now: u64| {
        let broken = || Error::io("ask", Path::new("the device"))(io::ErrorKind::Other.into());
        if now < 100 { Ok(ready()) } else { Err(broken()) }
    };
    assert!(matches!(simulation.night(3600, device, |_| false), Err(Error::Io(_))));
    assert_eq!(simulation.told().last().unwrap(), "100 step 10");
    assert_eq!(simulation.work.spent(), 120.0, "what was entered ahead stands");
    let kept = nights(&simulation.work.store.reader()).unwrap();
    assert_eq!((kept[0].steps, kept[0].running, &kept[0].end), (10, 100.0, &Some(NightEnd::Failed)));
}

#[test]
fn what_became_of_each_night_is_kept() {
    let mut simulation = Simulation::new(14, 10);
    simulation.whole_night(300, |now| DeviceState { charging: now >= 130, ..ready() });
    let stopped_at_step_13 = |event: &NightEvent| matches!(event, NightEvent::Step { step: 13, .. });
    simulation.night(3600, |_| Ok(ready()), stopped_at_step_13).unwrap();
    let killed = catch_unwind(AssertUnwindSafe(|| {
        let killed = |event: &NightEvent| match event {
            NightEvent::Step { .. } => unreachable!("killed"),
            _ => false,
        };
        simulation.night(3600, |_| Ok(ready()), killed)
    }));
    assert!(killed.is_err());
    simulation.work.clock.pass(Duration::from_secs(100));
    simulation.whole_night(3600, |_| ready());
    simulation.work.nothing = Some(NothingToDo::EverythingLearned);
    simulation.work.clock.pass(Duration::from_secs(100));
    simulation.whole_night(3600, |_| ready());

    let kept = nights(&simulation.work.store.reader()).unwrap();
    let first = kept[0].began;
    let waited = |seconds| vec![NightWait { kind: ReasonKind::NotCharging, seconds }];
    let night = |after, seconds, running, waits, steps, end| NightRecord {
        began: first + after,
        seconds,
        running,
        waits,
        steps,
        end,
    };
    let judged =
        NightEnd::Finished { graft: None, promoted: false, refusals: GateReport::diverged().refusals };
    let nothing = NightEnd::NothingToDo { reason: NothingToDo::EverythingLearned };
    let expected = [
        night(0, 300.0, 120.0, waited(180.0), 12, Some(NightEnd::GoesOn)),
        night(300, 10.0, 10.0, vec![], 1, Some(NightEnd::Stopped { by: None })),
        night(310, 0.0, 0.0, vec![], 0, None),
        night(420, 0.0, 0.0, vec![], 0, Some(judged)),
        night(520, 0.0, 0.0, vec![], 0, Some(nothing)),
    ];
    assert_eq!(kept, expected);
}

#[test]
fn a_store_without_room_for_the_log_still_says_that_there_is_nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { quota: Some(1), ..StoreOptions::default() };
    let mut simulation = Simulation::new(3, 10);
    simulation.work.store = Store::open(folder.path(), options).unwrap();
    let reason = NothingToDo::NoExamples;
    simulation.work.nothing = Some(reason);
    assert_eq!(simulation.whole_night(3600, |_| ready()), SliceOutcome::NothingToDo { reason });
    assert_eq!(nights(&simulation.work.store.reader()).unwrap(), []);
}

#[test]
fn what_another_build_remembers_of_nights_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { create: true, ..StoreOptions::default() };
    let store = Store::open(folder.path(), options).unwrap();
    let read = |name| match name {
        USAGE => document::<Usage>(&store, name).map(drop),
        POLICY => document::<PolicyMemory>(&store, name).map(drop),
        PACES => document::<Vec<NightPace>>(&store, name).map(drop),
        _ => document::<Vec<NightRecord>>(&store, name).map(drop),
    };
    for name in [USAGE, POLICY, PACES, NIGHTS] {
        assert!(read(name).is_ok(), "there is none");
        let path = folder.path().join(name).with_extension("ngs");
        let is_refused = || matches!(read(name), Err(crate::Error::Store(StoreError::OtherBuild { path: named, .. })) if named == path);
        store.write_document(name, &"green").unwrap();
        assert!(is_refused(), "{name}");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8..12].copy_from_slice(&900u32.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert!(is_refused(), "{name}");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(read(name).is_ok(), "damage alone costs no night");
    }
}
