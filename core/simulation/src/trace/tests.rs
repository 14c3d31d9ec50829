#![allow(clippy::unwrap_used)]

use std::time::Duration;

use nightgraft_policy::{Rules, TimeOfDay};
use nightgraft_text::Error as TextError;
use nightgraft_text::data::DataProblem;
use proptest::prelude::*;

use super::*;

const HEADER: &str =
    "time,charging,battery,temperature,thermal,low_power,idle,memory_mib,storage_mib,slice\n";

fn parse(rows: &str) -> Result<Trace> {
    Trace::parse(&format!("{HEADER}{rows}"), Path::new("night.csv"))
}

#[test]
fn a_row_holds_until_the_next() {
    let trace = parse(
        "22:59:30,no,0.5,,nominal,no,no,100,200,\n\
         23:30,yes,0.75,nan,fair,yes,yes,300,400,\n\
         07:00,1,nan,36.5,critical,0,true,0,0,\n",
    )
    .unwrap();
    assert_eq!(trace.seconds(), 8.0 * 3600.0 + 30.0);
    let first = DeviceState {
        charging: false,
        battery: 0.5,
        thermal: Thermal::Nominal,
        temperature: None,
        low_power_mode: false,
        idle: false,
        memory_available: 100 << 20,
        storage_free: 200 << 20,
        time: LocalTime { unix: 22 * 3600 + 59 * 60 + 30, utc_offset: 0 },
    };
    assert_eq!(trace.state_at(0.0), first);
    assert_eq!(trace.begins(), first.time);
    let late = trace.state_at(1829.9);
    assert_eq!(
        late,
        DeviceState { time: LocalTime { unix: first.time.unix + 1829, utc_offset: 0 }, ..first }
    );
    let second = trace.state_at(1830.0);
    assert!(second.charging && second.low_power_mode && second.idle && second.temperature.unwrap().is_nan());
    assert_eq!((second.battery, second.thermal, second.storage_free), (0.75, Thermal::Fair, 400 << 20));
    let last = trace.state_at(1e300);
    assert!(last.battery.is_nan() && last.charging && !last.low_power_mode && last.idle);
    assert_eq!((last.temperature, last.thermal, last.memory_available), (Some(36.5), Thermal::Critical, 0));
    assert!(!trace.state_at(f64::NAN).charging && !trace.state_at(-5.0).charging, "as at the beginning");
    assert_eq!([0.0, 1830.0, 1e9].map(|at| trace.next_change(at)), [Some(1830.0), Some(28_830.0), None]);
    let later = trace.on_day(20_000).state_at(30_000.0).time;
    assert_eq!(later.day(TimeOfDay::MIDNIGHT), 20_001);
}

#[test]
fn the_next_free_day_is_behind_all_that_were_spent() {
    let trace = parse("23:00,yes,0.5,30,nominal,no,yes,100,200,\n07:00,yes,1,30,nominal,no,yes,100,200,\n");
    let trace = trace.unwrap().on_day(100);
    let spent_on = |days: &[i64]| {
        let mut usage = Usage::default();
        for &day in days {
            let noon = LocalTime { unix: day * i64::from(DAY) + i64::from(DAY) / 2, utc_offset: 0 };
            usage.add(&Rules::default(), noon, Duration::from_secs(60), 0);
        }
        usage
    };
    let next = |days: &[i64]| trace.next_free_day(&spent_on(days));
    assert_eq!(
        [next(&[]), next(&[7]), next(&[98]), next(&[99]), next(&[120, 100])],
        [100, 100, 100, 101, 122]
    );
}

