use super::*;
use crate::store::Kind;

/// Errors, sorted, and the share inside the interval, of about `wanted` measured rows left out.
fn left_out(tables: &[Table], wanted: usize, exclude: Exclude) -> (Vec<f64>, f64) {
    let total: usize = tables.iter().map(|table| table.measured().count()).sum();
    let mut state = 1_u64;
    let (mut errors, mut inside) = (Vec::new(), 0);
    for table in tables {
        for (shape, measured) in table.measured() {
            // A linear congruential generator picks wanted / total of the rows.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if (state >> 33) as usize % total >= wanted {
                continue;
            }
            let prediction = ask(table, shape, exclude);
            let ratio = measured / prediction.latency.as_us_f64() - 1.0;
            inside += usize::from(ratio.abs() <= prediction.half_width);
            errors.push((prediction.latency.as_us_f64() / measured - 1.0).abs());
        }
    }
    errors.sort_by(f64::total_cmp);
    let share = inside as f64 / errors.len() as f64;
    (errors, share)
}

fn ask(table: &Table, shape: Shape, exclude: Exclude) -> Prediction {
    let (system, software, kernel) = (&table.system, &table.software, &table.kernel);
    let tables = Tables::built_in();
    let prediction = match shape {
        Shape::Gemm(gemm::Shape { m, n, k }) => tables.predict_gemm(
            &GemmRow {
                system,
                software,
                dtype: table.dtype,
                kernel,
                m,
                n,
                k,
            },
            exclude,
        ),
        Shape::Attention(shape) => tables.predict_attention(
            &AttentionRow {
                system,
                software,
                kernel,
                mask: table.mask(),
                batch: shape.batch,
                seq_len: shape.queries,
                heads: shape.heads,
                head_dim: shape.head_dim,
            },
            exclude,
        ),
    };
    prediction.unwrap()
}

fn at(errors: &[f64], share: f64) -> f64 {
    errors[(share * errors.len() as f64) as usize]
}

#[test]
fn rows_left_out_of_the_gemm_tables_are_predicted() {
    let (errors, inside) = left_out(&Tables::built_in().gemm, 3000, Exclude::This);
    assert!(errors.len() > 2500);
    assert!(at(&errors, 0.5) < 0.022, "median {}", at(&errors, 0.5));
    assert!(at(&errors, 0.9) < 0.10, "p90 {}", at(&errors, 0.9));
    assert!(inside > 0.90, "inside {inside}");
}

#[test]
fn rows_left_out_of_the_attention_tables_are_predicted() {
    let (errors, inside) = left_out(&Tables::built_in().attention, 3000, Exclude::This);
    assert!(at(&errors, 0.5) < 0.018, "median {}", at(&errors, 0.5));
    assert!(at(&errors, 0.9) < 0.085, "p90 {}", at(&errors, 0.9));
    assert!(inside > 0.90, "inside {inside}");
}

#[test]
fn shapes_off_the_grid_in_every_axis_are_predicted() {
    let (errors, inside) = left_out(&Tables::built_in().gemm, 1000, Exclude::Lines);
    assert!(at(&errors, 0.5) < 0.06, "median {}", at(&errors, 0.5));
    assert!(at(&errors, 0.9) < 0.18, "p90 {}", at(&errors, 0.9));
    assert!(inside > 0.90, "inside {inside}");
}

#[test]
fn a_measured_row_comes_back_as_measured() {
    for table in [
        &Tables::built_in().gemm[3],
        &Tables::built_in().attention[5],
    ] {
        let (shape, measured) = table.measured().nth(100).unwrap();
        let prediction = ask(table, shape, Exclude::Nothing);
        assert_eq!(prediction.provenance, Provenance::Measured);
        assert!((prediction.latency.as_us_f64() / measured - 1.0).abs() < 1e-6);
    }
}

