#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{TimeOfDay, Window};

const MB: u64 = 1_000_000;
const HOUR: i64 = 3600;

/// 1:00 at night.
const NOW: i64 = 20_000 * 86_400 + HOUR;

fn good() -> DeviceState {
    DeviceState {
        charging: true,
        battery: 0.85,
        thermal: Thermal::Nominal,
        temperature: Some(31.0),
        low_power_mode: false,
        idle: true,
        memory_available: 3000 * MB,
        storage_free: 20_000 * MB,
        time: LocalTime { unix: NOW, utc_offset: 0 },
    }
}

fn needs() -> Needs {
    Needs { memory: 600 * MB, small_memory: Some(200 * MB), storage: 100 * MB }
}

/// One policy over time.
struct Night {
    rules: Rules,
    usage: Usage,
    memory: PolicyMemory,
}

impl Night {
    fn new(rules: Rules) -> Self {
        rules.validate().unwrap();
        Self { rules, usage: Usage::default(), memory: PolicyMemory::default() }
    }

    fn decide(&mut self, state: &DeviceState) -> Decision {
        decide(&self.rules, state, &needs(), &self.usage, &mut self.memory)
    }

    fn why(&mut self, state: &DeviceState) -> String {
        let decision = self.decide(state);
        assert_eq!(decision.runs(), decision.reason().runs(), "{decision:?}");
        format!("{}: {}", if decision.runs() { "run" } else { "wait" }, decision.reason())
    }
}

fn after(state: DeviceState, seconds: i64) -> DeviceState {
    let time = LocalTime { unix: state.time.unix + seconds, ..state.time };
    DeviceState { time, ..state }
}

fn duty_of(decision: &Decision) -> Option<f64> {
    match decision {
        Decision::Run { duty, .. } => Some(*duty),
        Decision::Wait { .. } => None,
    }
}

#[test]
fn a_good_state_runs_the_whole_plan_at_full_duty() {
    let mut night = Night::new(Rules::default());
    assert_eq!(
        night.decide(&good()),
        Decision::Run {
            duty: 1.0,
            memory_mode: MemoryMode::Full,
            at_most: Duration::from_secs(6 * 3600),
            reason: Reason::Ready { charging: true, battery: 0.85, idle: true },
        }
    );
    assert_eq!(night.why(&good()), "run: on the charger (85 %), cool and not in use");
}

#[test]
fn a_device_in_use_trains_by_the_rules_for_that_and_every_other_rule_holds() {
    let in_use = DeviceState { idle: false, ..good() };
    let mut night = Night::new(Rules::while_used());
    assert_eq!(night.why(&in_use), "run: on the charger (85 %) and cool");
    for state in [
        DeviceState { charging: false, ..in_use },
        DeviceState { low_power_mode: true, ..in_use },
        DeviceState { battery: 0.24, ..in_use },
        DeviceState { temperature: Some(41.0), ..in_use },
        DeviceState { memory_available: 300 * MB, ..in_use },
    ] {
        let why = Night::new(Rules::while_used()).why(&state);
        assert_eq!(why, Night::new(Rules::default()).why(&DeviceState { idle: true, ..state }));
        assert!(why.starts_with("wait: "), "{why}");
    }
}

