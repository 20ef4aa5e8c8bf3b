//! How the replicas of a fleet are launched.

use planner::capacity::Answer;

use super::plan;
use crate::text::wrapped;

/// How replicas are launched; one line for each engine that cannot.
pub(super) fn commands(answer: &Answer) -> String {
    let mut lines = String::new();
    for pool in &answer.choice.fleet.pools {
        // The plan of a pool is the same for all its shapes: one command shows it.
        let (offer, shape) = (&answer.offers[pool.offer], pool.shapes[0]);
        let Some(launch) = &offer.launch[shape] else {
            continue;
        };
        let (engine, plan) = (launch.engine, plan(answer, pool));
        match &launch.command {
            Ok(command) => lines.push_str(&format!(
                "# {plan} ({engine}), one request of {}; to serve, keep it loaded behind the queue\n{command}\n",
                answer.question.shapes[shape].name
            )),
            Err(reason) => lines.push_str(&wrapped(
                &format!(
                    "  {engine} cannot run {plan}: {reason}. --exact and --engine change what is considered."
                ),
                2,
            )),
        }
    }
    lines
}
