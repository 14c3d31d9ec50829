//! What a store does not do.

use std::path::PathBuf;

use nightgraft_adapter::Mismatch;

use super::ids::GraftId;

/// Why a store does not do what was asked, and what to try.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreProblem {
    /// None is there, and none is to be made.
    #[error("there is no store")]
    NoStore,
    /// The folder is somebody else's.
    #[error(
        "the folder holds other files and no header of a store; choose an empty folder, or bring back its store.ngs"
    )]
    ForeignFolder,
    /// A folder that was to be wiped is no store.
    #[error("the folder is not a store, and nothing in it was removed; give the folder of the store itself")]
    NotAStore,
    /// Examples were to be exported into the store.
    #[error("the examples cannot be written into the store's own folder; choose a place outside of it")]
    ExportInside,
    /// A build made it whose layout is not read here.
    #[error(
        "it is of version {found} of the layout, this program reads versions up to {known}; it is left as it is, for a newer \
         build"
    )]
    OtherLayout {
        /// The version of the layout.
        found: u32,
        /// The newest version that is read here.
        known: u32,
    },
    /// Its header opens none of its files.
    #[error(
        "not one of its files opens with its store.ngs, which is of another store or another time; nothing was changed. Bring \
         back the store.ngs or store.copy.ngs that belongs to these files"
    )]
    WrongHeader,
    /// A key was given for a store that has none.
    #[error("it is not encrypted; leave the key out, or begin a new store with it")]
    NeedlessKey,
    /// A store without a key was to get another one.
    #[error("it is not encrypted and has no key to change; begin a new store with a key")]
    NoKeyToChange,
    /// A header that does not have exactly one data key was to get another one.
    #[error("only an encrypted store has a key to change")]
    NotOneKey,
    /// The numbers of data keys are used up.
    #[error("its key was changed too often")]
    NoKeyNumberLeft,
    /// There is no graft of that number.
    #[error("there is no graft {0}")]
    NoGraft(GraftId),
    /// The numbers of grafts are used up.
    #[error("it has no number left")]
    NoGraftNumberLeft,
    /// No graft is in use.
    #[error("no graft is in use: there is nothing to go back from")]
    NothingInUse,
    /// What is in use cannot be deleted.
    #[error("graft {0} is in use; roll back before you delete it")]
    InUse(GraftId),
    /// The gate did not let it pass.
    #[error("the gate refused graft {0}; look at why before you promote it all the same")]
    RefusedByGate(GraftId),
    /// A new graft is not of its parent's base model.
    #[error("the new graft is for another base model than graft {parent}, which it went on from")]
    OtherBaseThanParent {
        /// The graft that training went on from.
        parent: GraftId,
    },
    /// A graft is not of the base model that is in use.
    #[error(
        "graft {graft} is for another base model than graft {current}, which is in use; roll back until the base is in use, \
         or keep one store for each model"
    )]
    OtherBaseThanCurrent {
        /// The graft that was to be taken into use.
        graft: GraftId,
        /// The one in use.
        current: GraftId,
    },
    /// A session is of another base model than what is in use.
    #[error(
        "the graft in use, {graft}, was made for another base model; use that one, or a store of its own for each model"
    )]
    OtherBaseInUse {
        /// The graft in use.
        graft: GraftId,
    },
    /// A graft was to be used with a model that it is not for.
    #[error("graft {graft} was trained on another model than {}", model.display())]
    OtherModel {
        /// The graft.
        graft: GraftId,
        /// The file of the model.
        model: PathBuf,
    },
    /// An adapter does not fit the model.
    #[error(transparent)]
    Misfit(#[from] Mismatch),
    /// There are examples, and the model takes none of them.
    #[error("none of its examples can be used with this model")]
    NoUsableExample,
    /// What is known of a graft is longer than that may be.
    #[error("what is known of the graft is too long")]
    MetaTooLong,
    /// A graft that cannot be written, such as one whose numbers do not have its shapes.
    #[error("{0}")]
    UnwritableGraft(String),
    /// A name that no document can have.
    #[error("a document's name has 1 to 32 small letters, digits, - and _")]
    DocumentName,
    /// A document that is larger than one may be.
    #[error("document {name} is larger than {} MiB", limit >> 20)]
    DocumentTooLarge {
        /// Its name.
        name: String,
        /// Bytes that it may have.
        limit: u64,
    },
    /// A document whose value is no JSON.
    #[error("document {name} cannot be written: {why}")]
    Document {
        /// Its name.
        name: String,
        /// What its serializer says.
        why: String,
    },
    /// The document that the error's path names has a value that is no JSON.
    #[error("it cannot be written: {0}")]
    ThisDocument(String),
}