#[test]
fn each_rule_has_its_reason() {
    let cases: [(DeviceState, &str); 15] = [
        (DeviceState { charging: false, ..good() }, "wait: waiting for the charger"),
        (DeviceState { low_power_mode: true, ..good() }, "wait: waiting until low power mode is off"),
        (DeviceState { battery: 0.24, ..good() }, "wait: battery low (24 %): waiting for 40 %"),
        (DeviceState { idle: false, ..good() }, "wait: waiting until nobody uses the device"),
        (
            DeviceState { temperature: Some(41.0), ..good() },
            "wait: too warm (41 °C): cooling down until 38 °C",
        ),
        (
            DeviceState { thermal: Thermal::Serious, ..good() },
            "wait: too warm (31 °C): cooling down, the system says it is hot",
        ),
        (
            DeviceState { thermal: Thermal::Critical, temperature: None, ..good() },
            "wait: too warm: cooling down, the system says it is dangerously hot",
        ),
        (DeviceState { temperature: Some(39.0), ..good() }, "run: warm (39 °C): working 75 % of the time"),
        (
            DeviceState { thermal: Thermal::Fair, temperature: None, ..good() },
            "run: warm: working 50 % of the time",
        ),
        (
            DeviceState { memory_available: 500 * MB, ..good() },
            "run: little memory (500 MB; the whole plan wants 977 MB): going on with a smaller plan",
        ),
        (
            DeviceState { memory_available: 300 * MB, ..good() },
            "wait: too little memory (300 MB): waiting for 527 MB; closing other apps helps",
        ),
        (
            DeviceState { storage_free: 900 * MB, ..good() },
            "wait: too little free storage (900 MB): waiting for 1.3 GB; deleting what is not needed helps",
        ),
        (
            DeviceState { battery: 7.3, ..good() },
            "wait: the battery level reads 730 %, which cannot be true: waiting for a better reading",
        ),
        (
            DeviceState { battery: f64::NAN, ..good() },
            "wait: the battery level cannot be read: waiting for a better reading",
        ),
        (
            DeviceState { temperature: Some(-273.2), ..good() },
            "wait: the temperature reads -273.2 °C, which cannot be true: waiting for a better reading",
        ),
    ];
    for (state, expected) in cases {
        assert_eq!(Night::new(Rules::default()).why(&state), expected);
    }
}

#[test]
fn rules_can_be_switched_off() {
    let rules =
        Rules { charging_only: false, idle_only: false, respect_low_power: false, ..Rules::default() };
    let state = DeviceState { charging: false, low_power_mode: true, idle: false, ..good() };
    assert_eq!(Night::new(rules).why(&state), "run: on battery (85 %) and cool");
}

#[test]
fn nonsense_is_never_run_on() {
    let nonsense = [
        DeviceState { battery: -1.0, ..good() },
        DeviceState { battery: 85.0, ..good() },
        DeviceState { battery: f64::INFINITY, ..good() },
        DeviceState { battery: f64::NEG_INFINITY, ..good() },
        DeviceState { temperature: Some(f64::NAN), ..good() },
        DeviceState { temperature: Some(f64::INFINITY), ..good() },
        DeviceState { temperature: Some(1e300), ..good() },
        DeviceState { temperature: Some(3100.0), ..good() },
        DeviceState { time: LocalTime { unix: 0, utc_offset: i32::MIN }, ..good() },
        DeviceState { time: LocalTime { unix: 0, utc_offset: 100_000 }, ..good() },
    ];
    for state in nonsense {
        let mut night = Night::new(Rules::default());
        let decision = night.decide(&state);
        assert!(!decision.runs(), "{state:?}");
        assert!(matches!(decision.reason(), Reason::Unreadable { .. }), "{decision:?}");
        // The reason can be written and read, which a NaN in it could not.
        let json = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&json).unwrap(), decision);
        assert_eq!(night.memory, PolicyMemory::default(), "nothing is learned from nonsense");
        assert!(night.decide(&good()).runs(), "and a good reading goes on at once");
    }
    // What sensors round is no nonsense.
    assert!(Night::new(Rules::default()).decide(&DeviceState { battery: 1.000_000_1, ..good() }).runs());
}

#[test]
fn the_battery_must_come_back_to_its_upper_mark() {
    let mut night = Night::new(Rules::default());
    let runs: Vec<_> = [0.35, 0.30, 0.299, 0.30, 0.35, 0.399, 0.40, 0.35, 0.31]
        .map(|battery| night.decide(&DeviceState { battery, ..good() }).runs())
        .into();
    assert_eq!(runs, [true, true, false, false, false, false, true, true, true]);
}

