//! The integration tests, one module a topic. Those in `golden` need the real model.

mod architectures;
mod cli;
#[cfg(unix)]
mod docs;
mod formats;
mod gate;
mod golden;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod gpu;
#[cfg(unix)]
mod model_changed;
mod night;
mod privacy;
mod resume;
mod run_date;
mod support;
