//! A platform in which something is wrong: slower GPUs, narrower links.
//!
//! ```text
//! flows over links       share what is left of the links
//! a message's time       times time(flows alone, links as they are) / time(flows alone, healthy links)
//! ```
//! Guarantee: nothing gets faster, for rings keep the order and the protocol that they were set up with.

use topologies::{Bandwidth, Condition, DeviceId, LinkId, SpeedFactor};

use super::{Message, Platform};

impl Platform {
    /// The same platform in another condition.
    #[must_use]
    pub fn with(mut self, condition: Condition) -> Self {
        let left = |(index, rate): (usize, &Bandwidth)| {
            let width = condition.width(LinkId::new(index));
            if width == 1.0 {
                *rate
            } else {
                rate.scaled(width)
            }
        };
        self.effective = self.healthy.iter().enumerate().map(left).collect();
        self.condition = condition;
        self
    }

    /// Whether nothing is wrong: ranks that are alike by their place in a plan then take equally long.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.condition == Condition::HEALTHY
    }

    /// How fast a GPU is.
    #[must_use]
    pub fn speed_factor(&self, device: DeviceId) -> SpeedFactor {
        self.condition.speed_factor(device)
    }

    /// Whether a narrow link is on the way between any two GPUs of `group`.
    #[must_use]
    pub fn is_narrow(&self, group: &[DeviceId]) -> bool {
        let Some(machine) = self.machine().filter(|_| !self.condition.widths.is_empty()) else {
            return false;
        };
        let narrow = |from: DeviceId, to: DeviceId| {
            let mut links = machine.route(from, to).links.iter();
            links.any(|link| self.condition.width(*link) < 1.0)
        };
        let mut pairs = group.iter().flat_map(|a| group.iter().map(move |b| (a, b)));
        pairs.any(|(from, to)| narrow(*from, *to))
    }

    /// By how much narrow links lengthen `message` among `group`: 1 or more.
    #[must_use]
    pub fn lengthened(&self, message: &Message, group: &[DeviceId]) -> f64 {
        if self.condition.widths.is_empty() || group.len() < 2 {
            return 1.0;
        }
        let flows = match message.stage {
            Some(_) => self.flows(message, group),
            None => self
                .links_of(group)
                .zip(message.sizes.first())
                .map(|(links, size)| links.decompose(message.kind, *size).bundle),
        };
        let Some(flows) = flows else {
            return 1.0;
        };
        let (now, healthy) = (
            flows.uncontended(&self.effective),
            flows.uncontended(&self.healthy),
        );
        now.as_secs_f64() / healthy.as_secs_f64()
    }
}
