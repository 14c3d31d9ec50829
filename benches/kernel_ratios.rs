//! Our matrix products, in f32 and of 16-bit integers, against ggml's own and against the `gemm` crate on the dequantized
//! matrix.
//!
//! `cargo bench -p nightgraft-benches --bench kernel_ratios -- [--threads N] [--tokens N] [--rounds N]
//! [--only 576x1536,Q4_1] [--json FILE]` times all of them in turns, so
//! that whatever else the machine does meets all of them, and prints medians in GFLOP/s of real work with the ratios.

#[path = "../core/kernels/peer.rs"]
mod peer;

use std::sync::Arc;
use std::time::Instant;

use nightgraft_ggml::{
    Buffer, Cpu, Direction, Graph, MappedFile, Output, Product, Tensor, TensorLocation, WeightType, quantize,
};
use nightgraft_kernels::{Tier, Weights};
use peer::gemm;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `[n_out, n_in]`: the projections of small models, and two larger ones.
const SHAPES: [[usize; 2]; 4] = [[576, 1536], [1536, 576], [2048, 2048], [2048, 8192]];
const FORMATS: [WeightType; 5] =
    [WeightType::Q4_0, WeightType::Q4_1, WeightType::Q4_K, WeightType::Q6_K, WeightType::Q8_0];

struct Options {
    threads: u16,
    tokens: usize,
    rounds: usize,
    /// Shapes and formats, if not all.
    only: Vec<String>,
    json: Option<String>,
}

impl Options {
    /// Whether this format and this shape are asked for: each, if some of its sort are named.
    fn selects(&self, kind: WeightType, [n_out, n_in]: [usize; 2]) -> bool {
        let is_named = |name: &str| self.only.iter().any(|only| only == name);
        let are_named = |names: &[String]| names.iter().any(|name| is_named(name));
        let kinds = FORMATS.map(|kind| kind.name().to_owned());
        let shapes = SHAPES.map(|[n_out, n_in]| format!("{n_out}x{n_in}"));
        (is_named(kind.name()) || !are_named(&kinds))
            && (is_named(&format!("{n_out}x{n_in}")) || !are_named(&shapes))
    }
}

