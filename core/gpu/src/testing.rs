//! The device that tests run on.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, OnceLock};

use crate::{Adapter, AdapterKind, Device, Limits, adapters};

/// A device in software, such as Mesa's lavapipe, which computes the same on every machine. Without one the tests fail.
pub(crate) fn software() -> &'static Arc<Device> {
    static DEVICE: OnceLock<Arc<Device>> = OnceLock::new();
    DEVICE.get_or_init(|| Arc::new(software_adapter().open(true).unwrap()))
}

/// Another one, with its limits forced down.
pub(crate) fn software_within(limits: Limits) -> Arc<Device> {
    Arc::new(software_adapter().within(limits).open(true).unwrap())
}

pub(crate) fn software_adapter() -> Adapter {
    let found = adapters().into_iter().find(|adapter| adapter.info().kind == AdapterKind::Software);
    found.expect("there is a Vulkan driver in software: on Debian, install mesa-vulkan-drivers")
}

/// Translates a shader to what Vulkan and Metal are given, after checking that it needs no more than the [least](Limits::LEAST).
pub(crate) fn translate(text: &str, workgroup_bytes: u32, invocations: u32) {
    use naga::back::{msl, spv};
    use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

    let module = naga::front::wgsl::parse_str(text).unwrap();
    let info = Validator::new(
        ValidationFlags::all(),
        Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP,
    )
    .subgroup_stages(ShaderStages::COMPUTE)
    .subgroup_operations(SubgroupOperationSet::all())
    .validate(&module)
    .unwrap();
    let entry = &module.entry_points[0];
    let size: u32 = entry.workgroup_size.iter().product();
    assert!(size <= invocations, "{size} invocations");
    let mut bytes = 0;
    let mut buffers = 0;
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            naga::AddressSpace::WorkGroup => bytes += module.types[variable.ty].inner.size(module.to_ctx()),
            naga::AddressSpace::Storage { .. } => buffers += 1,
            _ => {}
        }
    }
    assert!(bytes <= workgroup_bytes, "{bytes} bytes of workgroup memory");
    assert!(buffers <= Limits::LEAST.storage_buffers, "{buffers} storage buffers");
    // Subgroups have been there since Vulkan 1.1.
    let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
    spv::write_vec(&module, &info, &options, None).unwrap();
    // Matrix units have been there since Metal 2.3.
    let options = msl::Options { lang_version: (2, 3), ..msl::Options::default() };
    let (source, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default()).unwrap();
    assert!(source.contains("kernel void main_("));
}
