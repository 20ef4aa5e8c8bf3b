//! Progressive filling of one component; the derivation is in the module above.

use super::Network;

/// Links whose levels differ by less than this (relative) are full together, so that bundles which
/// are equal by symmetry get rates that are equal to the bit.
const SAME_LEVEL: f64 = 1.0 + 1e-12;
/// The `next_rate` of a bundle that has not stopped.
const RISING: f64 = -1.0;

impl Network {
    /// Finds `next_rate` of every bundle of the component.
    pub(super) fn fill(&mut self) {
        let mut lowest_cap = self.start_filling();
        let mut rising = self.component.len();
        while rising > 0 {
            let level = self.level();
            if lowest_cap <= level {
                // The lowest cap may be that of a bundle which a link has stopped since; then this
                // round only finds the lowest that counts.
                (rising, lowest_cap) = self.stop_capped(level, rising);
            } else {
                let stopped = self.stop_full(level);
                assert!(stopped > 0, "the link that sets the level carries a bundle");
                rising -= stopped;
            }
        }
    }

    /// Empties the component's links of stopped bundles; the lowest cap of its bundles.
    fn start_filling(&mut self) -> f64 {
        for &link in &self.component_links {
            let link = &mut self.links[link as usize];
            link.room = link.capacity;
            link.load = 0.0;
            link.open = 0;
        }
        let mut lowest_cap = f64::INFINITY;
        for &slot in &self.component {
            let bundle = &mut self.bundles[slot as usize];
            bundle.next_rate = RISING;
            let path = bundle.path.index();
            lowest_cap = lowest_cap.min(self.caps[path]);
            let range = self.first_share[path] as usize..self.first_share[path + 1] as usize;
            for &(link, weight) in &self.shares[range] {
                let link = &mut self.links[link as usize];
                link.load += weight;
                link.open += 1;
            }
        }
        lowest_cap
    }

    /// The rate at which the next link is full: `min_l room_l / load_l`.
    fn level(&self) -> f64 {
        let mut level = f64::INFINITY;
        for &link in &self.component_links {
            let link = &self.links[link as usize];
            if link.open > 0 {
                level = level.min(link.room / link.load);
            }
        }
        level
    }

    /// Stops all rising bundles whose cap is at most `level`, at their caps; how many rise still,
    /// and the lowest cap among them.
    fn stop_capped(&mut self, level: f64, mut rising: usize) -> (usize, f64) {
        let mut lowest_cap = f64::INFINITY;
        for position in 0..self.component.len() {
            let slot = self.component[position];
            let bundle = &self.bundles[slot as usize];
            if bundle.next_rate != RISING {
                continue;
            }
            let cap = self.caps[bundle.path.index()];
            if cap <= level {
                self.stop(slot, cap);
                rising -= 1;
            } else {
                lowest_cap = lowest_cap.min(cap);
            }
        }
        (rising, lowest_cap)
    }

    /// Stops all rising bundles on links that are full at `level`; how many.
    fn stop_full(&mut self, level: f64) -> usize {
        let mut stopped = 0;
        for position in 0..self.component_links.len() {
            let index = self.component_links[position] as usize;
            let link = &self.links[index];
            if link.open == 0 || link.room > level * SAME_LEVEL * link.load {
                continue;
            }
            for bundle in 0..link.bundles.len() {
                let slot = self.links[index].bundles[bundle];
                if self.bundles[slot as usize].next_rate == RISING {
                    self.stop(slot, level);
                    stopped += 1;
                }
            }
        }
        stopped
    }

    /// Stops a bundle at `rate`.
    fn stop(&mut self, slot: u32, rate: f64) {
        let bundle = &mut self.bundles[slot as usize];
        bundle.next_rate = rate;
        let path = bundle.path.index();
        let range = self.first_share[path] as usize..self.first_share[path + 1] as usize;
        for &(link, weight) in &self.shares[range] {
            let link = &mut self.links[link as usize];
            link.room = (link.room - weight * rate).max(0.0);
            link.load -= weight;
            link.open -= 1;
        }
    }
}
