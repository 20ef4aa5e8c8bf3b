//! What a quality budget was spent on.

use planner::assign::{Coupled, End};
use planner::search::Spent;

use crate::render::plans::share;
use crate::render::text::{self, wrapped};

/// How the budget was spent on the chosen layout: one compressor everywhere beside one per layer.
pub(super) fn report(spent: &Spent) -> String {
    let header = ["compressor", "latency, s", "deviation", "budget"];
    let mut table = text::table(&header, &[1, 2]);
    for one in &spent.uniform {
        table.add_row([
            one.compressor
                .map_or_else(|| "raw".to_owned(), |compressor| compressor.to_string()),
            format!("{:.4}", one.latency_s),
            share(one.deviation),
            if one.keeps { "kept" } else { "exceeded" }.to_owned(),
        ]);
    }
    let mut page = wrapped(
        &format!(
            "  {}, kept by 19 of 20 runs: predicted deviation at most {} (confidence factor {:.2}).",
            spent.budget,
            share(spent.limit),
            spent.factor
        ),
        2,
    );
    if let Some(assigned) = &spent.assigned {
        let certificate = &assigned.certificate;
        page.push_str(&wrapped(
            &format!(
                "  Per layer: {}; no assignment of this layout is faster by more than {:.4} % of the blocks' time.",
                assigned.plan,
                100.0 * certificate.gap
            ),
            2,
        ));
        if let Some(rounds) = &assigned.coupled {
            page.push_str(&wrapped(&format!("  {}", coupling(rounds)), 2));
        }
        page.push_str(&text::rendered(&mut table));
    }
    page
}

/// What came of the assignment with simulated costs.
fn coupling(rounds: &Coupled) -> String {
    let gain = rounds.history[0].latency - rounds.best().latency;
    match rounds.end {
        End::Stable if gain == 0.0 => {
            "With each option's cost asked of the simulation instead of the closed form: the same assignment."
                .to_owned()
        }
        _ if gain == 0.0 => {
            "With each option's cost asked of the simulation instead of the closed form: none that is faster."
                .to_owned()
        }
        _ => format!(
            "Each option's cost asked of the simulation instead of the closed form made it {gain:.2e} s faster."
        ),
    }
}