#[test]
fn grants_end_as_written() {
    let rows = |slices: [&str; 6]| -> String {
        slices
            .iter()
            .enumerate()
            .map(|(i, slice)| format!("23:0{i},yes,0.5,30,nominal,no,yes,100,200,{slice}\n"))
            .collect()
    };
    let trace = parse(&rows(["", "grant", "end", "grant", "kill", ""])).unwrap();
    assert_eq!(
        trace.grants(),
        [
            Grant { from: 60.0, to: 120.0, how: GrantEnd::End },
            Grant { from: 180.0, to: 240.0, how: GrantEnd::Kill }
        ]
    );
    let whole = [Grant { from: 0.0, to: 300.0, how: GrantEnd::End }];
    assert_eq!(parse(&rows([""; 6])).unwrap().grants(), whole);
    assert_eq!(parse(&rows(["grant", "", "", "", "", ""])).unwrap().grants(), whole);
    for (slices, problem) in [
        (["", "end", "", "", "", ""], "night.csv:3: slice: end without a grant before it"),
        (["grant", "kill", "kill", "", "", ""], "night.csv:4: slice: kill without a grant before it"),
        (
            ["grant", "", "grant", "", "", ""],
            "night.csv:4: slice: granted twice without an end or kill between",
        ),
        (["", "", "", "", "", "grant"], "night.csv: slice: granted when the trace ends"),
        (["", "Grant", "", "", "", ""], "night.csv:3: slice is grant, end, kill or empty, not \"Grant\""),
    ] {
        assert_eq!(parse(&rows(slices)).unwrap_err().to_string(), problem);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let good = "23:00,yes,0.5,30,nominal,no,yes,100,200,\n";
    let cases = [
        (
            "# said twice\n\n23:00,yes,0.5,30,nominal,no,yes,100,200,\n",
            ":5: 23:00 is the time of the row before too; times ascend",
        ),
        (
            "22:00,yes,0.5,30,nominal,no,yes,100,200,\n",
            ":3: 22:00 is more than 12 hours after the row before",
        ),
        (
            "01:00,yes,0.5,30,nominal,no,yes,100,200,\n00:30,yes,0.5,30,nominal,no,yes,100,200,\n",
            ":4: 00:30 is earlier than the row before, and midnight has passed already",
        ),
        ("24:00,yes,0.5,30,nominal,no,yes,100,200,\n", ":3: time is written HH:MM or HH:MM:SS"),
        ("7:00,yes,0.5,30,nominal,no,yes,100,200,\n", ":3: time is written"),
        ("23:01:02:03,yes,0.5,30,nominal,no,yes,100,200,\n", ":3: time is written"),
        ("23:01,maybe,0.5,30,nominal,no,yes,100,200,\n", ":3: charging is yes or no, not \"maybe\""),
        ("23:01,yes,50,30,nominal,no,yes,100,200,\n", ":3: battery is the charge from 0 to 1, not \"50\""),
        ("23:01,yes,,30,nominal,no,yes,100,200,\n", ":3: battery is the charge"),
        (
            "23:01,yes,0.5,inf,nominal,no,yes,100,200,\n",
            ":3: temperature is -40 to 120 °C, or empty, not \"inf\"",
        ),
        ("23:01,yes,0.5,30,warm,no,yes,100,200,\n", ":3: thermal is nominal, fair, serious or critical"),
        ("23:01,yes,0.5,30,nominal,,yes,100,200,\n", ":3: low_power is yes or no"),
        ("23:01,yes,0.5,30,nominal,no,2,100,200,\n", ":3: idle is yes or no"),
        ("23:01,yes,0.5,30,nominal,no,yes,-1,200,\n", ":3: memory_mib is a whole number of MiB, not \"-1\""),
        (
            "23:01,yes,0.5,30,nominal,no,yes,100,18446744073709551615,\n",
            ":3: storage_mib is a whole number of MiB",
        ),
        ("23:01,yes,0.5,30,nominal,no,yes,100\n", ":3: 8 columns where the header has 10"),
        ("23:01,yes,0.5,30,nominal,no,yes,100,200,,\n", ":3: 11 columns where the header has 10"),
        ("", ": a trace has at least two rows: the last one is its end"),
    ];
    for (row, problem) in cases {
        let error = parse(&format!("{good}{row}")).unwrap_err();
        assert!(matches!(error, Error::Text(TextError::Data { problem: DataProblem::Trace(_), .. })));
        let text = error.to_string();
        assert!(text.starts_with(&format!("night.csv{problem}")), "{row:?}: {text}");
    }
    for text in ["", "\n\n", "time,charging\n23:00,yes\n", "23:00,yes,0.5,30,nominal,no,yes,100,200,\n"] {
        let error = Trace::parse(text, Path::new("night.csv")).unwrap_err().to_string();
        assert!(error.contains("a trace begins with the line time,charging,battery"), "{text:?}: {error}");
    }
}

#[test]
fn spaces_marks_and_line_ends_do_not_matter() {
    let text = format!("\u{feff}# What it shows.\r\n#  And more.\r\n{}", HEADER.replace('\n', "\r\n"))
        + "23:00, yes ,0.5,30,nominal,no,yes,100,200, \r\n# a comment\r\n23:30,yes,0.5,30,nominal,no,yes,100,200,\r\n";
    let trace = Trace::parse(&text, Path::new("night.csv")).unwrap();
    assert_eq!(trace.seconds(), 1800.0);
    assert_eq!(trace.description(), "What it shows.\nAnd more.");
}

#[test]
fn files_are_read_with_care() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("night.csv");
    assert!(matches!(Trace::read(&path), Err(Error::Io(error)) if error.action == "open"));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(Trace::read(&path).unwrap_err().to_string().ends_with("not a text in UTF-8"));
    let rows = "23:00,yes,0.5,30,nominal,no,yes,100,200,\n23:10,yes,0.5,30,nominal,no,yes,100,200,\n";
    std::fs::write(&path, format!("{HEADER}{rows}")).unwrap();
    assert_eq!(Trace::read(&path).unwrap(), parse(rows).unwrap());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", rows in "[0-9a-z:,.\"#\r\n-]{0,300}") {
        let _ = Trace::parse(&text, Path::new("night.csv"));
        let _ = parse(&rows);
    }

    /// A good trace with some bytes replaced is read or refused, and what was read can be replayed.
    #[test]
    fn mutations_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b",:\n0123459angredkil #".to_vec())), 1..6),
        at in any::<f64>(),
    ) {
        let mut bytes = format!("{HEADER}\
            22:00,no,0.5,30,nominal,no,yes,100,200,\n\
            23:00,yes,0.5,30,nominal,no,yes,100,200,grant\n\
            01:00,yes,0.5,nan,fair,no,yes,100,200,kill\n\
            05:00,yes,0.5,,nominal,no,yes,100,200,\n").into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        match Trace::parse(std::str::from_utf8(&bytes).unwrap(), Path::new("night.csv")) {
            Err(error) => prop_assert!(error.to_string().starts_with("night.csv:"), "{}", error),
            Ok(trace) => {
                let end = trace.seconds();
                prop_assert!(end > 0.0 && end < 48.0 * 3600.0);
                prop_assert!(!trace.grants().is_empty());
                for grant in trace.grants() {
                    prop_assert!(grant.from < grant.to && grant.to <= end);
                }
                prop_assert!(trace.grants().windows(2).all(|pair| pair[0].to <= pair[1].from));
                let state = trace.state_at(at);
                prop_assert!(state.battery.is_nan() || (0.0..=1.0).contains(&state.battery));
                prop_assert!(trace.next_change(at).is_none_or(|next| next <= end));
            }
        }
    }
}
