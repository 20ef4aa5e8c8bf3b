//! A queue by levels that only ascend: lists of what is due at nearly the same level.
//!
//! As many lists per power of two, so that any level lies within a small part of itself of its list's first. To
//! move an entry up costs the same however many there are.

/// The end of a list.
const END: u32 = u32::MAX;

/// The lists.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Lists per power of two, as a power of two.
    bits: u32,
    /// The first entry of each list.
    heads: Vec<u32>,
    /// By entry.
    next: Vec<u32>,
    /// No list below is in use, and none from `end` on.
    first: usize,
    end: usize,
}

impl Buckets {
    /// For entries below `entries`, of which a few more than `lists` are due over a few powers of two.
    pub(super) fn new(entries: usize, lists: usize) -> Self {
        let bits = lists.clamp(16, 2048).ilog2();
        Self {
            bits,
            heads: vec![END; (65 - bits as usize) << bits],
            next: vec![END; entries],
            first: 0,
            end: 0,
        }
    }

    /// The list of a level; ascends with it.
    #[inline]
    fn list(&self, level: u64) -> usize {
        let behind = (63 - self.bits).saturating_sub(level.leading_zeros());
        ((behind as usize) << self.bits) + (level >> behind) as usize
    }

    /// Adds an entry, not below what has been taken.
    #[inline]
    pub(super) fn put(&mut self, entry: u32, level: u64) {
        let list = self.list(level);
        self.first = self.first.min(list);
        self.end = self.end.max(list + 1);
        self.next[entry as usize] = std::mem::replace(&mut self.heads[list], entry);
    }

    /// Adds to `due` what is due first, and returns its level, given at what level an entry is due by now.
    #[inline]
    pub(super) fn take(
        &mut self,
        due_at: impl Fn(u32) -> Option<u64>,
        due: &mut Vec<u32>,
    ) -> Option<u64> {
        while self.first < self.end {
            let list = self.first;
            let mut entry = std::mem::replace(&mut self.heads[list], END);
            let mut least = u64::MAX;
            while entry != END {
                let next = self.next[entry as usize];
                if let Some(level) = due_at(entry) {
                    if level > least || self.list(level) > list {
                        self.put(entry, level);
                    } else {
                        if level < least {
                            due.drain(..).for_each(|entry| self.put(entry, least));
                            least = level;
                        }
                        due.push(entry);
                    }
                }
                entry = next;
            }
            if !due.is_empty() {
                return Some(least);
            }
            self.first += 1;
        }
        (self.first, self.end) = (self.heads.len(), 0);
        None
    }
}
