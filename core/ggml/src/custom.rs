//! Making custom nodes, which ggml computes by calling back.

use std::ffi::c_int;

use llama_cpp_sys_2 as sys;

use crate::custom_node::CustomOp;
use crate::matrix_size::matrix_bytes;
use crate::{Error, Graph, Tensor};

/// ggml calls a node once; the node divides the work itself.
const ONE_TASK: c_int = 1;

/// Where the result of an operation goes.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// To a new tensor.
    Alloc,
    /// It is added to what this tensor holds, which must not be used any more; only for a sum.
    Accumulate(Tensor),
    /// It overwrites what this tensor holds, which must not be used any more.
    Overwrite(Tensor),
}

impl Graph {
    /// Makes a node whose result goes to `output`.
    pub(crate) fn custom_to(
        &mut self,
        op: CustomOp,
        output: Output,
        [n_rows, n_cols]: [usize; 2],
        operands: &[Tensor],
    ) -> Result<Tensor, Error> {
        match output {
            Output::Alloc => self.custom(op, [n_rows, n_cols], operands),
            Output::Accumulate(target) | Output::Overwrite(target) => {
                self.expect_shape(op.name(), target, (n_rows, n_cols))?;
                self.custom_inplace(op, target, operands)
            }
        }
    }

    pub(crate) fn custom(
        &mut self,
        op: CustomOp,
        [n_rows, n_cols]: [usize; 2],
        operands: &[Tensor],
    ) -> Result<Tensor, Error> {
        let (name, callback) = (op.name(), op.callback());
        matrix_bytes(name, [n_rows, n_cols])?;
        let mut operands = self.operands(name, operands)?;
        self.reserve_tensors(name, 1)?;
        let node = self.keep_node(op);
        // SAFETY: fewer operands than ggml's limit of 10, all in this context, which has room; the callback
        // gets operands whose shapes the caller of this method checked, and a node that the graph keeps.
        let node = unsafe {
            sys::ggml_custom_4d(
                self.context(),
                sys::GGML_TYPE_F32,
                n_cols as i64,
                n_rows as i64,
                1,
                1,
                operands.as_mut_ptr(),
                operands.len() as c_int,
                Some(callback),
                ONE_TASK,
                node.cast(),
            )
        };
        self.wrap_node(node)
    }

    /// Makes a node whose result overwrites `target`, which a callback does not see among its operands. It
    /// refuses operands in the target's memory.
    pub(crate) fn custom_inplace(
        &mut self,
        op: CustomOp,
        target: Tensor,
        operands: &[Tensor],
    ) -> Result<Tensor, Error> {
        for &operand in operands {
            self.expect_disjoint(op.name(), operand, target)?;
        }
        self.inplace_node(op, target, operands)
    }

    /// Makes a node whose result overwrites `target`. Operands that its callback reads as a whole must be apart from it. Every
    /// node that writes in place is made here, and refuses what cannot be written to.
    pub(crate) fn inplace_node(
        &mut self,
        op: CustomOp,
        target: Tensor,
        operands: &[Tensor],
    ) -> Result<Tensor, Error> {
        let (name, callback) = (op.name(), op.callback());
        let target_pointer = self.expect_writable(name, target)?;
        let mut operands = self.operands(name, operands)?;
        self.reserve_tensors(name, 1)?;
        let node = self.keep_node(op);
        // SAFETY: as in `custom`; the node is a view of its target, which may be written to.
        let node = unsafe {
            sys::ggml_custom_inplace(
                self.context(),
                target_pointer,
                operands.as_mut_ptr(),
                operands.len() as c_int,
                Some(callback),
                ONE_TASK,
                node.cast(),
            )
        };
        self.wrap_node(node)
    }

    fn operands(&self, op: &'static str, tensors: &[Tensor]) -> Result<Vec<*mut sys::ggml_tensor>, Error> {
        tensors.iter().map(|&t| self.pointer(op, t)).collect()
    }
}
