//! Incremental max-min filling, from what changes touch: the sweep that `filling.rs` describes, level by level.

use super::*;

impl Filling {
    /// From what the changes touch; false if that is more work than a full filling, which then must follow.
    pub(super) fn fill_incrementally(&mut self) -> bool {
        self.looks = 0;
        let links = &mut self.links;
        self.pending
            .extend(self.touched_links.iter().filter_map(|&index| {
                let link = &mut links[index as usize];
                link.key = link.level.min(link.bound());
                (link.key < UNLIMITED).then_some((link.key, index))
            }));
        for &path in &self.touched_paths {
            let cap = self.ways[path as usize].cap;
            if cap < UNLIMITED {
                let entry = self.links.len() as u32 + path;
                self.pending.push((cap, entry));
            }
        }
        while let Some((level, _)) = self.pending.first() {
            if self.looks > LOOKS_PER_CROSSING * self.crossings {
                return false;
            }
            while self.collect(level) {
                self.let_go(level);
            }
            self.stop(level);
            if self.rising == 0 && self.pending.len() <= FEW {
                self.drop_idle();
            }
        }
        for link in self.touched_links.drain(..) {
            self.links[link as usize].status = Status::Idle;
        }
        true
    }

    /// While nothing rises, forgets the links that are not, and will not be, full or overfull.
    fn drop_idle(&mut self) {
        let links = &mut self.links;
        self.pending.retain(|(key, entry)| {
            let link = links.get_mut(entry as usize);
            let current = link.filter(|link| link.status == Status::Touched && link.key == key);
            let Some(link) = current else { return false };
            let matters = link.level < UNLIMITED || link.room < i128::from(link.weight);
            if !matters {
                link.key = UNLIMITED;
            }
            matters
        });
    }

    /// Takes what happens at `level` out of the heap; true if links let go of paths.
    fn collect(&mut self, level: u64) -> bool {
        while let Some((key, entry)) = self.pending.first()
            && key == level
        {
            self.pending.take_first();
            let index = entry as usize;
            let Some(link) = self.links.get(index) else {
                let path = entry - self.links.len() as u32;
                if self.ways[path as usize].motion == Motion::Rising {
                    self.capped.push(path);
                }
                continue;
            };
            if link.status != Status::Touched || link.key != level {
                continue;
            }
            let full_at = self.evaluate(index, level);
            let link = &mut self.links[index];
            let next = full_at.min(link.level);
            if next > level {
                link.key = next;
                if next < UNLIMITED {
                    self.pending.push((next, entry));
                }
            } else if full_at == level {
                link.level = level;
                link.status = Status::Full;
                self.full.push(entry);
            } else {
                link.level = UNLIMITED;
                self.letting_go.push(entry);
            }
        }
        !self.letting_go.is_empty()
    }

    /// The level at which a link will be full, given that nothing happens to it below `level`.
    fn evaluate(&mut self, index: usize, level: u64) -> u64 {
        let link = &self.links[index];
        if link.untouched == 0 {
            return link.bound();
        }
        if link.rising == 0 && link.room >= i128::from(link.weight) {
            return UNLIMITED;
        }
        let (mut room, mut load) = (self.capacities[index], 0);
        self.looks += self.on[index].len();
        self.scratch.clear();
        for on in &self.on[index] {
            let limit = self.ways[on.path as usize].limit;
            let weight = self.weight_of(on);
            if limit < level {
                room -= product(weight, limit);
            } else {
                load += weight;
                self.scratch.push((limit, weight));
            }
        }
        // Paths that are slower than the level leave room to the others, which raises it.
        while load > 0 {
            let full_at = quotient(room.cast_unsigned(), load);
            let before = self.scratch.len();
            self.scratch.retain(|&(limit, weight)| {
                let slower = limit < full_at;
                if slower {
                    room -= product(weight, limit);
                    load -= weight;
                }
                !slower
            });
            if self.scratch.len() == before {
                return full_at;
            }
        }
        UNLIMITED
    }

