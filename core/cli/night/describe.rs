//! A night's events as lines for a terminal.

use nightgraft_core::session::night::NightEvent;
use nightgraft_policy::LocalTime;

/// What a person wants to know while a night passes; looks at the device and single steps are too many.
pub fn describe(event: &NightEvent, begins: LocalTime) -> Option<String> {
    let text = match event {
        NightEvent::Slice { .. } => "time was granted".to_owned(),
        NightEvent::Running { duty, reason, .. } if *duty < 1.0 => {
            format!("training {:.0} % of the time: {reason}", duty * 100.0)
        }
        NightEvent::Running { reason, .. } => format!("training: {reason}"),
        NightEvent::Waiting { reason, .. } => reason.to_string(),
        NightEvent::Evaluated { step, loss, .. } => format!("held-out loss {loss:.3} after step {step}"),
        NightEvent::Judging { .. } => "measuring the new adapter".to_owned(),
        NightEvent::Killed { .. } => "the process was killed".to_owned(),
        NightEvent::SliceEnded { outcome, .. } => format!("pause: {outcome}"),
        NightEvent::Gate { report, .. } => report.clone(),
        NightEvent::Warning { text, .. } => format!("warning: {text}"),
        NightEvent::NothingToDo { reason, .. } => format!("nothing to do: {reason}"),
        NightEvent::Estimate { text, .. } => text.clone(),
        NightEvent::Done { outcome, .. } => outcome.to_string(),
        _ => return None,
    };
    let second = (i64::from(begins.second_of_day()) + event.at() as i64).rem_euclid(24 * 3600);
    Some(format!("{:02}:{:02}  {text}", second / 3600, second % 3600 / 60))
}
