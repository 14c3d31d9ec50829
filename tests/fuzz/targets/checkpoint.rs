//! A checkpoint. If the first byte is odd, the checksum is put right first: a damaged file rarely has the right one, and
//! what lies behind that check must hold as well. What is accepted must come back the same when it is saved.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightgraft_core::checkpoint;
use nightgraft_fuzz::{put, scratch};
use sha2::{Digest, Sha256};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, file)) = bytes.split_first() else { return };
    let mut file = file.to_vec();
    if choice & 1 == 1 {
        let checksum = Sha256::digest(&file);
        file.extend_from_slice(&checksum);
    }
    let Ok(state) = checkpoint::load(&put("input.ngck", &file)) else { return };
    let folder = scratch().join("saved");
    let saved = checkpoint::save(&folder, &state, 1).expect("an accepted state can be saved");
    let first = std::fs::read(&saved).expect("it was just saved");
    let again = checkpoint::load(&saved).expect("a saved state can be loaded");
    let saved = checkpoint::save(&folder, &again, 1).expect("a loaded state can be saved");
    assert!(first == std::fs::read(&saved).expect("it was just saved"), "saved twice, two files");
    checkpoint::clear(&folder).expect("the folder can be emptied");
});
