//! `plan --emit ENGINE`: only the command that runs the winning plan, for another program or a shell.
//!
//! Where the engine cannot run it, comments say why, and the command is that of the fastest plan it can run, which a
//! search of its own finds among those; what that costs stands beside it.

use anyhow::{Result, anyhow};
use planner::launch::Engine;
use planner::search::{self, PlanningError, Question};

use super::arguments::Emit;
use crate::render::plans::label;
use crate::render::text::seconds;
use crate::render::words;

/// The engine whose command is asked for, `asked` being that of the question.
pub(super) const fn engine(emit: Emit, asked: Engine) -> Option<Engine> {
    match emit {
        Emit::Assignment => None,
        Emit::Command => Some(asked),
        Emit::Xdit => Some(Engine::Xdit),
        Emit::Sglang => Some(Engine::Sglang),
        Emit::Diffusers => Some(Engine::Diffusers),
        Emit::CacheDit => Some(Engine::CacheDit),
        Emit::VllmOmni => Some(Engine::VllmOmni),
    }
}

/// The command, with comments where it is not the winning plan's.
pub(super) fn answer(mut question: Question, engine: Engine) -> Result<String> {
    question.engine = engine;
    // Of all plans, so that it is said what the engine does not run.
    question.filter.launchable = false;
    let best = search::plan(&question)?.choice;
    let reason = match words::command(&best.launch) {
        Ok(command) => return Ok(command.to_owned() + "\n"),
        Err(reason) => reason,
    };
    question.filter.launchable = true;
    let nearest = match search::plan(&question) {
        Ok(answer) => answer.choice,
        Err(PlanningError::NoPlan { .. }) => {
            return Err(anyhow!(
                "{engine} has no command for any plan of {}, of {} because {reason}: try another --emit",
                question.model.name,
                label(&best.plan)
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let command = words::command(&nearest.launch).map_err(|reason| anyhow!(reason))?;
    let loss = nearest.latency.saturating_sub(best.latency);
    let share = 100.0 * loss.as_secs_f64() / best.latency.as_secs_f64();
    Ok(format!(
        "# {engine} cannot run the best plan, {} ({} s): {reason}.\n\
         # The nearest that it can run is {}: {} s ({}-{}, 90 %), {} s or {share:.1} % slower.\n{command}\n",
        label(&best.plan),
        seconds(best.latency),
        label(&nearest.plan),
        seconds(nearest.latency),
        seconds(nearest.lo),
        seconds(nearest.hi),
        seconds(loss),
    ))
}
