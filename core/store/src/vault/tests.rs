//! Round trips, damage, forgery and failing disks.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightgraft_files::file_system::{FileSystem, system};
use nightgraft_testing::{Failure, Fault, FaultyDisk, Operation, folder, thinning};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::sealing::{CHUNK_BYTES, HEADER_BYTES, TAG_BYTES};
use super::*;
use crate::{Error, FileProblem, Result};

const ROLE: &str = "test";
const BOTH: [bool; 2] = [false, true];
const PIECE: usize = CHUNK_BYTES + TAG_BYTES;

fn vault(encrypted: bool) -> Vault {
    vault_on(system(), encrypted)
}

fn vault_on(disk: Arc<dyn FileSystem>, encrypted: bool) -> Vault {
    if encrypted { Vault::encrypted(disk, KeyRing::new(5, Key::new([9; 32]))) } else { Vault::plain(disk) }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill(bytes.as_mut_slice());
    bytes
}

fn read(vault: &Vault, path: &Path) -> Result<Vec<u8>> {
    vault.read(path, ROLE, 1 << 30)
}

fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupted { .. } | Error::WrongKey { .. })
}

#[test]
fn content_of_any_size_comes_back() {
    let folder = folder();
    let sizes = [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        2 * CHUNK_BYTES,
        16 * CHUNK_BYTES,
        17 * CHUNK_BYTES,
        33 * CHUNK_BYTES + 77,
    ];
    let n_sizes = if thinning(2) > 1 { 6 } else { sizes.len() };
    for encrypted in BOTH {
        let vault = vault(encrypted);
        assert_eq!(vault.is_encrypted(), encrypted);
        let mut written = 0;
        for &size in &sizes[..n_sizes] {
            let path = folder.path().join("file");
            let content = noise(size, size as u64);
            // In pieces that have nothing to do with the chunks.
            let mut writer = vault.create(&path, ROLE).unwrap();
            for piece in content.chunks(10_007) {
                writer.write_all(piece).unwrap();
            }
            vault.put(vec![writer], &[]).unwrap();
            assert_eq!(read(&vault, &path).unwrap(), content, "{size} bytes, encrypted: {encrypted}");
            let chunks = size.div_ceil(CHUNK_BYTES).max(1);
            let len = fs::metadata(&path).unwrap().len();
            assert_eq!(len, (HEADER_BYTES + size + chunks * TAG_BYTES) as u64);
            written += len;
            assert_eq!(vault.bytes_written(), written);
            // At once, and read in other pieces.
            vault.write(&path, ROLE, &content).unwrap();
            written += len;
            let mut reader = vault.open(&path, ROLE).unwrap();
            let mut start = vec![0; size / 3];
            reader.fill(&mut start).unwrap();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            reader.finish().unwrap();
            assert_eq!([start, rest].concat(), content);
            // The limit is what it says.
            assert_eq!(vault.read(&path, ROLE, size as u64).unwrap(), content);
            if size > 0 {
                assert!(is_damage(&vault.read(&path, ROLE, size as u64 - 1).unwrap_err()));
            }
            assert_eq!(vault.key_id(&path).unwrap(), encrypted.then_some(5));
        }
    }
}

#[test]
fn a_reader_wants_exactly_what_was_written() {
    let folder = folder();
    let path = folder.path().join("file");
    for encrypted in BOTH {
        let vault = vault(encrypted);
        vault.write(&path, ROLE, &noise(CHUNK_BYTES, 1)).unwrap();
        let mut bytes = vec![0; CHUNK_BYTES + 1];
        let mut reader = vault.open(&path, ROLE).unwrap();
        assert!(is_damage(&reader.fill(&mut bytes).unwrap_err()));
        let mut reader = vault.open(&path, ROLE).unwrap();
        let error = reader.read_exact(&mut bytes).unwrap_err();
        assert!(is_damage(&reader.error(error)));
        let mut reader = vault.open(&path, ROLE).unwrap();
        reader.fill(&mut bytes[..CHUNK_BYTES - 1]).unwrap();
        assert!(is_damage(&reader.finish().unwrap_err()));
    }
}