#[test]
fn heat_slows_down_before_it_stops_and_the_lower_mark_starts_again() {
    let mut night = Night::new(Rules { cool_down_seconds: 0, ..Rules::default() });
    let duties: Vec<_> = [36.0, 37.0, 38.0, 39.0, 40.0, 40.9, 41.0, 40.0, 38.1, 38.0, 39.0, 36.0]
        .map(|degrees| duty_of(&night.decide(&DeviceState { temperature: Some(degrees), ..good() })))
        .into();
    let expected = [1.0, 1.0, 0.875, 0.75, 0.625, 0.5125];
    for (duty, expected) in duties.iter().zip(expected) {
        assert!((duty.unwrap() - expected).abs() < 1e-12, "{duty:?} {expected}");
    }
    assert_eq!(duties[6..9], [None; 3]);
    assert_eq!(duties[9..].iter().flatten().count(), 3);
    assert_eq!(duties[11], Some(1.0));
}

#[test]
fn the_systems_levels_slow_down_and_pause_too() {
    let mut night = Night::new(Rules { cool_down_seconds: 0, ..Rules::default() });
    let mut at = |thermal| duty_of(&night.decide(&DeviceState { thermal, temperature: None, ..good() }));
    use Thermal::{Critical, Fair, Nominal, Serious};
    let duties = [Nominal, Fair, Serious, Fair, Critical, Serious, Nominal].map(&mut at);
    assert_eq!(duties, [Some(1.0), Some(0.5), None, Some(0.5), None, None, Some(1.0)]);

    let later = Rules { pause_at_thermal: Critical, resume_at_thermal: Fair, ..Rules::default() };
    let mut night = Night::new(Rules { cool_down_seconds: 0, ..later });
    let duties = [Serious, Critical, Serious, Fair]
        .map(|thermal| duty_of(&night.decide(&DeviceState { thermal, ..good() })));
    assert_eq!(duties, [Some(0.25), None, None, Some(0.5)]);
}

#[test]
fn a_pause_for_heat_has_a_least_length() {
    let mut night = Night::new(Rules::default());
    let hot = DeviceState { temperature: Some(42.0), ..good() };
    assert!(!night.decide(&hot).runs());
    let cool = DeviceState { temperature: Some(35.0), ..good() };
    assert_eq!(night.why(&after(cool, 60)), "wait: was too warm: cooling down for another 4 min");
    assert_eq!(night.why(&after(cool, 299)), "wait: was too warm: cooling down for another 1 s");
    assert!(night.decide(&after(cool, 300)).runs());
    assert!(night.decide(&after(cool, 301)).runs());
    // The heat of an unplugged phone is not forgotten.
    night.decide(&DeviceState { charging: false, ..after(hot, 1000) });
    assert_eq!(night.why(&after(cool, 1060)), "wait: was too warm: cooling down for another 4 min");
}

#[test]
fn after_use_the_device_must_be_left_alone_for_a_while() {
    let mut night = Night::new(Rules::default());
    assert!(night.decide(&good()).runs(), "a device that was never seen in use starts at once");
    let used = DeviceState { idle: false, ..good() };
    assert!(!night.decide(&after(used, 10)).runs());
    assert_eq!(night.why(&after(good(), 30)), "wait: was just used: waiting another 40 s without use");
    assert!(!night.decide(&after(good(), 69)).runs());
    assert!(night.decide(&after(good(), 70)).runs());
    let rules = Rules { idle_only: false, ..Rules::default() };
    let mut night = Night::new(rules);
    assert!(night.decide(&used).runs() && night.decide(&good()).runs());
}

#[test]
fn a_clock_that_is_set_back_lengthens_no_wait_beyond_its_length() {
    let mut night = Night::new(Rules::default());
    night.decide(&DeviceState { idle: false, temperature: Some(45.0), ..good() });
    let back = after(good(), -400 * 86_400);
    assert!(!night.decide(&back).runs());
    assert!(!night.decide(&after(back, 299)).runs());
    assert!(night.decide(&after(back, 300)).runs());
}