#[cfg(test)]
mod tests {
    use nightgraft_adapter::Module;

    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let (graft, current, name) = (GraftId(3), GraftId(2), "notes".to_owned());
        for (problem, words) in [
            (StoreProblem::NoStore, "there is no store"),
            (
                StoreProblem::ForeignFolder,
                "the folder holds other files and no header of a store; choose an empty folder, or bring back its store.ngs",
            ),
            (
                StoreProblem::NotAStore,
                "the folder is not a store, and nothing in it was removed; give the folder of the store itself",
            ),
            (
                StoreProblem::ExportInside,
                "the examples cannot be written into the store's own folder; choose a place outside of it",
            ),
            (
                StoreProblem::OtherLayout { found: 3, known: 2 },
                "it is of version 3 of the layout, this program reads versions up to 2; it is left as it is, for a newer build",
            ),
            (
                StoreProblem::WrongHeader,
                "not one of its files opens with its store.ngs, which is of another store or another time; nothing was \
                 changed. Bring back the store.ngs or store.copy.ngs that belongs to these files",
            ),
            (
                StoreProblem::NeedlessKey,
                "it is not encrypted; leave the key out, or begin a new store with it",
            ),
            (
                StoreProblem::NoKeyToChange,
                "it is not encrypted and has no key to change; begin a new store with a key",
            ),
            (StoreProblem::NotOneKey, "only an encrypted store has a key to change"),
            (StoreProblem::NoKeyNumberLeft, "its key was changed too often"),
            (StoreProblem::NoGraft(graft), "there is no graft 3"),
            (StoreProblem::NoGraftNumberLeft, "it has no number left"),
            (StoreProblem::NothingInUse, "no graft is in use: there is nothing to go back from"),
            (StoreProblem::InUse(graft), "graft 3 is in use; roll back before you delete it"),
            (
                StoreProblem::RefusedByGate(graft),
                "the gate refused graft 3; look at why before you promote it all the same",
            ),
            (
                StoreProblem::OtherBaseThanParent { parent: current },
                "the new graft is for another base model than graft 2, which it went on from",
            ),
            (
                StoreProblem::OtherBaseThanCurrent { graft, current },
                "graft 3 is for another base model than graft 2, which is in use; roll back until the base is in use, or keep \
                 one store for each model",
            ),
            (
                StoreProblem::OtherBaseInUse { graft },
                "the graft in use, 3, was made for another base model; use that one, or a store of its own for each model",
            ),
            (
                StoreProblem::OtherModel { graft, model: "m.gguf".into() },
                "graft 3 was trained on another model than m.gguf",
            ),
            (
                Mismatch::Layer { layer: 9, module: Module::AttnQ, n_layer: 3 }.into(),
                "it adapts blk.9.attn_q.weight, the model has 3 layers",
            ),
            (StoreProblem::NoUsableExample, "none of its examples can be used with this model"),
            (StoreProblem::MetaTooLong, "what is known of the graft is too long"),
            (StoreProblem::UnwritableGraft("odd".into()), "odd"),
            (StoreProblem::DocumentName, "a document's name has 1 to 32 small letters, digits, - and _"),
            (
                StoreProblem::DocumentTooLarge { name: name.clone(), limit: 64 << 20 },
                "document notes is larger than 64 MiB",
            ),
            (StoreProblem::Document { name, why: "odd".into() }, "document notes cannot be written: odd"),
            (StoreProblem::ThisDocument("odd".into()), "it cannot be written: odd"),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
