//! Our tokenizer against llama.cpp's on the same files: identical ids.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use nightgraft_gguf::{Array, Metadata, Value, Writer};
use nightgraft_text::Tokenizer;

use crate::llama_cpp::{backend, read};
use crate::support::smollm2;

/// Lines of mixed text for each comparison.
const N_LINES: usize = 4000;

#[test]
fn smollm2_ids_are_those_of_llama_cpp() {
    let model = smollm2();
    let report = compare(&model, &mixed_lines(N_LINES, 1));
    assert_eq!(report, Report { lines: N_LINES, mismatches: 0 });
    // A value from elsewhere: llama.cpp's own tool prints these for the prompt.
    let tokenizer = tokenizer(&model);
    assert_eq!(tokenizer.encode("The capital of France is", true).unwrap(), [504, 3575, 282, 4649, 314]);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.eot()), (Some(1), Some(2), Some(2)));
    assert!(!tokenizer.add_bos() && tokenizer.n_vocab() == 49_152);
}

#[test]
fn whole_documents_tokenize_as_llama_cpp_does() {
    let model = smollm2();
    let lines = mixed_lines(2400, 2);
    let documents = [lines.join("\n"), lines.join("\r\n"), lines.join(""), lines[..800].join("\n\n")];
    assert!(documents[0].len() > 2 * (64 << 10), "long enough to be split in parts");
    assert_eq!(compare(&model, &documents), Report { lines: 4, mismatches: 0 });
}

