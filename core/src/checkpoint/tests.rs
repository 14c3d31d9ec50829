//! Round trips, damage, and the folder's housekeeping.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::format::{Fault, VERSION, decode};
use super::*;
use crate::base::Module;
use crate::gguf::Fingerprint;
use crate::lora::{AdapterTensors, LoraPair, LoraSpec};

fn pairs(rng: &mut ChaCha8Rng) -> Pairs {
    let mut numbers = |n| (0..n).map(|_| f32::from_bits(rng.random())).collect();
    let mut pair = |rank, n_in, n_out| LoraPair {
        rank,
        n_in,
        n_out,
        a: numbers(rank * n_in),
        b_t: numbers(rank * n_out),
    };
    [((0, Module::AttnQ), pair(2, 5, 3)), ((7, Module::FfnDown), pair(1, 4, 6))].into()
}

/// A state with every kind of number, NaNs with payloads and negative zeros included.
fn state(step: u64) -> State {
    let mut rng = ChaCha8Rng::seed_from_u64(step);
    let spec = LoraSpec {
        rank: 2,
        alpha: 0.1 + 0.2,
        modules: vec![Module::AttnQ, Module::FfnDown],
        layers: 0..8,
        dropout: 0.05,
    };
    State {
        config: "rank = 2\nname = \"é\"\n".into(),
        base: Fingerprint::from_hex(&"3f".repeat(32)).unwrap(),
        data: "abc".into(),
        progress: Progress {
            step,
            total_steps: 100,
            micro_step: 1,
            epoch: 2,
            next_batch: 3,
            loss_sum: 0.1 + 0.2,
            tokens: 512,
            supervised_tokens: 500,
            correct: 17,
            evaluations: vec![
                Evaluation { step: 0, loss: f64::from_bits(0x7ff8_0000_0000_1234) },
                Evaluation { step: 20, loss: f64::INFINITY },
            ],
            evaluating: Some(PartialEvaluation { next_batch: 3, loss: 0.1 + 0.2, correct: 4, supervised: 9 }),
            early_stopping: EarlyStopping { best_loss: Some(1.0 / 3.0), best_step: 9, evaluations_since: 2 },
        },
        adapter: AdapterTensors { spec, pairs: pairs(&mut rng) },
        first_moment: pairs(&mut rng),
        second_moment: pairs(&mut rng),
        gradient: pairs(&mut rng),
        best: pairs(&mut rng),
    }
}

/// Equality of bits: `==` says that NaN differs from itself, and that the two zeros are one.
fn assert_same(got: &State, expected: &State) {
    let flat = |state: &State| -> Vec<u32> {
        [&state.adapter.pairs, &state.first_moment, &state.second_moment, &state.gradient, &state.best]
            .into_iter()
            .flat_map(|set| set.values().flat_map(|pair| pair.a.iter().chain(&pair.b_t)))
            .map(|value| value.to_bits())
            .collect()
    };
    assert_eq!(flat(got), flat(expected));
    assert_eq!(got.adapter.spec, expected.adapter.spec);
    assert_eq!(
        serde_json::to_string(&got.progress).unwrap(),
        serde_json::to_string(&expected.progress).unwrap()
    );
    assert_eq!((&got.config, got.base, &got.data), (&expected.config, expected.base, &expected.data));
    for (a, b) in [(&got.gradient, &expected.gradient), (&got.best, &expected.best)] {
        assert!(a.keys().eq(b.keys()));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_state_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/checkpoints");
    let original = state(12);
    let path = save(&folder, &original, 2).unwrap();
    assert_eq!(names(&folder), ["step-00000012.ngck"]);
    assert_same(&load(&path).unwrap(), &original);
    let (latest, loaded) = load_latest(&folder).unwrap().unwrap();
    assert_eq!(latest, path);
    assert_same(&loaded, &original);

    // Between steps there are no gradients, before the first no moments.
    let early = State {
        first_moment: Pairs::new(),
        second_moment: Pairs::new(),
        gradient: Pairs::new(),
        best: Pairs::new(),
        ..original
    };
    let smaller = save(&folder, &early, 2).unwrap();
    assert_eq!(smaller, path);
    assert_same(&load(&path).unwrap(), &early);
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let first = fs::read(save(folder.path(), &state(3), 1).unwrap()).unwrap();
    let second = fs::read(save(folder.path(), &state(3), 1).unwrap()).unwrap();
    assert!(first == second);
}

#[test]
fn shapes_that_differ_from_the_adapter_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = state(1);
    wrong.second_moment.remove(&(0, Module::AttnQ));
    assert!(save(folder.path(), &wrong, 1).unwrap_err().to_string().contains("second_moment"));
    let mut wrong = state(1);
    wrong.gradient.get_mut(&(0, Module::AttnQ)).unwrap().a.pop();
    assert!(save(folder.path(), &wrong, 1).unwrap_err().to_string().contains("gradient"));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn any_truncation_and_any_flipped_bit_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(save(folder.path(), &state(5), 1).unwrap()).unwrap();
    decode(&bytes).unwrap();
    for len in 0..bytes.len() {
        assert!(matches!(decode(&bytes[..len]), Err(Fault::Damaged(_))), "{len} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(decode(&longer).is_err());
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..5_000 {
        let mut damaged = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let bit = rng.random_range(0..8 * bytes.len());
            damaged[bit / 8] ^= 1 << (bit % 8);
        }
        if damaged != bytes {
            decode(&damaged).unwrap_err();
        }
    }
}

/// Recomputes the checksum over changed bytes, as nobody but an attacker would.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let body = bytes.len() - 32;
    let checksum = Sha256::digest(&bytes[..body]);
    bytes[body..].copy_from_slice(&checksum);
    bytes
}

