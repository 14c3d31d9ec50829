//! The options that say what computes.

use std::path::PathBuf;

use clap::Args;
use nightgraft_core::{
    config::{Device, TrainConfig},
    session::DeviceOptions,
};

use super::{parsed, set};
use crate::fetch;

/// What computes.
#[derive(Args)]
pub struct DeviceArgs {
    /// What computes: cpu, gpu, gpu:N (its number in `devices`), auto (a GPU that computes right and faster) [default: cpu]
    #[arg(long, value_name = "NAME", help_heading = "Run", value_parser = parsed::<Device>)]
    device: Option<Device>,
    /// Let a GPU compute that is a program on the processor, such as Mesa's lavapipe
    #[arg(long, help_heading = "Run")]
    allow_software: bool,
}

impl DeviceArgs {
    /// How GPUs may be used. What is found out about them is kept in the cache folder.
    pub fn options(&self) -> DeviceOptions {
        DeviceOptions { allow_software: self.allow_software, records: device_records() }
    }

    pub(super) fn apply(&self, config: &mut TrainConfig) {
        set(&mut config.run.device, &self.device);
    }
}

/// The folder with what was found out about GPUs; none if no folder for caches is known.
pub fn device_records() -> Option<PathBuf> {
    Some(fetch::cache_folder().ok()?.join("gpu"))
}
