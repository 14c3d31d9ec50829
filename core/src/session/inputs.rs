//! Opening a model and its data, the same way for every job.

use std::path::Path;

use nightgraft_text::Error as TextError;
use nightgraft_text::data::{self, DataOptions, Dataset, Format};
use nightgraft_text::{ChatTemplate, Date, Tokenizer, TokenizerProblem};

use crate::Result;
use crate::base::Base;
use crate::config::DataConfig;
use crate::model_file::ModelFile;

/// A model and the means to turn text into its tokens.
pub(super) struct Inputs {
    pub(super) base: Base,
    pub(super) tokenizer: Tokenizer,
    pub(super) template: Option<ChatTemplate>,
}

impl Inputs {
    /// Opens the model. Its chat template takes `date` for now.
    pub(super) fn open(model: &Path, date: Date) -> Result<Self> {
        let file = ModelFile::open(model)?;
        let base = Base::open(file)?;
        let tokenizer = Tokenizer::from_gguf(base.file().metadata())?;
        let (tokens, rows) = (tokenizer.n_vocab(), base.spec.n_vocab);
        if tokens > rows {
            let problem = TokenizerProblem::Embedding { tokens, rows };
            return Err(TextError::Tokenizer { problem }.into());
        }
        let template = ChatTemplate::from_gguf(base.file().metadata(), &tokenizer, date);
        Ok(Self { base, tokenizer, template })
    }

    /// Changes what the chat template takes for now.
    pub(super) fn set_date(&mut self, date: Date) {
        if let Some(template) = &mut self.template {
            template.set_date(date);
        }
    }

    /// What training needs once the data is encoded.
    pub(super) fn into_base(self) -> Base {
        let Self { base, .. } = self;
        base.without_vocabulary()
    }

    /// The examples of a file, in this format, or in the one that its name tells.
    pub(super) fn load(&self, path: &Path, format: Option<Format>, config: &DataConfig) -> Result<Dataset> {
        let options = DataOptions { context: config.context, chat: config.chat, skip_bad: config.skip_bad };
        Ok(data::load(path, format, &self.tokenizer, self.template.as_ref(), &options)?)
    }
}

/// The configured number of threads, else one for each core.
pub(super) fn threads(configured: Option<usize>) -> usize {
    configured.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
