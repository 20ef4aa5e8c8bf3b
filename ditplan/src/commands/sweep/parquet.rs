//! `--parquet`: the rows of a sweep with typed columns, for pandas, DuckDB, Polars or Spark.
//!
//! Columns are those of the CSV; a field's dots and dashes become underscores and its unit ends its name
//! (`link_bandwidth_gb_per_s`). What a row does not have is null. The file's metadata holds the question with every
//! source, as JSON, under `ditplan.question`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use planner::sweep::{Field, Sweep};
use traces::whole::Half;

use super::rows::{COLUMNS, Kind};
use super::scale;
use super::table::Table;
use crate::render::json;

/// Rows of a row group: about 10 MB.
const GROUP: usize = 65_536;

/// A column: its name, what it holds, and how a cell of the CSV becomes a number.
struct Column {
    name: String,
    kind: Kind,
    number: fn(&str) -> Option<f64>,
}

/// Writes the rows of a sweep.
pub(super) fn write(sweep: &Sweep, table: &Table, path: &Path) -> Result<()> {
    let columns = columns(sweep);
    let fields = columns.iter().map(|column| Ok(Arc::new(column.field()?)));
    let fields = fields.collect::<Result<Vec<_>>>()?;
    let schema = Type::group_type_builder("sweep").with_fields(fields);
    let schema = Arc::new(schema.build()?);
    let question = json::value(&super::file::question(sweep)).to_string();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("ditplan ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "ditplan.question".to_owned(),
            question,
        )]));
    let file = Half::create(path).context("the file cannot be written")?;
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build()))?;
    let mut reader = csv::Reader::from_reader(&table.csv[..]);
    let mut records = reader.records().peekable();
    while records.peek().is_some() {
        let group: Vec<csv::StringRecord> =
            records.by_ref().take(GROUP).collect::<Result<_, _>>()?;
        let mut rows = writer.next_row_group()?;
        for (index, column) in columns.iter().enumerate() {
            let cells: Vec<&str> = group.iter().map(|row| &row[index]).collect();
            column.write(&mut rows, &cells)?;
        }
        rows.close()?;
    }
    writer
        .into_inner()?
        .finish()
        .context("the file cannot be written")
}

/// The columns of a sweep's rows.
fn columns(sweep: &Sweep) -> Vec<Column> {
    let axes = sweep.axes.iter().map(|axis| Column::of_axis(axis.field));
    let figures = COLUMNS.iter().map(|(name, kind)| Column {
        name: (*name).to_owned(),
        kind: *kind,
        number: |cell| cell.parse().ok(),
    });
    axes.chain(figures).collect()
}

impl Column {
    fn of_axis(field: Field) -> Self {
        let (unit, kind) = match field {
            Field::Gpus | Field::Frames | Field::Steps | Field::Batch | Field::TextTokens => {
                ("", Kind::Count)
            }
            Field::Size => ("", Kind::Text),
            Field::Bandwidth(_) => ("_gb_per_s", Kind::Real),
            Field::Latency(_) => ("_us", Kind::Real),
            Field::Price => ("_usd_per_h", Kind::Real),
            Field::Psnr => ("_db", Kind::Real),
            Field::Compute | Field::Memory => ("_times", Kind::Real),
        };
        Self {
            name: field.to_string().replace(['.', '-'], "_") + unit,
            kind,
            number: |cell| Some(scale::number(cell)).filter(|number| !number.is_nan()),
        }
    }

