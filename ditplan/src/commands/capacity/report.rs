//! The answer for people: the fleet, how it does, what else was looked at, and why.

use planner::capacity::{Alternative, Answer, Judged, Objective, PoolChoice, Verdict};
use sim::serving::statistics::Estimate;
use sim::serving::{Pattern, Routing};

use crate::render::text::{self, bulleted, counted, heading, section, wrapped};
use crate::render::words;

/// The whole page.
pub(super) fn page(answer: &Answer) -> String {
    let mut page = title(answer);
    page.push('\n');
    page.push_str(&heading(&headline(answer)));
    page.push_str(&pools(answer));
    page.push('\n');
    page.push_str(&latencies(answer));
    page.push_str(&load(answer));
    section(
        &mut page,
        "Equal replicas for all shapes",
        &alternatives(answer),
    );
    section(&mut page, "One replica fewer", &one_fewer(answer));
    section(
        &mut page,
        "Findings",
        &bulleted(&words::fleet_findings(
            &answer.findings,
            answer.question.objective,
        )),
    );
    section(&mut page, "Launch", &commands(answer));
    section(
        &mut page,
        "Where the numbers come from",
        &bulleted(&words::fleet_sources(&answer.provenance)),
    );
    page
}

/// The question.
fn title(answer: &Answer) -> String {
    let asked = &answer.question;
    let source = &asked.source;
    let arrivals = match source.pattern() {
        Pattern::Poisson => "Poisson".to_owned(),
        Pattern::Gamma { cv } => format!("gamma, cv {cv}"),
        Pattern::Diurnal { peak, .. } => {
            let highest = 2.0 * peak / (peak + 1.0);
            format!("diurnal, peak {peak} times the trough, {highest:.2} times the mean")
        }
        Pattern::Recorded(_) => format!("{} recorded requests", source.requests()),
    };
    let machines: Vec<String> = asked
        .markets
        .iter()
        .map(|market| {
            format!(
                "{} ({})",
                market.machine().name,
                market.machine().summary().gpus
            )
        })
        .collect();
    let first = format!(
        "{} at {} ({arrivals}), {}",
        asked.markets[0].model().name,
        asked.rate(),
        asked.slo
    );
    let mix: Vec<String> = asked
        .shapes
        .iter()
        .map(|shape| match asked.shapes.len() {
            1 => format!("{}, {}", shape.name, counted(shape.request.steps, "step")),
            _ => format!("{} {:.0} %", shape.name, 100.0 * shape.share),
        })
        .collect();
    let mut second = format!("{}; {}", mix.join(", "), machines.join(", "));
    let rules = &asked.rules;
    if rules.routing != Routing::Fifo {
        second.push_str(&format!(", routing {}", rules.routing));
    }
    if rules.batch > 1 {
        second.push_str(&format!(", batches of up to {}", rules.batch));
    }
    if let Some(failures) = rules.failures {
        second.push_str(&format!(
            ", each replica up {:.2} % of the time",
            100.0 * failures.availability()
        ));
    }
    heading(&first) + &wrapped(&second, 0)
}

/// `Fleet: 16 GPUs, 2 machines, 40.00 dollars/h`.
fn headline(answer: &Answer) -> String {
    let choice = &answer.choice;
    let machines: u32 = choice.machines.iter().sum();
    let plural = |count: u32| if count == 1 { "" } else { "s" };
    let mut line = format!(
        "Fleet: {} GPU{} on {machines} machine{}",
        choice.gpus,
        plural(choice.gpus),
        plural(machines)
    );
    if let Some(dollars) = choice.dollars_per_hour {
        line.push_str(&format!(", {dollars:.2} dollars/h"));
    }
    line
}

