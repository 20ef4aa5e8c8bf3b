//! Queues in closed form: what can be said before anything is simulated.
//!
//! With arrival rate `l`, service time of mean `s` and squared coefficient of variation `cs2`, `c` servers,
//! squared coefficient of variation `ca2` of the times between arrivals, load `a = l s`, `rho = a / c`:
//!
//! ```text
//! must wait    C(c, a) = B / (1 - rho (1 - B)),  B(0) = 1,  B(n) = a B(n-1) / (n + a B(n-1))      M/M/c, exact
//! mean wait    W = C s / (c (1 - rho))                                                             M/M/c, exact
//!              W = rho s (1 + cs2) / (2 (1 - rho))                                    M/G/1, M/D/1 (cs2 = 0), exact
//!              W = (ca2 + cs2) / 2 x C s / (c (1 - rho))                                   G/G/c, approximate
//! ```
//! (Erlang 1917; Pollaczek 1930 and Khinchine 1932; Allen and Cunneen 1990, who reduce to the line above
//! for c = 1.) Waiting times of those who wait are taken as exponential of mean `W / C`, which is exact for
//! M/M/c; a latency is a wait plus a service of one of the shapes.
//!
//! A load of `c` or more is a proof that the queue grows without end; below that the forms are a guide, and
//! the simulation judges. They leave batches out.

/// Requests, services and servers of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Requests per second.
    pub rate: f64,
    /// Servers.
    pub servers: f64,
    /// Squared coefficient of variation of the times between arrivals.
    pub arrival_scv: f64,
    /// Share and seconds of each kind of service; the shares sum to 1.
    pub services: Vec<(f64, f64)>,
    /// Rates of equal parts of a period over the mean rate: `[1]` where the rate is constant.
    pub phases: Vec<f64>,
}

/// Probability that one must wait in M/M/c: Erlang's C. `servers` may be fractional (linear in between).
#[must_use]
pub fn erlang_c(servers: f64, load: f64) -> f64 {
    let whole = servers.floor().max(1.0);
    let at = |count: f64| {
        let mut blocked = 1.0;
        let mut n = 1.0;
        while n <= count {
            blocked = load * blocked / (n + load * blocked);
            n += 1.0;
        }
        let rho = (load / count).min(1.0);
        blocked / (1.0 - rho * (1.0 - blocked))
    };
    let rest = (servers - whole).max(0.0);
    let low = at(whole);
    if rest == 0.0 {
        return low;
    }
    low + rest * (at(whole + 1.0) - low)
}

impl Queue {
    /// Mean service time in seconds.
    #[must_use]
    pub fn mean_service_s(&self) -> f64 {
        self.services.iter().map(|(share, time)| share * time).sum()
    }

    /// Squared coefficient of variation of the service times.
    #[must_use]
    pub fn service_scv(&self) -> f64 {
        let mean = self.mean_service_s();
        let squares = self
            .services
            .iter()
            .map(|(share, time)| share * time * time);
        squares.sum::<f64>() / (mean * mean) - 1.0
    }

