//! Round trips, damage, and the folder's housekeeping.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraPairs, LoraSpec, Module};
use nightgraft_files::file_system::system;
use nightgraft_gguf::Fingerprint;
use nightgraft_testing::{Failure, Fault, FaultyDisk, folder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::format::{VERSION, decode, decode_version, encode};
use super::*;
use crate::vault::{Key, KeyRing, Vault};
use crate::{CheckpointProblem, Error, NumberSet};

/// A vault of each kind.
fn vaults() -> [Vault; 2] {
    [plain(), Vault::encrypted(system(), KeyRing::new(1, Key::new([7; 32])))]
}

fn plain() -> Vault {
    Vault::plain(system())
}

fn pairs(rng: &mut ChaCha8Rng) -> LoraPairs {
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
            evaluating: Some(PartialEvaluation { next_batch: 4, loss: -0.0, correct: 5, supervised: 6 }),
            early_stopping: EarlyStopping { best_loss: Some(1.0 / 3.0), best_step: 9, evaluations_since: 2 },
            first_steps: FirstSteps {
                losses: vec![0.1, f64::NEG_INFINITY],
                norms: vec![1.0 / 3.0],
                lowered_after: Some(2),
            },
            devices: vec!["cpu, avx2".into(), "a GPU, f16".into()],
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
    for vault in vaults() {
        let folder = folder();
        let folder = folder.path().join("new/checkpoints");
        let original = state(12);
        let path = save(&vault, &folder, original.snapshot(), 2).unwrap();
        assert_eq!(names(&folder), ["step-00000012.ngck"]);
        assert_same(&load(&vault, &path).unwrap(), &original);
        let (latest, loaded) = load_latest(&vault, &folder).unwrap().unwrap();
        assert_eq!(latest, path);
        assert_same(&loaded, &original);

        // Between steps there are no gradients, before the first no moments.
        let mut early = State {
            first_moment: LoraPairs::new(),
            second_moment: LoraPairs::new(),
            gradient: LoraPairs::new(),
            best: LoraPairs::new(),
            ..original
        };
        early.progress.evaluating = None;
        let smaller = save(&vault, &folder, early.snapshot(), 2).unwrap();
        assert_eq!(smaller, path);
        assert_same(&load(&vault, &path).unwrap(), &early);
    }
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let folder = folder();
    let first = fs::read(save(&plain(), folder.path(), state(3).snapshot(), 1).unwrap()).unwrap();
    let second = fs::read(save(&plain(), folder.path(), state(3).snapshot(), 1).unwrap()).unwrap();
    assert!(first == second);
}

#[test]
fn shapes_that_differ_from_the_adapter_are_refused() {
    let folder = folder();
    let problem = |state: &State| problem_of(save(&plain(), folder.path(), state.snapshot(), 1).unwrap_err());
    let mut wrong = state(1);
    wrong.second_moment.remove(&(0, Module::AttnQ));
    let refused = problem(&wrong);
    assert_eq!(refused, CheckpointProblem::Shapes(NumberSet::SecondMoment));
    assert_eq!(refused.to_string(), "the shapes of second_moment are not those of the adapter");
    let mut wrong = state(1);
    wrong.gradient.get_mut(&(0, Module::AttnQ)).unwrap().a.pop();
    assert_eq!(problem(&wrong), CheckpointProblem::Shapes(NumberSet::Gradient));
    wrong.adapter.pairs.get_mut(&(0, Module::AttnQ)).unwrap().rank = usize::MAX;
    assert!(encode_adapter(&wrong.adapter, &mut Vec::new()).is_err());
    assert!(names(folder.path()).is_empty());
}

#[test]
fn any_truncation_and_any_flipped_bit_is_noticed() {
    for (n, vault) in vaults().into_iter().enumerate() {
        let folder = folder();
        let path = save(&vault, folder.path(), state(5).snapshot(), 1).unwrap();
        let bytes = fs::read(&path).unwrap();
        let assert_damaged = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            let error = load(&vault, &path).unwrap_err();
            // Bits of the version make it one of another version, as far as can be told.
            let is_noticed =
                matches!(error, Error::Corrupted { .. } | Error::WrongKey { .. } | Error::Checkpoint { .. });
            assert!(is_noticed, "{error}");
        };
        for len in 0..bytes.len() {
            assert_damaged(&bytes[..len]);
        }
        assert_damaged(&[bytes.as_slice(), &[0]].concat());
        let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
        for _ in 0..2_000 {
            let mut damaged = bytes.clone();
            for _ in 0..rng.random_range(1..4) {
                let bit = rng.random_range(0..8 * bytes.len());
                damaged[bit / 8] ^= 1 << (bit % 8);
            }
            if damaged != bytes {
                assert_damaged(&damaged);
            }
        }
    }
}

