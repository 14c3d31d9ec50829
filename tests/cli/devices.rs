//! `nightgraft devices`, on Mesa's device in software, which every machine that tests has.

use serde_json::Value;

use super::Sandbox;

/// The device in software among those of a listing.
fn software(devices: Value) -> Value {
    let devices = devices.as_array().unwrap().clone();
    let software = devices.into_iter().find(|device| device["kind"] == "software");
    software.expect("there is a Vulkan driver in software: on Debian, install mesa-vulkan-drivers")
}

#[test]
fn a_device_in_software_is_listed_and_refused_unless_it_is_allowed() {
    let sandbox = Sandbox::new();
    let shown = software(sandbox.run("devices --json").ok().json());
    assert_eq!(shown["refusal"], "it computes on the CPU; allow software devices to use it");
    assert_eq!(shown["backend"], "vulkan");
    assert!(shown["limits"]["binding_bytes"].as_u64().unwrap() >= 64 << 20, "{shown}");
    assert!(shown["features"]["f16"].is_boolean() && shown.get("probe").is_none(), "{shown}");
    let allowed = software(sandbox.run("devices --json --allow-software").ok().json());
    assert_eq!(allowed["refusal"], Value::Null);
    let text = sandbox.run("devices").ok().out;
    assert!(text.contains(shown["name"].as_str().unwrap()), "{text}");
    assert!(text.contains("no: it computes on the CPU"), "{text}");
}

/// What is refused is not probed; what is probed computes right.
#[test]
fn a_probe_compares_every_format_in_both_directions() {
    let sandbox = Sandbox::new();
    assert!(software(sandbox.run("devices --json --probe").json()).get("probe").is_none());
    let probed = software(sandbox.run("devices --json --probe --allow-software").ok().json());
    let done = &probed["probe"]["done"];
    assert_eq!(done["passed"], true, "{probed}");
    let products = done["products"].as_array().unwrap();
    for kind in nightgraft_kernels::WeightType::ALL {
        for transposed in [false, true] {
            let is_this =
                |check: &&Value| check["format"] == kind.name() && check["transposed"] == transposed;
            let check = products.iter().find(is_this).unwrap();
            assert!(check["cosine"].as_f64().unwrap() > 0.999999, "{check}");
        }
    }
    assert!(done["speed"]["peak_gflops"].as_f64().unwrap() > 0.0);
}