    /// Servers that are busy on average, were there enough.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.rate * self.mean_service_s()
    }

    /// Load over servers: below 1 or the queue grows without end.
    #[must_use]
    pub fn rho(&self) -> f64 {
        self.load() / self.servers
    }

    /// Probability of a wait and mean wait in seconds at a multiple of the rate; none where that overloads.
    fn wait_at(&self, phase: f64) -> Option<(f64, f64)> {
        let rho = self.rho() * phase;
        if rho >= 1.0 {
            return None;
        }
        let waits = erlang_c(self.servers, self.load() * phase);
        let poisson = waits * self.mean_service_s() / (self.servers * (1.0 - rho));
        Some((
            waits,
            0.5 * (self.arrival_scv + self.service_scv()) * poisson,
        ))
    }

    /// Mean wait in seconds (Allen and Cunneen), averaged over the phases as if each lasted for ever
    /// (Green and Kolesar 1991); none where a phase overloads.
    #[must_use]
    pub fn mean_wait_s(&self) -> Option<f64> {
        let waits = self
            .phases
            .iter()
            .map(|phase| Some(phase * self.wait_at(*phase)?.1));
        let sum: Option<f64> = waits.sum();
        Some(sum? / self.phases.iter().sum::<f64>())
    }

    /// Mean latency in seconds; none where a phase overloads.
    #[must_use]
    pub fn mean_latency_s(&self) -> Option<f64> {
        Some(self.mean_wait_s()? + self.mean_service_s())
    }

    /// Share of the requests whose latency exceeds `limit` seconds; none where a phase overloads.
    #[must_use]
    pub fn late(&self, limit: f64) -> Option<f64> {
        let mut late = 0.0;
        for phase in &self.phases {
            let (waits, mean) = self.wait_at(*phase)?;
            for (share, time) in &self.services {
                let left = limit - time;
                let beyond = match left {
                    ..0.0 => 1.0,
                    _ if mean <= 0.0 => 0.0,
                    _ => waits * (-left * waits / mean).exp(),
                };
                late += phase * share * beyond;
            }
        }
        Some(late / self.phases.iter().sum::<f64>())
    }
}

/// The latency in seconds that a share of all requests of several queues does not exceed, each queue with
/// its share of the requests; none where one is overloaded.
#[must_use]
pub fn latency_percentile_s(queues: &[(f64, Queue)], share: f64) -> Option<f64> {
    let late = |limit: f64| -> Option<f64> {
        let parts = queues
            .iter()
            .map(|(weight, queue)| Some(weight * queue.late(limit)?));
        parts.sum()
    };
    let (mut low, mut high) = (0.0, 1.0);
    while late(high)? > 1.0 - share {
        low = high;
        high *= 2.0;
        if high > 1e12 {
            return None;
        }
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if late(middle)? > 1.0 - share {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(rate: f64, servers: f64, services: &[(f64, f64)]) -> Queue {
        Queue {
            rate,
            servers,
            arrival_scv: 1.0,
            services: services.to_vec(),
            phases: vec![1.0],
        }
    }

    #[test]
    fn one_server_is_pollaczek_and_khinchine() {
        // M/D/1, l = 0.8, s = 1: W = 0.8 / (2 x 0.2) = 2.
        let wait = queue(0.8, 1.0, &[(1.0, 1.0)]).mean_wait_s().unwrap();
        assert!((wait - 2.0).abs() < 1e-12, "{wait}");
        // M/G/1, half of the services 0.5, half 1.5: cs2 = 0.25, W = 2 x 1.25.
        let wait = queue(0.8, 1.0, &[(0.5, 0.5), (0.5, 1.5)]).mean_wait_s();
        assert!((wait.unwrap() - 2.5).abs() < 1e-12, "{wait:?}");
    }

    #[test]
    fn erlangs_table() {
        // C(2, 1) = 1/3; C(1, rho) = rho; C(10, 8) = 0.40918 (tables of Erlang C).
        assert!((erlang_c(2.0, 1.0) - 1.0 / 3.0).abs() < 1e-12);
        assert!((erlang_c(1.0, 0.7) - 0.7).abs() < 1e-12);
        assert!((erlang_c(10.0, 8.0) - 0.40918).abs() < 1e-5);
        let between = erlang_c(2.5, 1.0);
        assert!(erlang_c(3.0, 1.0) < between && between < erlang_c(2.0, 1.0));
    }

    #[test]
    fn an_overloaded_queue_has_no_wait() {
        assert_eq!(queue(1.0, 1.0, &[(1.0, 1.0)]).mean_wait_s(), None);
        let mut daily = queue(0.8, 1.0, &[(1.0, 1.0)]);
        daily.phases = vec![0.5, 1.5];
        assert_eq!(daily.mean_wait_s(), None);
    }

    #[test]
    fn a_percentile_leaves_so_many_late() {
        let one = queue(1.6, 2.0, &[(0.7, 0.8), (0.3, 1.2)]);
        let at = latency_percentile_s(&[(1.0, one.clone())], 0.95).unwrap();
        assert!((one.late(at).unwrap() - 0.05).abs() < 1e-6, "{at}");
    }
}