#[test]
fn a_forged_checksum_opens_no_door() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(save(folder.path(), &state(5), 1).unwrap()).unwrap();
    let header_len = u64::from_le_bytes(bytes[12..20].try_into().unwrap()) as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut refused = 0;
    for _ in 0..3_000 {
        let mut forged = bytes.clone();
        let place = rng.random_range(12..20 + header_len);
        forged[place] = if rng.random() { rng.random() } else { b'0' + (place % 10) as u8 };
        refused += usize::from(decode(&resealed(forged)).is_err());
    }
    assert!(refused > 1_000, "{refused}");
    // Shapes whose product overflows, and a header that reaches past the end.
    let text = String::from_utf8(bytes[20..20 + header_len].to_vec()).unwrap();
    let huge = text.replacen("\"rank\":2,\"n_in\":5", "\"rank\":4294967296,\"n_in\":4294967296", 1);
    assert_ne!(huge, text);
    let mut forged = bytes[..12].to_vec();
    forged.extend((huge.len() as u64).to_le_bytes());
    forged.extend(huge.as_bytes());
    forged.extend(&bytes[20 + header_len..]);
    assert!(matches!(decode(&resealed(forged)), Err(Fault::Damaged(_))));
    let mut forged = bytes;
    forged[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(decode(&resealed(forged)), Err(Fault::Damaged(_))));
}

#[test]
fn a_version_from_the_future_is_refused_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &state(1), 5).unwrap();
    let path = save(folder.path(), &state(2), 5).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    fs::write(&path, resealed(bytes)).unwrap();
    for error in [load(&path).unwrap_err(), load_latest(folder.path()).unwrap_err()] {
        assert!(error.to_string().contains("version 2 of the format"), "{error}");
    }
}

#[test]
fn a_damaged_newest_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load_latest(&folder.path().join("none")).unwrap().is_none());
    assert!(load_latest(folder.path()).unwrap().is_none());
    for step in [1, 2, 3] {
        save(folder.path(), &state(step), 3).unwrap();
    }
    let newest = folder.path().join("step-00000003.ngck");
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&newest, &bytes).unwrap();
    fs::write(folder.path().join("step-00000004.ngck"), "").unwrap();
    fs::write(folder.path().join(".step-00000005.ngck.0123-4.ngtmp"), "half").unwrap();
    fs::write(folder.path().join("step-9.ngck"), "not ours").unwrap();
    let (path, loaded) = load_latest(folder.path()).unwrap().unwrap();
    assert_eq!(path.file_name().unwrap(), "step-00000002.ngck");
    assert_same(&loaded, &state(2));
    assert!(!names(folder.path()).iter().any(|name| name.ends_with(".ngtmp")), "the scratch file was swept");

    // Going on from there replaces what was damaged.
    save(folder.path(), &state(3), 3).unwrap();
    let expected = ["step-00000001.ngck", "step-00000002.ngck", "step-00000003.ngck", "step-9.ngck"];
    assert_eq!(names(folder.path()), expected);
    for name in &expected[..3] {
        fs::write(folder.path().join(name), "ruined").unwrap();
    }
    assert!(load_latest(folder.path()).unwrap().is_none());
    clear(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["step-9.ngck"]);
    clear(&folder.path().join("none")).unwrap();
}

#[test]
fn only_the_last_few_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for step in 1..=5 {
        save(folder.path(), &state(step), 2).unwrap();
    }
    assert_eq!(names(folder.path()), ["step-00000004.ngck", "step-00000005.ngck"]);
    save(folder.path(), &state(6), 0).unwrap();
    assert_eq!(names(folder.path()), ["step-00000006.ngck"]);
    // A run that starts anew in the same folder must not be taken for the older, longer one.
    save(folder.path(), &state(2), 2).unwrap();
    assert_eq!(names(folder.path()), ["step-00000002.ngck"]);
}