    fn field(&self) -> Result<Type> {
        let physical = match self.kind {
            Kind::Text => Physical::BYTE_ARRAY,
            Kind::Real => Physical::DOUBLE,
            Kind::Count => Physical::INT64,
            Kind::Flag => Physical::BOOLEAN,
        };
        let field = Type::primitive_type_builder(&self.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type((self.kind == Kind::Text).then_some(LogicalType::String));
        Ok(field.build()?)
    }

    /// Writes the next column of a row group; empty cells are null.
    fn write(&self, rows: &mut SerializedRowGroupWriter<'_, Half>, cells: &[&str]) -> Result<()> {
        let levels: Vec<i16> = cells
            .iter()
            .map(|cell| i16::from(!cell.is_empty()))
            .collect();
        let known = cells.iter().copied().filter(|cell| !cell.is_empty());
        let number = |cell: &str| {
            (self.number)(cell).with_context(|| format!("{}: \"{cell}\" is no number", self.name))
        };
        let Some(mut column) = rows.next_column()? else {
            bail!("the schema has fewer columns than the rows");
        };
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let values: Vec<ByteArray> = known.map(ByteArray::from).collect();
                writer.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::DoubleColumnWriter(writer) => {
                let values = known.map(number).collect::<Result<Vec<f64>>>()?;
                writer.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                let whole = |cell: &str| Ok(cell.parse::<i64>()?);
                let values = known.map(whole).collect::<Result<Vec<i64>>>()?;
                writer.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::BoolColumnWriter(writer) => {
                let values: Vec<bool> = known.map(|cell| cell == "true").collect();
                writer.write_batch(&values, Some(&levels), None)?;
            }
            _ => bail!("{} has a type that no column of a sweep has", self.name),
        }
        column.close()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field as Cell;
    use planner::search::Shared;

    use super::super::rows;
    use std::fs::File;

    use super::*;
    use crate::commands::sweep::{SweepArguments, sweep};

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        sweep: SweepArguments,
    }

    /// A sweep with a point that has no plan, and its rows.
    fn swept() -> (Sweep, Table) {
        let line = "sweep --machine 4xL20@25GB/s --plan ring4 --vary size=1024x1024,1000x1000 \
                    --vary network.bandwidth=2GB/s,0.5GB/s --vary gpu.price=2.5/h";
        let typed = Typed::try_parse_from(line.split_whitespace()).unwrap();
        let sweep = sweep(&typed.sweep).unwrap();
        let mut csv = rows::line(&rows::header(&sweep.axes));
        csv.extend(rows::lines(&sweep, 0..sweep.points(), &Shared::default()));
        (sweep, Table::read(csv).unwrap())
    }

    #[test]
    fn rows_come_back_with_their_types_and_the_question() {
        let (sweep, table) = swept();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        write(&sweep, &table, &path).unwrap();
        let file = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let kept = file
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        let question = kept
            .iter()
            .find(|one| one.key == "ditplan.question")
            .unwrap();
        let question: serde_json::Value =
            serde_json::from_str(question.value.as_deref().unwrap()).unwrap();
        assert_eq!(question["model"], "FLUX.1-dev");
        assert!(!question["provenance"].as_array().unwrap().is_empty());
        let rows: Vec<_> = file
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), 4);
        for (row, line) in rows.iter().zip(&table.lines) {
            let cells: Vec<(&String, &Cell)> = row.get_column_iter().collect();
            let cell = |name: &str| cells.iter().find(|cell| cell.0 == name).unwrap().1;
            assert_eq!(*cell("size"), Cell::Str(line.values[0].clone()));
            let rate = scale::number(&line.values[1]);
            assert_eq!(*cell("network_bandwidth_gb_per_s"), Cell::Double(rate));
            assert_eq!(*cell("gpu_price_usd_per_h"), Cell::Double(2.5));
            if line.plan.is_empty() {
                assert_eq!(*cell("latency_s"), Cell::Null);
                assert_eq!(*cell("reason"), Cell::Str(line.reason.clone()));
            } else {
                assert_eq!(*cell("latency_s"), Cell::Double(line.latency_s));
                assert_eq!(*cell("ranks"), Cell::Long(4));
                assert_eq!(*cell("fits"), Cell::Bool(true));
                assert_eq!(*cell("reason"), Cell::Null);
            }
        }
        assert!(table.lines.iter().any(|line| line.plan.is_empty()));
    }
}