#[test]
fn plain_files_are_the_same_every_time_and_encrypted_ones_never() {
    let folder = folder();
    let path = folder.path().join("file");
    for encrypted in BOTH {
        let once = || {
            vault(encrypted).write(&path, ROLE, b"the same").unwrap();
            fs::read(&path).unwrap()
        };
        assert_eq!(once() == once(), !encrypted);
    }
}

/// A file of one small chunk, and one of four that are alike in length.
fn sealed(folder: &Path, encrypted: bool, len: usize) -> (Vault, PathBuf, Vec<u8>) {
    let vault = vault(encrypted);
    let path = folder.join("file");
    vault.write(&path, ROLE, &noise(len, 3)).unwrap();
    let bytes = fs::read(&path).unwrap();
    (vault, path, bytes)
}

#[test]
fn every_flipped_bit_and_every_other_length_is_noticed() {
    let folder = folder();
    for encrypted in BOTH {
        let (vault, path, bytes) = sealed(folder.path(), encrypted, 90);
        assert_eq!(bytes.len(), HEADER_BYTES + 90 + TAG_BYTES);
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, changed).unwrap();
            let error = read(&vault, &path).unwrap_err();
            // The number of the key is all that can be another key's.
            let names_a_key = encrypted && (13..17).contains(&(bit / 8)) || !encrypted && bit == 8 * 12;
            assert_eq!(matches!(error, Error::WrongKey { .. }), names_a_key, "bit {bit}: {error}");
            assert!(is_damage(&error), "bit {bit}: {error}");
        }
        for len in 0..bytes.len() {
            fs::write(&path, &bytes[..len]).unwrap();
            assert!(is_damage(&read(&vault, &path).unwrap_err()), "{len} bytes");
        }
        for more in [1, 15, 16, 17, PIECE, PIECE + 1] {
            fs::write(&path, [bytes.as_slice(), &vec![0; more]].concat()).unwrap();
            assert!(is_damage(&read(&vault, &path).unwrap_err()), "{more} bytes more");
        }
    }
}

#[test]
fn two_thousand_mutations_are_noticed() {
    let folder = folder();
    for encrypted in BOTH {
        let (vault, path, bytes) = sealed(folder.path(), encrypted, 4 * CHUNK_BYTES);
        // Another file of the same name and role, for splicing.
        let elsewhere = folder.path().join("other");
        fs::create_dir_all(&elsewhere).unwrap();
        let other = elsewhere.join("file");
        vault.write(&other, ROLE, &noise(4 * CHUNK_BYTES, 4)).unwrap();
        let other = fs::read(&other).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(encrypted));
        let mut kinds = [0; 6];
        let mut done = 0;
        let thinning = thinning(25);
        while done < 2_000 / thinning as u64 {
            let mut changed = bytes.clone();
            let kind = rng.random_range(0..kinds.len());
            let piece = |n: usize| HEADER_BYTES + n * PIECE..HEADER_BYTES + (n + 1) * PIECE;
            let (one, two) = (rng.random_range(0..4), rng.random_range(0..4));
            match kind {
                0 => {
                    for _ in 0..rng.random_range(1..4) {
                        let bit = rng.random_range(0..8 * bytes.len());
                        changed[bit / 8] ^= 1 << (bit % 8);
                    }
                }
                // Half of the cuts are between chunks.
                1 if rng.random() => changed.truncate(piece(one).start),
                1 => changed.truncate(rng.random_range(0..bytes.len())),
                2 if rng.random() => changed.extend(&bytes[piece(one)]),
                2 => changed.extend(noise(rng.random_range(1..2 * PIECE), done)),
                3 => {
                    changed[piece(one)].copy_from_slice(&bytes[piece(two)]);
                    changed[piece(two)].copy_from_slice(&bytes[piece(one)]);
                }
                4 => changed[piece(one)].copy_from_slice(&other[piece(two)]),
                // A run of bytes from the other file, or its header.
                _ => {
                    let start = if rng.random() { 0 } else { rng.random_range(0..bytes.len()) };
                    let end = if start == 0 { HEADER_BYTES } else { rng.random_range(start..=bytes.len()) };
                    changed[start..end].copy_from_slice(&other[start..end]);
                }
            }
            // Headers of the plain mode are all alike, and a chunk may be swapped with itself.
            if changed == bytes {
                continue;
            }
            fs::write(&path, &changed).unwrap();
            let error = read(&vault, &path).unwrap_err();
            assert!(is_damage(&error), "mutation {kind}: {error}");
            done += 1;
            kinds[kind] += 1;
        }
        assert!(kinds.iter().all(|&n| n > 100 / thinning), "{kinds:?}");
    }
}