/// What the fleet is made of.
fn pools(answer: &Answer) -> String {
    let header = ["replicas", "GPUs each", "plan", "serves", "in, s"];
    let mut table = text::table(&header, &[0, 1, 4]);
    for pool in &answer.choice.fleet.pools {
        let offer = &answer.offers[pool.offer];
        let replicas = match pool.spares {
            0 => pool.replicas.to_string(),
            spares => format!("{} + {spares}", pool.replicas),
        };
        for (place, shape) in pool.shapes.iter().enumerate() {
            let first = |text: String| if place == 0 { text } else { String::new() };
            table.add_row([
                first(replicas.clone()),
                first(offer.gpus.to_string()),
                first(plan(answer, pool)),
                answer.question.shapes[*shape].name.clone(),
                format!("{:.2}", offer.service[*shape][0].as_secs_f64()),
            ]);
        }
    }
    text::rendered(&mut table)
}

fn plan(answer: &Answer, pool: &PoolChoice) -> String {
    name(answer, pool.offer)
}

/// A replica's name: its plan, and its machine where there are several.
fn name(answer: &Answer, offer: usize) -> String {
    let offer = &answer.offers[offer];
    let mut plan = words::replica(offer);
    if offer.batch > 1 {
        plan.push_str(&format!(" x{}", offer.batch));
    }
    match answer.question.markets.len() {
        1 => plan,
        _ => format!(
            "{plan} on {}",
            answer.question.markets[offer.market].machine().name
        ),
    }
}

