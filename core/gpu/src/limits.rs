//! What a device can do at most, and the least with which everything here runs.

use std::fmt;

use serde::Serialize;

/// The limits of a device that decide how work is cut. Byte counts are bytes, the others numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The largest buffer.
    pub buffer_bytes: u64,
    /// The largest piece of a buffer that a shader sees at once: larger matrices are bound by rows.
    pub binding_bytes: u64,
    /// What the offset of such a piece is a multiple of.
    pub binding_alignment: u32,
    /// Pieces of buffers that a shader sees at once.
    pub storage_buffers: u32,
    /// Memory that the invocations of a workgroup share.
    pub workgroup_bytes: u32,
    /// Invocations of a workgroup.
    pub workgroup_invocations: u32,
    /// Workgroups of a dispatch along each axis.
    pub workgroups: u32,
}

/// One of the [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::buffer_bytes`]
    BufferBytes,
    /// [`Limits::binding_bytes`]
    BindingBytes,
    /// [`Limits::storage_buffers`]
    StorageBuffers,
    /// [`Limits::workgroup_bytes`]
    WorkgroupBytes,
    /// [`Limits::workgroup_invocations`]
    WorkgroupInvocations,
    /// [`Limits::workgroups`]
    Workgroups,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BufferBytes => "bytes of a buffer",
            Self::BindingBytes => "bytes of a binding",
            Self::StorageBuffers => "storage buffers of a shader",
            Self::WorkgroupBytes => "bytes of workgroup memory",
            Self::WorkgroupInvocations => "invocations of a workgroup",
            Self::Workgroups => "workgroups of a dispatch",
        })
    }
}

impl Limits {
    /// The least that everything here runs with, which modest phones have: what Vulkan 1.1 asks of every device in workgroups, and
    /// of buffers the half of what it asks or less.
    pub const LEAST: Self = Self {
        buffer_bytes: 64 << 20,
        binding_bytes: 64 << 20,
        binding_alignment: 256,
        storage_buffers: 4,
        workgroup_bytes: 16 << 10,
        workgroup_invocations: 128,
        workgroups: 65_535,
    };

    /// The worse of both in everything.
    pub fn at_most(self, other: Self) -> Self {
        Self {
            buffer_bytes: self.buffer_bytes.min(other.buffer_bytes),
            binding_bytes: self.binding_bytes.min(other.binding_bytes),
            binding_alignment: self.binding_alignment.max(other.binding_alignment),
            storage_buffers: self.storage_buffers.min(other.storage_buffers),
            workgroup_bytes: self.workgroup_bytes.min(other.workgroup_bytes),
            workgroup_invocations: self.workgroup_invocations.min(other.workgroup_invocations),
            workgroups: self.workgroups.min(other.workgroups),
        }
    }

    /// The first limit that is below [`Limits::LEAST`], with what is needed and what there is.
    pub(crate) fn shortfall(&self) -> Option<(Limit, u64, u64)> {
        let least = Self::LEAST;
        [
            (Limit::BufferBytes, least.buffer_bytes, self.buffer_bytes),
            (Limit::BindingBytes, least.binding_bytes, self.binding_bytes),
            (Limit::StorageBuffers, least.storage_buffers.into(), self.storage_buffers.into()),
            (Limit::WorkgroupBytes, least.workgroup_bytes.into(), self.workgroup_bytes.into()),
            (
                Limit::WorkgroupInvocations,
                least.workgroup_invocations.into(),
                self.workgroup_invocations.into(),
            ),
            (Limit::Workgroups, least.workgroups.into(), self.workgroups.into()),
        ]
        .into_iter()
        .find(|(_, needed, found)| found < needed)
    }

    pub(crate) fn of(limits: &wgpu::Limits) -> Self {
        let sizes = [limits.max_compute_workgroup_size_x, limits.max_compute_invocations_per_workgroup];
        Self {
            buffer_bytes: limits.max_buffer_size,
            // Places in a binding are computed in 32 bits.
            binding_bytes: limits.max_storage_buffer_binding_size.min(u64::from(u32::MAX) / 4 * 4),
            binding_alignment: limits.min_storage_buffer_offset_alignment,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: sizes.into_iter().min().unwrap_or(0),
            workgroups: limits.max_compute_workgroups_per_dimension,
        }
    }

    /// These limits as a device is asked for them; all others are the adapter's.
    pub(crate) fn required(&self, of_adapter: &wgpu::Limits) -> wgpu::Limits {
        wgpu::Limits {
            max_buffer_size: self.buffer_bytes,
            max_storage_buffer_binding_size: self.binding_bytes,
            min_storage_buffer_offset_alignment: self.binding_alignment,
            max_storage_buffers_per_shader_stage: self.storage_buffers,
            max_compute_workgroup_storage_size: self.workgroup_bytes,
            max_compute_invocations_per_workgroup: self.workgroup_invocations,
            max_compute_workgroup_size_x: self.workgroup_invocations,
            max_compute_workgroups_per_dimension: self.workgroups,
            ..of_adapter.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_worse_of_two_is_taken_and_the_shortfall_named() {
        let roomy = Limits {
            buffer_bytes: 1 << 32,
            binding_bytes: 1 << 30,
            binding_alignment: 64,
            storage_buffers: 8,
            workgroup_bytes: 32 << 10,
            workgroup_invocations: 1024,
            workgroups: 65_535,
        };
        assert_eq!(roomy.at_most(Limits::LEAST), Limits::LEAST);
        assert_eq!((roomy.shortfall(), Limits::LEAST.shortfall()), (None, None));
        let small = Limits { workgroup_bytes: 8 << 10, ..roomy };
        assert_eq!(small.shortfall(), Some((Limit::WorkgroupBytes, 16 << 10, 8 << 10)));
        let required = small.required(&wgpu::Limits::default());
        assert_eq!(Limits::of(&required), small);
    }
}
