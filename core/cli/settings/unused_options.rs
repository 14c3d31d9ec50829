//! Options that do nothing: nobody is left to believe that they did.

use nightgraft_core::{
    config::{OrAuto, TrainConfig},
    session::{DataReport, Event},
};

use super::{CommonSettings, TrainSettings};
use crate::output;

impl TrainSettings {
    /// Says which of these options do nothing, with a file of held-out examples or without.
    pub fn warn_of_unused_options(&self, config: &TrainConfig, has_valid: bool) {
        output::warnings(self.unused_options(config, has_valid));
    }

    /// Says which of these options do nothing in a night, with a file of new examples or without.
    pub fn warn_of_options_unused_at_night(&self, config: &TrainConfig, has_data: bool) {
        output::warnings(self.options_unused_at_night(config, has_data));
    }

    fn options_unused_at_night(&self, config: &TrainConfig, has_data: bool) -> Vec<&'static str> {
        let never = config.run.eval_every == OrAuto::Given(0);
        let unused = [
            (
                self.resume.is_some(),
                "--resume does nothing: a session that is under way goes on; --start-anew forgets one that cannot",
            ),
            (
                never && self.patience.is_some_and(|patience| patience > 0),
                "--patience does nothing: --eval-every 0 switches evaluation off",
            ),
            (
                !has_data && self.common.skip_bad,
                "--skip-bad does nothing: no file is read, and what a store has of no use is left out anyway",
            ),
        ];
        unused.into_iter().filter_map(|(is_unused, text)| is_unused.then_some(text)).collect()
    }

    /// Which of these options the data of an event has no use for, each as a warning.
    pub fn options_unused_in(&self, event: &Event) -> Vec<Event> {
        let Event::Data { train, held_out } = event else { return Vec::new() };
        let unused = self.common.options_unused_in(std::iter::once(train).chain(held_out));
        unused.into_iter().map(|text| Event::Warning { text }).collect()
    }

    fn unused_options(&self, config: &TrainConfig, has_valid: bool) -> Vec<String> {
        let never = config.run.eval_every == OrAuto::Given(0);
        let why_not = match (never, has_valid, config.data.held_out > 0.0) {
            (true, ..) => Some("--eval-every 0 switches evaluation off"),
            (_, false, false) => Some("no examples are held out"),
            _ => None,
        };
        let evaluates = why_not.is_none();
        let needs_evaluation = [
            ("--patience", self.patience.is_some_and(|patience| patience > 0)),
            ("--eval-every", self.eval_every.is_some_and(|every| every != OrAuto::Given(0))),
            ("--held-out", never && self.held_out.is_some_and(|fraction| fraction > 0.0)),
            ("--valid", never && has_valid),
        ];
        let unused = needs_evaluation.into_iter().filter(|(_, given)| *given && !evaluates);
        let mut warnings: Vec<_> = unused
            .map(|(option, _)| format!("{option} does nothing: {}", why_not.unwrap_or_default()))
            .collect();
        if evaluates && has_valid && self.held_out.is_some_and(|fraction| fraction > 0.0) {
            warnings
                .push("--held-out does nothing: the examples of --valid are measured on instead".to_owned());
        }
        if self.keep_checkpoints.is_some() && config.run.checkpoint_every == 0 {
            warnings.push(
                "--keep-checkpoints does nothing: --checkpoint-every 0 switches checkpoints off".to_owned(),
            );
        }
        warnings
    }
}

impl CommonSettings {
    /// Which of these options the data had no use for. What a file says is nobody's wish for this very data.
    pub fn options_unused_in<'a>(&self, data: impl IntoIterator<Item = &'a DataReport>) -> Vec<String> {
        let (mut completions, mut is_dated) = (0, false);
        for report in data {
            completions += report.completion_lines;
            is_dated |= report.is_dated;
        }
        let chat = (self.chat && completions == 0).then_some(
            "--chat does nothing: no line of the data has a prompt and a completion that are texts",
        );
        let date = (self.date.is_some() && !is_dated)
            .then_some("--date does nothing to this data: the chat template never asks for the date");
        chat.into_iter().chain(date).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Train {
        #[command(flatten)]
        settings: TrainSettings,
    }

    #[test]
    fn options_that_do_nothing_are_told() {
        let unused = |args: &[&str], has_valid| {
            let settings = Train::try_parse_from([&["train"], args].concat()).unwrap().settings;
            settings.unused_options(&settings.resolve().unwrap(), has_valid)
        };
        for fine in
            [&[][..], &["--patience", "2"], &["--eval-every", "0", "--patience", "0"], &["--held-out", "0"]]
        {
            assert_eq!(unused(fine, false), Vec::<String>::new(), "{fine:?}");
        }
        assert_eq!(unused(&["--held-out", "0"], true), Vec::<String>::new());
        for (args, has_valid, option) in [
            (&["--patience", "2", "--held-out", "0"][..], false, "--patience"),
            (&["--patience", "2", "--eval-every", "0"], true, "--patience"),
            (&["--eval-every", "5", "--held-out", "0"], false, "--eval-every"),
            (&["--eval-every", "0"], true, "--valid"),
            (&["--eval-every", "0", "--held-out", "0.2"], false, "--held-out"),
            (&["--held-out", "0.2"], true, "--held-out"),
            (&["--keep-checkpoints", "4", "--checkpoint-every", "0"], false, "--keep-checkpoints"),
        ] {
            let told = unused(args, has_valid);
            assert!(told[0].starts_with(&format!("{option} does nothing: ")), "{args:?}: {told:?}");
        }
    }
}