#[test]
fn a_window_bounds_the_run() {
    let window: Window = "22:00-07:00".parse().unwrap();
    let mut night = Night::new(Rules {
        window: Some(window),
        minutes_per_day: 1440,
        energy_wh_per_day: 1e3,
        ..Rules::default()
    });
    let at = |hours: i64, night: &mut Night| night.decide(&after(good(), (hours - 1) * HOUR));
    for (hour, left) in [(1, 6), (6, 1), (22, 9), (23, 8)] {
        let decision = at(hour, &mut night);
        let Decision::Run { at_most, .. } = decision else { unreachable!("{hour}: {decision:?}") };
        assert_eq!(at_most, Duration::from_secs(left * 3600), "{hour}");
    }
    for (hour, look_again) in [(7, 900), (12, 900), (21, 900)] {
        let Decision::Wait { reason, look_again: found } = at(hour, &mut night) else {
            unreachable!("{hour}")
        };
        assert_eq!(reason.to_string(), "allowed from 22:00 to 07:00 only");
        assert_eq!(found, Duration::from_secs(look_again), "{hour}");
    }
    let Decision::Wait { look_again, .. } = night.decide(&after(good(), 21 * HOUR - 30)) else {
        unreachable!("half a minute before it opens")
    };
    assert_eq!(look_again, Duration::from_secs(30));
}

#[test]
fn each_budget_of_a_day_ends_and_begins_again_at_noon() {
    let hour = Duration::from_secs(3600);
    let cases: [(Rules, Duration, u64, u64, &str); 3] = [
        (
            Rules { minutes_per_day: 90, ..Rules::default() },
            hour,
            0,
            1800,
            "wait: the 90 minutes for one day are used up: goes on after 12:00",
        ),
        (
            Rules { energy_wh_per_day: 7.5, watts: 5.0, ..Rules::default() },
            hour,
            0,
            1800,
            "wait: the 7.5 Wh of energy for one day are used up: goes on after 12:00",
        ),
        (
            Rules { flash_bytes_per_day: 1500 * MB, ..Rules::default() },
            Duration::from_secs(60),
            1000 * MB,
            21_540,
            "wait: the 1.5 GB that may be written in one day are used up: goes on after 12:00",
        ),
    ];
    for (rules, busy, bytes, left, text) in cases {
        let mut night = Night::new(rules);
        let now = good();
        night.usage.add(&night.rules, now.time, busy, bytes);
        let Decision::Run { at_most, .. } = night.decide(&now) else { unreachable!("{text}") };
        assert_eq!(at_most.as_secs_f64().round(), left as f64, "{text}");
        night.usage.add(&night.rules, now.time, busy, bytes);
        assert_eq!(night.why(&now), text);
        assert!(!night.decide(&after(now, 10 * HOUR + 3599)).runs(), "a second before noon");
        assert!(night.decide(&after(now, 11 * HOUR)).runs(), "at noon");
        assert!(!night.decide(&after(now, -2 * HOUR)).runs(), "the evening before is the same night");
        let Decision::Wait { look_again, .. } = night.decide(&after(now, 11 * HOUR - 20)) else {
            unreachable!("{text}")
        };
        assert_eq!(look_again, Duration::from_secs(20));
    }
}

#[test]
fn plans_change_with_a_margin() {
    let mut night = Night::new(Rules { memory_reserve: 0, ..Rules::default() });
    let plans = [600, 599, 600, 674, 675, 600, 200, 199, 224, 225, 674, 675].map(|megabytes| {
        match night.decide(&DeviceState { memory_available: megabytes * MB, ..good() }) {
            Decision::Run { memory_mode, .. } => Some(memory_mode),
            Decision::Wait { .. } => None,
        }
    });
    use MemoryMode::{Full, Small};
    let expected = [
        Some(Full),
        Some(Small),
        Some(Small),
        Some(Small),
        Some(Full),
        Some(Full),
        Some(Small),
        None,
        None,
        Some(Small),
        Some(Small),
        Some(Full),
    ];
    assert_eq!(plans, expected);
    let only_full = Needs { small_memory: None, ..needs() };
    let state = DeviceState { memory_available: 500 * MB, ..good() };
    let decision =
        decide(&Rules::default(), &state, &only_full, &Usage::default(), &mut PolicyMemory::default());
    assert!(matches!(decision.reason(), Reason::MemoryLow { .. }), "{decision:?}");
    let huge = Needs { memory: u64::MAX, small_memory: Some(u64::MAX), storage: u64::MAX };
    let decision = decide(&Rules::default(), &good(), &huge, &Usage::default(), &mut PolicyMemory::default());
    assert!(!decision.runs());
}

