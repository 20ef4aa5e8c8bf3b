//! The built-in models against counted and published figures.
//!
//! Counted rows: torch's `FlopCounterMode` over diffusers on the meta device, one row. The column
//! of linears leaves the patch-embedding convolution out, except for SANA and SDXL, whose rows hold
//! all convolutions. Known differences, none larger than stated:
//! 1. Mochi, HunyuanVideo-1.5: the table is analytic and leaves the text stream out. For the latter
//!    it also multiplies the modulation's weights (a third of an image stream's, applied to one
//!    token) with all tokens: 910.0 stands for 606.7.
//! 2. PixArt-alpha's attention at 2048 and above was counted with 300 text tokens, not 120.
//! 3. Open-Sora 2.0's parameters are published as "about 11 billion"; FLUX's layout gives 11.9.

use super::{Resolution, find, known};
use crate::workload::{BlockKind, Workload};

/// Whether a counted figure of linears includes convolutions.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    Linears,
    All,
}
use Counted::{All, Linears};

/// Model, image tokens, TFLOP in linears, TFLOP in attention, what the linears include.
const COUNTED: &[(&str, u64, f64, f64, Counted)] = &[
    ("FLUX.1-dev", 4096, 59.512, 14.872, Linears),
    ("FLUX.2-dev", 4096, 253.377, 29.223, Linears),
    ("SD3-medium", 4096, 6.011, 2.893, Linears),
    ("SD3.5-large", 4096, 23.868, 7.251, Linears),
    ("SD3.5-medium", 4096, 7.016, 4.233, Linears),
    ("PixArt-alpha", 4096, 4.281, 2.228, Linears),
    ("PixArt-Sigma", 4096, 4.310, 2.323, Linears),
    ("HunyuanDiT-v1.2", 4096, 10.279, 4.087, Linears),
    ("CogVideoX-2b", 17_550, 47.190, 72.803, Linears),
    ("CogVideoX-5b", 17_550, 169.112, 163.079, Linears),
    ("CogVideoX1.5-5B", 44_880, 429.157, 1050.024, Linears),
    ("HunyuanVideo", 118_800, 1618.093, 10_450.452, Linears),
    ("Wan2.1-T2V-1.3B", 32_760, 82.088, 200.907, Linears),
    ("Wan2.1-T2V-14B", 75_600, 1809.655, 4713.732, Linears),
    ("Wan2.2-T2V-A14B", 75_600, 1809.655, 4713.732, Linears),
    ("Wan2.2-TI2V-5B", 27_280, 237.485, 279.490, Linears),
    ("Latte-1", 16_384, 31.946, 2.452, Linears),
    ("LTX-Video-2B", 7392, 24.379, 12.751, Linears),
    ("LTX-Video-13B", 13_376, 302.059, 142.053, Linears),
    ("LTX-2", 6144, 163.471, 35.300, Linears),
    ("DiT-XL/2", 256, 0.229, 0.008, Linears),
    ("SDXL", 16_384, 5.977, 0.784, All),
    ("Qwen-Image", 4096, 59.164, 13.964, Linears),
    ("Z-Image-Turbo", 4096, 49.294, 9.245, Linears),
];

/// Half a unit in the third decimal of a teraflop.
const HALF_DIGIT: f64 = 0.000_6;

fn one_row(name: &str, resolution: Option<Resolution>, text: Option<u32>) -> Workload {
    let model = find(name).unwrap();
    let mut request = super::Request {
        guidance: super::Guidance::None,
        ..model.default
    };
    request.resolution = resolution.unwrap_or(request.resolution);
    request.text_tokens = text.unwrap_or(request.text_tokens);
    model.workload(&request).unwrap()
}

fn teraflops(work: &Workload, counted: Counted) -> (f64, f64) {
    let convolutions = match counted {
        Linears => 0.0,
        All => work.convolution_flops().as_f64(),
    };
    (
        (work.linear_flops().as_f64() + convolutions) / 1e12,
        work.attention_flops().as_f64() / 1e12,
    )
}

