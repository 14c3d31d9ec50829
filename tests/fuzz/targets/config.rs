//! A configuration file. What is accepted must come back the same when it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightgraft_core::config::TrainConfig;

fuzz_target!(|text: &str| {
    let Ok(config) = TrainConfig::from_toml(text) else { return };
    if config.validate().is_ok() {
        let written = config.to_toml().expect("a valid configuration can be written");
        assert_eq!(TrainConfig::from_toml(&written).expect("and read"), config);
    }
});