fn thermal() -> impl Strategy<Value = Thermal> {
    prop::sample::select(vec![Thermal::Nominal, Thermal::Fair, Thermal::Serious, Thermal::Critical])
}

/// Mostly likely values, sometimes any number, sometimes nonsense.
fn value(likely: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    prop_oneof![6 => likely, 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)]
}

fn any_time() -> impl Strategy<Value = LocalTime> {
    let unix = prop_oneof![4 => NOW - 86_400..NOW + 86_400, 1 => any::<i64>()];
    let offset = prop_oneof![4 => -43_200..50_400i32, 1 => any::<i32>()];
    (unix, offset).prop_map(|(unix, utc_offset)| LocalTime { unix, utc_offset })
}

fn any_state() -> impl Strategy<Value = DeviceState> {
    (
        prop::bool::weighted(0.8),
        value(0.0..1.0),
        thermal(),
        prop::option::of(value(20.0..45.0)),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.8),
        prop_oneof![4 => 0..2000 * MB, 1 => any::<u64>()],
        prop_oneof![4 => 0..3000 * MB, 1 => any::<u64>()],
        any_time(),
    )
        .prop_map(
            |(charging, battery, thermal, temperature, low_power_mode, idle, memory, storage, time)| {
                DeviceState {
                    charging,
                    battery,
                    thermal,
                    temperature,
                    low_power_mode,
                    idle,
                    memory_available: memory,
                    storage_free: storage,
                    time,
                }
            },
        )
}

/// A device that often may run.
fn calm_state() -> impl Strategy<Value = DeviceState> {
    (prop::bool::weighted(0.95), 0.2..1.0, 25.0..43.0, prop::bool::weighted(0.95), any_state()).prop_map(
        |(charging, battery, temperature, idle, any)| DeviceState {
            charging,
            battery,
            temperature: any.temperature.map(|_| temperature),
            idle,
            low_power_mode: false,
            thermal: any.thermal.min(Thermal::Fair),
            time: LocalTime { utc_offset: 3600, ..any.time },
            ..good()
        },
    )
}

fn time_of_day() -> impl Strategy<Value = TimeOfDay> {
    (0..24u16, 0..60u16).prop_map(|(hour, minute)| TimeOfDay::new(hour, minute).unwrap())
}

fn valid_rules() -> impl Strategy<Value = Rules> {
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    let battery = (0.0..=1.0, 0.0..=1.0).prop_map(|(a, b): (f64, f64)| (a.min(b), a.max(b)));
    let heat = (20.0..=60.0, 0.0..=1.0, 0.0..0.99, 0.05..=1.0, 1..4usize, 0..4usize, 0..1000u64);
    let times = (prop::option::of((time_of_day(), time_of_day())), time_of_day(), 0..1000u64);
    let budgets = (1..=1440u32, 0.01..1000.0, 0.01..1e6, (1u64 << 20)..1 << 40, 0..1u64 << 32, 0..1u64 << 32);
    (switches, battery, heat, times, budgets).prop_map(|(switches, battery, heat, times, budgets)| {
        use Thermal::{Critical, Fair, Nominal, Serious};
        let levels = [Nominal, Fair, Serious, Critical];
        let (pause_at_celsius, slow, resume, warm_duty, pause_level, resume_level, cool_down_seconds) = heat;
        let rules = Rules {
            charging_only: switches.0,
            idle_only: switches.1,
            respect_low_power: switches.2,
            battery_floor: battery.0,
            battery_resume: battery.1,
            slow_from_celsius: pause_at_celsius * slow,
            pause_at_celsius,
            resume_at_celsius: pause_at_celsius * resume,
            pause_at_thermal: levels[pause_level],
            resume_at_thermal: levels[resume_level % pause_level],
            warm_duty,
            cool_down_seconds,
            idle_grace_seconds: times.2,
            window: times.0.and_then(|(from, to)| Window::new(from, to)),
            day_begins: times.1,
            minutes_per_day: budgets.0,
            watts: budgets.1,
            energy_wh_per_day: budgets.2,
            flash_bytes_per_day: budgets.3,
            memory_reserve: budgets.4,
            storage_reserve: budgets.5,
        };
        rules.validate().unwrap();
        rules
    })
}

