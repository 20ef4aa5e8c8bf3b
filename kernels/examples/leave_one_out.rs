//! Predicts every row of a CSV file with the row itself left out, and reports the errors.
//!
//! ```text
//! cargo run -p kernels --release --example leave_one_out -- gemm.csv.gz [this|line0|line1|line2|lines] [rows.csv]
//! ```
//! `without=h200_sxm` in place of `this` predicts the rows of that system from the others' tables.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;

use flate2::read::GzDecoder;
use kernels::{AttentionRow, Baselines, Exclude, GemmRow, Mask, Miss, Prediction, Tables};
use rayon::prelude::*;
use topologies::DType;

struct Row {
    fields: BTreeMap<String, String>,
}

impl Row {
    fn text(&self, name: &str) -> &str {
        &self.fields[name]
    }

    fn number(&self, name: &str) -> u64 {
        self.fields[name].parse().expect("a whole number")
    }

    fn ask(&self, tables: &Tables, exclude: Exclude) -> Result<(Prediction, Baselines), Miss> {
        if self.fields.contains_key("m") {
            let dtype = match self.text("dtype") {
                "fp8" => DType::Fp8,
                "nvfp4" => DType::Nvfp4,
                _ => DType::Bf16,
            };
            let row = GemmRow {
                system: self.text("system"),
                software: self.text("software"),
                dtype,
                kernel: self.text("kernel"),
                m: self.number("m"),
                n: self.number("n"),
                k: self.number("k"),
            };
            Ok((
                tables.predict_gemm(&row, exclude)?,
                tables.gemm_baselines(&row)?,
            ))
        } else {
            let mask = match self.text("causal") {
                "True" => Mask::Causal,
                _ => Mask::Full,
            };
            let row = AttentionRow {
                system: self.text("system"),
                software: self.text("software"),
                kernel: self.text("kernel"),
                mask,
                batch: self.number("batch"),
                seq_len: self.number("seq_len"),
                heads: self.number("heads"),
                head_dim: self.number("head_dim"),
            };
            Ok((
                tables.predict_attention(&row, exclude)?,
                tables.attention_baselines(&row)?,
            ))
        }
    }

    fn group(&self) -> String {
        if self.fields.contains_key("m") {
            format!("{} {}", self.text("system"), self.text("dtype"))
        } else {
            let (system, kernel) = (self.text("system"), self.text("kernel"));
            let (causal, width) = (self.text("causal"), self.text("head_dim"));
            format!("{system} {kernel} causal={causal} {width}")
        }
    }
}

#[derive(Default)]
struct Errors {
    ours: Vec<f64>,
    roofline: Vec<f64>,
    log_log: Vec<f64>,
    inside: usize,
    widths: Vec<f64>,
}

impl Errors {
    fn line(&mut self) -> String {
        let count = self.ours.len();
        let inside = 100.0 * self.inside as f64 / count.max(1) as f64;
        let [ours, roofline, log_log, width] = [
            &mut self.ours,
            &mut self.roofline,
            &mut self.log_log,
            &mut self.widths,
        ]
        .map(|list| {
            list.sort_by(f64::total_cmp);
            let at = |share: f64| {
                let index = (share * list.len() as f64) as usize;
                list.get(index).map_or(f64::NAN, |value| 100.0 * value)
            };
            format!("{:5.1} /{:6.1}", at(0.5), at(0.9))
        });
        format!("{count:7} | {ours} | {roofline} | {log_log} | {inside:5.1} % | {width}")
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let source = arguments
        .first()
        .ok_or("usage: leave_one_out FILE.csv.gz [this|line0|line1|line2|lines] [rows.csv]")?;
    let exclude = match arguments.get(1).map(String::as_str) {
        Some("lines") => Exclude::Lines,
        Some("line0") => Exclude::Line(0),
        Some("line1") => Exclude::Line(1),
        Some("line2") => Exclude::Line(2),
        _ => Exclude::This,
    };
    let without = arguments
        .get(1)
        .and_then(|mode| mode.strip_prefix("without="));
    let fewer = without.map(Tables::without);
    let tables = fewer.as_ref().unwrap_or_else(|| Tables::built_in());
    let mut reader = csv::Reader::from_reader(GzDecoder::new(File::open(source)?));
    let rows: Vec<Row> = reader
        .deserialize()
        .map(|fields| Ok(Row { fields: fields? }))
        .collect::<Result<_, csv::Error>>()?;
    let rows: Vec<Row> = rows
        .into_iter()
        .filter(|row| without.is_none_or(|system| row.text("system") == system))
        .collect();
    let answers: Vec<_> = rows
        .par_iter()
        .map(|row| row.ask(tables, exclude))
        .collect();
    let mut groups: BTreeMap<String, Errors> = BTreeMap::new();
    let mut dump = String::from("group,measured_us,predicted_us,half_width,roofline_us,note\n");
    for (row, answer) in rows.iter().zip(answers) {
        let measured: f64 = row.text("latency_us").parse()?;
        let (prediction, baselines) = answer?;
        let ours = prediction.latency.as_us_f64();
        let error = |us: f64| (us / measured - 1.0).abs();
        for group in ["all".to_owned(), row.group()] {
            let errors = groups.entry(group).or_default();
            errors.ours.push(error(ours));
            errors.roofline.push(error(baselines.roofline.as_us_f64()));
            errors
                .log_log
                .extend(baselines.log_log.map(|t| error(t.as_us_f64())));
            errors.inside += usize::from((measured / ours - 1.0).abs() <= prediction.half_width);
            errors.widths.push(prediction.half_width);
        }
        let (group, width) = (row.group(), prediction.half_width);
        let roofline = baselines.roofline.as_us_f64();
        writeln!(
            dump,
            "{group},{measured},{ours},{width},{roofline},{}",
            prediction.note
        )?;
    }
    println!("   rows | ours          | roofline      | log-log       | inside  | half-width");
    for (group, mut errors) in groups {
        println!("{} {group}", errors.line());
    }
    if let Some(target) = arguments.get(2) {
        std::fs::write(target, dump)?;
    }
    Ok(())
}