#[test]
fn a_file_stands_in_for_no_other() {
    let folder = folder();
    for encrypted in BOTH {
        let (vault, path, _) = sealed(folder.path(), encrypted, 1000);
        assert!(is_damage(&vault.read(&path, "another role", 1 << 30).unwrap_err()));
        let renamed = folder.path().join("filf");
        fs::copy(&path, &renamed).unwrap();
        assert!(is_damage(&read(&vault, &renamed).unwrap_err()));
        // A role and a name that only look alike when they are strung together.
        let shifted = folder.path().join("ile");
        fs::copy(&path, &shifted).unwrap();
        assert!(is_damage(&vault.read(&shifted, "testf", 1 << 30).unwrap_err()));
        // The folder may move.
        let moved = folder.path().join("moved");
        fs::create_dir_all(&moved).unwrap();
        fs::copy(&path, moved.join("file")).unwrap();
        assert_eq!(read(&vault, &moved.join("file")).unwrap(), noise(1000, 3));
    }
}

#[test]
fn a_wrong_key_opens_nothing() {
    let folder = folder();
    let (_, path, _) = sealed(folder.path(), true, 1000);
    let with = |id, byte| Vault::encrypted(system(), KeyRing::new(id, Key::new([byte; 32])));
    assert!(matches!(read(&with(5, 8), &path), Err(Error::Corrupted { .. })));
    assert!(matches!(with(6, 9).open(&path, ROLE), Err(Error::WrongKey { .. })));
    assert!(matches!(vault(false).open(&path, ROLE), Err(Error::WrongKey { .. })));
    // While keys are rotated both are there, and new files are under the new one.
    let both =
        with(5, 9).with_keys(KeyRing::new(6, Key::new([4; 32])).with_retired_key(5, Key::new([9; 32])));
    let content = read(&both, &path).unwrap();
    assert_eq!(both.key_id(&path).unwrap(), Some(5));
    both.write(&path, ROLE, &content).unwrap();
    assert_eq!(both.key_id(&path).unwrap(), Some(6));
    assert_eq!(read(&with(6, 4), &path).unwrap(), content);
    assert!(matches!(with(5, 9).open(&path, ROLE), Err(Error::WrongKey { .. })));

    let (_, plain, _) = sealed(folder.path(), false, 1000);
    let error = vault(true).open(&plain, ROLE).unwrap_err();
    assert!(matches!(&error, Error::Corrupted { problem: FileProblem::NotEncrypted, .. }), "{error}");
}

#[test]
fn what_was_written_is_not_to_be_seen() {
    let folder = folder();
    let secret = b"the hen hid the ring";
    let content = secret.repeat(10_000);
    for encrypted in BOTH {
        let path = folder.path().join("file");
        vault(encrypted).write(&path, ROLE, &content).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.windows(8).any(|window| window == &secret[..8]), !encrypted);
        if encrypted {
            // No part of it repeats either.
            let parts: Vec<_> = bytes[HEADER_BYTES..].chunks_exact(16).collect();
            assert_eq!(parts.iter().collect::<BTreeSet<_>>().len(), parts.len());
        }
    }
}

