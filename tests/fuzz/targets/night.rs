//! The first byte chooses: a night's trace, which is replayed against the policy, or the policy's rules.
#![no_main]

use std::{path::Path, time::Duration};

use libfuzzer_sys::fuzz_target;
use nightgraft_charts::timeline_svg;
use nightgraft_core::session::night::NightEvent;
use nightgraft_policy::{Decision, Needs, PolicyMemory, Rules, Usage, decide};
use nightgraft_simulation::{Timeline, Trace};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, file)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(file) else { return };
    if choice % 2 == 0 { trace(text) } else { rules(text) }
});

/// Never a run on a reading that is no number, whatever the trace says, and always a drawing.
fn trace(text: &str) {
    let Ok(trace) = Trace::parse(text, Path::new("night.csv")) else { return };
    let rules = Rules::default();
    let needs = Needs { memory: 700 << 20, small_memory: Some(300 << 20), storage: 120 << 20 };
    let (mut usage, mut memory) = (Usage::default(), PolicyMemory::default());
    let mut timeline = Timeline::new(trace.begins());
    let mut next = Some(0.0);
    // Rows beyond these only take time.
    for _ in 0..500 {
        let Some(at) = next else { break };
        let state = trace.state_at(at);
        let decision = decide(&rules, &state, &needs, &usage, &mut memory);
        let reason = decision.reason().clone();
        timeline.record(&match decision {
            Decision::Run { duty, at_most, .. } => {
                assert!(duty > 0.0 && duty <= 1.0, "duty {duty}");
                assert!(state.charging && state.idle && (0.3..=1.0).contains(&state.battery));
                assert!(state.temperature.is_none_or(|degrees| degrees < 41.0));
                usage.add(&rules, state.time, at_most.min(Duration::from_secs(600)), 1 << 20);
                NightEvent::Running { at, duty, reason }
            }
            Decision::Wait { .. } => NightEvent::Waiting { at, reason },
        });
        next = trace.next_change(at);
    }
    assert!(!timeline_svg(&timeline).contains("no drawing"));
    assert!(timeline.to_string().lines().count() > timeline.periods().len());
}

/// What is accepted comes back the same when it is written.
fn rules(text: &str) {
    let Ok(rules) = Rules::from_toml(text) else { return };
    let written = rules.to_toml().expect("valid rules can be written");
    assert_eq!(Rules::from_toml(&written).expect("and read"), rules);
}