fn assert_teraflops(what: &str, ours: (f64, f64), table: (f64, f64), tolerance: f64) {
    assert!(
        (ours.0 - table.0).abs() < tolerance && (ours.1 - table.1).abs() < tolerance,
        "{what}: linears {} against {}, attention {} against {}",
        ours.0,
        table.0,
        ours.1,
        table.1
    );
}

#[test]
fn counted_models_match_to_the_last_printed_digit() {
    for &(name, tokens, linear, attention, counted) in COUNTED {
        let work = one_row(name, None, None);
        assert_eq!(work.tokens.image, tokens, "{name}");
        let ours = teraflops(&work, counted);
        assert_teraflops(name, ours, (linear, attention), HALF_DIGIT);
    }
}

#[test]
fn other_counted_shapes_match() {
    // Side, text tokens, linears, attention, printed digits as tolerance.
    let cases = [
        ("FLUX.1-dev", 2048, 512, 218.2, 200.0, 0.06),
        ("PixArt-alpha", 2048, 120, 17.067_24, 34.888_29, HALF_DIGIT),
        ("PixArt-alpha", 4096, 120, 68.211_04, 555.168_55, HALF_DIGIT),
        ("PixArt-alpha", 2048, 300, 17.1, 35.3, 0.06),
        ("PixArt-alpha", 4096, 300, 68.2, 556.7, 0.06),
        ("PixArt-alpha", 8192, 300, 272.8, 8876.6, 0.06),
        ("HunyuanDiT-v1.2", 2048, 333, 40.8, 61.7, 0.06),
        ("Qwen-Image", 2048, 256, 226.2, 204.1, 0.06),
        ("Latte-1", 1024, 120, 126.9, 35.8, 0.06),
        ("DiT-XL/2", 512, 0, 0.914, 0.135, HALF_DIGIT),
    ];
    for (name, side, text, linear, attention, tolerance) in cases {
        let work = one_row(name, Some(Resolution::square(side)), Some(text));
        let ours = teraflops(&work, Linears);
        let what = format!("{name} at {side}");
        assert_teraflops(&what, ours, (linear, attention), tolerance);
    }
    let sana = one_row("SANA-1600M-4K", Some(Resolution::square(4096)), None);
    let ours = teraflops(&sana, All);
    assert_teraflops("SANA at 4096", ours, (44.590, 0.978), HALF_DIGIT);
    let sdxl = one_row("SDXL", Some(Resolution::square(2048)), None);
    let (linear, attention) = teraflops(&sdxl, All);
    assert!(
        (linear + attention - 35.9).abs() < 0.06,
        "{linear} {attention}"
    );
}

#[test]
fn counted_videos_match_at_other_shapes() {
    let size = "832x480".parse().unwrap();
    for (name, linear, attention) in [
        ("Wan2.1-T2V-14B", 785.428, 892.920),
        ("Wan2.1-I2V-14B", 786.511, 899.818),
        ("Wan2.2-I2V-A14B", 785.428, 892.920),
    ] {
        let work = one_row(name, Some(size), None);
        assert_eq!(work.tokens.image, 32_760);
        let ours = teraflops(&work, Linears);
        assert_teraflops(name, ours, (linear, attention), HALF_DIGIT);
    }
    let model = find("CogVideoX1.5-5B").unwrap();
    let request = super::Request {
        frames: 161,
        guidance: super::Guidance::None,
        ..model.default
    };
    let ours = teraflops(&model.workload(&request).unwrap(), Linears);
    assert_teraflops("CogVideoX1.5, 161 frames", ours, (817.3, 3808.7), 0.06);
}

