//! Which of a repository's GGUF files is fetched, by the conventions of llama.cpp's `-hf` (its `common/download.cpp`).

use nightgraft_gguf::SplitName;

use super::location::{Choice, is_gguf};

/// The quantizations that suit most, the best first.
const USUAL: [&str; 2] = ["Q4_K_M", "Q8_0"];
/// Words in the names of GGUF files that are no models but belong to one.
const COMPANIONS: [&str; 2] = ["mmproj", "imatrix"];

/// What is wrong with a choice.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ChoiceError {
    #[error(
        "the repository holds no GGUF file; look for one of the same model whose name ends in -GGUF, or make one with \
         nightgraft import --from OWNER/REPO"
    )]
    NoGguf,
    #[error("there is no such file in the repository; it holds {}", listed(there))]
    NoFile { there: Vec<String> },
    #[error("there is no such quantization in the repository; it holds {}", listed(there))]
    NoQuantization { there: Vec<String> },
    #[error("the repository lacks {file}, a part of the model; choose another quantization")]
    MissingPart { file: String },
}

/// The file that is meant among the paths of a repository, or all files of a split model, in their order.
///
/// # Errors
/// [`ChoiceError`] if there is none.
pub fn choose<'a>(paths: &[&'a str], choice: &Choice) -> Result<Vec<&'a str>, ChoiceError> {
    let models: Vec<&str> = paths.iter().copied().filter(|path| is_model(path)).collect();
    let chosen = match choice {
        Choice::File(file) => paths.iter().copied().find(|path| path == file),
        Choice::Quantization(quantization) => best_of(&models, quantization),
        Choice::Usual => {
            let usual = USUAL.iter().find_map(|quantization| best_of(&models, quantization));
            usual.or_else(|| models.iter().copied().min_by_key(|path| is_part(path)))
        }
    };
    match (chosen, choice) {
        (Some(file), _) => files_of(paths, file),
        (None, _) if models.is_empty() => Err(ChoiceError::NoGguf),
        (None, Choice::Quantization(_)) => Err(ChoiceError::NoQuantization { there: quantizations(&models) }),
        (None, _) => Err(ChoiceError::NoFile { there: models.into_iter().map(str::to_owned).collect() }),
    }
}

/// All files of the model that `file` is one of.
fn files_of<'a>(paths: &[&'a str], file: &'a str) -> Result<Vec<&'a str>, ChoiceError> {
    let Some(name) = SplitName::parse(file) else { return Ok(vec![file]) };
    let parts = (1..=name.count).map(|number| {
        let part = name.with_number(number);
        let there = paths.iter().copied().find(|path| *path == part);
        there.ok_or(ChoiceError::MissingPart { file: part })
    });
    parts.collect()
}

/// A choice that needs no look at what else there is.
pub fn surest(choice: &Choice) -> Choice {
    match choice {
        Choice::Usual => Choice::Quantization(USUAL[0].to_owned()),
        other => other.clone(),
    }
}

/// The quantizations of a repository, as they are given to `--quant`; files whose names say none are left out.
pub fn quantizations(paths: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for quantization in paths.iter().filter(|path| is_model(path)).filter_map(|path| quantization(path)) {
        if !found.contains(&quantization) {
            found.push(quantization);
        }
    }
    found
}

/// The quantization that a file's name ends in, such as `Q4_K_M`.
pub fn quantization(path: &str) -> Option<String> {
    let stem = path.get(..path.len().checked_sub(".gguf".len())?)?;
    let stem = SplitName::parse(path).map_or(stem, |part| part.name).to_ascii_uppercase();
    let last = stem.rsplit(['-', '.', '/']).next()?;
    let bits = ["IQ", "TQ", "BF", "MXFP", "Q", "F"].iter().find_map(|kind| last.strip_prefix(kind))?;
    bits.starts_with(|c: char| c.is_ascii_digit()).then(|| last.to_owned())
}

/// Whether the name of a file says that it is of this quantization: as a word, so that `F16` is not in `BF16`.
fn has_quantization(path: &str, quantization: &str) -> bool {
    let (path, quantization) = (path.to_ascii_lowercase(), quantization.to_ascii_lowercase());
    path.match_indices(&quantization).any(|(at, found)| {
        let (before, after) = (path[..at].chars().next_back(), path[at + found.len()..].chars().next());
        before.is_none_or(|c| "-._/".contains(c)) && after.is_some_and(|c| "-./".contains(c))
    })
}