#[test]
fn decoding_gives_the_text_back() {
    let tokenizer = tokenizer(&smollm2());
    for line in mixed_lines(500, 3) {
        let encoding = tokenizer.encode_with_ranges(&line, false).unwrap();
        assert!(encoding.ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{line:?}");
        for (id, range) in encoding.ids.iter().zip(&encoding.ranges) {
            assert_eq!(tokenizer.piece(*id), line.as_bytes()[range.clone()], "{line:?}");
        }
        assert_eq!(tokenizer.decode(&encoding.ids), line);
    }
}

/// Puts every kind of pre-tokenizer before one vocabulary, so that each expression meets llama.cpp's.
#[test]
fn every_pre_tokenizer_cuts_as_llama_cpp_does() {
    // Llama 3, SmolLM3, Qwen, Mistral, Granite 3 and 4, Phi 4, SmolLM2.
    let trained = ["llama-bpe", "smaug-bpe", "qwen2", "tekken", "refact", "dbrx", "gpt-4o", "smollm"];
    let others =
        ["gpt-2", "glm4", "qwen35", "minicpm5", "seed-coder", "bailingmoe", "deepseek-v3", "deepseek-coder"];
    let metadata = read(&smollm2()).1.metadata;
    let folder = tempfile::tempdir().unwrap();
    let lines = mixed_lines(2000, 4);
    for (pre, lines) in trained
        .map(|pre| (pre, &lines[..]))
        .into_iter()
        .chain(others.into_iter().chain(["falcon", "default"]).map(|pre| (pre, &lines[..600])))
    {
        let mut metadata = metadata.clone();
        metadata.insert("tokenizer.ggml.pre", Value::String(pre.into()));
        let path = folder.path().join(format!("{pre}.gguf"));
        Writer::new(metadata).write(&path).unwrap();
        assert_eq!(compare(&path, lines), Report { lines: lines.len(), mismatches: 0 }, "{pre}");
    }
}

/// A SentencePiece-style vocabulary made here: markers, runs of spaces, ties in score, bytes.
#[test]
fn a_small_sentence_piece_vocabulary_tokenizes_as_in_llama_cpp() {
    let folder = tempfile::tempdir().unwrap();
    for (name, add_space_prefix) in [("prefix.gguf", true), ("plain.gguf", false)] {
        let path = folder.path().join(name);
        Writer::new(sentence_piece_vocabulary(add_space_prefix)).write(&path).unwrap();
        let report = compare(&path, &mixed_lines(2000, 5));
        assert_eq!(report, Report { lines: 2000, mismatches: 0 }, "{name}");
    }
}

/// The vocabularies of published models that `golden/real_tokenizers.py` makes, if NIGHTGRAFT_TOKENIZERS names their folder.
#[test]
fn published_vocabularies_tokenize_as_in_llama_cpp() {
    let Some(folder) = std::env::var_os("NIGHTGRAFT_TOKENIZERS") else {
        eprintln!("skipped: NIGHTGRAFT_TOKENIZERS does not name a folder");
        return;
    };
    let lines = mixed_lines_and_texts(7);
    let mut models: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    models.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    assert!(!models.is_empty(), "no vocabulary is there");
    for model in models {
        let report = compare(&model, &lines);
        eprintln!("{}: {report:?}", model.display());
        assert_eq!(report.mismatches, 0, "{}", model.display());
    }
}

#[test]
fn gemma_ids_are_those_of_llama_cpp() {
    compare_if_named("NIGHTGRAFT_GEMMA");
}

#[test]
fn qwen_ids_are_those_of_llama_cpp() {
    compare_if_named("NIGHTGRAFT_QWEN");
}

fn compare_if_named(variable: &str) {
    let Some(model) = std::env::var_os(variable).map(PathBuf::from) else {
        eprintln!("skipped: {variable} does not name a model");
        return;
    };
    let report = compare(&model, &mixed_lines_and_texts(6));
    eprintln!("{variable}: {report:?}");
    assert_eq!(report.mismatches, 0);
}

/// Made-up lines, those of this repository's own texts, and those of the files in the folder that NIGHTGRAFT_TEXTS names, if
/// it is set.
fn mixed_lines_and_texts(seed: u64) -> Vec<String> {
    let mut lines = mixed_lines(N_LINES, seed);
    let own = [
        "README.md",
        "CHANGELOG.md",
        "docs/GUIDE.md",
        "tests/golden/prose.txt",
        "tests/tokenizer.rs",
        "Cargo.lock",
    ];
    let given = std::env::var_os("NIGHTGRAFT_TEXTS").map(|folder| std::fs::read_dir(folder).unwrap());
    let given = given.into_iter().flatten().map(|entry| entry.unwrap().path());
    for path in own.iter().map(PathBuf::from).chain(given) {
        let text = std::fs::read(path).unwrap_or_default();
        lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
    }
    lines
}

#[derive(Debug, PartialEq)]
pub struct Report {
    pub lines: usize,
    pub mismatches: usize,
}

/// Tokenizes each text both ways, with and without special tokens.
pub fn compare(model: &Path, texts: &[String]) -> Report {
    let ours = tokenizer(model);
    let params = LlamaModelParams::default().with_vocab_only(true);
    let theirs = LlamaModel::load_from_file(backend(), model, &params).unwrap();
    let tokenize = |text: &str, add_special, parse_special| -> Vec<u32> {
        let tokens = theirs.vocab().tokenize(text.as_bytes(), add_special, parse_special);
        tokens.into_iter().map(|token| token.0.cast_unsigned()).collect()
    };
    let mut mismatches = 0;
    for text in texts {
        let mut differs = false;
        for parse_special in [false, true] {
            let (left, right) =
                (ours.encode(text, parse_special).unwrap(), tokenize(text, false, parse_special));
            if left != right {
                differs = true;
                let at = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
                if mismatches < 5 {
                    let same: usize = left[..at].iter().map(|&id| ours.piece(id).len()).sum();
                    let (left, right) = (&left[at..], &right[at..]);
                    let rest = text.as_bytes().get(same..).unwrap_or_default();
                    eprintln!(
                        "token {at} at {:?}: {:?} instead of {:?}",
                        String::from_utf8_lossy(&rest[..rest.len().min(16)]),
                        &left[..left.len().min(6)],
                        &right[..right.len().min(6)]
                    );
                }
            }
        }
        if !text.starts_with('<') {
            differs |= ours.encode_with_bos(text, true).unwrap() != tokenize(text, true, true);
        }
        mismatches += usize::from(differs);
    }
    for id in 0..ours.n_vocab() as u32 {
        assert_eq!(
            ours.is_end_of_generation(id),
            theirs.vocab().is_eog(LlamaToken(id.cast_signed())),
            "token {id}"
        );
    }
    Report { lines: texts.len(), mismatches }
}

fn tokenizer(model: &Path) -> Tokenizer {
    Tokenizer::from_gguf(&read(model).1.metadata).unwrap()
}

fn sentence_piece_vocabulary(add_space_prefix: bool) -> Metadata {
    let mut pieces: Vec<(String, f32, i32)> =
        vec![("<unk>".into(), 0.0, 2), ("<s>".into(), 0.0, 3), ("</s>".into(), 0.0, 3)];
    pieces.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    pieces.extend((2..=8).map(|n| (" ".repeat(n), 0.0, 4)));
    pieces.push(("<|turn|>".into(), 0.0, 3));
    pieces.push(("<mask>".into(), 0.0, 4));
    // Pieces of equal scores can be reached in several ways: the leftmost merge has to win.
    let words = [
        "▁the",
        "the",
        "th",
        "he",
        "▁t",
        "▁a",
        "in",
        "ing",
        "er",
        "aa",
        "aaa",
        "aaaa",
        "▁▁",
        "▁▁▁",
        "==",
        "===",
        "====",
        "re",
        "return",
        "ret",
        "urn",
        "tu",
        "日本",
        "本語",
        "日本語",
        "é",
        "ié",
        "\u{301}",
        "e\u{301}",
        "12",
        "23",
        "123",
        "\u{1F469}\u{200D}",
        "1",
        "2",
        "3",
        "don",
        "'t",
    ];
    pieces.extend(words.iter().enumerate().map(|(rank, word)| ((*word).to_owned(), -((rank / 3) as f32), 1)));
    let known: std::collections::HashSet<String> = pieces.iter().map(|(text, ..)| text.clone()).collect();
    let chars = ('a'..='z').chain('A'..='Z').chain("▁.,=日語\u{1F469}\u{200D}'\u{644}".chars());
    pieces.extend(chars.map(String::from).filter(|char| !known.contains(char)).map(|char| (char, -100.0, 1)));

    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
    let texts = pieces.iter().map(|(text, ..)| text.clone()).collect();
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(texts)));
    metadata.insert(
        "tokenizer.ggml.scores",
        Value::Array(Array::F32(pieces.iter().map(|piece| piece.1).collect())),
    );
    metadata.insert(
        "tokenizer.ggml.token_type",
        Value::Array(Array::I32(pieces.iter().map(|piece| piece.2).collect())),
    );
    metadata.insert("tokenizer.ggml.add_space_prefix", Value::Bool(add_space_prefix));
    metadata
}

