//! A frozen matrix with a low-rank adapter beside it (LoRA, arXiv 2106.09685).
//!
//! ```text
//! y  = x Wᵀ + z B + b             z = s · drop(x) Aᵀ           x [T, n_in], y [T, n_out], z [T, r]
//! dx = dy W + drop'(u A)          u = s · dy Bᵀ                u [T, r]
//! dA = uᵀ drop(x)                 dB = zᵀ dy                   dA [r, n_in], dB [r, n_out]
//! ```
//!
//! `W [n_out, n_in]` is quantized and never changes; neither does the bias `b [n_out]`, where there is one. `B [r, n_out]` is
//! the transpose of PEFT's `lora_B`, and called `b_t` in the code: then both factors have one row a rank, and both of their
//! gradients are the same kernel. `z` and the dropout mask are recomputed in the backward rather than kept. Both branches of a
//! direction are one sum of products, so that the adapter makes no pass of its own over `y` or `dx`, but for `dx` with dropout.

use nightgraft_ggml::{Buffer, ComputeType, Direction, DropoutKey, Error, Graph, Output, Product, Tensor};

/// A frozen matrix and, where the layer is adapted, its adapter.
#[derive(Clone)]
pub struct Linear {
    /// `[n_out, n_in]`, any format.
    pub weight: Buffer,
    /// One row of `n_out` floats; only for a matrix whose product is not added to anything else.
    pub bias: Option<Buffer>,
    /// The adapter's factors, which are trained.
    pub adapter: Option<LoraFactors>,
}

impl Linear {
    /// Outputs.
    pub fn n_out(&self) -> usize {
        self.weight.shape().0
    }
}

/// The two LoRA factors beside one matrix, PEFT's `lora_A` and `lora_B`, and their gradients.
#[derive(Clone)]
pub struct LoraFactors {
    /// `lora_A`, `[r, n_in]`.
    pub a: Buffer,
    /// The transpose of `lora_B`, `[r, n_out]`.
    pub b_t: Buffer,
    /// The sum of the gradients of `a` so far.
    pub grad_a: Buffer,
    /// The sum of the gradients of `b_t` so far.
    pub grad_b_t: Buffer,
    /// `s = alpha / r`.
    pub scale: f32,
    /// Dropout in front of `A`, while training.
    pub dropout: Option<Dropout>,
}

/// Dropout of the input of one adapter.
#[derive(Clone)]
pub struct Dropout {
    /// The probability that a value stays.
    pub keep_prob: f32,
    /// The seed, shared by the whole model; it changes with each micro-step.
    pub key: DropoutKey,
    /// A number that makes this adapter's masks independent of the others'.
    pub salt: u64,
}

impl LoraFactors {
    fn apply_dropout(&self, g: &mut Graph, x: Tensor) -> Result<Tensor, Error> {
        match &self.dropout {
            Some(d) => g.dropout(x, d.keep_prob, &d.key, d.salt),
            None => Ok(x),
        }
    }

    /// `s · x Fᵀ` for a factor `F` of the two.
    fn project(&self, g: &mut Graph, factor: &Buffer, x: Tensor) -> Result<Tensor, Error> {
        let w = g.tensor(factor)?;
        g.sum_of_products(&[Product::Linear { w, x, scale: self.scale }], None, Output::Alloc)
    }
}

/// What one or several frozen matrices are multiplied with: rows and, for products of 16-bit integers, the same rows
/// quantized once for all of them.
#[derive(Clone, Copy)]
pub struct MatmulInput {
    /// The rows, `[T, n]`.
    pub rows: Tensor,
    int16: Option<Tensor>,
}

impl MatmulInput {
    /// `rows`, to be multiplied as `compute_type` says; in floats, where rows do not consist of whole groups of 32.
    ///
    /// # Errors
    /// If the graph is full.
    pub fn new(g: &mut Graph, rows: Tensor, compute_type: ComputeType) -> Result<Self, Error> {
        let (_, n) = g.shape("input", rows)?;
        let is_int16 = compute_type == ComputeType::Int16 && n.is_multiple_of(32);
        let int16 = is_int16.then(|| g.quantize_rows_int16(rows)).transpose()?;
        Ok(Self { rows, int16 })
    }