#[test]
fn analytic_rows_agree_within_the_text_they_leave_out() {
    // The table has the video stream alone: 256 of 44,776 and 1256 of 112,856 tokens are missing.
    for (name, tokens, linear, attention, tolerance) in [
        ("Mochi-1", 44_520, 484.0, 1182.5, 0.005),
        (
            "HunyuanVideo-1.5",
            111_600,
            910.0 * 2.0 / 3.0,
            5509.5,
            0.025,
        ),
        ("Open-Sora 2.0", 76_032, 0.0, 4103.7, 0.001),
        ("Step-Video-T2V", 75_888, 0.0, 0.0, 0.0),
        ("FLUX.1-schnell", 4096, 0.96 * 59.512, 0.0, 0.02),
    ] {
        let work = one_row(name, None, None);
        assert_eq!(work.tokens.image, tokens, "{name}");
        let (ours_linear, ours_attention) = teraflops(&work, Linears);
        for (ours, table) in [(ours_linear, linear), (ours_attention, attention)] {
            let off = ours / table - 1.0;
            assert!(
                table == 0.0 || off.abs() < tolerance,
                "{name}: {ours} {table}"
            );
        }
    }
}

#[test]
fn parameters_match_within_one_percent() {
    for (name, billions) in [
        ("FLUX.1-dev", 11.901),
        ("FLUX.1-schnell", 11.89),
        ("FLUX.2-dev", 32.223),
        ("SD3-medium", 2.028),
        ("SD3.5-large", 8.057),
        ("SD3.5-medium", 2.243),
        ("PixArt-alpha", 0.611),
        ("PixArt-Sigma", 0.611),
        ("HunyuanDiT-v1.2", 1.5),
        ("CogVideoX-2b", 1.694),
        ("CogVideoX-5b", 5.57),
        ("CogVideoX1.5-5B", 5.57),
        ("HunyuanVideo", 12.821),
        ("HunyuanVideo-1.5", 8.327),
        ("Wan2.1-T2V-1.3B", 1.419),
        ("Wan2.1-T2V-14B", 14.288),
        ("Wan2.1-I2V-14B", 16.395),
        ("Wan2.2-TI2V-5B", 5.0),
        ("Mochi-1", 10.028),
        ("Latte-1", 1.057),
        ("LTX-Video-2B", 1.923),
        ("LTX-Video-13B", 13.043),
        ("LTX-2", 18.876),
        ("DiT-XL/2", 0.750),
        ("SDXL", 2.567),
        ("Qwen-Image", 20.43),
        ("HiDream-I1", 17.106),
        ("Z-Image-Turbo", 6.155),
        ("SANA-1600M", 1.604),
    ] {
        let ours = one_row(name, None, None).parameters() as f64 / 1e9;
        let off = ours / billions - 1.0;
        assert!(off.abs() < 0.01, "{name}: {ours} against {billions}");
    }
    let about = |name: &str| one_row(name, None, None).parameters() as f64 / 1e9;
    assert!((about("Open-Sora 2.0") / 11.0 - 1.0).abs() < 0.1);
    assert!((about("Step-Video-T2V") / 30.0 - 1.0).abs() < 0.03);
}

