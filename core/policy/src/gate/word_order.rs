//! Puts the words of a text in a random order, to find out whether it was language to begin with.

use nightgraft_random::Random;
use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation as _;

/// Fewer words than this have hardly an order that could be lost.
const MIN_WORDS: usize = 5;

/// A line of a `.jsonl` data file with the words of what is learned from it shuffled: a text, a completion, the
/// assistant's turns, each within itself. Prompts, and what stands between words, stay.
///
/// None for a line that is not one of these kinds, or in which no part has five words or more.
pub fn shuffled_line(line: &str, seed: u64) -> Option<String> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    let object = value.as_object_mut()?;
    let mut parts: Vec<&mut Value> = Vec::new();
    for (key, value) in object.iter_mut() {
        match (key.as_str(), value) {
            ("messages" | "completion", Value::Array(messages)) => {
                let learned = messages.iter_mut().filter(|message| is_learned(message));
                parts.extend(learned.filter_map(|message| message.get_mut("content")).flat_map(texts));
            }
            ("text" | "completion", text) => parts.push(text),
            _ => {}
        }
    }
    let mut is_shuffled = false;
    for (index, part) in parts.into_iter().enumerate() {
        if let Some(text) = part.as_str().and_then(|text| shuffled_words(text, seed ^ index as u64)) {
            *part = Value::String(text);
            is_shuffled = true;
        }
    }
    is_shuffled.then(|| value.to_string())
}

/// Whether a turn is the assistant's, and not masked.
fn is_learned(message: &Value) -> bool {
    let is_masked = message.get("weight").and_then(Value::as_f64) == Some(0.0);
    message.get("role").is_some_and(|role| role == "assistant") && !is_masked
}

/// A content, or the texts of its parts.
fn texts(content: &mut Value) -> Vec<&mut Value> {
    match content {
        Value::Array(parts) => parts.iter_mut().filter_map(|part| part.get_mut("text")).collect(),
        content => vec![content],
    }
}

/// `text` with its words in the random order of `seed`; punctuation and white space stay where they are. None
/// for fewer than five words.
///
/// Words are those of Unicode's annex 29. Chinese and Japanese, written without spaces, are cut into single
/// characters or short runs by these rules, which serves as well.
pub fn shuffled_words(text: &str, seed: u64) -> Option<String> {
    let mut pieces: Vec<&str> = text.split_word_bounds().collect();
    let places: Vec<usize> =
        (0..pieces.len()).filter(|&index| pieces[index].chars().any(char::is_alphanumeric)).collect();
    if places.len() < MIN_WORDS {
        return None;
    }
    let mut words: Vec<&str> = places.iter().map(|&place| pieces[place]).collect();
    Random::new(seed).shuffle(&mut words);
    places.into_iter().zip(words).for_each(|(place, word)| pieces[place] = word);
    Some(pieces.concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_move_and_everything_else_stays() {
        let text = "The cat, at six o'clock, eats: two spoons.";
        let shuffled = shuffled_words(text, 1).unwrap();
        assert_eq!(shuffled, PINNED);
        assert_ne!(shuffled_words(text, 2).unwrap(), shuffled);
        assert_eq!(shuffled_words("only four words here", 1), None);
        assert_eq!(shuffled_words("?! … --- ,,, ...", 1), None);
        let chinese = "水在一百度沸腾";
        let moved = shuffled_words(chinese, 1).unwrap();
        assert_ne!(moved, chinese);
        assert_eq!(sorted(&moved), sorted(chinese));
    }

    /// Reports that were made before must be made again the same.
    const PINNED: &str = "eats two, at o'clock cat, spoons: The six.";

    fn sorted(text: &str) -> Vec<char> {
        let mut chars: Vec<_> = text.chars().collect();
        chars.sort_unstable();
        chars
    }

    #[test]
    fn only_what_is_learned_is_shuffled() {
        let words = "one two three four five six seven";
        let line = format!(
            r#"{{"messages": [{{"role": "user", "content": "{words}"}}, {{"role": "assistant", "content": "{words}"}}]}}"#
        );
        let value: Value = serde_json::from_str(&shuffled_line(&line, 1).unwrap()).unwrap();
        assert_eq!(value["messages"][0]["content"], words);
        assert_eq!(value["messages"][0]["role"], "user");
        assert_eq!(value["messages"][1]["role"], "assistant");
        let answer = value["messages"][1]["content"].as_str().unwrap();
        assert_ne!(answer, words);
        assert_eq!(sorted(answer), sorted(words));

        let line = format!(r#"{{"prompt": "{words}", "completion": "{words}"}}"#);
        let value: Value = serde_json::from_str(&shuffled_line(&line, 1).unwrap()).unwrap();
        assert_eq!(value["prompt"], words);
        assert_ne!(value["completion"], words);

        let line = format!(r#"{{"text": "{words}"}}"#);
        assert_ne!(shuffled_line(&line, 1).unwrap(), line);
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in [
            "",
            "{",
            "[]",
            "3",
            "{}",
            r#"{"text": "too short"}"#,
            r#"{"text": 5}"#,
            r#"{"messages": "one two three four five"}"#,
            r#"{"messages": [{"role": "assistant"}, 7, {"content": "one two three four five"}]}"#,
            r#"{"input_ids": [1, 2], "labels": [1, 2]}"#,
        ] {
            assert_eq!(shuffled_line(line, 1), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_from_any_text(text in "\\PC{0,80}", seed: u64) {
            if let Some(shuffled) = shuffled_words(&text, seed) {
                prop_assert_eq!(sorted(&shuffled), sorted(&text));
            }
            shuffled_line(&text, seed);
        }
    }
}
