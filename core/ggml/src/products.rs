//! Products with weights, as custom nodes.

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::{Direction, Int16Rows, WeightType};

use crate::custom_node::{CustomOp, ProductKind, SumOfProducts};
use crate::{Buffer, Error, Graph, Output, Tensor, weight_type};

/// A product with a matrix in any format; see [`nightgraft_kernels::F32Product`] and
/// [`nightgraft_kernels::Int16Product`].
#[derive(Debug, Clone, Copy)]
pub enum Product {
    /// `scale · x · Wᵀ`: `w` `[n_out, n_in]`, `x` `[T, n_in]`.
    Linear {
        /// The matrix.
        w: Tensor,
        /// The rows.
        x: Tensor,
        /// A factor of the product.
        scale: f32,
    },
    /// `dy · W`: `w` `[n_out, n_in]`, `dy` `[T, n_out]`.
    Transposed {
        /// The matrix.
        w: Tensor,
        /// The rows.
        dy: Tensor,
    },
    /// `x · Wᵀ` or `x · W` for rows from [`Graph::quantize_rows_int16`]; only the first product of a sum can be one.
    Int16 {
        /// The matrix, `[n_out, n_in]`.
        w: Tensor,
        /// The rows.
        x: Tensor,
        /// Which of the two products.
        direction: Direction,
    },
}