/// `5.31 (5.20-5.42)`.
fn interval(estimate: &Estimate) -> String {
    let digits = |value: f64| match value {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let value = digits(estimate.value);
    if estimate.hi > estimate.lo {
        format!(
            "{value} ({}-{})",
            digits(estimate.lo.max(0.0)),
            digits(estimate.hi)
        )
    } else {
        value
    }
}

/// Simulated beside closed form, all requests and each shape.
fn latencies(answer: &Answer) -> String {
    let header = ["latency, s (95 %)", "mean", "p50", "p95", "p99"];
    let mut table = text::table(&header, &[1, 2, 3, 4]);
    let mut row = |name: &str, four: [String; 4]| {
        table.add_row(std::iter::once(name.to_owned()).chain(four));
    };
    let measured = &answer.choice.measured;
    row("simulated", measured.latency.each_ref().map(interval));
    let closed = answer.choice.closed_form;
    row(
        "closed form",
        closed.map_or_else(
            || ["-"; 4].map(str::to_owned),
            |four| four.map(|value| format!("{value:.2}")),
        ),
    );
    if answer.question.shapes.len() > 1 {
        for (shape, found) in answer.question.shapes.iter().zip(&measured.by_shape) {
            if let Some(found) = found {
                row(&shape.name, found.each_ref().map(interval));
            }
        }
    }
    text::rendered(&mut table)
}

/// How busy it is, and how much more it takes.
fn load(answer: &Answer) -> String {
    let measured = &answer.choice.measured;
    let share = |estimate: &Estimate| {
        let percent = |value: f64| format!("{:.1}", 100.0 * value);
        if estimate.hi > estimate.lo {
            format!(
                "{} % ({}-{})",
                percent(estimate.value),
                percent(estimate.lo),
                percent(estimate.hi)
            )
        } else {
            format!("{} %", percent(estimate.value))
        }
    };
    let mut busy = format!(
        "{} of the time, {:.2} requests waiting on average",
        share(&measured.utilisation),
        measured.waiting.value
    );
    if answer.question.rules.batch > 1 {
        busy.push_str(&format!(", {:.2} to a batch", measured.batch));
    }
    if answer.question.rules.failures.is_some() {
        busy.push_str(&format!(
            ", {:.2} % of them restarted",
            100.0 * measured.restarted.value
        ));
    }
    let most = format!(
        "{} keeps {}, {:.0} % more than asked; from {} on the queue grows without end",
        answer.saturation,
        answer.question.slo,
        100.0 * (answer.saturation.get() / answer.question.rate().get() - 1.0),
        answer.overload
    );
    let lines = [("busy", busy), ("at most", most)];
    let lines = lines
        .iter()
        .map(|(name, text)| wrapped(&format!("  {name:<9}{text}."), 11));
    lines.collect()
}

/// The first criterion's figure, or the p95 where several are kept.
fn figure(answer: &Answer, found: &Judged) -> String {
    let wanted = &answer.question.slo.criteria;
    let criteria = wanted.iter().zip(&found.measured.criteria);
    // The one that is nearest to its limit, or furthest beyond it.
    let strain = |(wanted, found): &(&planner::capacity::Criterion, &Estimate)| {
        found.hi / wanted.limit.as_secs_f64()
    };
    let worst = criteria.max_by(|a, b| strain(a).total_cmp(&strain(b)));
    worst.map_or_else(String::new, |(_, found)| interval(found))
}

/// Equal replicas for all shapes, each with its fewest, and beside what the choice costs.
fn alternatives(answer: &Answer) -> String {
    if answer.alternatives.is_empty() {
        return "  no plan serves all shapes\n".to_owned();
    }
    let slo = match answer.question.slo.criteria.as_slice() {
        [one] => format!("{one}, s"),
        _ => "tightest, s".to_owned(),
    };
    let dollars = answer.question.objective == Objective::Dollars;
    let header = [
        "replica",
        "needs",
        if dollars { "dollars/h" } else { "GPUs" },
        &slo,
        "",
    ];
    let mut table = text::table(&header, &[1, 2, 3]);
    text::tighten(&mut table, 0);
    for one in &answer.alternatives {
        let name = name(answer, one.offer);
        match &one.verdict {
            Verdict::Keeps(found) => {
                let cost = match found.dollars_per_hour.filter(|_| dollars) {
                    Some(cost) => format!("{cost:.2}"),
                    None => found.gpus.to_string(),
                };
                let replicas = found.fleet.pools[0].replicas.to_string();
                table.add_row([
                    name,
                    replicas,
                    cost,
                    figure(answer, found),
                    remark(answer, one),
                ]);
            }
            Verdict::Fails(why) => {
                let dash = || "-".to_owned();
                table.add_row([name, dash(), dash(), dash(), words::shortfall(why)]);
            }
        }
    }
    text::rendered(&mut table)
}

/// What the choice's GPUs would do as such replicas.
fn remark(answer: &Answer, one: &Alternative) -> String {
    let budget = match answer.question.objective {
        Objective::Gpus => "GPUs",
        Objective::Dollars => "dollars",
    };
    match &one.at_choice {
        None => "chosen".to_owned(),
        Some(Ok(found)) => {
            format!("for the choice's {budget}: {} s", figure(answer, found))
        }
        Some(Err(proof)) => format!("for the choice's {budget}: {}", words::overloaded(proof)),
    }
}

/// What fails with one replica fewer.
fn one_fewer(answer: &Answer) -> String {
    let lines = answer.one_fewer.iter().map(|(place, found)| {
        let pool = &answer.choice.fleet.pools[*place];
        let text = match found {
            Ok(found) => {
                let word = if found.measured.keeps {
                    "kept"
                } else {
                    "not kept"
                };
                format!("{} s, {word}", figure(answer, found))
            }
            Err(proof) => words::overloaded(proof),
        };
        let name = format!("{} x {}", pool.replicas - 1, plan(answer, pool));
        wrapped(&format!("  {name}: {text}"), 4)
    });
    lines.collect()
}

/// How replicas are launched; one line for each engine that cannot.
fn commands(answer: &Answer) -> String {
    let mut lines = String::new();
    for pool in &answer.choice.fleet.pools {
        // The plan of a pool is the same for all its shapes: one command shows it.
        let (offer, shape) = (&answer.offers[pool.offer], pool.shapes[0]);
        let Some(launch) = &offer.launch[shape] else {
            continue;
        };
        let (engine, plan) = (launch.engine, plan(answer, pool));
        match words::command(launch) {
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