/// A file of a quantization; one that is whole before the part of a split one.
fn best_of<'a>(models: &[&'a str], quantization: &str) -> Option<&'a str> {
    let of_it = models.iter().copied().filter(|path| has_quantization(path, quantization));
    of_it.min_by_key(|path| is_part(path))
}

fn is_model(path: &str) -> bool {
    is_gguf(path) && !COMPANIONS.iter().any(|word| path.to_ascii_lowercase().contains(word))
}

fn is_part(path: &str) -> bool {
    SplitName::parse(path).is_some()
}

fn listed(names: &[String]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 8] = [
        "README.md",
        "mmproj-m-Q8_0.gguf",
        "m-BF16.gguf",
        "m.Q2_K.gguf",
        "m-q4_k_m.gguf",
        "UD/m-UD-Q5_K_XL.gguf",
        "m-f16-00001-of-00002.gguf",
        "m-f16-00002-of-00002.gguf",
    ];

    fn of(quantization: &str) -> Choice {
        Choice::Quantization(quantization.to_owned())
    }

    #[test]
    fn the_usual_one_is_of_four_bits() {
        assert_eq!(choose(&PATHS, &Choice::Usual), Ok(vec!["m-q4_k_m.gguf"]));
        assert_eq!(choose(&["m-Q2_K.gguf", "m-Q8_0.gguf"], &Choice::Usual), Ok(vec!["m-Q8_0.gguf"]));
        assert_eq!(choose(&["m-00001-of-00002.gguf", "m.gguf"], &Choice::Usual), Ok(vec!["m.gguf"]));
        assert_eq!(choose(&["mmproj-m-Q8_0.gguf", "README.md"], &Choice::Usual), Err(ChoiceError::NoGguf));
    }

    #[test]
    fn a_quantization_is_found_as_a_word_in_any_case() {
        assert_eq!(choose(&PATHS, &of("Q4_K_M")), Ok(vec!["m-q4_k_m.gguf"]));
        assert_eq!(choose(&PATHS, &of("bf16")), Ok(vec!["m-BF16.gguf"]));
        for quantization in ["q5_k_xl", "UD-Q5_K_XL"] {
            assert_eq!(choose(&PATHS, &of(quantization)), Ok(vec!["UD/m-UD-Q5_K_XL.gguf"]));
        }
        let there = ["BF16", "Q2_K", "Q4_K_M", "Q5_K_XL", "F16"].map(str::to_owned).to_vec();
        assert_eq!(choose(&PATHS, &of("Q4_K")), Err(ChoiceError::NoQuantization { there }));
    }

    #[test]
    fn a_file_is_taken_at_its_word() {
        let file = |path: &str| Choice::File(path.to_owned());
        assert_eq!(choose(&PATHS, &file("m.Q2_K.gguf")), Ok(vec!["m.Q2_K.gguf"]));
        let there = vec!["m.Q2_K.gguf".to_owned()];
        assert_eq!(choose(&["m.Q2_K.gguf"], &file("m.gguf")), Err(ChoiceError::NoFile { there }));
    }

    #[test]
    fn a_split_model_is_all_of_its_files() {
        let both = vec!["m-f16-00001-of-00002.gguf", "m-f16-00002-of-00002.gguf"];
        assert_eq!(choose(&PATHS, &of("f16")), Ok(both.clone()));
        assert_eq!(choose(&PATHS, &Choice::File(both[1].to_owned())), Ok(both));
        let lonely = ["a/m-00002-of-00002.gguf"];
        let missing = ChoiceError::MissingPart { file: "a/m-00001-of-00002.gguf".into() };
        assert_eq!(choose(&lonely, &Choice::Usual), Err(missing));
    }

    #[test]
    fn names_say_their_quantization() {
        for (path, expected) in [
            ("SmolLM2-135M-Instruct.Q4_1.gguf", Some("Q4_1")),
            ("m-iq4_nl.gguf", Some("IQ4_NL")),
            ("Q8_0/m-Q8_0-00001-of-00002.gguf", Some("Q8_0")),
            ("gemma-3-270m.gguf", None),
            ("m-fast.gguf", None),
            ("é.gguf", None),
            ("x", None),
        ] {
            assert_eq!(quantization(path).as_deref(), expected, "{path}");
        }
    }
}
