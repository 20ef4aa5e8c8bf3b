//! The built-in published runs, and which runs a prediction may rest on.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use topologies::Machine;
use topologies::host::PublishedHost;

use super::host::{self, Machines, Place};
use super::row::{self, Row};
use super::source::owner_of;
use super::{Run, RunError};
use crate::csv_input::Table;

/// Rows of published tables that calibrate, drawn by the rule of [`crate::calibrate`] from all of them.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let text = include_bytes!("../../data/runs.csv");
    let table = Table::from_bytes(text, "built-in runs").expect("a test reads the built-in runs");
    row::read(&table, 0).expect("a test reads the built-in runs")
});

/// The machines of their hosts.
static MACHINES: LazyLock<Mutex<Machines>> = LazyLock::new(Mutex::default);

/// The built-in runs that `wanted` picks by their rows.
fn runs(wanted: impl Fn(&Row) -> bool) -> Vec<Run> {
    let mut machines = MACHINES.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = ROWS.iter().filter(|row| wanted(row));
    rows.map(|row| Run::of_row(row, &mut machines).expect("a test reads every built-in run"))
        .collect()
}

/// The runs that a prediction may rest on.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Runs of the machine itself.
    pub own: Vec<Run>,
    /// Whether these are of another machine with the same GPUs: of GPU and host they say as much, of links nothing.
    pub carried: bool,
    /// Runs of other machines.
    pub elsewhere: Elsewhere,
}

/// Which built-in runs of other machines a prediction may rest on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Elsewhere {
    /// All.
    #[default]
    All,
    /// All but those of a project.
    Without(String),
    /// None.
    Nothing,
}

impl Known {
    /// What is known of a machine: its file's runs, and the built-in ones of the published hosts that it is.
    ///
    /// # Errors
    /// [`RunError`] for a run of its file that cannot be read.
    pub fn of_machine(machine: &Machine) -> Result<Self, RunError> {
        let mut own = Vec::new();
        if let Some(first) = machine.host.runs.first() {
            let place = Place::new(Arc::new(machine.clone())).map_err(|miss| RunError {
                place: first.place.clone(),
                key: "host",
                fault: miss.to_string(),
            })?;
            let runs = machine.host.runs.iter();
            own = runs
                .map(|run| Run::of_machine(run, &place))
                .collect::<Result<_, _>>()?;
        }
        for host in &machine.host.published {
            known_host(host, &machine.name)?;
        }
        if !machine.host.published.is_empty() {
            let is_own = |row: &Row| {
                let host = host::published(row, &owner_of(&row.source));
                machine.host.published.contains(&host) && row.gpus as usize <= machine.gpus.len()
            };
            own.extend(runs(is_own));
        }
        Ok(Self {
            own,
            ..Self::default()
        })
    }

    /// Nothing: a machine, a GPU and a model that nobody measured.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            elsewhere: Elsewhere::Nothing,
            ..Self::default()
        }
    }
}

/// Whether built-in runs are of this host.
fn known_host(wanted: &PublishedHost, machine: &str) -> Result<(), RunError> {
    let hosts = || {
        ROWS.iter()
            .map(|row| host::published(row, &owner_of(&row.source)))
    };
    if hosts().any(|host| host == *wanted) {
        return Ok(());
    }
    let wanted = wanted.to_string();
    let likeness = |host: &String| strsim::jaro_winkler(host, &wanted);
    let nearest = hosts().map(|host| host.to_string());
    let nearest = nearest.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Err(RunError {
        place: format!("machine {machine}"),
        key: "host.published",
        fault: format!(
            "is \"{wanted}\" (owner | gpu | interconnect), of which no built-in run is; the nearest is \"{}\"",
            nearest.unwrap_or_default()
        ),
    })
}

