//! A checkpoint: as a sealed file; as what is in one, sealed by the target, since a damaged file rarely has the right
//! checksums and what lies behind those must hold as well; and the encoding of an adapter alone. What is accepted must
//! come back the same when it is saved.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightgraft_files::file_system::system;
use nightgraft_fuzz::{put, scratch};
use nightgraft_store::checkpoint;
use nightgraft_store::vault::Vault;

/// The name that the seeds are sealed under.
const NAME: &str = "step-00000003.ngck";

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    if choice % 4 == 2 {
        return adapter(bytes);
    }
    let vault = Vault::plain(system());
    let path = put(NAME, bytes);
    if choice % 2 == 1 {
        vault.write(&path, "checkpoint", bytes).expect("the scratch folder takes a file");
        let content = vault.read(&path, "checkpoint", bytes.len() as u64);
        assert!(content.expect("it was just sealed") == bytes, "sealed content has changed");
    }
    let Ok(state) = checkpoint::load(&vault, &path) else { return };
    let folder = scratch().join("saved");
    let saved =
        checkpoint::save(&vault, &folder, state.snapshot(), 1).expect("an accepted state can be saved");
    let first = std::fs::read(&saved).expect("it was just saved");
    let again = checkpoint::load(&vault, &saved).expect("a saved state can be loaded");
    let saved = checkpoint::save(&vault, &folder, again.snapshot(), 1).expect("a loaded state can be saved");
    assert!(first == std::fs::read(&saved).expect("it was just saved"), "saved twice, two files");
    checkpoint::clear(&vault, &folder).expect("the folder can be emptied");
});

fn adapter(mut bytes: &[u8]) {
    let Ok(adapter) = checkpoint::decode_adapter(&mut bytes) else { return };
    let mut first = Vec::new();
    checkpoint::encode_adapter(&adapter, &mut first).expect("an accepted adapter can be written");
    let again = checkpoint::decode_adapter(&mut first.as_slice()).expect("a written adapter can be read");
    let mut second = Vec::new();
    checkpoint::encode_adapter(&again, &mut second).expect("a read adapter can be written");
    assert!(first == second, "written twice, two encodings");
}
