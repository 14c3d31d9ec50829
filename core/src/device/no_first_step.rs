//! The place of the first step with a GPU in a build that has none: there are no values of this type.

/// The first step with a device is under way.
#[derive(Debug)]
pub enum FirstStep {}

impl FirstStep {
    pub fn begin(&mut self) {
        match *self {}
    }

    pub fn pause(&mut self) {
        match *self {}
    }

    pub fn made(self) {
        match self {}
    }
}
