#![allow(clippy::unwrap_used)]

use nightgraft_adapter::Module;

use super::*;
use crate::Error;
use crate::error::ConfigProblem;

#[test]
fn the_defaults_are_valid_and_written_like_this() {
    let config = TrainConfig::default();
    config.validate().unwrap();
    insta::assert_snapshot!(config.to_toml().unwrap(), @r#"
    rank = 8
    alpha = 16.0
    targets = "all"
    layers = "all"
    dropout = 0.0
    lr = "auto"
    schedule = "cosine"
    warmup = 0.05
    clip = 1.0
    weight_decay = 0.0
    beta1 = 0.9
    beta2 = 0.999
    eps = 0.00000001
    context = 256
    batch_tokens = "auto"
    accumulate = 1
    packing = true
    shuffle = true
    chat = false
    skip_bad = false
    held_out = 0.1
    epochs = "auto"
    seed = 42
    device = "cpu"
    precision = "auto"
    eval_every = "auto"
    patience = 3
    checkpoint_every = 20
    keep_checkpoints = 2
    resume = "auto"
    "#);
}

#[test]
fn every_setting_survives_the_file() {
    let config = TrainConfig {
        lora: LoraConfig {
            rank: 3,
            alpha: 0.3,
            targets: "ffn_down,attn_q".parse().unwrap(),
            layers: Layers::Range(2..7),
            dropout: 0.15,
        },
        optimizer: OptimizerConfig {
            lr: 1.7e-3.into(),
            schedule: Schedule::Linear,
            warmup: 0.31,
            clip: 0.0,
            weight_decay: 0.01,
            beta1: 0.85,
            beta2: 0.95,
            eps: 1e-6,
        },
        data: DataConfig {
            context: 64,
            batch_tokens: 96.into(),
            accumulate: 4,
            packing: false,
            shuffle: false,
            chat: true,
            skip_bad: true,
            held_out: 0.25,
            date: Some("2026-11-29T23:59:30".parse().unwrap()),
        },
        run: RunConfig {
            epochs: 7.into(),
            steps: Some(123),
            seed: i64::MAX as u64,
            threads: Some(5),
            device: Device::Cpu,
            precision: Precision::F32,
            eval_every: 0.into(),
            patience: 0,
            checkpoint_every: 0,
            keep_checkpoints: 9,
            resume: Resume::Never,
        },
    };
    let text = config.to_toml().unwrap();
    assert_eq!(TrainConfig::from_toml(&text).unwrap(), config, "{text}");

    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<TrainConfig>(&json).unwrap(), config, "{json}");
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(TrainConfig::from_toml("").unwrap(), TrainConfig::default());
}

/// The line and the words of TOML's parser.
fn problem_of(text: &str) -> (usize, String) {
    match TrainConfig::from_toml(text).unwrap_err() {
        Error::Config {
            option: "--config",
            problem: ConfigProblem::Syntax { path: None, line, message },
        } => (line, message),
        other => unreachable!("{other}"),
    }
}

#[test]
fn bad_files_are_refused_with_the_line() {
    // What is wrong is in the words of the parser, or in ours within them.
    for (text, line, words) in [
        ("rank = 8\nrnak = 9\n", 2, "unknown field `rnak`"),
        ("rank = 8\n\nlr = \"fast\"\n", 3, "expected \"auto\" or a number, not \"fast\""),
        ("targets = \"attn,wq\"", 1, "unknown module 'wq'"),
        ("eval_every = true", 1, "expected \"auto\" or a number"),
        ("rank = -1", 1, ""),
        ("rank = = 1", 1, ""),
    ] {
        let (found, message) = problem_of(text);
        assert!(found == line && message.contains(words) && !message.contains('\n'), "{text}: {message}");
    }
}

#[test]
fn nonsense_is_refused_by_the_name_of_its_option() {
    let cases = [
        ("rank = 0", "--rank"),
        ("rank = 257", "--rank"),
        ("alpha = 0.0", "--alpha"),
        ("alpha = nan", "--alpha"),
        ("dropout = 1.0", "--dropout"),
        ("dropout = -0.1", "--dropout"),
        ("lr = 0.0", "--lr"),
        ("lr = -1e-4", "--lr"),
        ("lr = inf", "--lr"),
        ("lr = nan", "--lr"),
        ("lr = 2.0", "--lr"),
        ("warmup = 1.5", "--warmup"),
        ("warmup = nan", "--warmup"),
        ("clip = -1.0", "--clip"),
        ("clip = inf", "--clip"),
        ("weight_decay = -0.5", "--weight-decay"),
        ("beta1 = 1.0", "--beta1"),
        ("beta2 = 1.0", "--beta2"),
        ("eps = 0.0", "--eps"),
        ("context = 1", "--context"),
        ("context = 100000000", "--context"),
        ("batch_tokens = 0", "--batch-tokens"),
        ("batch_tokens = 1000000000000", "--batch-tokens"),
        ("accumulate = 0", "--accumulate"),
        ("held_out = 0.95", "--held-out"),
        ("held_out = -0.1", "--held-out"),
        ("epochs = 0", "--epochs"),
        ("steps = 0", "--steps"),
        ("threads = 0", "--threads"),
        ("threads = 100000", "--threads"),
        ("keep_checkpoints = 0", "--keep-checkpoints"),
    ];
    for (text, expected) in cases {
        match TrainConfig::from_toml(text).unwrap().validate().unwrap_err() {
            Error::Config { option, .. } => assert_eq!(option, expected, "{text}"),
            other => unreachable!("{text}: {other}"),
        }
    }
}

#[test]
fn a_seed_that_toml_cannot_hold_is_refused() {
    let mut config = TrainConfig::default();
    config.run.seed = u64::MAX;
    assert!(config.validate().unwrap_err().to_string().starts_with("--seed: "));
}

