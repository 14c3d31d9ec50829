//! The journal's folder: segments on the disk, examples in memory.
//!
//! There is one way to change it: [`Journal::write`] puts one segment in its place, which may cover others, and then
//! removes those. The rename inside is the moment at which the change happens; segments that are covered by another
//! one are what a crash left between the two, and [`Journal::load`] removes them before it shows anything.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::IdSet;
use super::deviation::Deviation;
use super::ids::ExampleId;
use super::sealed;
use super::segment::{self, Problem, ROLE, Segment, Span, StoredExample};
use crate::vault::Vault;
use crate::{Error, FileProblem, Result};

/// The journal in memory.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    segments: Vec<Placed>,
    /// All that were not deleted, by id. Readers have them too: where there is one, a change makes a copy.
    examples: Arc<Vec<StoredExample>>,
    deleted: IdSet,
    next_id: u64,
    /// Where an example with the same line is.
    known: HashMap<[u8; 32], ExampleId>,
    /// What is wrong with the files, by file. Then some examples may be missing, and nothing may be changed but by
    /// [`rebuild`](Self::rebuild).
    damage: Vec<(PathBuf, FileProblem)>,
    /// A write failed, and what is in memory may not be what is on the disk.
    stale: bool,
}

/// What loading does with segments that others cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Covered {
    Removed,
    Left,
}

/// A segment on the disk.
#[derive(Debug)]
struct Placed {
    span: Span,
    /// The examples in it.
    ids: IdSet,
    deleted: IdSet,
}

