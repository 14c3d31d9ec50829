//! Answers, with and without what was learned.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nightgraft_core::session::{Chat, GenerateReport, Sampling, StopFlag};
use nightgraft_store::GraftId;

use crate::error::{ListenerError, NightgraftError, Result};
use crate::example::Message;
use crate::executor::INFERENCE_EXECUTOR;
use crate::lock::lock;
use crate::model::BaseModel;
use crate::store::AdapterStore;

/// A base that is loaded once and answers with any graft. It has a thread of its own: a session may run meanwhile.
#[derive(uniffi::Object)]
pub struct Generator {
    chat: Arc<Mutex<Chat>>,
    /// What ends each answer under way.
    flags: Arc<Mutex<Vec<StopFlag>>>,
}

/// Gets an answer's text while it is made, from one thread of the library's.
///
/// If it throws, the answer ends, and the call fails with [`NightgraftError::Cancelled`].
#[uniffi::export(with_foreign)]
pub trait TextListener: Send + Sync {
    /// The next piece of the text, never empty.
    fn on_text(&self, piece: String) -> Result<(), ListenerError>;
}

/// How an answer is made.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct ChatOptions {
    /// The most tokens of the answer.
    #[uniffi(default = 256)]
    pub max_tokens: u32,
    /// 0 takes the most likely token always.
    #[uniffi(default = 0.0)]
    pub temperature: f32,
    /// For temperatures above 0.
    #[uniffi(default = 0)]
    pub seed: u32,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self { max_tokens: 256, temperature: 0.0, seed: 0 }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: u32,
    /// Tokens of the question, markers of the template included.
    pub prompt_tokens: u32,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

#[uniffi::export]
impl Generator {
    /// Loads the base; `threads` compute, none means one a core.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidModel`], or [`NightgraftError::Unsupported`] if llama.cpp refuses it.
    #[uniffi::constructor]
    pub async fn open(model: Arc<BaseModel>, threads: Option<u32>) -> Result<Arc<Self>> {
        INFERENCE_EXECUTOR
            .run(move || {
                let chat = Chat::open(model.path(), threads.map(|n| n as usize))?;
                Ok(Arc::new(Self { chat: Arc::new(Mutex::new(chat)), flags: Arc::default() }))
            })
            .await
    }

    /// From now on answers with the graft that is in use in `store`, or with the base if none is. Returns the graft.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidData`] if the graft is of another base.
    pub async fn use_current(&self, store: Arc<AdapterStore>) -> Result<Option<u64>> {
        self.run(move |chat| {
            let graft = store.shared().read(|store| Ok(store.current_graft()?))?;
            match &graft {
                Some(graft) => chat.use_graft(graft)?,
                None => chat.use_base()?,
            }
            Ok(graft.map(|graft| graft.meta.id.0))
        })
        .await
    }

    /// From now on answers with this graft.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if it is not there, [`NightgraftError::InvalidData`] if it is of another base.
    pub async fn use_graft(&self, store: Arc<AdapterStore>, id: u64) -> Result<()> {
        self.run(move |chat| {
            let graft = store.shared().read(|store| Ok(store.graft(GraftId(id))?))?;
            Ok(chat.use_graft(&graft)?)
        })
        .await
    }

    /// From now on answers with an adapter from outside: a PEFT folder or a GGUF file.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidData`] if it cannot be read or is of another base.
    pub async fn use_adapter(&self, path: String) -> Result<()> {
        self.run(move |chat| {
            let path = PathBuf::from(path);
            if !path.exists() {
                let reason = format!("there is no adapter at {}", path.display());
                return Err(NightgraftError::InvalidData { reason });
            }
            Ok(chat.use_adapter(&path)?)
        })
        .await
    }

    /// From now on answers as the base does.
    pub async fn use_base(&self) -> Result<()> {
        self.run(|chat| Ok(chat.use_base()?)).await
    }

    /// What the assistant says next. If the caller does not wait for it any more, it stops.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if the model has no chat template, this one refuses the turns, or they are
    /// longer than its context with the answer.
    pub async fn chat(
        &self,
        messages: Vec<Message>,
        options: ChatOptions,
        listener: Option<Arc<dyn TextListener>>,
    ) -> Result<Answer> {
        let turns: Vec<_> = messages
            .into_iter()
            .map(|Message { role, content }| nightgraft_core::session::Message::new(role, content))
            .collect();
        self.answer(options, listener, move |chat, sampling, on_text| chat.answer(&turns, sampling, on_text))
            .await
    }

    /// How a text goes on, without the chat template.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if it is empty, or longer than the model's context with the answer.
    pub async fn complete(
        &self,
        prompt: String,
        options: ChatOptions,
        listener: Option<Arc<dyn TextListener>>,
    ) -> Result<Answer> {
        self.answer(options, listener, move |chat, sampling, on_text| {
            chat.complete(&prompt, sampling, on_text)
        })
        .await
    }

    /// Ends every answer under way, also those that wait for their turn. From any thread.
    pub fn stop(&self) {
        lock(&self.flags).iter().for_each(StopFlag::raise);
    }
}

type OnText<'a> = &'a mut dyn FnMut(&str) -> bool;

impl Generator {
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Chat) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let chat = self.chat.clone();
        INFERENCE_EXECUTOR.run(move || job(&mut lock(&chat))).await
    }

    async fn answer(
        &self,
        options: ChatOptions,
        listener: Option<Arc<dyn TextListener>>,
        work: impl FnOnce(&mut Chat, &Sampling, OnText) -> nightgraft_core::Result<GenerateReport>
        + Send
        + 'static,
    ) -> Result<Answer> {
        let flag = StopFlag::new();
        lock(&self.flags).push(flag.clone());
        let _stop = StopOnDrop { flags: self.flags.clone(), flag: flag.clone() };
        self.run(move |chat| {
            if flag.is_raised() {
                let text = String::new();
                return Ok(Answer { text, tokens: 0, prompt_tokens: 0, seconds: 0.0, stopped: true });
            }
            let ChatOptions { max_tokens, temperature, seed } = options;
            let sampling = Sampling { max_tokens: max_tokens as usize, temperature, seed };
            let mut failure = None;
            let report = work(chat, &sampling, &mut |piece| {
                if let Some(listener) = listener.as_ref().filter(|_| !piece.is_empty() && failure.is_none()) {
                    failure = listener.on_text(piece.to_owned()).err();
                }
                failure.is_none() && !flag.is_raised()
            })?;
            if let Some(failure) = failure {
                return Err(NightgraftError::Cancelled { reason: failure.to_string() });
            }
            let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            // Adapters that were made for another model are refused here, so that there is nothing to warn of.
            let GenerateReport { text, tokens, prompt_tokens, seconds, warnings: _ } = report;
            let (tokens, prompt_tokens) = (small(tokens), small(prompt_tokens));
            Ok(Answer { text, tokens, prompt_tokens, seconds, stopped: flag.is_raised() })
        })
        .await
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop();
    }
}

struct StopOnDrop {
    flags: Arc<Mutex<Vec<StopFlag>>>,
    flag: StopFlag,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.flag.raise();
        lock(&self.flags).retain(|flag| !flag.is_same(&self.flag));
    }
}