    /// Lets the paths rise that only the links in `letting_go` held at `level`.
    fn let_go(&mut self, level: u64) {
        while let Some(index) = self.letting_go.pop() {
            self.links[index as usize].key = UNLIMITED;
            for position in 0..self.on[index as usize].len() {
                let path = self.on[index as usize][position].path;
                let way = &self.ways[path as usize];
                if way.limit == level && way.motion == Motion::Fixed && !self.is_held(path, level) {
                    self.raise(path, level);
                }
            }
            self.lower_key(index, level);
        }
    }

    /// Whether a cap or a full link holds a path at `level`.
    fn is_held(&self, path: u32, level: u64) -> bool {
        let shares = &self.shares[self.range(path)];
        let full = |share: &Share| self.links[share.link as usize].level == level;
        self.ways[path as usize].cap == level || shares.iter().any(full)
    }

    /// Lets a path that was fixed at `level` rise on.
    fn raise(&mut self, path: u32, level: u64) {
        let range = self.range(path);
        self.looks += range.len();
        let way = &mut self.ways[path as usize];
        way.motion = Motion::Rising;
        way.limit = way.cap;
        self.rising += 1;
        let count = u64::from(way.count);
        self.touched_paths.push(path);
        if way.cap < UNLIMITED {
            let entry = self.links.len() as u32 + path;
            self.pending.push((way.cap, entry));
        }
        for position in range {
            let Share {
                link: at, weight, ..
            } = self.shares[position];
            let link = &mut self.links[at as usize];
            if link.status == Status::Idle {
                link.touch(at, self.on[at as usize].len(), &mut self.touched_links);
            }
            let weight = weight * count;
            link.untouched -= 1;
            link.room += product(weight, level);
            link.rising += weight;
            self.lower_key(at, level);
        }
    }

    /// Sees to it that a link on which a path rises from `level` is looked at in time.
    fn lower_key(&mut self, index: u32, level: u64) {
        let link = &mut self.links[index as usize];
        let key = link.level.min(link.bound()).max(level);
        if key < link.key {
            link.key = key;
            self.pending.push((key, index));
        }
    }

    /// Stops at `level` the paths whose cap it is, and all faster ones on the links full at it.
    fn stop(&mut self, level: u64) {
        while let Some(path) = self.capped.pop() {
            if self.ways[path as usize].motion == Motion::Rising {
                self.fix(path, level);
            }
        }
        while let Some(index) = self.full.pop() {
            for position in 0..self.on[index as usize].len() {
                let path = self.on[index as usize][position].path;
                let way = &self.ways[path as usize];
                if way.limit > level || way.motion == Motion::Rising {
                    self.fix(path, level);
                }
            }
        }
    }

    /// Stops a path that rises, or cuts one that was faster, at `level`.
    fn fix(&mut self, path: u32, level: u64) {
        let range = self.range(path);
        self.looks += range.len();
        let way = &mut self.ways[path as usize];
        let (old, count) = (way.limit, u64::from(way.count));
        let rising = way.motion == Motion::Rising;
        if !rising {
            self.touched_paths.push(path);
        }
        self.rising -= usize::from(rising && count > 0);
        way.motion = Motion::Stopped;
        way.limit = level;
        for position in range {
            let Share {
                link: at, weight, ..
            } = self.shares[position];
            let link = &mut self.links[at as usize];
            let weight = weight * count;
            if rising {
                link.rising -= weight;
                link.room -= product(weight, level);
                continue;
            }
            link.room += product(weight, old - level);
            if link.status == Status::Idle && link.level < UNLIMITED {
                link.touch(at, self.on[at as usize].len(), &mut self.touched_links);
                link.key = link.level;
                self.pending.push((link.key, at));
            }
            link.untouched = link.untouched.saturating_sub(1);
        }
    }
}
