//! How much longer the training takes, said only as exactly as it is known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::quantity::length;

/// Fewer steps, or less time, say nothing about a pace.
const ENOUGH_STEPS: u64 = 3;
const ENOUGH_TIME: Duration = Duration::from_secs(30);

/// Nights of the past that count, the latest ones.
const NIGHTS: usize = 7;

/// What one night got done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Optimizer steps that were made and kept.
    pub steps: u64,
    /// Time in which it ran, pauses between pieces of work included: the sustained pace, not the fastest.
    pub running: Duration,
}

/// How much longer the training takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Steps to go.
    pub remaining: u64,
    /// Running time that they take, if a sustained pace is known.
    pub running: Option<Duration>,
    /// Nights that they take, if it is known what a night gets done.
    pub nights: Option<f64>,
    /// As a person says it, without a full stop.
    pub text: String,
}

/// Estimates what `remaining` steps take. `tonight` is over or still going on; how many steps a night makes is
/// taken from tonight only if it is over, else from the `earlier` ones, the latest last.
pub fn estimate(remaining: u64, tonight: Pace, over: bool, earlier: &[Pace]) -> Estimate {
    let recent = &earlier[earlier.len().saturating_sub(NIGHTS)..];
    let running = running_time(remaining, tonight, recent);
    let (per_night, source) = steps_a_night(tonight, over, recent);
    let nights = per_night.filter(|&steps| steps > 0.0).map(|steps| remaining as f64 / steps);
    let text = match (remaining, nights, running) {
        (0, ..) => "all steps are made".to_owned(),
        (_, Some(nights), _) => format!("{} {source}", nights_in_words(nights)),
        (_, None, Some(running)) => {
            format!(
                "about {} more of running; how many nights that is, the first whole night will show",
                length(running)
            )
        }
        (_, None, None) => {
            let steps = |count| if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
            let made = if tonight.steps == 0 {
                "no step".to_owned()
            } else {
                format!("only {}", steps(tonight.steps))
            };
            format!("not known yet: {made} so far, {} to go", steps(remaining))
        }
    };
    let nights = if remaining == 0 { Some(0.0) } else { nights };
    Estimate { remaining, running, nights, text }
}

/// Estimates the time from tonight's pace if it says anything, else from all recent nights'.
fn running_time(remaining: u64, tonight: Pace, recent: &[Pace]) -> Option<Duration> {
    let all = recent.iter().fold(tonight, |sum, night| Pace {
        steps: sum.steps.saturating_add(night.steps),
        running: sum.running.saturating_add(night.running),
    });
    let pace =
        [tonight, all].into_iter().find(|pace| pace.steps >= ENOUGH_STEPS && pace.running >= ENOUGH_TIME)?;
    Duration::try_from_secs_f64(pace.running.as_secs_f64() / pace.steps as f64 * remaining as f64).ok()
}

/// Steps that a night makes, and the nights that say so.
fn steps_a_night(tonight: Pace, over: bool, recent: &[Pace]) -> (Option<f64>, String) {
    if over && tonight.steps >= ENOUGH_STEPS {
        return (Some(tonight.steps as f64), "at tonight's pace".to_owned());
    }
    let made: f64 = recent.iter().map(|night| night.steps as f64).sum();
    if made < ENOUGH_STEPS as f64 {
        return (None, String::new());
    }
    // A night that got nothing done is one of the nights too, tonight's if it is over.
    let count = recent.len() + usize::from(over);
    let made = if over { made + tonight.steps as f64 } else { made };
    let source = if count == 1 {
        "at last night's pace".to_owned()
    } else {
        format!("at the pace of the last {count} nights")
    };
    (Some(made / count as f64), source)
}

fn nights_in_words(nights: f64) -> String {
    match nights {
        ..0.75 => "less than one more night".to_owned(),
        ..1.25 => "about one more night".to_owned(),
        ..365.0 => format!("about {:.0} more nights", nights.max(2.0)),
        _ => "more than a year of nights".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn night(steps: u64, minutes: u64) -> Pace {
        Pace { steps, running: Duration::from_secs(60 * minutes) }
    }

    #[test]
    fn nothing_is_claimed_before_anything_is_known() {
        let nothing = estimate(900, Pace::default(), false, &[]);
        assert_eq!(nothing.text, "not known yet: no step so far, 900 steps to go");
        assert_eq!((nothing.running, nothing.nights), (None, None));
        assert_eq!(
            estimate(1, night(1, 5), false, &[]).text,
            "not known yet: only 1 step so far, 1 step to go"
        );
        let quick = Pace { steps: 40, running: Duration::from_secs(20) };
        assert_eq!(estimate(900, quick, false, &[]).running, None, "twenty seconds are no sustained pace");
        assert_eq!(estimate(900, Pace::default(), true, &[]).nights, None, "a night in which nothing ran");
    }

    #[test]
    fn the_first_night_knows_running_time_until_it_is_over() {
        let going_on = estimate(600, night(100, 50), false, &[]);
        assert_eq!(going_on.running, Some(Duration::from_secs(5 * 3600)));
        assert_eq!(going_on.nights, None);
        assert_eq!(
            going_on.text,
            "about 5 h 00 min more of running; how many nights that is, the first whole night will show"
        );
        let over = estimate(600, night(300, 150), true, &[]);
        assert_eq!((over.nights, over.text.as_str()), (Some(2.0), "about 2 more nights at tonight's pace"));
    }

    #[test]
    fn earlier_nights_speak_for_one_that_goes_on_or_got_nothing_done() {
        let earlier = [night(200, 100), night(100, 50)];
        let going_on = estimate(450, night(10, 5), false, &earlier);
        assert_eq!(
            (going_on.nights, going_on.text.as_str()),
            (Some(3.0), "about 3 more nights at the pace of the last 2 nights")
        );
        assert_eq!(going_on.running, Some(Duration::from_secs(225 * 60)));
        let unplugged = estimate(400, night(0, 0), true, &earlier);
        assert_eq!(
            (unplugged.nights, unplugged.text.as_str()),
            (Some(4.0), "about 4 more nights at the pace of the last 3 nights")
        );
        let last = estimate(400, Pace::default(), false, &[night(200, 100)]);
        assert_eq!(last.text, "about 2 more nights at last night's pace");
    }

    #[test]
    fn words_for_few_and_many() {
        let words = |remaining| estimate(remaining, night(100, 60), true, &[]).text;
        assert_eq!(words(0), "all steps are made");
        assert_eq!(words(40), "less than one more night at tonight's pace");
        assert_eq!(words(100), "about one more night at tonight's pace");
        assert_eq!(words(130), "about 2 more nights at tonight's pace");
        assert_eq!(words(760), "about 8 more nights at tonight's pace");
        assert_eq!(words(u64::MAX), "more than a year of nights at tonight's pace");
        assert_eq!(estimate(0, Pace::default(), false, &[]).nights, Some(0.0));
        let endless = Pace { steps: u64::MAX, running: Duration::MAX };
        assert!(estimate(u64::MAX, endless, true, &[endless; 20]).nights.unwrap().is_finite());
    }
}