/// The content of a checkpoint, as it is inside the sealed file.
fn content(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(state.snapshot(), &mut bytes).unwrap();
    bytes
}

/// Whoever changes what stands here raises [`VERSION`].
#[test]
fn the_format_stays_what_it_is() {
    let bytes = content(&state(5));
    assert_eq!(bytes[..4], VERSION.to_le_bytes());
    let header_len = u64::from_le_bytes(bytes[4..12].try_into().unwrap()) as usize;
    let (header, numbers) = bytes[12..].split_at(header_len);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&header).unwrap());
    // Five sets of two pairs.
    assert_eq!(numbers.len(), 5 * 4 * (2 * (5 + 3) + (4 + 6)));
    let first = state(5).adapter.pairs[&(0, Module::AttnQ)].a[0].to_bits();
    assert_eq!(numbers[..4], first.to_le_bytes());
}

fn decoded(mut content: &[u8]) -> std::io::Result<State> {
    let version = decode_version(&mut content)?;
    assert_eq!(version, VERSION);
    let state = decode(&mut content)?;
    assert!(content.is_empty());
    Ok(state)
}

/// Versions 2 and 3 are those of builds that did not count devices.
#[test]
fn checkpoints_of_earlier_versions_are_read() {
    let bytes = content(&state(5));
    let header_len = u64::from_le_bytes(bytes[4..12].try_into().unwrap()) as usize;
    let (header, numbers) = bytes[12..].split_at(header_len);
    let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let mut expected = state(5);
    for (version, missing) in [(3u32, "devices"), (2, "first_steps")] {
        assert!(header["progress"].as_object_mut().unwrap().remove(missing).is_some());
        match version {
            3 => expected.progress.devices.clear(),
            _ => expected.progress.first_steps = FirstSteps::default(),
        }
        let header = serde_json::to_vec(&header).unwrap();
        let earlier =
            [&version.to_le_bytes()[..], &(header.len() as u64).to_le_bytes(), &header, numbers].concat();
        for vault in vaults() {
            let folder = folder();
            let path = folder.path().join("step-00000005.ngck");
            vault.write(&path, "checkpoint", &earlier).unwrap();
            assert_same(&load(&vault, &path).unwrap(), &expected);
        }
    }
}

#[test]
fn sealed_nonsense_opens_no_door() {
    let bytes = content(&state(5));
    assert_same(&decoded(&bytes).unwrap(), &state(5));
    let header_len = u64::from_le_bytes(bytes[4..12].try_into().unwrap()) as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut refused = 0;
    for _ in 0..3_000 {
        let mut forged = bytes.clone();
        let place = rng.random_range(4..12 + header_len);
        forged[place] = if rng.random() { rng.random() } else { b'0' + (place % 10) as u8 };
        let mut rest = &forged[4..];
        refused += usize::from(decode(&mut rest).is_err() || !rest.is_empty());
    }
    assert!(refused > 1_000, "{refused}");
    for len in 0..bytes.len() {
        assert_eq!(decoded(&bytes[..len]).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof, "{len}");
    }
    // Shapes whose product overflows or that are larger than any memory, a pair that is there twice, a set of no
    // such name, no adapter, and a header that reaches past the end.
    let text = String::from_utf8(bytes[12..12 + header_len].to_vec()).unwrap();
    for (from, to) in [
        ("\"rank\":2,\"n_in\":5", "\"rank\":4294967296,\"n_in\":4294967296"),
        ("\"rank\":2,\"n_in\":5", "\"rank\":2147483648,\"n_in\":1073741824"),
        ("\"layer\":7,\"module\":\"ffn_down\"", "\"layer\":0,\"module\":\"attn_q\""),
        ("\"best\"]", "\"worst\"]"),
        ("\"sets\":[\"adapter\",", "\"sets\":["),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        let mut forged = bytes[..4].to_vec();
        forged.extend((other.len() as u64).to_le_bytes());
        forged.extend(other.as_bytes());
        forged.extend(&bytes[12 + header_len..]);
        decoded(&forged).unwrap_err();
    }
    let mut forged = bytes;
    forged[4..12].copy_from_slice(&u64::MAX.to_le_bytes());
    decoded(&forged).unwrap_err();
}