/// Valid rules with some replaced by any number at all.
fn any_rules() -> impl Strategy<Value = Rules> {
    (valid_rules(), any::<bool>(), any::<[f64; 8]>(), any::<[u64; 5]>()).prop_map(|(rules, broken, f, u)| {
        if !broken {
            return rules;
        }
        Rules {
            battery_floor: f[0],
            battery_resume: f[1],
            slow_from_celsius: f[2],
            pause_at_celsius: f[3],
            resume_at_celsius: f[4],
            warm_duty: f[5],
            watts: f[6],
            energy_wh_per_day: f[7],
            cool_down_seconds: u[0],
            idle_grace_seconds: u[1],
            flash_bytes_per_day: u[2],
            memory_reserve: u[3],
            storage_reserve: u[4],
            minutes_per_day: u[0] as u32,
            ..rules
        }
    })
}

fn any_needs() -> impl Strategy<Value = Needs> {
    let bytes = || prop_oneof![4 => 0..1000 * MB, 1 => any::<u64>()];
    (bytes(), prop::option::of(bytes()), bytes()).prop_map(|(memory, small_memory, storage)| Needs {
        memory,
        small_memory,
        storage,
    })
}

fn spend(usage: &mut Usage, rules: &Rules, time: LocalTime, seconds: f64, bytes: u64) {
    usage.add(rules, time, Duration::try_from_secs_f64(seconds).unwrap_or_default(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever came before: no run where a hard rule forbids it, and no promise beyond a bound.
    #[test]
    fn a_run_breaks_no_hard_rule(
        rules in any_rules(),
        looks in prop::collection::vec((prop_oneof![any_state(), calm_state()], 0.0..5_000.0f64, 0..1u64 << 28), 1..20),
        needs in any_needs(),
    ) {
        let (mut usage, mut memory) = (Usage::default(), PolicyMemory::default());
        for (state, busy, bytes) in looks {
            let spent = usage.on(&rules, state.time);
            match decide(&rules, &state, &needs, &usage, &mut memory) {
                Decision::Wait { reason, look_again } => {
                    prop_assert!(!reason.runs());
                    prop_assert!(look_again > Duration::ZERO && look_again <= Duration::from_secs(LATER));
                    prop_assert!(!reason.to_string().contains("NaN"), "{reason}");
                }
                Decision::Run { duty, memory_mode, at_most, reason } => {
                    prop_assert!(reason.runs());
                    prop_assert!(duty > 0.0 && duty <= 1.0, "{duty}");
                    prop_assert!((-0.01..=1.01).contains(&state.battery));
                    prop_assert!(state.temperature.is_none_or(f64::is_finite));
                    prop_assert!(state.charging || !rules.charging_only);
                    prop_assert!(!state.low_power_mode || !rules.respect_low_power);
                    prop_assert!(state.idle || !rules.idle_only);
                    prop_assert!(state.thermal < rules.pause_at_thermal);
                    let most = at_most.as_secs_f64();
                    // Rules that make no sense forbid nothing by comparison; the marks of valid ones hold.
                    if rules.validate().is_ok() {
                        prop_assert!(state.battery >= rules.battery_floor);
                        prop_assert!(state.temperature.is_none_or(|t| t < rules.pause_at_celsius));
                        let energy = spent.energy_wh + rules.watts * most / 3600.0;
                        prop_assert!(energy <= rules.energy_wh_per_day * (1.0 + 1e-9));
                    }
                    let memory_needed = match memory_mode { MemoryMode::Full => needs.memory, MemoryMode::Small => needs.small_memory.unwrap() };
                    prop_assert!(state.memory_available >= memory_needed.saturating_add(rules.memory_reserve));
                    prop_assert!(state.storage_free >= needs.storage.saturating_add(rules.storage_reserve));
                    prop_assert!(most >= 1.0);
                    if let Some(window) = rules.window {
                        prop_assert!(most <= window.left(state.time).unwrap() as f64);
                    }
                    prop_assert!(spent.seconds + most <= f64::from(rules.minutes_per_day) * 60.0 + 1e-6);
                    prop_assert!(spent.bytes_written < rules.flash_bytes_per_day);
                }
            }
            spend(&mut usage, &rules, state.time, busy, bytes);
        }
        // What is remembered survives the disk.
        let json = serde_json::to_string(&memory).unwrap();
        prop_assert_eq!(serde_json::from_str::<PolicyMemory>(&json).unwrap(), memory);
    }

    /// Whatever came before, a device on which nothing changes is switched on once at most, and never off.
    #[test]
    fn a_constant_state_never_flaps(
        rules in valid_rules(),
        before in prop::collection::vec(any_state(), 0..8),
        state in prop_oneof![any_state(), calm_state()],
        needs in any_needs(),
        pause in 1..120i64,
    ) {
        // The window and the budgets end runs by the clock, by design.
        let rules = Rules { window: None, minutes_per_day: 1440, watts: 0.01, energy_wh_per_day: 1e6, ..rules };
        let (usage, mut memory) = (Usage::default(), PolicyMemory::default());
        for earlier in before {
            decide(&rules, &earlier, &needs, &usage, &mut memory);
        }
        let state = DeviceState { time: LocalTime { unix: NOW, utc_offset: 0 }, ..state };
        let looks: Vec<_> =
            (0..200).map(|look| decide(&rules, &after(state, look * pause), &needs, &usage, &mut memory)).collect();
        let runs: Vec<_> = looks.iter().map(Decision::runs).collect();
        let changes = runs.windows(2).filter(|pair| pair[0] != pair[1]).count();
        prop_assert!(changes <= 1, "{runs:?}");
        prop_assert!(changes == 0 || runs[199], "it was switched off: {runs:?}");
        let duties: Vec<_> = looks.iter().filter_map(duty_of).collect();
        prop_assert!(duties.windows(2).all(|pair| pair[0] == pair[1]));
    }

    /// Noise between the two marks of a hysteresis changes nothing once it is on one side.
    #[test]
    fn noise_between_the_marks_never_flaps(
        noise in prop::collection::vec(0.0..1.0f64, 1..100),
        hot in any::<bool>(),
        low in any::<bool>(),
    ) {
        let mut night = Night::new(Rules { cool_down_seconds: 0, ..Rules::default() });
        night.decide(&DeviceState {
            temperature: Some(if hot { 42.0 } else { 30.0 }),
            battery: if low { 0.1 } else { 0.9 },
            ..good()
        });
        for noise in noise {
            let state =
                DeviceState { temperature: Some(38.01 + 2.98 * noise), battery: 0.3 + 0.0999 * noise, ..good() };
            prop_assert_eq!(night.decide(&state).runs(), !hot && !low);
        }
    }

    /// Whatever the clock does, no day gets more than its budget, and afterwards a new day has one.
    #[test]
    fn a_jumping_clock_gives_no_second_budget(
        jumps in prop::collection::vec((-10..=10i64, 0..86_400i64, -50_000..50_000i32), 1..60),
        minutes in 1..1440u32,
    ) {
        let rules = Rules { minutes_per_day: minutes, watts: 0.01, ..Rules::default() };
        let mut night = Night::new(rules);
        let mut per_day = std::collections::BTreeMap::<i64, f64>::new();
        for (day, second, utc_offset) in jumps {
            let time = LocalTime { unix: NOW + day * 86_400 + second, utc_offset };
            let state = DeviceState { time, ..good() };
            if let Decision::Run { at_most, .. } = night.decide(&state) {
                night.usage.add(&night.rules, time, at_most, 1);
                *per_day.entry(time.day(TimeOfDay::NOON)).or_default() += at_most.as_secs_f64();
            }
        }
        for (day, seconds) in per_day {
            prop_assert!(seconds <= f64::from(minutes) * 60.0 + 1e-6, "day {day}: {seconds}");
        }
        let far = DeviceState { time: LocalTime { unix: NOW + 1000 * 86_400, utc_offset: 0 }, ..good() };
        prop_assert!(night.decide(&far).runs());
        prop_assert!(night.decide(&after(good(), 40 * 86_400)).runs(), "nor does a far date block later days");
    }
}
