//! The GPUs of this machine, as their drivers describe them, and why one is refused.

use std::fmt;

use serde::Serialize;

use crate::{Device, Error, Limit, Limits, unchecked};

/// A GPU, or what presents itself as one.
#[derive(Clone, Debug)]
pub struct Adapter {
    inner: wgpu::Adapter,
    info: AdapterInfo,
}

/// What a driver says of an adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdapterInfo {
    /// Its place among the adapters of this machine.
    pub index: usize,
    /// The name, such as `Apple M2` or `Adreno (TM) 750`.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// The interface that its driver speaks.
    pub backend: Backend,
    /// The driver's name.
    pub driver: String,
    /// The driver's version.
    pub driver_version: String,
    /// The vendor's number, of the PCI registry where it is below 65536.
    pub vendor: u32,
    /// The vendor's number of the device.
    pub device: u32,
    /// What it can do at most.
    pub limits: Limits,
    /// What it can do besides.
    pub features: Features,
}

/// What an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdapterKind {
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU with memory of its own.
    Discrete,
    /// A part of another machine's GPU.
    Virtual,
    /// A program on the CPU.
    Software,
    /// The driver does not say.
    Unknown,
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integrated => "integrated GPU",
            Self::Discrete => "discrete GPU",
            Self::Virtual => "virtual GPU",
            Self::Software => "software on the CPU",
            Self::Unknown => "unknown",
        })
    }
}

/// The interface of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backend {
    /// Khronos' Vulkan.
    Vulkan,
    /// Apple's Metal.
    Metal,
    /// Another one, which this crate does not ask for.
    Other,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vulkan => "Vulkan",
            Self::Metal => "Metal",
            Self::Other => "other",
        })
    }
}

/// What a device can do that not every device can. Nothing here depends on any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Features {
    /// Shaders compute in half precision.
    pub f16: bool,
    /// Invocations exchange values without memory; `None` if they cannot, else how many do at least and at most.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// Subgroups of 32 invocations multiply matrices of 8 by 8 in single precision at once.
    pub cooperative_matrices: bool,
}

/// Why an adapter is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It computes on the CPU, where this project's own kernels are faster.
    Software,
    /// It can do too little at once.
    Limit {
        /// What there is too little of.
        limit: Limit,
        /// The least that is needed.
        needed: u64,
        /// What it has.
        found: u64,
    },
    /// Its driver has no compute shaders.
    NoCompute,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Software => f.write_str("it computes on the CPU; allow software devices to use it"),
            Self::Limit { limit, needed, found } => {
                write!(f, "it has {found} {limit}, and {needed} are needed")
            }
            Self::NoCompute => f.write_str("its driver has no compute shaders"),
        }
    }
}

/// All adapters that drivers of Vulkan and Metal offer on this machine; none if there is no driver.
pub fn adapters() -> Vec<Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Neither the validation layers nor the debugger's names of a developer's machine.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let found = pollster::block_on(instance.enumerate_adapters(backends));
    found
        .into_iter()
        .enumerate()
        .map(|(index, inner)| Adapter { info: describe(&inner, index), inner })
        .collect()
}

impl Adapter {
    /// What its driver says of it.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Why it cannot be used, if so. A software device can only if it is allowed.
    pub fn refusal(&self, allow_software: bool) -> Option<Refusal> {
        if !self.inner.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
            return Some(Refusal::NoCompute);
        }
        if self.info.kind == AdapterKind::Software && !allow_software {
            return Some(Refusal::Software);
        }
        // What it is held to is not what it lacks.
        let shortfall = Limits::of(&self.inner.limits()).shortfall();
        shortfall.map(|(limit, needed, found)| Refusal::Limit { limit, needed, found })
    }

    /// Holds it to these limits where it could do more, and to plain shaders.
    pub fn within(self, limits: Limits) -> Self {
        let limits = self.info.limits.at_most(limits);
        Self { info: AdapterInfo { limits, features: Features::default(), ..self.info }, ..self }
    }

    /// Opens a device with all that the adapter can do.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Open`].
    pub fn open(&self, allow_software: bool) -> Result<Device, Error> {
        let adapter = || self.info.name.clone();
        if let Some(reason) = self.refusal(allow_software) {
            return Err(Error::Refused { adapter: adapter(), reason });
        }
        let AdapterInfo { limits, features, .. } = self.info;
        let mut wanted = wgpu::Features::PIPELINE_CACHE;
        wanted.set(wgpu::Features::SHADER_F16, features.f16);
        wanted.set(wgpu::Features::SUBGROUP, features.subgroup_sizes.is_some());
        wanted.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, features.cooperative_matrices);
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: self.inner.features() & wanted,
            required_limits: limits.required(&self.inner.limits()),
            experimental_features: match features.cooperative_matrices {
                true => unchecked::experimental_features(),
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            trace: wgpu::Trace::Off,
        };
        let opened = pollster::block_on(self.inner.request_device(&descriptor));
        let (device, queue) =
            opened.map_err(|error| Error::Open { adapter: adapter(), reason: error.to_string() })?;
        Ok(Device::new(device, queue, self.info.clone()))
    }
}

fn describe(adapter: &wgpu::Adapter, index: usize) -> AdapterInfo {
    let info = adapter.get_info();
    let features = adapter.features();
    let subgroup_sizes = match info.backend {
        // wgpu does not know them on Metal. SIMD groups of Apple's own GPUs have 32 lanes; those of older Macs are others'.
        wgpu::Backend::Metal if info.name.starts_with("Apple") => [32, 32],
        _ => [info.subgroup_min_size, info.subgroup_max_size],
    };
    AdapterInfo {
        index,
        name: info.name,
        kind: match info.device_type {
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Unknown,
        },
        backend: match info.backend {
            wgpu::Backend::Vulkan => Backend::Vulkan,
            wgpu::Backend::Metal => Backend::Metal,
            _ => Backend::Other,
        },
        driver: info.driver,
        driver_version: info.driver_info,
        vendor: info.vendor,
        device: info.device,
        limits: Limits::of(&adapter.limits()),
        features: Features {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroup_sizes: features.contains(wgpu::Features::SUBGROUP).then_some(subgroup_sizes),
            cooperative_matrices: has_matrix_units(adapter) && subgroup_sizes == [32, 32],
        },
    }
}

/// Whether matrices of the one shape and type that shaders here have are multiplied at once: drivers offer others, such as 16 by 16
/// in half precision, under the same feature.
fn has_matrix_units(adapter: &wgpu::Adapter) -> bool {
    use wgpu::wgt::{CooperativeMatrixProperties, CooperativeScalarType::F32};

    let has_feature = adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    let is_ours = |offered: CooperativeMatrixProperties| {
        let CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = offered;
        [m_size, n_size, k_size] == [8; 3] && [ab_type, cr_type] == [F32; 2]
    };
    has_feature && adapter.cooperative_matrix_properties().into_iter().any(is_ours)
}
