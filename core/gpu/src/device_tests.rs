//! Faults of a device come back as errors.

#![allow(clippy::unwrap_used)]

use crate::testing::{software, software_adapter, software_within};
use crate::{Binding, BufferRows, Constant, Error, Limits, Program, Refusal, SimulatedFault, adapters};

const DOUBLE: &str = "
@group(0) @binding(0) var<uniform> factor: f32;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&x)) { x[id.x] *= factor; }
}";

fn double(width: u32) -> Program {
    Program::new("double", [DOUBLE], [("WIDTH", Constant::Number(width))])
}

#[test]
fn a_software_device_has_to_be_allowed() {
    let adapter = software_adapter();
    assert_eq!(adapter.refusal(false), Some(Refusal::Software));
    assert_eq!(adapter.refusal(true), None);
    let name = adapter.info().name.clone();
    let refused = adapter.open(false).unwrap_err();
    assert_eq!(refused, Error::Refused { adapter: name, reason: Refusal::Software });
    assert!(adapters().iter().enumerate().all(|(place, adapter)| adapter.info().index == place));
}

#[test]
fn dispatches_run_in_order_and_see_each_other() {
    let device = software();
    let buffer = device.upload_floats("x", &[1.0, 2.0, 3.0]).unwrap();
    let pipeline = device.pipeline(&double(32)).unwrap();
    let binding = Binding::whole(device, &buffer).unwrap();
    let run = |factor: f32| device.dispatch(&pipeline, &[binding], &[factor.to_bits()], [1, 1, 1]).unwrap();
    device.submit(&[run(2.0), run(5.0), run(-1.0)]).unwrap();
    assert_eq!(device.read_floats(&buffer, 0, 3).unwrap(), [-10.0, -20.0, -30.0]);
    // A piece, and a write in between.
    device.write(&buffer, 4, bytemuck::bytes_of(&7.0f32)).unwrap();
    device.submit(&[run(2.0)]).unwrap();
    assert_eq!(device.read_floats(&buffer, 1, 2).unwrap(), [14.0, -60.0]);
}

#[test]
fn uploads_of_any_length_are_rounded_up_with_zeros() {
    let device = software();
    let bytes: Vec<u8> = (1..=7).collect();
    let buffer = device.upload("bytes", &bytes).unwrap();
    assert_eq!(device.read(&buffer, 0, 8).unwrap(), [1, 2, 3, 4, 5, 6, 7, 0]);
    // More than one piece.
    let large: Vec<u8> = (0..33u32 << 20).map(|i| ((i * 7) >> 3) as u8).collect();
    let buffer = device.upload("bytes", &large).unwrap();
    assert!(device.read(&buffer, 0, buffer.bytes()).unwrap() == large);
    assert_eq!(device.read(&buffer, 8, 0).unwrap(), []);
}

#[test]
fn places_outside_of_a_buffer_are_refused() {
    let device = software();
    let buffer = device.zeros("x", 10).unwrap();
    let out = |end| Error::OutOfRange { what: "a matrix", end, bytes: 40 };
    assert_eq!(BufferRows::new(&buffer, 1, [3, 3], 3).err(), None);
    assert_eq!(BufferRows::new(&buffer, 2, [3, 3], 3).err(), Some(out(44)));
    assert_eq!(BufferRows::new(&buffer, u64::MAX, [3, 3], 3).err(), Some(out(u64::MAX)));
    assert!(matches!(BufferRows::new(&buffer, 0, [3, 3], 2), Err(Error::Shape { expected: 3, got: 2, .. })));
    assert!(matches!(device.write(&buffer, 36, &[0; 5]), Err(Error::OutOfRange { end: 44, .. })));
    assert!(matches!(device.write(&buffer, 2, &[0; 4]), Err(Error::OutOfRange { .. })));
    assert!(matches!(device.read(&buffer, 8, 36), Err(Error::OutOfRange { .. })));
    assert!(matches!(device.read(&buffer, u64::MAX - 3, 4), Err(Error::OutOfRange { .. })));
    assert!(matches!(Binding::of_bytes(device, &buffer, 40, 4), Err(Error::OutOfRange { .. })));
    // A binding begins where the device lets one begin.
    let limits = device.limits();
    let (binding, skipped) = Binding::of_bytes(device, &buffer, 36, 4).unwrap();
    assert_eq!(skipped, 36 % limits.binding_alignment);
    assert_eq!((binding.offset, binding.bytes), (u64::from(36 - skipped), u64::from(4 + skipped)));
}

#[test]
fn limits_that_are_forced_down_hold() {
    let device = software_within(Limits { binding_bytes: 1024, buffer_bytes: 4096, ..Limits::LEAST });
    let over = |what, limit, got| Error::OverLimit { what, unit: "bytes", limit, got };
    assert_eq!(device.zeros("x", 1025).unwrap_err(), over("x", 4096, 4100));
    assert_eq!(device.zeros("x", u64::MAX).unwrap_err(), over("x", 4096, u64::MAX));
    let buffer = device.zeros("x", 300).unwrap();
    assert_eq!(Binding::whole(&device, &buffer).unwrap_err(), over("a binding", 1024, 1200));
    assert!(device.pipeline(&double(128)).is_ok());
    assert!(matches!(device.pipeline(&double(129)), Err(Error::Failed { what: "double", .. })));
    let pipeline = device.pipeline(&double(32)).unwrap();
    let (binding, _) = Binding::of_bytes(&device, &buffer, 0, 16).unwrap();
    let groups = device.dispatch(&pipeline, &[binding], &[0], [1, 65_536, 1]);
    let limit = Error::OverLimit { what: "double", unit: "workgroups", limit: 65_535, got: 65_536 };
    assert_eq!(groups.unwrap_err(), limit);
}