impl Graph {
    /// Quantizes the rows of `x` `[T, n]` to 16-bit integers, for [`Product::Int16`].
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::Shape`] if `n` is not a multiple of 32.
    pub fn quantize_rows_int16(&mut self, x: Tensor) -> Result<Tensor, Error> {
        let op = "quantize_rows_int16";
        let (n_rows, n_cols) = self.shape(op, x)?;
        self.expect_f32(op, x)?;
        let width = Int16Rows::columns(n_cols).ok_or_else(|| Error::Shape {
            op,
            expected: "a multiple of 32 columns".into(),
            got: n_cols.to_string(),
        })?;
        self.custom(CustomOp::QuantizeRowsInt16, [n_rows, width], &[x])
    }

    /// `y = x · Wᵀ`: `w` is `[n_out, n_in]` in any format, `x` `[T, n_in]`, the result `[T, n_out]`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::WeightType`], [`Error::ForeignTensor`].
    pub fn linear(&mut self, w: Tensor, x: Tensor) -> Result<Tensor, Error> {
        self.sum_of_products(&[Product::Linear { w, x, scale: 1.0 }], None, Output::Alloc)
    }

    /// `dx = dy · W`: `w` is `[n_out, n_in]` in any format, `dy` `[T, n_out]`, the result `[T, n_in]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn linear_transposed(&mut self, w: Tensor, dy: Tensor) -> Result<Tensor, Error> {
        self.sum_of_products(&[Product::Transposed { w, dy }], None, Output::Alloc)
    }

    /// `addend + Σ products`, of one or two products of one shape. The addend, if there is one, has that shape, too, or is one
    /// row for all of theirs, such as a bias; it lies apart from the result.
    ///
    /// # Errors
    /// They are those of [`Graph::linear`], and [`Error::ReadOnly`] for an output that is a mapped weight.
    pub fn sum_of_products(
        &mut self,
        products: &[Product],
        addend: Option<Tensor>,
        output: Output,
    ) -> Result<Tensor, Error> {
        let op = "sum_of_products";
        let accumulate = matches!(output, Output::Accumulate(_));
        if !(1..=2).contains(&products.len()) || (accumulate && addend.is_some()) {
            return Err(Error::Shape {
                op,
                expected: "one or two products, and one thing to add them to".into(),
                got: products.len().to_string(),
            });
        }
        let mut shape = None;
        let (mut operands, mut kinds) = (Vec::new(), Vec::new());
        for product in products {
            let (of_product, w, x) = match *product {
                Product::Linear { w, x, scale } => {
                    kinds.push(ProductKind::Linear { scale });
                    (self.linear_shape(op, w, x)?, w, x)
                }
                Product::Transposed { w, dy } => {
                    kinds.push(ProductKind::Transposed);
                    (self.transposed_shape(op, w, dy)?, w, dy)
                }
                Product::Int16 { w, x, direction } => {
                    kinds.push(ProductKind::Int16(direction));
                    (self.int16_shape(op, w, x, direction, kinds.len() == 1)?, w, x)
                }
            };
            let shape = *shape.get_or_insert(of_product);
            if of_product != shape {
                return Err(Error::Shape {
                    op,
                    expected: format!("{shape:?}"),
                    got: format!("{of_product:?}"),
                });
            }
            operands.extend([w, x]);
        }
        let shape = shape.expect("there is a product");
        if let Some(addend) = addend {
            let n_rows = if self.shape(op, addend)?.0 == 1 { 1 } else { shape.0 };
            self.expect_shape(op, addend, (n_rows, shape.1))?;
            operands.push(addend);
        }
        let sum = CustomOp::SumOfProducts(SumOfProducts { kinds, accumulate });
        self.custom_to(sum, output, [shape.0, shape.1], &operands)
    }

    /// `grad += uᵀ · x`, when the graph is computed: `u` is `[T, r]`, `x` `[T, n]`, `grad` `[r, n]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] if `grad` is a mapped weight.
    pub fn accumulate_outer(&mut self, grad: &Buffer, u: Tensor, x: Tensor) -> Result<(), Error> {
        let op = "accumulate_outer";
        let ((n_tokens, rank), (n_tokens_x, n)) = (self.shape(op, u)?, self.shape(op, x)?);
        if n_tokens != n_tokens_x || grad.shape() != (rank, n) {
            return Err(Error::Shape {
                op,
                expected: format!("[T, r], [T, n] and [r, n], here [{rank}, {n}]"),
                got: format!("[{n_tokens}, {rank}], [{n_tokens_x}, {n}] and {:?}", grad.shape()),
            });
        }
        let grad = self.tensor(grad)?;
        self.expect_f32(op, u)?;
        self.expect_f32(op, x)?;
        let node = self.custom_inplace(CustomOp::AccumulateOuter, grad, &[u, x])?;
        self.schedule(node)
    }

    pub(crate) fn linear_shape(
        &self,
        op: &'static str,
        w: Tensor,
        x: Tensor,
    ) -> Result<(usize, usize), Error> {
        let ((n_out, n_in), (n_tokens, width)) = (self.weight_shape(op, w)?, self.shape(op, x)?);
        if n_in != width {
            return Err(Error::Shape {
                op,
                expected: format!("x of {n_in} columns"),
                got: width.to_string(),
            });
        }
        self.expect_f32(op, x)?;
        Ok((n_tokens, n_out))
    }

    pub(crate) fn transposed_shape(
        &self,
        op: &'static str,
        w: Tensor,
        dy: Tensor,
    ) -> Result<(usize, usize), Error> {
        let ((n_out, n_in), (n_tokens, width)) = (self.weight_shape(op, w)?, self.shape(op, dy)?);
        if n_out != width {
            return Err(Error::Shape {
                op,
                expected: format!("dy of {n_out} columns"),
                got: width.to_string(),
            });
        }
        self.expect_f32(op, dy)?;
        Ok((n_tokens, n_in))
    }

    fn int16_shape(
        &self,
        op: &'static str,
        w: Tensor,
        x: Tensor,
        direction: Direction,
        is_first: bool,
    ) -> Result<(usize, usize), Error> {
        let ((n_out, n_in), (n_tokens, width)) = (self.weight_shape(op, w)?, self.shape(op, x)?);
        let (from, to) = match direction {
            Direction::Linear => (n_in, n_out),
            Direction::Transposed => (n_out, n_in),
        };
        self.expect_f32(op, x)?;
        if !is_first || Int16Rows::columns(from) != Some(width) {
            return Err(Error::Shape {
                op,
                expected: format!("a first product, with quantized rows of {from} values"),
                got: format!("{width} columns"),
            });
        }
        Ok((n_tokens, to))
    }

    /// The format of a weight.
    fn weight_type(&self, op: &'static str, w: Tensor) -> Result<WeightType, Error> {
        // SAFETY: `pointer` checks that it is a tensor of this graph.
        let kind: sys::ggml_type = unsafe { (*self.pointer(op, w)?).type_ };
        weight_type(kind).ok_or(Error::WeightType { op, got: kind })
    }

    /// The shape of a weight in a supported format whose rows follow each other without gaps.
    fn weight_shape(&self, op: &'static str, w: Tensor) -> Result<(usize, usize), Error> {
        let tensor = self.pointer(op, w)?;
        // SAFETY: a tensor of this graph.
        let row = unsafe { (*tensor).nb[1] };
        let (n_rows, n_cols) = self.shape(op, w)?;
        let kind = self.weight_type(op, w)?;
        if kind.row_bytes(n_cols) != Some(row) {
            return Err(Error::Shape {
                op,
                expected: "whole rows of weights".into(),
                got: "a view of columns".into(),
            });
        }
        Ok((n_rows, n_cols))
    }
}
