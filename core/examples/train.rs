//! Trains an adapter on a file of examples: `cargo run --release -p nightgraft-core --example train -- MODEL.gguf DATA.jsonl OUT`.

use std::path::PathBuf;

use nightgraft_core::config::TrainConfig;
use nightgraft_core::session::{DeviceOptions, Event, RequestedShape, StopFlag, TrainRequest, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, data, out] = <[PathBuf; 3]>::try_from(paths).map_err(|_| "usage: train MODEL DATA OUT")?;
    let request = TrainRequest {
        model,
        data,
        format: None,
        valid: None,
        out,
        init_adapter: None,
        requested_shape: RequestedShape::default(),
        // Rate and micro-batch are chosen by what there is to learn and by the model; passes are three.
        config: TrainConfig::default(),
        memory_limit: Some(400 << 20),
        curve: None,
        devices: DeviceOptions::default(),
    };
    // A clone of the flag, raised from another thread or a signal's handler, ends the run with everything saved.
    let stop = StopFlag::new();
    let report = train(&request, &stop, &mut |event| match event {
        Event::Step(step) => println!("step {}: loss {:.3}", step.step, step.loss),
        Event::Evaluated { loss, .. } => println!("held-out loss {loss:.3}"),
        _ => {}
    })?;
    println!("{:?} after {} steps: {}", report.outcome, report.steps, request.out.join("adapter").display());
    Ok(())
}
