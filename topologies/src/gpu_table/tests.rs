//! Cells that need care, faults with their place, and the embedded tables.

use super::*;

/// A valid table of one GPU, with the cells that need care.
const HEADER: &str = "gpu,arch,form_factor,sm_count,mem_gb,mem_type,mem_bw_GBs,bf16_dense_tflops,fp8_dense_tflops,fp4_dense_tflops,fp32_tflops,exponents_T,l2_MB,pcie,pcie_uni_GBs,nvlink_uni_GBs,tdp_W,measured_gemm_bf16_tflops,measured_attn_bf16_tflops,list_price_usd,cloud_usd_per_gpu_h,spec_source,price_source,notes";
const ROW: &str = "L40,Ada,PCIe,142,48,GDDR6,864,181.05,362,none,90.5,,96 (one page says 48),4.0 x16,32,none,300,170-248 (power limited),~91-135 (inferred),,0.69 (1.22),a table,another,";

fn fault(row: &str) -> String {
    parse(&format!("{HEADER}\n{row}\n"), "mine.csv")
        .unwrap_err()
        .to_string()
}

#[test]
fn remarks_ranges_and_absent_figures_are_read() {
    let gpu = &parse(&format!("{HEADER}\n{ROW}\n"), "mine.csv").unwrap()[0];
    assert_eq!(gpu.l2, Bytes::new(96_000_000));
    assert_eq!(gpu.nvlink, None);
    assert_eq!(gpu.sustained_gemm, Some(tera(209.0)));
    assert_eq!(gpu.sustained_attention, Some(tera(113.0)));
    assert_eq!(gpu.price_per_hour, Some(0.69));
    // 90.5e12 / (2 x 128 x 142) = 2.49 GHz, the boost clock of an L40.
    assert!((gpu.boost_clock_hz.unwrap() / 2.49e9 - 1.0).abs() < 0.001);
    let bridged = ROW.replace("32,none", "32,bridge pairs 300");
    let gpu = &parse(&format!("{HEADER}\n{bridged}\n"), "mine.csv").unwrap()[0];
    assert_eq!(gpu.nvlink_form, Some(NvlinkForm::BridgePair));
    assert_eq!(gpu.nvlink, Some(Bandwidth::new(300_000_000_000)));
}

#[test]
fn one_wrong_thing_is_named_with_its_place() {
    assert_eq!(
        parse("", "mine.csv").unwrap_err().to_string(),
        "mine.csv has no rows: give a header line and one line per GPU"
    );
    assert_eq!(
        parse(
            &format!("{}\n{ROW}", HEADER.replace("l2_MB", "cache")),
            "mine.csv"
        )
        .unwrap_err()
        .to_string(),
        "mine.csv has no column \"l2_MB\": add it to the header line"
    );
    assert_eq!(
        fault(&ROW.replace(",142,", ",many,")),
        "mine.csv, row 2, column sm_count: \"many\" does not start with a number; write a number that is not negative, or \"none\""
    );
    assert!(fault(&ROW.replace(",864,", ",-864,")).contains("mem_bw_GBs: \"-864\" is negative"));
    assert!(fault(&ROW.replace(",864,", ",0,")).contains("mem_bw_GBs: \"0\" is zero"));
    assert!(fault(&ROW.replace(",142,", ",,")).contains("sm_count: empty"));
    assert!(fault(&ROW.replace("Ada", "Adam")).contains("arch: \"Adam\" is no known"));
    assert!(fault(&ROW.replace(",864,", ",864GB,")).contains("\"864GB\" has something glued"));
    assert!(fault("L40,Ada").contains("is not a CSV table"));
}

#[test]
fn the_embedded_tables_are_complete_and_plausible() {
    let gpus = built_in().unwrap();
    assert_eq!(gpus.len(), 27);
    for gpu in &gpus {
        assert!(!gpu.source.is_empty(), "{} names its source", gpu.name);
        assert_eq!(gpu.nvlink.is_some(), gpu.nvlink_form.is_some());
        if let Some(rate) = gpu.sustained_gemm {
            // Cards for PCs clock above their sheets.
            let above = gpu.form_factor.contains("consumer");
            let most = gpu.peak_bf16.scaled(if above { 1.1 } else { 1.0 });
            assert!(rate < most, "{} sustains less than its peak", gpu.name);
            assert!(!gpu.sustained_source.is_empty());
        }
        if let Some(clock) = gpu.boost_clock_hz {
            assert!((1.3e9..2.7e9).contains(&clock), "{} {clock}", gpu.name);
        }
    }
    let b300 = gpus.iter().find(|gpu| gpu.name == "B300").unwrap();
    assert_eq!((b300.sm_count, b300.l2), (160, Bytes::new(126_000_000)));
    assert!(b300.notes.contains("assumption: l2_MB"));
    assert_eq!(b300.exponent_rate, Some(10.7e12));
}