#[test]
fn parameters_per_block_match() {
    // Millions in the largest block of each kind.
    for (name, kind, millions) in [
        ("FLUX.1-dev", BlockKind::Double, 339.8),
        ("FLUX.1-dev", BlockKind::Single, 141.6),
        ("FLUX.2-dev", BlockKind::Double, 981.5),
        ("FLUX.2-dev", BlockKind::Single, 490.7),
        ("SD3-medium", BlockKind::Double, 85.0),
        ("SD3.5-large", BlockKind::Double, 213.0),
        ("PixArt-alpha", BlockKind::CrossAttention, 21.3),
        ("CogVideoX-2b", BlockKind::Single, 56.1),
        ("CogVideoX-5b", BlockKind::Single, 132.2),
        ("HunyuanVideo-1.5", BlockKind::Double, 151.1),
        ("Wan2.1-T2V-1.3B", BlockKind::CrossAttention, 46.4),
        ("Wan2.1-T2V-14B", BlockKind::CrossAttention, 351.4),
        ("Wan2.2-TI2V-5B", BlockKind::CrossAttention, 163.7),
        ("Mochi-1", BlockKind::Double, 207.6),
        ("Latte-1", BlockKind::Spatial, 21.3),
        ("Latte-1", BlockKind::Temporal, 15.9),
        ("LTX-Video-2B", BlockKind::CrossAttention, 67.2),
        ("LTX-Video-13B", BlockKind::CrossAttention, 268.5),
        ("LTX-2", BlockKind::DualStream, 386.1),
        ("HiDream-I1", BlockKind::Double, 424.1),
        ("HiDream-I1", BlockKind::Single, 305.4),
        ("Z-Image-Turbo", BlockKind::Single, 180.9),
        ("SANA-1600M", BlockKind::LinearAttention, 77.9),
        ("Step-Video-T2V", BlockKind::CrossAttention, 604.0),
    ] {
        let work = one_row(name, None, None);
        let largest = work
            .blocks()
            .filter(|block| block.kind == kind)
            .map(|block| block.parameters())
            .max()
            .unwrap() as f64
            / 1e6;
        let off = largest / millions - 1.0;
        assert!(off.abs() < 0.01, "{name} {kind:?}: {largest} {millions}");
    }
}

#[test]
fn ulysses_degrees_match_the_published_ones() {
    for (names, degrees) in [
        (
            &["FLUX.1-dev", "SD3-medium", "HunyuanVideo", "Qwen-Image"][..],
            &[1, 2, 3, 4, 6, 8, 12, 24][..],
        ),
        (
            &["FLUX.2-dev", "CogVideoX-5b", "Step-Video-T2V"],
            &[1, 2, 3, 4, 6, 8, 12, 16, 24, 48],
        ),
        (&["SD3.5-large"], &[1, 2, 19, 38]),
        (
            &["PixArt-alpha", "HunyuanDiT-v1.2", "Latte-1", "DiT-XL/2"],
            &[1, 2, 4, 8, 16],
        ),
        (&["CogVideoX-2b", "Z-Image"], &[1, 2, 3, 5, 6, 10, 15, 30]),
        (&["Wan2.1-T2V-1.3B"], &[1, 2, 3, 4, 6, 12]),
        (&["Wan2.1-T2V-14B"], &[1, 2, 4, 5, 8, 10, 20, 40]),
        (&["LTX-Video-2B", "LTX-2"], &[1, 2, 4, 8, 16, 32]),
        (&["HiDream-I1"], &[1, 2, 4, 5, 10, 20]),
        (&["SANA-1600M"], &[1, 2]),
        (&["SDXL"], &[1]),
    ] {
        for name in names {
            assert_eq!(find(name).unwrap().ulysses_degrees(), degrees, "{name}");
        }
    }
}

/// Weight matrices and tables of `DigitsDiT`, biases and norm scales left out:
/// 8 (6 + 4 + 2 x 3) 128^2 + (4 + 2 x 128 + 11 x 9) 128 + 2 x 128^2 + 4 x 128.
#[test]
fn the_recorded_model_has_its_parameters() {
    let model = find("dit-digits").unwrap();
    let work = model.workload(&model.default).unwrap();
    assert_eq!((work.tokens.image, work.tokens.text), (256, 8));
    let square = 128 * 128;
    assert_eq!(
        work.parameters(),
        8 * 16 * square + (4 + 256 + 99) * 128 + 2 * square + 4 * 128
    );
}

#[test]
fn every_model_serves_its_default_and_answers_to_its_names() {
    assert!(known().len() >= 36);
    for model in known() {
        let summary = model.summary();
        assert!(summary.blocks > 0 && !model.source.is_empty());
        for name in model.names() {
            assert_eq!(find(name).unwrap().name, model.name);
        }
    }
}

#[test]
fn an_unknown_name_gets_the_nearest_one() {
    let error = find("FLUX1-dev").unwrap_err();
    assert_eq!(error.nearest, "FLUX.1-dev");
    assert!(error.to_string().contains("Wan2.1-T2V-14B"));
}