/// The format as the documentation has it, read by other means than the module's own.
#[test]
fn encrypted_chunks_are_those_of_the_stream_construction() {
    use chacha20poly1305::aead::{Payload, stream::DecryptorBE32};
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
    let folder = folder();
    let (_, _, bytes) = sealed(folder.path(), true, CHUNK_BYTES + 10);
    let (header, chunks) = bytes.split_at(36);
    assert_eq!(&header[..17], b"NGSEAL\r\n\x01\0\0\0\x01\x05\0\0\0");
    let aad = [header, b"\x04\0\0\0test\x04\0\0\0file"].concat();
    let cipher = XChaCha20Poly1305::new(&[9; 32].into());
    let mut stream = DecryptorBE32::from_aead(cipher, header[17..].into());
    let (first, last) = chunks.split_at(65_536 + 16);
    let first = stream.decrypt_next(Payload { msg: first, aad: &aad }).unwrap();
    let last = stream.decrypt_last(Payload { msg: last, aad: &aad }).unwrap();
    assert_eq!([first, last].concat(), noise(CHUNK_BYTES + 10, 3));
}

#[test]
fn plain_tags_are_chained_hashes() {
    use sha2::{Digest, Sha256};
    let folder = folder();
    let (_, _, bytes) = sealed(folder.path(), false, CHUNK_BYTES + 10);
    let mut header = b"NGSEAL\r\n\x01\0\0\0".to_vec();
    header.resize(36, 0);
    assert_eq!(&bytes[..36], header);
    let context = [header.as_slice(), b"\x04\0\0\0test\x04\0\0\0file"].concat();
    let content = noise(CHUNK_BYTES + 10, 3);
    let (first, last) = content.split_at(CHUNK_BYTES);
    let tag = |former: &[u8], index: u8, end: u8, data: &[u8]| {
        let place = [index, 0, 0, 0, end];
        let hash = Sha256::digest(data);
        Sha256::digest([&context, former, &place, &hash].concat())[..16].to_vec()
    };
    let one = tag(&[0; 16], 0, 0, first);
    let two = tag(&one, 1, 1, last);
    assert!(bytes[36..] == [first, &one, last, &two].concat());
}

/// Overwrites a file of two chunks on this disk; gives whether that reported success, and what is there afterwards.
fn overwrite_on(disk: Arc<FaultyDisk>, encrypted: bool) -> (bool, Vec<u8>) {
    let folder = folder();
    let path = folder.path().join("file");
    vault(encrypted).write(&path, ROLE, &noise(20, 1)).unwrap();
    let failing = vault_on(disk, encrypted);
    let done = failing.write(&path, ROLE, &noise(7 * CHUNK_BYTES, 2)).is_ok();
    (done, read(&vault(encrypted), &path).unwrap())
}

#[test]
fn a_failing_disk_leaves_the_old_content() {
    for encrypted in BOTH {
        let healthy = FaultyDisk::healthy();
        let (done, new) = overwrite_on(Arc::clone(&healthy), encrypted);
        assert!(done && new == noise(7 * CHUNK_BYTES, 2));
        let operations = healthy.operations();
        assert!(operations >= 9, "several writes: {operations}");
        for at in (0..operations).step_by(thinning(13)) {
            for failure in [Failure::NoSpace, Failure::Device, Failure::Short, Failure::PowerCut] {
                for for_good in [false, true] {
                    let fault = Fault { at, only: None, failure, for_good };
                    let (done, content) = overwrite_on(FaultyDisk::new(fault), encrypted);
                    assert!(!done, "{fault:?}");
                    // Only the flush of the folder is left to fail then.
                    let old = content == noise(20, 1);
                    assert_eq!(old, at < operations - 1, "{fault:?}");
                    assert!(old || content == new, "{fault:?}");
                }
            }
        }
    }
}

