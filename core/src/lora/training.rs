//! An adapter in training.

use std::collections::BTreeMap;

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraSpec, Module};
use nightgraft_ggml::{Buffer, DropoutKey};
use nightgraft_random as random;

use crate::Result;
use crate::ops::linear::{Dropout, LoraFactors};

/// An adapter whose factors and gradient sums live in buffers; a clone has the same ones.
#[derive(Clone)]
pub struct Adapter {
    spec: LoraSpec,
    pairs: BTreeMap<(usize, Module), LoraFactors>,
    dropout_key: DropoutKey,
}

/// One trained matrix.
pub struct Parameter<'a> {
    /// Its layer.
    pub layer: usize,
    /// Its module.
    pub module: Module,
    /// `"A"` or `"B"`.
    pub factor: &'static str,
    /// Its values.
    pub value: &'a Buffer,
    /// The sum of its gradients so far.
    pub grad: &'a Buffer,
}

impl Adapter {
    /// Copies an adapter into buffers, gradients zero.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(tensors: &AdapterTensors) -> Result<Self> {
        Self::of(tensors, Buffer::f32, |buffer, values| Ok(buffer.write(0, values)?))
    }

    /// An adapter of these shapes that does not exist, for counting what graphs with it would take.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn planned(tensors: &AdapterTensors) -> Result<Self> {
        Self::of(tensors, Buffer::unallocated, |_, _| Ok(()))
    }

    fn of(
        tensors: &AdapterTensors,
        make: impl Fn(usize, usize) -> std::result::Result<Buffer, nightgraft_ggml::Error>,
        fill: impl Fn(&Buffer, &[f32]) -> Result<()>,
    ) -> Result<Self> {
        let spec = tensors.spec.clone();
        let dropout_key = DropoutKey::default();
        let mut pairs = BTreeMap::new();
        for (&(layer, module), pair) in &tensors.pairs {
            let matrix = |n_cols, values: &[f32]| -> Result<Buffer> {
                let buffer = make(pair.rank, n_cols)?;
                fill(&buffer, values)?;
                Ok(buffer)
            };
            let dropout = (spec.dropout > 0.0).then(|| Dropout {
                keep_prob: 1.0 - spec.dropout,
                key: dropout_key.clone(),
                salt: random::key(&[layer as u64, module as u64]),
            });
            let factors = LoraFactors {
                a: matrix(pair.n_in, &pair.a)?,
                b_t: matrix(pair.n_out, &pair.b_t)?,
                grad_a: make(pair.rank, pair.n_in)?,
                grad_b_t: make(pair.rank, pair.n_out)?,
                scale: spec.alpha / pair.rank as f32,
                dropout,
            };
            pairs.insert((layer, module), factors);
        }
        Ok(Self { spec, pairs, dropout_key })
    }

    /// What is adapted, and how.
    pub fn spec(&self) -> &LoraSpec {
        &self.spec
    }

    /// The pair beside one matrix, if that matrix is adapted.
    pub fn pair(&self, layer: usize, module: Module) -> Option<&LoraFactors> {
        self.pairs.get(&(layer, module))
    }

    /// Every pair with its place, by layer and module.
    pub fn pairs(&self) -> impl Iterator<Item = ((usize, Module), &LoraFactors)> {
        self.pairs.iter().map(|(&place, pair)| (place, pair))
    }

    /// The lowest adapted layer: the backward stops there.
    pub fn lowest_layer(&self) -> Option<usize> {
        self.pairs.keys().next().map(|&(layer, _)| layer)
    }

    /// Every trained matrix, in a fixed order: by layer, module, A before B.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.pairs.iter().flat_map(|(&(layer, module), pair)| {
            [
                Parameter { layer, module, factor: "A", value: &pair.a, grad: &pair.grad_a },
                Parameter { layer, module, factor: "B", value: &pair.b_t, grad: &pair.grad_b_t },
            ]
        })
    }

    /// How many numbers are trained.
    pub fn n_parameters(&self) -> usize {
        self.parameters().map(|p| p.value.shape()).map(|(rows, cols)| rows * cols).sum()
    }

    /// Chooses the dropout masks of the next micro-step.
    pub fn set_dropout_key(&self, key: u64) {
        self.dropout_key.set(key);
    }

    /// Sets the gradient sums to zero.
    ///
    /// # Errors
    /// Never for an adapter made by [`Adapter::new`].
    pub fn clear_gradients(&self) -> Result<()> {
        self.parameters().try_for_each(|p| Ok(p.grad.clear()?))
    }

    /// A copy of the factors.
    ///
    /// # Errors
    /// Never for an adapter made by [`Adapter::new`].
    pub fn tensors(&self) -> Result<AdapterTensors> {
        self.copy(|pair| (&pair.a, &pair.b_t))
    }

    /// Copies the factors over an earlier copy of this adapter, if there is one: many small matrices that come and go leave
    /// the allocator with more than their size.
    ///
    /// # Errors
    /// Never for an adapter made by [`Adapter::new`] and a copy of it.
    pub fn copy_to(&self, copy: &mut Option<AdapterTensors>) -> Result<()> {
        let Some(copy) = copy else {
            *copy = Some(self.tensors()?);
            return Ok(());
        };
        for (pair, copy) in self.pairs.values().zip(copy.pairs.values_mut()) {
            pair.a.read(0, &mut copy.a)?;
            pair.b_t.read(0, &mut copy.b_t)?;
        }
        Ok(())
    }

    /// A copy of the gradient sums, in the adapter's own shapes.
    ///
    /// # Errors
    /// Never for an adapter made by [`Adapter::new`].
    pub fn gradients(&self) -> Result<AdapterTensors> {
        self.copy(|pair| (&pair.grad_a, &pair.grad_b_t))
    }

    fn copy(&self, factors: impl Fn(&LoraFactors) -> (&Buffer, &Buffer)) -> Result<AdapterTensors> {
        let mut pairs = BTreeMap::new();
        for (&key, pair) in &self.pairs {
            let (a, b_t) = factors(pair);
            let ((rank, n_in), (_, n_out)) = (a.shape(), b_t.shape());
            pairs.insert(key, LoraPair { rank, n_in, n_out, a: a.to_vec()?, b_t: b_t.to_vec()? });
        }
        Ok(AdapterTensors { spec: self.spec.clone(), pairs })
    }
}