fn row<'a>(system: &'a str, kernel: &'a str) -> AttentionRow<'a> {
    AttentionRow {
        system,
        software: "vllm 0.24.0",
        kernel,
        mask: Mask::Full,
        batch: 1,
        seq_len: 4096,
        heads: 16,
        head_dim: 64,
    }
}

#[test]
fn substitutes_are_named() {
    let ask = |row: AttentionRow| {
        let prediction = Tables::built_in().predict_attention(&row, Exclude::This);
        prediction.unwrap()
    };
    let sister = ask(row("b300_sxm", "vllm_vit_flash_attn_fa4"));
    assert_eq!(sister.provenance, Provenance::Borrowed);
    assert!(sister.note.contains("gb300"), "{}", sister.note);
    let other = ask(row("h100_sxm", "warp drive"));
    assert!(
        other.note.contains("warp drive is not measured"),
        "{}",
        other.note
    );
    assert_ne!(other.provenance, Provenance::Measured);
}

#[test]
fn gb200_is_told_by_b200() {
    let fewer = Tables::without("gb200");
    let rows: Vec<_> = Tables::built_in().gemm_rows().collect();
    let own = rows.iter().filter(|(row, _)| row.system == "gb200");
    let error = |(row, us): &(GemmRow<'_>, f64)| {
        let told = fewer.predict_gemm(row, Exclude::This).unwrap();
        (told.latency.as_us_f64() / us - 1.0).abs()
    };
    let mut errors: Vec<f64> = own.step_by(47).map(error).collect();
    errors.sort_by(f64::total_cmp);
    assert!(errors.len() > 1400);
    assert!(at(&errors, 0.5) < 0.045, "median {}", at(&errors, 0.5));
    assert!(at(&errors, 0.9) < 0.16, "p90 {}", at(&errors, 0.9));
}

#[test]
fn kernels_of_mi300x_left_out_are_predicted() {
    let gpu = gpu::find("MI300X").unwrap();
    let tables = Tables::built_in();
    let products = tables.gemm_rows().filter(|(row, _)| row.system == "mi300x");
    let mut errors: Vec<f64> = products
        .map(|(row, us)| {
            let shape = [row.m, row.n, row.k];
            let told = tables.predict_product(gpu, DType::Bf16, shape, Exclude::This);
            (told.unwrap().latency.as_us_f64() / us - 1.0).abs()
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    assert_eq!(errors.len(), 46);
    assert!(
        at(&errors, 0.5) < 0.08 && at(&errors, 0.9) < 0.18,
        "{errors:?}"
    );
    let attention = tables
        .kernel_rows()
        .filter(|(row, _)| row.gpu.name == gpu.name);
    let mut errors: Vec<f64> = attention
        .map(|(row, us)| {
            let told = tables.predict_kernel(&row).unwrap();
            (told.latency.as_us_f64() / us - 1.0).abs()
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    assert!(errors.len() == 5 && at(&errors, 0.5) < 0.08, "{errors:?}");
}

#[test]
fn an_unknown_system_is_a_miss_that_lists_the_known() {
    let miss = Tables::built_in().predict_attention(&row("z9000", "x"), Exclude::This);
    assert!(miss.unwrap_err().to_string().contains("H100-SXM"));
}

#[test]
fn every_row_has_a_roofline_below_what_is_measured() {
    let table = &Tables::built_in().gemm[3];
    assert_eq!(table.kind, Kind::Gemm);
    let (shape, measured) = table.measured().nth(20_000).unwrap();
    let Shape::Gemm(gemm::Shape { m, n, k }) = shape else {
        panic!("a GEMM table holds GEMM shapes");
    };
    let row = GemmRow {
        system: &table.system,
        software: &table.software,
        dtype: table.dtype,
        kernel: &table.kernel,
        m,
        n,
        k,
    };
    let baselines = Tables::built_in().gemm_baselines(&row).unwrap();
    assert!(baselines.roofline.as_us_f64() < measured);
    assert!(baselines.log_log.is_some());
}
