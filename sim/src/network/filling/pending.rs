//! What is to be looked at, the earliest level first: a sorted list, which is faster than a heap for the few
//! entries that most changes have.

/// A level, and what is due at it.
type Entry = (u64, u32);

/// The list; the first to be due stands last.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<Entry>);

impl Pending {
    pub(super) fn first(&self) -> Option<Entry> {
        self.0.last().copied()
    }

    pub(super) fn take_first(&mut self) {
        self.0.pop();
    }

    pub(super) fn push(&mut self, entry: Entry) {
        // What is added is due soon, as a rule.
        let later = self
            .0
            .iter()
            .rev()
            .take_while(|&&other| other < entry)
            .count();
        self.0.insert(self.0.len() - later, entry);
    }

    pub(super) fn extend(&mut self, entries: impl Iterator<Item = Entry>) {
        self.0.extend(entries);
        self.0.sort_unstable_by(|a, b| b.cmp(a));
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(Entry) -> bool) {
        self.0.retain(|&entry| keep(entry));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
