//! A shader's text, specialized by constants, and the pipelines that are made of it.

use crate::device::{DeviceId, lock};
use crate::{Device, Error, SimulatedFault, unchecked};

/// The extension of WGSL for half precision.
pub(crate) const HALVES: &str = "f16";

/// WGSL: some files of this crate, one behind the other, and constants for them. Two are equal if they are the same text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    name: &'static str,
    sources: Vec<&'static str>,
    constants: Vec<(&'static str, Constant)>,
    checks: Checks,
    /// What it has besides plain WGSL.
    extension: Option<&'static str>,
}

/// The value of a constant, of which a shader's text is made: a number, never other words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// A `u32`.
    Number(u32),
    /// A `bool`.
    Flag(bool),
}

/// What the driver is told to check while a shader runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Checks {
    /// Every index, and every loop.
    All,
    /// Nothing: the host has checked the shapes, from which the bounds follow.
    None,
}

impl Program {
    /// The program of these files, whose entry point is `main`. The constants stand in front of them.
    pub fn new(
        name: &'static str,
        sources: impl Into<Vec<&'static str>>,
        constants: impl Into<Vec<(&'static str, Constant)>>,
    ) -> Self {
        Self {
            name,
            sources: sources.into(),
            constants: constants.into(),
            checks: Checks::All,
            extension: None,
        }
    }

    /// Turns off what is checked while the program runs. It is for a shader whose every index is inside what it is bound to for all
    /// parameters that its function on the host lets through, and whose loops end.
    pub(crate) fn without_checks(self) -> Self {
        Self { checks: Checks::None, ..self }
    }

    /// Lets it use an extension of WGSL, on devices that have it.
    pub(crate) fn with_extension(self, extension: Option<&'static str>) -> Self {
        Self { extension, ..self }
    }

    /// Its name, for errors.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The whole text.
    pub fn text(&self) -> String {
        let mut text = self.extension.map(|name| format!("enable {name};\n")).unwrap_or_default();
        for (name, value) in &self.constants {
            text += &match value {
                Constant::Number(value) => format!("const {name}: u32 = {value}u;\n"),
                Constant::Flag(value) => format!("const {name}: bool = {value};\n"),
            };
        }
        for source in &self.sources {
            text += source;
        }
        text
    }
}

/// A compiled program.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub(crate) inner: wgpu::ComputePipeline,
    pub(crate) device: DeviceId,
    pub(crate) name: &'static str,
}

impl Device {
    /// The compiled program; it is compiled once.
    ///
    /// # Errors
    /// [`Error::Failed`] if the text is no shader, or needs more than this device has; [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn pipeline(&self, program: &Program) -> Result<Pipeline, Error> {
        if let Some(pipeline) = lock(&self.pipelines).get(program) {
            return Ok(pipeline.clone());
        }
        if program.extension == Some(HALVES) && self.simulated() == Some(SimulatedFault::LostByHalves) {
            self.destroy();
        }
        let text = program.text();
        let module = self.guarded(program.name, 0, || {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(program.name),
                source: wgpu::ShaderSource::Wgsl(text.into()),
            };
            match program.checks {
                Checks::All => self.inner().create_shader_module(descriptor),
                Checks::None => unchecked::shader_module(self.inner(), descriptor),
            }
        })?;
        let inner = self.guarded(program.name, 0, || {
            self.inner().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(program.name),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[],
                    // Every shader here writes its workgroup's memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.compiled.as_ref(),
            })
        })?;
        let pipeline = Pipeline { inner, device: self.id(), name: program.name };
        // Two threads may have compiled it at once: either will do.
        lock(&self.pipelines).insert(program.clone(), pipeline.clone());
        Ok(pipeline)
    }
}