#[test]
fn targets_are_a_set_in_a_fixed_order() {
    let modules = |text: &str| text.parse::<Targets>().unwrap().modules();
    assert_eq!(modules("all"), Module::APART);
    assert_eq!(modules("attn,mlp"), Module::APART);
    assert_eq!(modules("attn_qkv,ffn_up"), [Module::FfnUp, Module::AttnQkv]);
    assert_eq!(modules("attn"), [Module::AttnQ, Module::AttnK, Module::AttnV, Module::AttnOutput]);
    assert_eq!(modules("mlp"), [Module::FfnGate, Module::FfnUp, Module::FfnDown]);
    assert_eq!(modules(" ffn_up, attn_q,attn_q "), [Module::AttnQ, Module::FfnUp]);
    assert_eq!("ffn_up,attn_q".parse::<Targets>().unwrap().to_string(), "attn_q,ffn_up");
    for text in ["", "all,", "attn;mlp", "Q"] {
        assert!(text.parse::<Targets>().is_err(), "{text:?}");
    }
}

#[test]
fn layers_are_cut_from_the_model() {
    let range = |text: &str| text.parse::<Layers>().unwrap().range(30);
    assert_eq!(range("all").unwrap(), 0..30);
    assert_eq!(range("last:4").unwrap(), 26..30);
    assert_eq!(range("last:30").unwrap(), 0..30);
    assert_eq!(range("3..5").unwrap(), 3..5);
    let too_many = ConfigProblem::TooManyLayers { layers: "last:31".into(), n_layer: 30 };
    assert!(matches!(range("last:31").unwrap_err(), Error::Config { problem, .. } if problem == too_many));
    assert!(range("29..31").is_err());
    for text in ["", "last:0", "last:-1", "5..5", "6..5", "..", "1..", "some"] {
        assert!(text.parse::<Layers>().is_err(), "{text:?}");
    }
}

#[test]
fn evaluations_are_spread_over_the_run() {
    let interval = |eval_every, steps| RunConfig { eval_every, ..RunConfig::default() }.eval_interval(steps);
    let auto = [100, 101, 3, 0].map(|steps| interval(OrAuto::Auto, steps));
    assert_eq!(auto, [Some(10), Some(11), Some(1), Some(1)]);
    assert_eq!((interval(7.into(), 100), interval(0.into(), 100)), (Some(7), None));
}

#[test]
fn what_is_left_open_is_decided_by_what_there_is_to_learn() {
    let mut config = TrainConfig::from_toml("lr = \"auto\"").unwrap();
    assert_eq!(config, TrainConfig::default());
    config.data.resolve_auto(2000, |_| 8);
    let decided = config.resolve_auto(|decided| {
        assert_eq!((decided.data.batch_tokens, decided.run.epochs), (250.into(), 3.into()));
        Ok((25, 4.65))
    });
    decided.unwrap();
    assert_eq!(config.optimizer.lr, 1.2e-3.into());
    let mut given = TrainConfig::from_toml("lr = 1e-4\nbatch_tokens = 100\nepochs = 9").unwrap();
    let before = given.clone();
    given.data.resolve_auto(2000, |_| unreachable!("nothing is open"));
    given.resolve_auto(|_| unreachable!("nothing is open")).unwrap();
    assert_eq!(given, before);
    let mut going_on = TrainConfig::from_toml("epochs = 2").unwrap();
    going_on.resolve_auto_as(&given);
    assert_eq!(going_on, TrainConfig::from_toml("lr = 1e-4\nbatch_tokens = 100\nepochs = 2").unwrap());
}

#[test]
fn defaults_stay_within_their_limits() {
    assert_eq!(
        [0, 1, 512, 513, 1000, 1 << 40].map(|tokens| default_batch_tokens(tokens, 1, |_| 8)),
        [64, 64, 64, 64, 125, 512]
    );
    let fair = |accumulate| default_batch_tokens(4000, accumulate, |_| 8);
    assert_eq!((fair(2), fair(0)), (250, 500));
    // Sixteen examples of 50 tokens: two fit at 100. At 99 a pass would have sixteen steps.
    let pairs = |accumulate| default_batch_tokens(792, accumulate, |size| 16usize.div_ceil(size / 50));
    assert_eq!((pairs(1), pairs(2)), (100, 64));
    assert_eq!(default_batch_tokens(792, 1, |_| 16), 512, "none is large enough");
    let rates = [0, 1, 10, 100, 1000, u64::MAX].map(|steps| default_rate(steps, 4.65, 16.0));
    assert!(rates.is_sorted_by(|a, b| a >= b) && rates[0] <= 1.2e-3 && rates[5] >= 5e-4, "{rates:?}");
    let of_norms =
        [f64::NAN, 0.0, 0.1, 0.5, 4.65, 10.0, f64::INFINITY].map(|norm| default_rate(25, norm, 16.0));
    assert_eq!(of_norms, [1.8e-4, 1.8e-4, 1.8e-4, 3.9e-4, 1.2e-3, 1.8e-3, 1.8e-3]);
    let of_alphas = [1e-3, 4.0, 16.0, 64.0, 256.0, f32::MAX].map(|alpha| default_rate(25, 4.65, alpha));
    assert_eq!(of_alphas, [1.2e-3, 1.2e-3, 1.2e-3, 3e-4, 7.5e-5, 7.5e-5]);
    for rate in (0..5000).map(|steps| default_rate(steps, 0.7, 16.0)) {
        let json = serde_json::to_string(&rate).unwrap();
        assert_eq!(serde_json::from_str::<f64>(&json).unwrap(), rate);
    }
}