#[test]
fn a_text_that_is_no_shader_is_an_error_and_the_device_goes_on() {
    let device = software();
    let broken = Program::new("broken", ["fn main() { let x: u32 = 1.5; }"], []);
    assert!(matches!(device.pipeline(&broken), Err(Error::Failed { what: "broken", .. })));
    let buffer = device.upload_floats("x", &[3.0]).unwrap();
    let pipeline = device.pipeline(&double(32)).unwrap();
    // Too few bindings.
    let run = device.dispatch(&pipeline, &[], &[0], [1, 1, 1]);
    assert!(matches!(run, Err(Error::Failed { what: "double", .. })));
    let binding = Binding::whole(device, &buffer).unwrap();
    let run = device.dispatch(&pipeline, &[binding], &[2.0f32.to_bits()], [1, 1, 1]).unwrap();
    device.submit(&[run]).unwrap();
    assert_eq!(device.read_floats(&buffer, 0, 1).unwrap(), [6.0]);
}

#[test]
fn what_is_of_another_device_is_refused() {
    let [one, other] = [(); 2].map(|()| software_within(Limits::LEAST));
    let buffer = one.upload_floats("x", &[3.0]).unwrap();
    let pipeline = one.pipeline(&double(32)).unwrap();
    let binding = Binding::whole(&one, &buffer).unwrap();
    let run = one.dispatch(&pipeline, &[binding], &[0], [1, 1, 1]).unwrap();
    assert_eq!(other.submit(&[run]).err(), Some(Error::OtherDevice { what: "a dispatch" }));
    assert_eq!(other.read(&buffer, 0, 4), Err(Error::OtherDevice { what: "a buffer" }));
    assert_eq!(other.write(&buffer, 0, &[0; 4]), Err(Error::OtherDevice { what: "a buffer" }));
    let run = other.dispatch(&pipeline, &[binding], &[0], [1, 1, 1]);
    assert_eq!(run.err(), Some(Error::OtherDevice { what: "a pipeline" }));
    let pipeline = other.pipeline(&double(32)).unwrap();
    let run = other.dispatch(&pipeline, &[binding], &[0], [1, 1, 1]);
    assert_eq!(run.err(), Some(Error::OtherDevice { what: "a buffer" }));
    other.submit(&[]).unwrap();
    assert_eq!(one.read_floats(&buffer, 0, 1).unwrap(), [3.0]);
}

#[test]
fn what_was_submitted_and_did_not_run_is_noticed_by_whoever_reads() {
    let device = software_within(Limits::LEAST);
    let buffer = device.upload_floats("x", &[3.0]).unwrap();
    let pipeline = device.pipeline(&double(32)).unwrap();
    let binding = Binding::whole(&device, &buffer).unwrap();
    let run = device.dispatch(&pipeline, &[binding], &[2.0f32.to_bits()], [1, 1, 1]).unwrap();
    device.submit([&run, &run]).unwrap();
    device.clear(&device.zeros("y", 1).unwrap(), 0, 4).unwrap();
    assert_eq!(device.read_floats(&buffer, 0, 1).unwrap(), [12.0]);
    device.simulate(SimulatedFault::Skips);
    device.submit([&run]).unwrap();
    // The next one does run, and the number of both is not reached all the same.
    device.submit([&run]).unwrap();
    let reason = "what was submitted did not run to its end".to_owned();
    assert_eq!(device.read_floats(&buffer, 0, 1), Err(Error::Lost { reason: reason.clone() }));
    assert_eq!(device.wait(), Err(Error::Lost { reason }));
}

#[test]
fn a_lost_device_answers_every_call_with_its_loss() {
    let device = software_within(Limits::LEAST);
    let buffer = device.upload_floats("x", &[3.0]).unwrap();
    let pipeline = device.pipeline(&double(32)).unwrap();
    let binding = Binding::whole(&device, &buffer).unwrap();
    let run = device.dispatch(&pipeline, &[binding], &[0], [1, 1, 1]).unwrap();
    device.destroy();
    let is_lost = |error: Option<Error>| error.is_some_and(|error| matches!(error, Error::Lost { .. }));
    assert!(is_lost(device.submit(&[run]).err()));
    assert!(is_lost(device.wait().err()));
    assert!(is_lost(device.read(&buffer, 0, 4).err()));
    assert!(is_lost(device.write(&buffer, 0, &[0; 4]).err()));
    assert!(is_lost(device.zeros("x", 1).err()));
    assert!(is_lost(device.dispatch(&pipeline, &[binding], &[0], [1, 1, 1]).err()));
}