#[test]
fn more_than_the_header_describes_is_damage() {
    let folder = folder();
    let path = folder.path().join("step-00000005.ngck");
    for vault in vaults() {
        let mut bytes = content(&state(5));
        vault.write(&path, "checkpoint", &bytes).unwrap();
        assert_same(&load(&vault, &path).unwrap(), &state(5));
        bytes.push(0);
        vault.write(&path, "checkpoint", &bytes).unwrap();
        assert!(matches!(load(&vault, &path), Err(Error::Corrupted { .. })));
        bytes.truncate(bytes.len() - 2);
        vault.write(&path, "checkpoint", &bytes).unwrap();
        assert!(matches!(load(&vault, &path), Err(Error::Corrupted { .. })));
    }
}

#[test]
fn an_adapter_comes_back_bit_for_bit() {
    let adapter = state(8).adapter;
    let mut bytes = Vec::new();
    encode_adapter(&adapter, &mut bytes).unwrap();
    bytes.extend(b"what follows");
    let mut rest = bytes.as_slice();
    let mut got = state(9);
    got.adapter = decode_adapter(&mut rest).unwrap();
    assert_eq!(rest, b"what follows");
    assert_same(&State { adapter: got.adapter, ..state(8) }, &state(8));
    for len in 0..bytes.len() - rest.len() {
        assert_eq!(decode_adapter(&mut &bytes[..len]).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    }
    bytes[0] = 2;
    let refused = decode_adapter(&mut bytes.as_slice()).unwrap_err();
    let problem = refused.get_ref().and_then(|problem| problem.downcast_ref());
    assert_eq!(problem, Some(&FormatProblem::AdapterVersion { found: 2, known: 1 }));
}

/// What is wrong with the checkpoint.
fn problem_of(error: Error) -> CheckpointProblem {
    match error {
        Error::Checkpoint { problem, .. } => problem,
        other => unreachable!("{other}"),
    }
}

#[test]
fn another_version_is_refused_not_skipped() {
    let other_version = |found| CheckpointProblem::OtherVersion { found, known: VERSION };
    for vault in vaults() {
        let folder = folder();
        save(&vault, folder.path(), state(1).snapshot(), 5).unwrap();
        let path = folder.path().join("step-00000002.ngck");
        let mut bytes = content(&state(2));
        bytes[..4].copy_from_slice(&(VERSION + 1).to_le_bytes());
        vault.write(&path, "checkpoint", &bytes).unwrap();
        for error in [load(&vault, &path).unwrap_err(), load_latest(&vault, folder.path()).unwrap_err()] {
            assert_eq!(problem_of(error), other_version(VERSION + 1));
        }
        // What a later sealing is like nobody knows yet, but for its start.
        save(&vault, folder.path(), state(2).snapshot(), 5).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[8..12].copy_from_slice(&900u32.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        for error in [load(&vault, &path).unwrap_err(), load_latest(&vault, folder.path()).unwrap_err()] {
            assert_eq!(problem_of(error), other_version(900));
        }
        // Before there were sealed files.
        fs::write(&path, b"NGCKPT\r\n\x01\0\0\0 and everything that followed then").unwrap();
        for error in [load(&vault, &path).unwrap_err(), load_latest(&vault, folder.path()).unwrap_err()] {
            assert_eq!(problem_of(error), other_version(1));
        }
    }
}

#[test]
fn a_lost_key_is_no_damage() {
    let folder = folder();
    let [plain, encrypted] = vaults();
    save(&encrypted, folder.path(), state(1).snapshot(), 5).unwrap();
    assert!(matches!(load_latest(&plain, folder.path()), Err(Error::WrongKey { .. })));
    // A valid one counts for more.
    fs::copy(folder.path().join("step-00000001.ngck"), folder.path().join("step-00000009.ngck")).unwrap();
    save(&plain, folder.path(), state(2).snapshot(), 5).unwrap();
    fs::copy(folder.path().join("step-00000001.ngck"), folder.path().join("step-00000009.ngck")).unwrap();
    assert_same(&load_latest(&plain, folder.path()).unwrap().unwrap().1, &state(2));
}

#[test]
fn a_failing_disk_costs_no_checkpoint() {
    for encrypted in [false, true] {
        let on = |disk| match encrypted {
            false => Vault::plain(disk),
            true => Vault::encrypted(disk, KeyRing::new(1, Key::new([7; 32]))),
        };
        let attempt = |disk: Arc<FaultyDisk>| {
            let folder = folder();
            save(&on(system()), folder.path(), state(1).snapshot(), 1).unwrap();
            let saved = save(&on(disk), folder.path(), state(2).snapshot(), 1).is_ok();
            let (_, latest) = load_latest(&on(system()), folder.path()).unwrap().unwrap();
            let step = latest.progress.step;
            assert_same(&latest, &state(step));
            (saved, step)
        };
        let healthy = FaultyDisk::healthy();
        assert_eq!(attempt(Arc::clone(&healthy)), (true, 2));
        let mut outcomes = BTreeSet::new();
        for at in 0..healthy.operations() {
            for failure in [Failure::NoSpace, Failure::Device, Failure::Short, Failure::PowerCut] {
                for for_good in [false, true] {
                    let fault = Fault { at, only: None, failure, for_good };
                    let (saved, step) = attempt(FaultyDisk::new(fault));
                    assert!(!saved || step == 2, "{fault:?}");
                    outcomes.insert((saved, step));
                }
            }
        }
        // Nothing; all but the flush of the folder or the list of the old ones; all but removing one.
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [(false, 1), (false, 2), (true, 2)]);
    }
}

#[test]
fn a_damaged_newest_gives_way_to_the_one_before() {
    let folder = folder();
    assert!(load_latest(&plain(), &folder.path().join("none")).unwrap().is_none());
    assert!(load_latest(&plain(), folder.path()).unwrap().is_none());
    for step in [1, 2, 3] {
        save(&plain(), folder.path(), state(step).snapshot(), 3).unwrap();
    }
    let newest = folder.path().join("step-00000003.ngck");
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&newest, &bytes).unwrap();
    fs::write(folder.path().join("step-00000004.ngck"), "").unwrap();
    fs::write(folder.path().join(".step-00000005.ngck.0123-4.ngtmp"), "half").unwrap();
    fs::write(folder.path().join("step-9.ngck"), "not ours").unwrap();
    let (path, loaded) = load_latest(&plain(), folder.path()).unwrap().unwrap();
    assert_eq!(path.file_name().unwrap(), "step-00000002.ngck");
    assert_same(&loaded, &state(2));
    assert!(!names(folder.path()).iter().any(|name| name.ends_with(".ngtmp")), "the scratch file was swept");

    // Going on from there replaces what was damaged.
    save(&plain(), folder.path(), state(3).snapshot(), 3).unwrap();
    let expected = ["step-00000001.ngck", "step-00000002.ngck", "step-00000003.ngck", "step-9.ngck"];
    assert_eq!(names(folder.path()), expected);
    for name in &expected[..3] {
        fs::write(folder.path().join(name), "ruined").unwrap();
    }
    assert!(load_latest(&plain(), folder.path()).unwrap().is_none());
    clear(&plain(), folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["step-9.ngck"]);
    clear(&plain(), &folder.path().join("none")).unwrap();
}

#[test]
fn only_the_last_few_are_kept() {
    let folder = folder();
    for step in 1..=5 {
        save(&plain(), folder.path(), state(step).snapshot(), 2).unwrap();
    }
    assert_eq!(names(folder.path()), ["step-00000004.ngck", "step-00000005.ngck"]);
    save(&plain(), folder.path(), state(6).snapshot(), 0).unwrap();
    assert_eq!(names(folder.path()), ["step-00000006.ngck"]);
    // A run that starts anew in the same folder must not be taken for the older, longer one.
    save(&plain(), folder.path(), state(2).snapshot(), 2).unwrap();
    assert_eq!(names(folder.path()), ["step-00000002.ngck"]);
}
