//! `inspect`: what is in a GGUF file, and whether it can be trained on.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use nightgraft_core::session::{self, ModelInfo};

use crate::{Verbosity, fetch::catalogue, format, output};

/// Show a model's architecture, sizes, weight formats and tokenizer
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(value_name = "MODEL", required_unless_present = "model")]
    file: Option<PathBuf>,
    /// The same, as the other commands spell it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    model: Option<PathBuf>,
    /// Read the whole file and give its SHA-256
    #[arg(long)]
    verify: bool,
}

/// What the table of matrices counts with: the default of `--rank`.
const RANK: u64 = 8;

const EXAMPLES: &str = "\
Examples:
  nightgraft inspect model.gguf
  nightgraft inspect smollm2-135m --json
  nightgraft inspect model.gguf --verify | grep SHA-256

Any well-formed GGUF can be shown, also one that cannot be trained; the table says why not.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let file = args.model.clone().or_else(|| args.file.clone()).unwrap_or_default();
    let model = catalogue::model_path(file)?;
    let info = if args.verify { session::inspect_with_hash(&model)? } else { session::inspect(&model)? };
    if verbosity.json {
        output::json(&info)?;
    } else {
        output::write(describe(&info))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(info: &ModelInfo) -> String {
    let mut rows = vec![
        ("name", info.name.clone().unwrap_or_else(|| "not stated".to_owned())),
        ("architecture", info.architecture.clone()),
        ("parameters", format::count(info.parameters)),
        ("file", format::bytes(info.bytes)),
    ];
    if info.files > 1 {
        rows.push(("files of it", info.files.to_string()));
    }
    let mut number = |name, value: Option<usize>| rows.extend(value.map(|value| (name, value.to_string())));
    number("layers", info.n_layer);
    number("embedding", info.n_embd);
    number("attention heads", info.n_head);
    number("key and value heads", info.n_head_kv);
    number("feed-forward", info.n_ff);
    number("vocabulary", info.n_vocab);
    number("trained context", info.n_ctx_train);
    let yes_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    rows.extend(info.tied_head.map(|tied| ("head is the embedding", yes_no(tied))));
    rows.push(("tokenizer", info.tokenizer.clone()));
    rows.push(("chat template", yes_no(info.chat_template)));
    rows.push(("fingerprint", info.fingerprint.clone()));
    rows.extend(info.sha256.clone().map(|sha256| ("SHA-256", sha256)));
    rows.push((
        "can be trained",
        match &info.not_trainable {
            None => "yes".to_owned(),
            Some(reason) => format!("no: {reason}"),
        },
    ));
    let mut groups = vec![["weights", "tensors", "size"].map(str::to_owned).to_vec()];
    for group in &info.tensors {
        let format = if group.slow { format!("{} (slow)", group.format) } else { group.format.to_owned() };
        groups.push(vec![format, group.tensors.to_string(), format::bytes(group.bytes)]);
    }
    let mut text = format!("{}\n{}", format::pairs(&rows), format::table(&groups, &[1, 2]));
    if !info.adaptable.is_empty() {
        text.push('\n');
        text.push_str(&format::table(&matrices(info), &[1, 2, 3, 4, 5]));
    }
    text
}

/// The matrices that an adapter can sit on, and how large it gets.
fn matrices(info: &ModelInfo) -> Vec<Vec<String>> {
    let size = |per_rank: u64| {
        let parameters = RANK * per_rank;
        [format::count(parameters), format::bytes(parameters * size_of::<f32>() as u64)]
    };
    let at_rank = format!("at rank {RANK}");
    let mut table =
        vec![["matrix", "layers", "outputs", "inputs", &at_rank, "size"].map(str::to_owned).to_vec()];
    for module in &info.adaptable {
        let counts = [module.layers, module.outputs, module.inputs].map(|count| count.to_string());
        let [parameters, bytes] = size(module.parameters_per_rank);
        let [layers, outputs, inputs] = counts;
        table.push(vec![module.module.to_string(), layers, outputs, inputs, parameters, bytes]);
    }
    let [parameters, bytes] = size(info.adaptable.iter().map(|module| module.parameters_per_rank).sum());
    let none = String::new;
    table.push(vec!["all".to_owned(), none(), none(), none(), parameters, bytes]);
    table
}
