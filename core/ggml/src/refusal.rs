//! Nodes that were not computed.

use std::sync::{Mutex, PoisonError};

use nightgraft_kernels::{KernelError, ShapeError};

/// Why a node of a graph was not computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its kernel refused.
    #[error(transparent)]
    Kernel(KernelError),
    /// An operand, counted from 0, is not in a form that the kernel reads.
    #[error("operand {0} is not in a form that the kernel reads")]
    Operand(usize),
    /// The node's parameters are those of another operation.
    #[error("its parameters are those of another operation")]
    Params,
}

impl From<KernelError> for Refusal {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl From<ShapeError> for Refusal {
    fn from(error: ShapeError) -> Self {
        Self::Kernel(error.into())
    }
}

/// The first node of a graph that was refused in the computation under way.
#[derive(Default)]
pub(crate) struct FirstRefusal(Mutex<Option<(&'static str, Refusal)>>);

impl FirstRefusal {
    /// Whether a node was refused: then none that follow is computed.
    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Notes why `op` was refused, unless another one was before.
    pub(crate) fn set(&self, op: &'static str, refusal: Refusal) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((op, refusal));
    }

    /// What was noted, which is forgotten.
    pub(crate) fn take(&self) -> Option<(&'static str, Refusal)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
