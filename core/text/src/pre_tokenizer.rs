//! How byte-level BPE models cut a text into words before they merge bytes. A GGUF file names the cut in `tokenizer.ggml.pre`.

pub(crate) mod families;

use std::ops::Range;

use tokenizers::utils::SysRegex;

use self::families::{Expression, FAMILIES};
use crate::{Result, TokenizerProblem};

/// A pre-tokenizer, ready to use.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    steps: Vec<Step>,
    /// A word that is a token of its own is not split further, whatever the merges say.
    pub(crate) ignore_merges: bool,
    /// Whether models of this family begin a text with BOS unless the file says otherwise.
    pub(crate) add_bos: bool,
}

#[derive(Debug)]
struct Step {
    regex: SysRegex,
    /// Whether the expression matches any text from end to end.
    covers: bool,
}

impl PreTokenizer {
    /// The pre-tokenizer that a file calls `name`; no name is the default one.
    ///
    /// # Errors
    /// [`TokenizerProblem`] with the names that are known, if this one is not.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let family = FAMILIES.iter().find(|family| family.names.contains(&name));
        let family = family.ok_or_else(|| TokenizerProblem::PreTokenizer { name: name.to_owned() })?;
        let steps = (family.expressions)().into_iter().map(Step::new).collect::<Result<_>>()?;
        Ok(Self { steps, ignore_merges: family.ignore_merges, add_bos: family.add_bos })
    }

    /// Cuts `text` into words, which together are the text.
    ///
    /// # Errors
    /// [`TokenizerProblem`] if a run of characters is too long for the engine.
    pub(crate) fn words(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let mut words = Vec::with_capacity(text.len() / 4 + 1);
        words.push(0..text.len());
        for step in &self.steps {
            let mut finer = Vec::with_capacity(words.len());
            for word in words {
                step.cut(text, word, &mut finer)?;
            }
            words = finer;
        }
        Ok(words)
    }
}

impl Step {
    fn new(expression: Expression) -> Result<Self> {
        let (expression, covers) = match &expression {
            Expression::Covers(expression) => (expression.as_str(), true),
            Expression::Isolates(expression) => (*expression, false),
        };
        let regex =
            SysRegex::new(expression).map_err(|error| TokenizerProblem::Expression(error.to_string()))?;
        Ok(Self { regex, covers })
    }

    fn cut(&self, text: &str, word: Range<usize>, into: &mut Vec<Range<usize>>) -> Result<()> {
        let mut rest = word.start;
        for (from, to) in self.regex.find_iter(&text[word.clone()]) {
            let (from, to) = (word.start + from, word.start + to);
            if rest < from {
                into.push(rest..from);
            }
            if from < to {
                into.push(from..to);
            }
            rest = to;
        }
        if rest < word.end {
            // The engine gives up silently on runs of about a million characters.
            if self.covers {
                return Err(TokenizerProblem::WordTooLong { bytes: word.end - rest }.into());
            }
            into.push(rest..word.end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Error;

    fn words<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let pre_tokenizer = PreTokenizer::named(name).unwrap();
        pre_tokenizer.words(text).unwrap().into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn every_named_pre_tokenizer_compiles_and_keeps_the_text() {
        let text = "It's 12345 o'clock.\r\n\n  Ünï\u{301}çødé 日本語 \u{1F469}\u{200D}\u{1F680}\tx = {\"a\": [1, 2]};   \n\u{0}\u{a0}end ";
        for name in families::names() {
            let pre_tokenizer = PreTokenizer::named(name).unwrap();
            let words = pre_tokenizer.words(text).unwrap();
            assert_eq!(words.into_iter().map(|range| &text[range]).collect::<String>(), text, "{name}");
            assert!(pre_tokenizer.words("").unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn families_cut_as_they_are_known_to() {
        assert_eq!(words("gpt-2", "I'm 123  here.\n"), ["I", "'m", " 123", " ", " here", ".", "\n"]);
        assert_eq!(words("smollm", "a 123"), ["a", " ", "1", "2", "3"]);
        assert_eq!(
            words("llama-bpe", "I'LL go 12345!\n\n x"),
            ["I", "'LL", " go", " ", "123", "45", "!\n\n", " x"]
        );
        assert_eq!(words("qwen2", "12 a\n  b"), ["1", "2", " a", "\n", " ", " b"]);
        assert_eq!(words("tekken", "camelCase HTTPServer"), ["camel", "Case", " HTTPServer"]);
        // The long s folds to s, but is no contraction.
        assert_eq!(words("llama-bpe", "a'\u{17f}"), ["a", "'\u{17f}"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_known_ones() {
        let error = PreTokenizer::named("from-the-future").unwrap_err();
        let expected = TokenizerProblem::PreTokenizer { name: "from-the-future".into() };
        assert!(matches!(&error, Error::Tokenizer { problem } if *problem == expected), "{error}");
        assert!(error.to_string().contains("llama-bpe"), "{error}");
        assert_eq!(PreTokenizer::named("").unwrap().steps.len(), 4);
    }
}
