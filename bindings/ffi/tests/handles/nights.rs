//! Nights on a device whose state changes.

use std::sync::{Arc, Mutex};
use std::thread;

use nightgraft_ffi::{
    DeviceState, NightRules, NightgraftError, PauseReason, Phase, PlatformError, SliceOutcome, WaitKind,
    rules_while_used,
};
use pollster::block_on;

use crate::sandbox::{FakePlatform, ProgressLatch, Sandbox};

#[test]
fn a_night_waits_for_the_device_and_ends_with_it() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 20_000);
    let unplugged = DeviceState { charging: false, ..FakePlatform::ready() };
    let platform = Arc::new(FakePlatform(Mutex::new(Ok(unplugged))));
    let rules = NightRules { idle_grace_seconds: 0, ..NightRules::default() };
    let latch = Arc::new(ProgressLatch::default());
    thread::scope(|scope| {
        let night = session.run_night(platform.clone(), rules.clone(), None, true, Some(latch.clone()));
        let night = scope.spawn(|| block_on(night));
        latch.wait_until(|progress| progress.phase == Phase::Waiting);
        assert_eq!(session.progress().waiting.unwrap().kind, WaitKind::NotCharging);
        *platform.0.lock().unwrap() = Ok(FakePlatform::ready());
        session.device_changed();
        latch.wait_for_step(3);
        let progress = session.progress();
        assert_eq!(progress.phase, Phase::Training);
        assert!(progress.seconds_left.unwrap() > 0.0 && progress.memory_bytes > 1 << 20, "{progress:?}");
        *platform.0.lock().unwrap() = Err(PlatformError::Failed { reason: "the sensor is gone".into() });
        let error = night.join().unwrap().unwrap_err();
        let reason = "the platform failed: the sensor is gone".to_owned();
        assert_eq!(error, NightgraftError::Cancelled { reason });
    });
    *platform.0.lock().unwrap() = Ok(unplugged);
    let outcome = block_on(session.run_night(platform, rules, Some(0.0), true, None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline });
}

#[test]
fn a_night_from_a_screen_trains_while_the_device_is_in_use() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 1);
    let in_use = DeviceState { idle: false, ..FakePlatform::ready() };
    let platform = Arc::new(FakePlatform(Mutex::new(Ok(in_use))));
    // By the defaults it waits for as long as the screen is looked at.
    let latch = Arc::new(ProgressLatch::default());
    thread::scope(|scope| {
        let night =
            session.run_night(platform.clone(), NightRules::default(), None, true, Some(latch.clone()));
        let night = scope.spawn(|| block_on(night));
        latch.wait_until(|progress| progress.phase == Phase::Waiting);
        assert_eq!(session.progress().waiting.unwrap().kind, WaitKind::InUse);
        session.stop();
        assert_eq!(night.join().unwrap(), Ok(SliceOutcome::Paused { reason: PauseReason::Stopped }));
    });
    let outcome = block_on(session.run_night(platform, rules_while_used(), None, true, None)).unwrap();
    assert!(matches!(outcome, SliceOutcome::Finished { .. }), "{outcome:?}");
}
