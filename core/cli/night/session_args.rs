//! What every command that works on a session has to know.

use std::path::PathBuf;

use anyhow::Result;
use nightgraft_core::session::{NightSettings, OnChange, SessionRequest};
use nightgraft_store::{Store, StoreOptions};

use crate::{fetch::catalogue, key::KeyArgs, settings::TrainSettings, size::parse_size};

#[derive(clap::Args)]
pub struct SessionArgs {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Folder with the examples, the session under way and the grafts; made if it is not there
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// Bytes that the store may take, such as 500MiB; old grafts make room
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    quota: Option<u64>,
    /// TOML file: `replay`, and the tables `policy` (when it may run) and `gate` (what may be used)
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Texts on which the model must not get worse, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    probe: Option<PathBuf>,
    /// Memory that the training may take, such as 300MiB; the mapped model is not counted
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Forget a session that was begun with another model, other settings or examples that are gone
    #[arg(long)]
    start_anew: bool,
}

impl SessionArgs {
    pub fn open_store(&self, settings: &TrainSettings) -> Result<Store> {
        let options = StoreOptions {
            key: self.key.read()?,
            quota: self.quota,
            create: true,
            seed: Some(settings.resolve()?.run.seed),
            ..StoreOptions::default()
        };
        Ok(Store::open(&self.store, options)?)
    }

    pub fn night_settings(&self) -> Result<NightSettings> {
        Ok(self.rules.as_deref().map(NightSettings::read).transpose()?.unwrap_or_default())
    }

    pub fn request(&self, settings: &TrainSettings) -> Result<SessionRequest> {
        let NightSettings { replay, gate, .. } = self.night_settings()?;
        let request = SessionRequest {
            model: catalogue::model_path(self.model.clone())?,
            training: settings.resolve()?,
            gate,
            replay,
            probe: self.probe.clone(),
            on_change: if self.start_anew { OnChange::StartAnew } else { OnChange::Refuse },
            memory_limit: self.memory,
            devices: settings.devices(),
        };
        request.validate()?;
        Ok(request)
    }
}