/// Built-in runs on one GPU.
pub(crate) fn one_gpu_runs() -> Vec<Run> {
    runs(|row| row.gpus == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::published::calibrating;

    const COLUMNS: [&str; 24] = [
        "source",
        "table",
        "model",
        "resolution",
        "frames",
        "gpu",
        "n_gpus",
        "interconnect",
        "strategy",
        "steps",
        "warmup",
        "batch",
        "compile",
        "compressor",
        "bandwidth_GBps",
        "metric",
        "value",
        "unit",
        "quality",
        "attention",
        "precision",
        "offload",
        "engine_version",
        "notes",
    ];

    /// The built-in runs are what the rule picks from the published tables, in their order; `UPDATE_RUNS=1` writes them.
    #[test]
    fn the_built_in_runs_are_what_the_rule_picks() {
        let tables = crate::validate::built_in_published().expect("the built-in tables are read");
        let picked = calibrating(&tables).expect("the built-in tables are read");
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(COLUMNS).expect("memory");
        for row in picked {
            let table = &tables[row.file];
            let record = table.records().find(|record| record.line() == row.line);
            let record = record.expect("a picked row is in its table");
            let cell = |name| match name {
                // That of the host's other rows, where a row of one GPU has none.
                "interconnect" => row.interconnect.as_str(),
                name => table
                    .optional(name)
                    .map_or("", |column| record.text(column)),
            };
            writer.write_record(COLUMNS.map(cell)).expect("memory");
        }
        let drawn =
            String::from_utf8(writer.into_inner().expect("memory")).expect("cells are text");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/runs.csv");
        if std::env::var_os("UPDATE_RUNS").is_some() {
            std::fs::write(path, drawn).expect("the file can be written");
            return;
        }
        let committed = std::fs::read_to_string(path).expect("the file is there");
        assert!(
            committed == drawn,
            "UPDATE_RUNS=1 cargo test -p planner built_in_runs writes {path}"
        );
    }

    /// Nothing vanishes: of each cell that decides what a row is, a damaged one is a reason.
    #[test]
    fn a_damaged_cell_of_a_built_in_run_is_a_reason() {
        let text = include_str!("../../data/runs.csv");
        let (mut machines, mut damaged) = (Machines::default(), 0);
        for (column, wrong) in [
            ("model", "FLUX.1-dv"),
            ("gpu", "L21"),
            ("n_gpus", "-4"),
            ("resolution", "large"),
            ("strategy", "rin4"),
            ("steps", "-28"),
            ("compressor", "3bit"),
            ("metric", "latency_of_something"),
            ("value", "1e308"),
            ("unit", "fortnights"),
        ] {
            let at = COLUMNS
                .iter()
                .position(|name| *name == column)
                .expect("a column");
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            for record in reader.records() {
                let mut cells: Vec<String> = record
                    .expect("a record")
                    .iter()
                    .map(str::to_owned)
                    .collect();
                // Rows of steps say so in two cells; behind an emulated network no GPU is stated.
                let per_step = column == "steps" && cells[9].starts_with("per");
                if per_step || column == "gpu" && cells[at] == "unstated" {
                    continue;
                }
                cells[at] = wrong.to_owned();
                let mut writer = csv::Writer::from_writer(Vec::new());
                writer.write_record(COLUMNS).expect("memory");
                writer.write_record(&cells).expect("memory");
                let bytes = writer.into_inner().expect("memory");
                let table = Table::from_bytes(&bytes, "damaged.csv").expect("a table");
                let read = row::read(&table, 0);
                let is_read = read.is_ok_and(|rows| {
                    rows[0].metric.is_latency() && Run::of_row(&rows[0], &mut machines).is_ok()
                });
                assert!(!is_read, "{column}: {cells:?}");
                damaged += 1;
            }
        }
        assert!(damaged > 1000, "{damaged} cells were damaged");
    }

    #[test]
    fn a_host_that_no_run_is_of_is_refused() {
        let mut machine = Machine::preset("8xl40-pcie").expect("a preset");
        machine.host.published[0].gpu = "L4O".to_owned();
        let error = Known::of_machine(&machine).expect_err("no run").to_string();
        assert!(
            error.contains("the nearest is \"xDiT | L40 | PCIe4 (2 sockets)\""),
            "{error}"
        );
    }

    #[test]
    fn every_built_in_run_is_read() {
        let mut machines = Machines::default();
        for row in ROWS.iter() {
            let run = Run::of_row(row, &mut machines)
                .unwrap_or_else(|why| panic!("{}: {why:?}", row.name));
            assert!(
                run.measured().is_some_and(|value| value > 0.0),
                "{}",
                row.name
            );
        }
    }
}