impl Journal {
    /// One that was not read yet.
    pub(super) fn empty(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            segments: Vec::new(),
            examples: Arc::default(),
            deleted: IdSet::new(),
            next_id: 1,
            known: HashMap::new(),
            damage: Vec::new(),
            stale: false,
        }
    }

    /// What readers see of it: the examples, and what is wrong.
    pub(super) fn for_readers(&self) -> Self {
        Self {
            examples: Arc::clone(&self.examples),
            deleted: self.deleted.clone(),
            next_id: self.next_id,
            damage: self.damage.clone(),
            ..Self::empty(&self.folder)
        }
    }

    /// Reads the folder, and removes the segments that others cover. Damage is noted, see [`damage`](Self::damage).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WrongKey`].
    pub(super) fn load(vault: &Vault, folder: &Path) -> Result<Self> {
        Self::load_without(vault, folder, &[], Covered::Removed)
    }

    /// As [`load`](Self::load), but the files that are no longer what they should be count as damaged, and no example of
    /// them is shown: some may have been deleted. If there are any, nothing is removed, whatever `covered` says.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(super) fn load_without(
        vault: &Vault,
        folder: &Path,
        distrusted: &[Deviation],
        covered: Covered,
    ) -> Result<Self> {
        let mut journal = Self::empty(folder);
        let mut spans: Vec<Span> = vault
            .fs()
            .list(folder)
            .map_err(Error::io("list", folder))?
            .iter()
            .filter(|entry| !entry.is_dir)
            .filter_map(|entry| entry.name.to_str().and_then(Span::from_file_name))
            .collect();
        // One that covers others comes before them.
        spans.sort_unstable_by_key(|span| (span.from, std::cmp::Reverse(span.to)));
        let mut before = Span { from: 0, to: 0 };
        let mut before_is_valid = true;
        for span in spans {
            let path = folder.join(span.file_name());
            if before.covers(span) {
                // What covers it must be readable, or this may be the last copy.
                if before_is_valid && distrusted.is_empty() && covered == Covered::Removed {
                    vault.remove(&path)?;
                }
                continue;
            }
            if span.from <= before.to {
                journal.damage.push((path, FileProblem::OverlappingSegment));
                continue;
            }
            journal.note_gap(before.to + 1, span.from);
            before_is_valid = match distrusted.iter().find(|deviation| deviation.path == path) {
                None => journal.take_in(vault, span)?,
                Some(deviation) => journal.pass_over(vault, deviation)?,
            };
            before = span;
        }
        journal.check_completeness();
        let noted = |journal: &Self, path: &PathBuf| journal.damage.iter().any(|(noted, _)| noted == path);
        for Deviation { path, why } in distrusted {
            if !noted(&journal, path) {
                journal.damage.push((path.clone(), (*why).into()));
            }
        }
        journal.known = journal.examples.iter().map(|example| (digest(&example.line), example.id)).collect();
        Ok(journal)
    }

    fn note_gap(&mut self, expected: u64, found: u64) {
        if expected < found {
            let path = self.folder.join(Span { from: expected, to: found - 1 }.file_name());
            self.damage.push((path, FileProblem::MissingSegment));
        }
    }

    /// Reads one segment behind those that are there; false if it is damaged, and then with what could be read of it.
    fn take_in(&mut self, vault: &Vault, span: Span) -> Result<bool> {
        let path = self.folder.join(span.file_name());
        let (segment, result) = read(vault, &path)?;
        let last = self.examples.last().map_or(0, |last| last.id.0);
        let mut problem = result.err();
        if problem.is_none() && segment.examples.first().is_some_and(|first| first.id.0 <= last) {
            problem = Some(FileProblem::RepeatedExamples);
        }
        let ids: IdSet = segment.examples.iter().map(|example| example.id.0).collect();
        self.deleted = self.deleted.union(&segment.deleted);
        self.next_id = self.next_id.max(segment.next_id);
        let new = segment.examples.into_iter().filter(|example| example.id.0 > last);
        Arc::make_mut(&mut self.examples).extend(new);
        self.segments.push(Placed { span, ids, deleted: segment.deleted });
        let is_valid = problem.is_none();
        self.damage.extend(problem.map(|problem| (path, problem)));
        Ok(is_valid)
    }

    /// Notes one segment as damaged. Of an earlier version of it, what it says of deleted examples is true still.
    fn pass_over(&mut self, vault: &Vault, deviation: &Deviation) -> Result<bool> {
        let (segment, _) = read(vault, &deviation.path)?;
        self.deleted = self.deleted.union(&segment.deleted);
        self.next_id = self.next_id.max(segment.next_id);
        self.damage.push((deviation.path.clone(), deviation.why.into()));
        Ok(false)
    }

    /// Every id that was ever given belongs to an example that is there, or was deleted.
    fn check_completeness(&mut self) {
        let live: IdSet = self.examples.iter().map(|example| example.id.0).collect();
        let given = IdSet::from_range(1, self.next_id - 1);
        if !self.damage.is_empty() {
            return;
        }
        if !live.intersection(&self.deleted).is_empty() {
            self.damage.push((self.folder.clone(), FileProblem::DeletedExamples));
        } else if let missing @ 1.. = given.difference(&live.union(&self.deleted)).len() {
            self.damage.push((self.folder.clone(), FileProblem::MissingExamples(missing)));
        }
    }

    /// Notes it as damage if it has never given ids up to `last`.
    pub(super) fn expect_ids_up_to(&mut self, last: u64) {
        if self.damage.is_empty() && last >= self.next_id {
            self.damage.push((self.folder.clone(), FileProblem::LostEnd { last }));
        }
    }

    /// Notes damage outside of the folder that forbids every change of the journal.
    pub(super) fn distrust(&mut self, path: PathBuf, problem: FileProblem) {
        self.damage.push((path, problem));
    }

    /// All that were not deleted, by id.
    pub(super) fn examples(&self) -> &[StoredExample] {
        &self.examples
    }

    /// Ids whose examples were deleted.
    pub(super) fn deleted(&self) -> &IdSet {
        &self.deleted
    }

    /// One more than the largest id ever given.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// What is wrong with which file.
    pub(super) fn damage(&self) -> &[(PathBuf, FileProblem)] {
        &self.damage
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many files it has.
    pub(super) fn n_segments(&self) -> usize {
        self.segments.len()
    }

    /// The example with this line.
    pub(super) fn find(&self, line: &str) -> Option<ExampleId> {
        self.known.get(&digest(line)).copied()
    }

    /// To be called before any change.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if a file is damaged; what [`load`](Self::load) says if a write has failed before and
    /// the folder cannot be read now.
    pub(super) fn settle(&mut self, vault: &Vault) -> Result<()> {
        if self.stale {
            *self = Self::load(vault, &self.folder)?;
        }
        self.check()
    }

    /// # Errors
    /// [`Error::Corrupted`] if a file is damaged.
    pub(super) fn check(&self) -> Result<()> {
        match self.damage.first() {
            None => Ok(()),
            Some((path, problem)) => Err(Error::Corrupted { path: path.clone(), problem: problem.clone() }),
        }
    }

    /// Adds examples with the next ids, in one step. There must be at least one.
    ///
    /// # Errors
    /// [`Error::Io`] and others of the vault. If the next [`settle`](Self::settle) succeeds the memory shows again
    /// what is on the disk: the state before or the one after.
    pub(super) fn append(&mut self, vault: &Vault, added: i64, lines: Vec<String>) -> Result<Vec<ExampleId>> {
        let example = |(id, line)| StoredExample { id: ExampleId(id), added, line };
        let examples: Vec<_> = (self.next_id..).zip(lines).map(example).collect();
        let next_id = self.next_id.saturating_add(examples.len() as u64);
        let number = self.segments.last().map_or(0, |last| last.span.to) + 1;
        let span = Span { from: number, to: number };
        let all: Vec<_> = examples.iter().collect();
        let written = write(vault, &self.folder.join(span.file_name()), next_id, &IdSet::new(), &all);
        self.noting_failure(vault, written)?;
        let ids: Vec<_> = examples.iter().map(|example| example.id).collect();
        let held = ids.iter().map(|id| id.0).collect();
        self.segments.push(Placed { span, ids: held, deleted: IdSet::new() });
        self.known.extend(examples.iter().map(|example| (digest(&example.line), example.id)));
        Arc::make_mut(&mut self.examples).extend(examples);
        self.next_id = next_id;
        Ok(ids)
    }

    /// Removes the examples `ids`, which must be there, in one step: the segments that held them are written again
    /// without them, as one.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn remove(&mut self, vault: &Vault, ids: &IdSet) -> Result<()> {
        let holds = |placed: &Placed| !placed.ids.intersection(ids).is_empty();
        let first = self.segments.iter().position(holds);
        let last = self.segments.iter().rposition(holds);
        match first.zip(last) {
            Some((first, last)) => self.merge(vault, first, last, ids),
            None => Ok(()),
        }
    }

    /// Makes all segments one.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn compact(&mut self, vault: &Vault) -> Result<()> {
        match self.segments.len() {
            0 | 1 => Ok(()),
            n => self.merge(vault, 0, n - 1, &IdSet::new()),
        }
    }

    /// Writes the segments `first` to `last` again as one, without the examples `without`.
    fn merge(&mut self, vault: &Vault, first: usize, last: usize, without: &IdSet) -> Result<()> {
        let merged = &self.segments[first..=last];
        let span = Span { from: merged[0].span.from, to: merged[merged.len() - 1].span.to };
        let held = merged.iter().fold(IdSet::new(), |all, placed| all.union(&placed.ids));
        let deleted = merged.iter().fold(without.clone(), |all, placed| all.union(&placed.deleted));
        let ids = held.difference(without);
        let covered: Vec<_> =
            merged.iter().filter(|placed| placed.span != span).map(|placed| placed.span).collect();
        let kept: Vec<_> = self.examples.iter().filter(|example| ids.contains(example.id.0)).collect();
        let written = write(vault, &self.folder.join(span.file_name()), self.next_id, &deleted, &kept);
        self.noting_failure(vault, written)?;
        // From here on the change has happened.
        self.deleted = self.deleted.union(without);
        Arc::make_mut(&mut self.examples).retain(|example| !without.contains(example.id.0));
        self.known.retain(|_, id| !without.contains(id.0));
        self.segments.splice(first..=last, [Placed { span, ids, deleted }]);
        let covered: Vec<_> = covered.iter().map(|span| self.folder.join(span.file_name())).collect();
        let removed = vault.remove_all(&covered);
        self.noting_failure(vault, removed)
    }

    /// Writes all that could be read as one new segment, says that everything else was deleted, and removes all other
    /// segments. The ids up to `at_least` are taken as given. This is for a damaged journal.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn rebuild(&mut self, vault: &Vault, at_least: u64) -> Result<()> {
        let spans: Vec<Span> = vault
            .fs()
            .list(&self.folder)
            .map_err(Error::io("list", &self.folder))?
            .iter()
            .filter_map(|entry| entry.name.to_str().and_then(Span::from_file_name))
            .collect();
        let to = spans.iter().map(|span| span.to).max().unwrap_or(1);
        let live: IdSet = self.examples.iter().map(|example| example.id.0).collect();
        let live = live.difference(&self.deleted);
        let largest = live.last().max(self.deleted.last()).unwrap_or(0).max(at_least);
        let next_id = self.next_id.max(largest.saturating_add(1));
        let deleted = IdSet::from_range(1, next_id - 1).difference(&live);
        let kept: Vec<_> = self.examples.iter().filter(|example| live.contains(example.id.0)).collect();
        let span = Span { from: 1, to };
        let written = write(vault, &self.folder.join(span.file_name()), next_id, &deleted, &kept);
        self.noting_failure(vault, written)?;
        let others = spans.into_iter().filter(|&other| other != span);
        let others: Vec<_> = others.map(|other| self.folder.join(other.file_name())).collect();
        vault.remove_all(&others)?;
        *self = Self::load(vault, &self.folder)?;
        Ok(())
    }

    /// After a failure nobody knows which state the disk is in. Asks it, or leaves that for later.
    fn noting_failure(&mut self, vault: &Vault, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.stale = true;
            if let Ok(journal) = Self::load(vault, &self.folder) {
                *self = journal;
            }
        }
        result
    }
}

fn write(
    vault: &Vault,
    path: &Path,
    next_id: u64,
    deleted: &IdSet,
    examples: &[&StoredExample],
) -> Result<()> {
    let mut file = vault.create(path, ROLE)?;
    segment::write(&mut file, next_id, deleted, examples).map_err(|error| file.error(error))?;
    vault.put(vec![file], &[])
}

/// Reads a segment as far as it is valid; with what is wrong.
pub(super) fn read(vault: &Vault, path: &Path) -> Result<(Segment, Result<(), FileProblem>)> {
    let mut segment = Segment::default();
    let result = vault.open(path, ROLE).and_then(|mut file| {
        let result;
        (segment, result) = Segment::read(&mut file);
        match result {
            Ok(()) => file.finish(),
            Err(Problem::Read(error)) => Err(file.error(error)),
            Err(Problem::Content(problem)) => Err(sealed::corrupted(path, problem)),
        }
    });
    Ok((segment, sealed::damage(result)?))
}

fn digest(line: &str) -> [u8; 32] {
    Sha256::digest(line).into()
}