fn main() -> Result<()> {
    let options = parse_options()?;
    println!(
        "{} tokens, {} threads, {}, medians of {} rounds, GFLOP/s",
        options.tokens,
        options.threads,
        Tier::current().name(),
        options.rounds
    );
    println!(
        "{:<18} {:<5} {:<12} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>9} {:>11}",
        "product",
        "type",
        "out x in",
        "f32",
        "mixed",
        "ggml",
        "gemm",
        "/ ggml",
        "/ gemm",
        "mixed/f32",
        "mixed/ggml"
    );
    let mut rows = Vec::new();
    for [n_out, n_in] in SHAPES {
        for kind in FORMATS {
            // Rows of a format with blocks of 256 values cannot be shorter or uneven.
            if !n_in.is_multiple_of(kind.block_len()) || !options.selects(kind, [n_out, n_in]) {
                continue;
            }
            for backward in [false, true] {
                let [ours, mixed, ggmls, gemms] =
                    ProductComparison::new(kind, [n_out, n_in], backward, &options)?.run(&options)?;
                let name = if backward { "linear_transposed" } else { "linear" };
                println!(
                    "{name:<18} {:<5} {:<12} {ours:>7.1} {mixed:>7.1} {ggmls:>7.1} {gemms:>7.1} {:>8.2} {:>8.2} {:>9.2} {:>11.2}",
                    kind.name(),
                    format!("{n_out}x{n_in}"),
                    ours / ggmls,
                    ours / gemms,
                    mixed / ours,
                    mixed / ggmls
                );
                rows.push(json!({
                    "product": name, "type": kind.name(), "n_out": n_out, "n_in": n_in, "tokens": options.tokens,
                    "threads": options.threads, "device": "cpu", "tier": Tier::current().name(), "f32": ours, "mixed": mixed,
                    "ggml": ggmls, "gemm": gemms,
                }));
            }
        }
    }
    if let Some(path) = options.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn parse_options() -> Result<Options> {
    let mut options = Options { threads: 1, tokens: 256, rounds: 15, only: Vec::new(), json: None };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(name) = args.next() {
        let value = args.next().ok_or("every option takes a value")?;
        match name.as_str() {
            "--threads" => options.threads = value.parse()?,
            "--tokens" => options.tokens = value.parse()?,
            "--rounds" => options.rounds = value.parse::<usize>()?.max(1),
            "--only" => options.only = value.split(',').map(str::to_owned).collect(),
            "--json" => options.json = Some(value),
            _ => {
                return Err(format!("{name} is none of --threads, --tokens, --rounds, --only, --json").into());
            }
        }
    }
    Ok(options)
}

/// One product, computed in four ways.
struct ProductComparison {
    cpu: Cpu,
    ours: Graph,
    /// Includes the quantization of the rows.
    mixed: Graph,
    ggmls: Graph,
    /// `[from, to]` as f32: the layout in which the `gemm` crate is fastest.
    matrix: Vec<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
    n_out: usize,
    n_in: usize,
    backward: bool,
}

impl ProductComparison {
    fn new(kind: WeightType, [n_out, n_in]: [usize; 2], backward: bool, options: &Options) -> Result<Self> {
        let bytes = quantize(kind, n_in, &numbers(n_out * n_in))?;
        let mut matrix = vec![0.0; n_out * n_in];
        let weights =
            Weights::new(kind, n_out, n_in, &bytes).ok_or("the format has whole blocks in a row")?;
        for (row, values) in matrix.chunks_mut(n_in).enumerate() {
            weights.dequantize_row(row, values);
        }
        if !backward {
            matrix = (0..n_out * n_in).map(|i| matrix[i % n_out * n_in + i / n_out]).collect();
        }
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), &bytes)?;
        let mapped = Arc::new(MappedFile::open(file.path())?);
        let location = TensorLocation::new(kind, [n_out, n_in], 0)?;
        let weight = Buffer::map_weights(&mapped, &[location])?.remove(0);

        let (from, to) = if backward { (n_out, n_in) } else { (n_in, n_out) };
        let input = numbers(options.tokens * from);
        let x = Buffer::f32(options.tokens, from)?;
        x.write(0, &input)?;
        let graph = |product: fn(
            &mut Graph,
            Tensor,
            Tensor,
        ) -> std::result::Result<Tensor, nightgraft_ggml::Error>| {
            let mut graph = Graph::new(8)?;
            let (w, x) = (graph.tensor(&weight)?, graph.tensor(&x)?);
            let y = product(&mut graph, w, x)?;
            graph.schedule(y)?;
            Ok::<_, nightgraft_ggml::Error>(graph)
        };
        let (ours, ggmls) = match backward {
            false => (graph(Graph::linear)?, graph(Graph::ggml_mul_mat)?),
            true => (graph(Graph::linear_transposed)?, graph(Graph::ggml_out_prod)?),
        };
        let mixed = graph(if backward { int16_transposed } else { int16 })?;
        let cpu = Cpu::new(usize::from(options.threads), Arc::default())?;
        let output = vec![0.0; options.tokens * to];
        Ok(Self { cpu, ours, mixed, ggmls, matrix, input, output, n_out, n_in, backward })
    }

    /// Medians in GFLOP/s: ours in f32 and mixed, ggml's, the `gemm` crate's.
    fn run(mut self, options: &Options) -> Result<[f64; 4]> {
        let mut seconds = [const { Vec::new() }; 4];
        for round in 0..=options.rounds {
            let began = Instant::now();
            self.cpu.compute(&mut self.ours)?;
            let ours = began.elapsed();
            let began = Instant::now();
            self.cpu.compute(&mut self.mixed)?;
            let mixed = began.elapsed();
            self.cpu.set_ggml_threads(options.threads);
            let began = Instant::now();
            self.cpu.compute(&mut self.ggmls)?;
            let ggmls = began.elapsed();
            self.cpu.set_ggml_threads(1);
            let began = Instant::now();
            self.gemm(options);
            let gemms = began.elapsed();
            // The first round warms the caches.
            if round > 0 {
                for (times, time) in seconds.iter_mut().zip([ours, mixed, ggmls, gemms]) {
                    times.push(time.as_secs_f64());
                }
            }
        }
        let work = 2.0 * options.tokens as f64 * self.n_out as f64 * self.n_in as f64;
        Ok(seconds.map(|mut times| {
            times.sort_by(f64::total_cmp);
            work / times[times.len() / 2] * 1e-9
        }))
    }

    fn gemm(&mut self, options: &Options) {
        let (from, to) = if self.backward { (self.n_out, self.n_in) } else { (self.n_in, self.n_out) };
        let shapes = [options.tokens, from, to];
        gemm(&self.input, &self.matrix, &mut self.output, shapes, usize::from(options.threads));
    }
}

fn int16(g: &mut Graph, w: Tensor, x: Tensor) -> std::result::Result<Tensor, nightgraft_ggml::Error> {
    int16_product(g, w, x, Direction::Linear)
}

fn int16_transposed(
    g: &mut Graph,
    w: Tensor,
    dy: Tensor,
) -> std::result::Result<Tensor, nightgraft_ggml::Error> {
    int16_product(g, w, dy, Direction::Transposed)
}

fn int16_product(
    g: &mut Graph,
    w: Tensor,
    x: Tensor,
    direction: Direction,
) -> std::result::Result<Tensor, nightgraft_ggml::Error> {
    let x = g.quantize_rows_int16(x)?;
    g.sum_of_products(&[Product::Int16 { w, x, direction }], None, Output::Alloc)
}

/// Reproducible values in [-1, 1).
fn numbers(n: usize) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(n as u64);
    (0..n).map(|_| random.random_range(-1.0..1.0)).collect()
}
