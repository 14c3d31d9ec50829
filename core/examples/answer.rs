//! Answers with the base and then with each adapter, while the model stays loaded:
//! `cargo run --release -p nightgraft-core --example answer -- MODEL.gguf "QUESTION" ADAPTER...`

use std::path::Path;

use nightgraft_core::session::{Chat, Message, Sampling};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, question, adapters @ ..] = arguments.as_slice() else {
        return Err("usage: answer MODEL QUESTION ADAPTER...".into());
    };
    let mut chat = Chat::open(Path::new(model), None)?;
    let turns = [Message::new("user", question.as_str())];
    let sampling = Sampling { max_tokens: 64, temperature: 0.0, seed: 42 };

    // `false` from the closure ends the answer.
    let base = chat.answer(&turns, &sampling, &mut |_| true)?;
    println!("the base: {}", base.text);
    for adapter in adapters {
        chat.use_adapter(Path::new(adapter))?;
        let answer = chat.answer(&turns, &sampling, &mut |_| true)?;
        println!("{adapter}: {}", answer.text);
    }
    Ok(())
}