    fn product_with(&self, g: &mut Graph, weight: &Buffer, direction: Direction) -> Result<Product, Error> {
        let w = g.tensor(weight)?;
        Ok(match (self.int16, direction) {
            (Some(x), direction) => Product::Int16 { w, x, direction },
            (None, Direction::Linear) => Product::Linear { w, x: self.rows, scale: 1.0 },
            (None, Direction::Transposed) => Product::Transposed { w, dy: self.rows },
        })
    }
}

/// Computes `y` from `x`, to `output`; it is added to `addend`, if there is one, or to the bias.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(
    g: &mut Graph,
    linear: &Linear,
    x: MatmulInput,
    addend: Option<Tensor>,
    output: Output,
) -> Result<Tensor, Error> {
    let product = x.product_with(g, &linear.weight, Direction::Linear)?;
    let addend = match (&linear.bias, addend) {
        (Some(bias), None) => Some(g.tensor(bias)?),
        (Some(_), Some(_)) => {
            let expected = "a matrix without a bias".to_owned();
            return Err(Error::Shape { op: "linear", expected, got: "a bias and another addend".into() });
        }
        (None, addend) => addend,
    };
    let Some(adapter) = &linear.adapter else { return g.sum_of_products(&[product], addend, output) };
    let dropped = adapter.apply_dropout(g, x.rows)?;
    let z = adapter.project(g, &adapter.a, dropped)?;
    let b_t = g.tensor(&adapter.b_t)?;
    g.sum_of_products(&[product, Product::Transposed { w: b_t, dy: z }], addend, output)
}

/// `u`, the gradient of the low-rank activation `drop(x) Aᵀ`, where there is an adapter.
#[derive(Clone, Copy)]
pub struct LoraActivationGrad(Option<Tensor>);

/// Computes `dx` from `dy`, added to `dx` if one is given; and `u`, for [`adapter_gradients`].
///
/// # Errors
/// If shapes do not fit.
pub fn input_gradient(
    g: &mut Graph,
    linear: &Linear,
    dy: MatmulInput,
    dx: Option<Tensor>,
) -> Result<(Tensor, LoraActivationGrad), Error> {
    let output = dx.map_or(Output::Alloc, Output::Accumulate);
    let product = dy.product_with(g, &linear.weight, Direction::Transposed)?;
    let Some(adapter) = &linear.adapter else {
        return Ok((g.sum_of_products(&[product], None, output)?, LoraActivationGrad(None)));
    };
    let u = adapter.project(g, &adapter.b_t, dy.rows)?;
    let a = g.tensor(&adapter.a)?;
    let branch = Product::Transposed { w: a, dy: u };
    let dx = match &adapter.dropout {
        None => g.sum_of_products(&[product, branch], None, output)?,
        Some(_) => {
            let dx = g.sum_of_products(&[product], None, output)?;
            let through = g.sum_of_products(&[branch], None, Output::Alloc)?;
            let through = adapter.apply_dropout(g, through)?;
            g.add(dx, through)?
        }
    };
    Ok((dx, LoraActivationGrad(Some(u))))
}

/// Adds the adapter's gradients to its buffers.
///
/// # Errors
/// If shapes do not fit.
pub fn adapter_gradients(
    g: &mut Graph,
    linear: &Linear,
    x: Tensor,
    dy: Tensor,
    LoraActivationGrad(u): LoraActivationGrad,
) -> Result<(), Error> {
    let (Some(adapter), Some(u)) = (&linear.adapter, u) else { return Ok(()) };
    let dropped = adapter.apply_dropout(g, x)?;
    let z = adapter.project(g, &adapter.a, dropped)?;
    g.accumulate_outer(&adapter.grad_a, u, dropped)?;
    g.accumulate_outer(&adapter.grad_b_t, z, dy)
}

/// Does what [`input_gradient`] and [`adapter_gradients`] do.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(
    g: &mut Graph,
    linear: &Linear,
    x: Tensor,
    dy: MatmulInput,
    dx: Option<Tensor>,
) -> Result<Tensor, Error> {
    let (dx, u) = input_gradient(g, linear, dy, dx)?;
    adapter_gradients(g, linear, x, dy.rows, u)?;
    Ok(dx)
}
