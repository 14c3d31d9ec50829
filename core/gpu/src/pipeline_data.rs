//! Compiled shaders as a driver gives them away, so that the next process need not compile them again.

use sha2::{Digest, Sha256};

use crate::{Device, Error, unchecked};

/// Bytes of a SHA-256.
const CHECKSUM: usize = 32;

/// What a driver's compiler has made, in a form of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineData(Vec<u8>);

impl PipelineData {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote; gives none if it is not whole, so that no driver reads what is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (checksum, data) = bytes.split_at_checked(CHECKSUM)?;
        (Sha256::digest(data).as_slice() == checksum).then(|| Self(data.to_vec()))
    }

    /// For a file: a checksum, then what the driver gave.
    pub fn to_bytes(&self) -> Vec<u8> {
        [Sha256::digest(&self.0).as_slice(), &self.0].concat()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Device {
    /// Uses what an earlier process compiled, as far as it is of this driver, and collects from now on what is compiled. Does nothing
    /// on devices that have no such thing, as Metal's.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn reuse_pipelines(&mut self, data: Option<&PipelineData>) -> Result<(), Error> {
        if self.inner().features().contains(wgpu::Features::PIPELINE_CACHE) {
            let cache =
                self.guarded("compiled shaders", 0, || unchecked::pipeline_cache(self.inner(), data))?;
            self.compiled = Some(cache);
        }
        Ok(())
    }

    /// What was compiled so far; none on devices that have no such thing.
    pub fn pipeline_data(&self) -> Option<PipelineData> {
        self.compiled.as_ref()?.get_data().map(PipelineData)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Program;
    use crate::testing::software_adapter;

    const SHADER: &str = "
@group(0) @binding(0) var<uniform> p: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1)
fn main() { y[0] = p.x; }";

    fn device(data: Option<&PipelineData>) -> Device {
        let mut device = software_adapter().open(true).unwrap();
        device.reuse_pipelines(data).unwrap();
        device.pipeline(&Program::new("shader", [SHADER], [])).unwrap();
        device
    }

    #[test]
    fn compiled_shaders_outlive_a_device_and_damage_is_found() {
        let data = device(None).pipeline_data().unwrap();
        let bytes = data.to_bytes();
        let again = PipelineData::from_bytes(&bytes).unwrap();
        assert_eq!(again, data);
        assert!(device(Some(&again)).pipeline_data().is_some());
        for place in [0, CHECKSUM, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(PipelineData::from_bytes(&damaged), None);
        }
        assert_eq!(PipelineData::from_bytes(&bytes[..20]), None);
    }
}