#[test]
fn a_write_that_failed_cannot_be_committed() {
    let folder = folder();
    let path = folder.path().join("file");
    for encrypted in BOTH {
        let disk = FaultyDisk::healthy();
        let failing = vault_on(disk.clone(), encrypted);
        let mut writer = failing.create(&path, ROLE).unwrap();
        disk.set(Some(Fault { at: 0, only: None, failure: Failure::Short, for_good: false }));
        let error = writer.write_all(&noise(33 * CHUNK_BYTES, 1)).unwrap_err();
        let error = writer.error(error);
        assert!(matches!(&error, Error::Io(error) if error.source.kind() == std::io::ErrorKind::StorageFull));
        writer.write_all(b"more").unwrap();
        assert!(matches!(failing.put(vec![writer], &[]), Err(Error::Io(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_not_taken_for_damage() {
    let folder = folder();
    for encrypted in BOTH {
        let (_, path, _) = sealed(folder.path(), encrypted, 3 * CHUNK_BYTES);
        let healthy = FaultyDisk::healthy();
        read(&vault_on(healthy.clone(), encrypted), &path).unwrap();
        for at in 0..healthy.operations() {
            let fault = Fault { at, only: None, failure: Failure::Device, for_good: false };
            let failing = vault_on(FaultyDisk::new(fault), encrypted);
            assert!(matches!(read(&failing, &path), Err(Error::Io(_))), "{fault:?}");
        }
        assert!(matches!(read(&vault(encrypted), &folder.path().join("none")), Err(Error::Io(_))));
    }
}

#[test]
fn removing_is_done_once_and_for_good() {
    let folder = folder();
    let (vault, path, _) = sealed(folder.path(), false, 10);
    vault.remove(&path).unwrap();
    assert!(!path.exists());
    vault.remove(&path).unwrap();
    assert!(matches!(vault.remove(folder.path()), Err(Error::Io(_))));
}

/// A folder with a manifest that lists one file, on this disk.
fn listed(disk: &Arc<FaultyDisk>, root: &Path, encrypted: bool) -> Vault {
    let vault = vault_on(Arc::clone(disk) as Arc<dyn FileSystem>, encrypted);
    let vault = vault.with_manifest(Arc::new(manifest::Manifest::of(vault.disk(), root, &[]).unwrap()));
    vault.write(&root.join("file"), ROLE, b"first").unwrap();
    vault
}

#[test]
fn a_change_costs_two_flushes_more_than_its_files() {
    let folder = folder();
    let path = folder.path().join("file");
    let disk = FaultyDisk::healthy();
    let with = listed(&disk, folder.path(), false);
    let without = vault_on(Arc::clone(&disk) as Arc<dyn FileSystem>, false);
    let flushes = |work: &dyn Fn() -> Result<()>| {
        [Operation::Sync, Operation::SyncDir].map(|only| {
            let count = |at: &u64| {
                // The first that does not come to pass: there are no more.
                disk.set(Some(Fault {
                    at: *at,
                    only: Some(only),
                    failure: Failure::Device,
                    for_good: false,
                }));
                let done = work();
                let struck = disk.has_struck();
                assert!(struck || done.is_ok());
                disk.set(None);
                with.write(&path, ROLE, b"settled").unwrap();
                !struck
            };
            (0..).find(count).unwrap()
        })
    };
    assert_eq!(flushes(&|| without.write(&folder.path().join("unlisted"), ROLE, b"x")), [1, 1]);
    assert_eq!(flushes(&|| with.write(&path, ROLE, b"second")), [2, 2]);
}

#[test]
fn every_version_of_a_file_has_its_own_number() {
    let folder = folder();
    let path = folder.path().join("file");
    for encrypted in BOTH {
        let disk = FaultyDisk::healthy();
        let vault = listed(&disk, folder.path(), encrypted);
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            vault.write(&path, ROLE, b"the same").unwrap();
            let number = vault.disk().number(&path).unwrap().unwrap();
            assert!(number < vault.manifest().unwrap().counter());
            assert!(seen.insert(fs::read(&path).unwrap()), "the same bytes as once before");
            // The number is a part of what is sealed.
            let bytes = fs::read(&path).unwrap();
            for place in 28..36 {
                let mut other = bytes.clone();
                other[place] ^= 1;
                fs::write(&path, other).unwrap();
                assert!(is_damage(&read(&vault, &path).unwrap_err()));
            }
            fs::write(&path, bytes).unwrap();
        }
        fs::remove_file(folder.path().join(manifest::NAME)).unwrap();
    }
}