/// Lines put together at random from fragments of many kinds; the same for the same seed.
pub fn mixed_lines(n_lines: usize, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let mut lines: Vec<String> = (0..n_lines).map(|_| line(&mut random)).collect();
    lines[0] = String::new();
    lines[1] = " ".into();
    lines[2] = "\n".into();
    lines[3] = "antidisestablishmentarianism".repeat(40);
    lines[4] = "=".repeat(300);
    lines[5] = "\t \t\u{a0} \r\n".repeat(20);
    lines
}

fn line(random: &mut Random) -> String {
    let mut line = String::new();
    for _ in 0..random.below(14) {
        line += FRAGMENTS[random.below(FRAGMENTS.len())];
        line += SEPARATORS[random.below(SEPARATORS.len())];
        if random.below(12) == 0 {
            let range = CHARACTERS[random.below(CHARACTERS.len())];
            line.extend(char::from_u32((range.0 + random.below(range.1 - range.0)) as u32));
        }
        if random.below(10) == 0 {
            line += &random.below(10_000_000).to_string();
        }
    }
    line
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Ranges of characters, unassigned ones and those for private use included, without those that Unicode has
/// assigned since version 15: llama.cpp does not know them.
const CHARACTERS: [(usize, usize); 9] = [
    (0x1, 0x890),
    (0x900, 0x1a00),
    (0x1e00, 0x20c0),
    (0x2460, 0x31c0),
    (0x3400, 0xa480),
    (0xac00, 0xd800),
    (0xe000, 0x1_0000),
    (0x1_0300, 0x1_0540),
    (0x1_f300, 0x1_f680),
];

const SEPARATORS: [&str; 16] = [
    "",
    "",
    " ",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    ", ",
    ". ",
    "\r\n",
    "    ",
    "\n        ",
    "\u{a0}",
];

const FRAGMENTS: [&str; 95] = [
    "The",
    "quick",
    "brown fox",
    "don't",
    "I'LL",
    "we've",
    "it's",
    "He'd",
    "they're",
    "'tis",
    "rock'n'roll",
    "a",
    "I",
    "Straße",
    "naïve",
    "cafe\u{301}",
    "e\u{301}\u{327}",
    "n\u{303}",
    "Ünïcödé",
    "İstanbul",
    "ﬁne",
    "ſ",
    "'ſ",
    "Привет, мир",
    "Съешь ещё",
    "Ελληνικά",
    "日本語の文章",
    "中文字符，测试。",
    "한국어 문장",
    "ภาษาไทย",
    "हिन्दी में",
    "বাংলা",
    "தமிழ்",
    "العربية",
    "مرحبا بالعالم",
    "שלום עולם",
    "\u{202b}rtl\u{202c}",
    "👩‍🚀",
    "👨‍👩‍👧‍👦",
    "🏳️‍🌈",
    "👍🏽",
    "🇩🇪🇫🇷",
    "❤️",
    "😀😀😀",
    "3.14159",
    "1,234,567",
    "42",
    "007",
    "2026-11-23",
    "٣٤٥",
    "²³",
    "Ⅷ",
    "½",
    "①②",
    "५६",
    "0xDEADBEEF",
    "1e-9",
    "fn main() {",
    "    let x = &mut y[i..j];",
    "\t\treturn None;",
    "}",
    "def f(a, *args, **kw):",
    "        if x == 1: pass",
    "#include <stdio.h>",
    "<div class=\"a\">",
    "</div>",
    "// TODO: fix!",
    "/* */",
    "a->b::c",
    "=>",
    "!==",
    "&&||",
    "...",
    "--",
    "—",
    "“quoted”",
    "‘single’",
    "$100",
    "€5",
    "100%",
    "#tag",
    "@user",
    "user@example.org",
    "https://example.org/a?b=c&d=%20#e",
    "\\n\\t",
    "\u{1}\u{2}\u{1b}[0m",
    "\u{7f}",
    "\u{85}",
    "\u{200b}",
    "\u{feff}",
    "\u{fffd}\u{fffd}",
    "\u{3000}",
    "\u{2028}",
    "<|im_start|>user",
    "<|im_end|>",
];
