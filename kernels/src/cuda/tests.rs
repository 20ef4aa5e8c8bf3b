//! What holds without a GPU: launch geometry, the sources' constants, tables.

use super::geometry::{Geometry, Launch};
use super::source::{Source, Variant};
use super::sweep::{bytes_moved, percentiles};
use super::table::{Direction, Measured, ratios, read, write};
use crate::compressor::Compressor;
use crate::wire::{BaseFormat, Half, Shape};

const FLUX: (usize, usize) = (1088, 3072);

fn geometry((rows, channels): (usize, usize)) -> Geometry {
    Geometry {
        shape: Shape::new(rows, channels),
        multiprocessors: 132,
    }
}

fn every_launch(shape: (usize, usize)) -> Vec<Launch> {
    let geometry = geometry(shape);
    let both = Compressor::PALETTE
        .into_iter()
        .flat_map(|it| geometry.encode(it).into_iter().chain(geometry.decode(it)));
    both.chain([geometry.raw()]).collect()
}

#[test]
fn one_and_two_bit_encode_in_two_launches_and_all_but_low_rank_decode_in_one() {
    let launches = |it| geometry(FLUX).encode(it).len();
    assert_eq!(launches(Compressor::OneBit), 2);
    assert_eq!(launches(Compressor::TwoBit), 2);
    assert_eq!(launches(Compressor::TwoBitFitted), 3);
    for one in [
        Compressor::Int8,
        Compressor::Int4,
        Compressor::Fp8,
        Compressor::Sparse(8),
    ] {
        assert_eq!(launches(one), 1);
    }
    for compressor in Compressor::PALETTE {
        assert_eq!(geometry(FLUX).decode(compressor).len(), 1);
    }
}

#[test]
fn tiles_cover_the_matrix_and_sums_do_not_swamp_a_small_gpu() {
    // 3072 channels are 12 tiles of 256; 1088 rows 34 strips of 32, 68 of 16.
    let [sums, codes] = &geometry(FLUX).encode(Compressor::TwoBit)[..] else {
        panic!("two launches")
    };
    assert_eq!((sums.grid, sums.option), ([12, 34], 1));
    assert_eq!(codes.grid, [12, 68]);
    // 20 tiles x 1024 strips over 8 x 132 blocks: 19 strips a block, 54 blocks of rows.
    let sums = &geometry((32760, 5120)).encode(Compressor::OneBit)[0];
    assert_eq!((sums.grid, sums.option), ([20, 54], 19));
    assert!(sums.grid[1] * sums.option * 32 >= 32760);
}

#[test]
fn every_launch_is_one_that_a_driver_takes() {
    for shape in [(1, 1), (7, 1), (1, 130), FLUX, (32760, 5120), (65536, 64)] {
        for launch in every_launch(shape) {
            assert_eq!(launch.threads % 32, 0, "{launch:?}");
            assert!((32..=256).contains(&launch.threads), "{launch:?}");
            assert!(
                launch.grid[0] > 0 && (1..=65535).contains(&launch.grid[1]),
                "{launch:?}"
            );
            assert!(launch.shared_bytes <= 48 << 10, "{launch:?}");
        }
    }
}

#[test]
fn every_launch_has_its_entry_point_in_its_source() {
    for launch in every_launch(FLUX) {
        let text = launch.source.text();
        let stamp = if launch.varies {
            "DITPLAN_ENTRIES"
        } else {
            "DITPLAN_PLAIN"
        };
        assert!(
            text.contains(&format!("{stamp}({},", launch.entry)),
            "{launch:?}"
        );
    }
}

#[test]
fn variants_are_named_as_the_macros_name_them() {
    let names: Vec<String> = Variant::all().map(Variant::suffix).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[0], "f16_f16");
    assert_eq!(names[7], "bf16_int4");
    let launch = &geometry(FLUX).encode(Compressor::OneBit)[1];
    let variant = Variant {
        activation: Half::Bf16,
        base: BaseFormat::Int8,
    };
    assert_eq!(launch.name(variant), "ditplan_1bit_encode_2_bf16_int8");
    assert_eq!(
        variant.definitions(),
        ["-DDITPLAN_ACTIVATION=bf16", "-DDITPLAN_BASE=int8"]
    );
}

#[test]
fn the_constants_are_those_of_the_sources() {
    for (source, definition) in [
        (Source::Sign, "#define TILE_CHANNELS 256"),
        (Source::Sign, "#define WARPS 8\n#define WARP_ROWS 4"),
        (Source::Sign, "#define CODE_ROWS 2"),
        (Source::Sign, "#define BINS 1024"),
        (Source::Integer, "#define WARPS 8\n#define WARP_ROWS 2"),
        (Source::Fp8, "#define MOST_THREADS 256"),
        (Source::Sparse, "#define PAIR 2"),
        (Source::LowRank, "#define MOST_RANK 64"),
        (
            Source::LowRank,
            "#define SLICE 256\n#define GRAM_SLICE 64\n#define TILE 32",
        ),
    ] {
        assert!(
            source.text().contains(definition),
            "{}: {definition}",
            source.name()
        );
    }
}

#[test]
fn bytes_an_element_are_those_of_the_sources() {
    let shape = Shape::new(FLUX.0, FLUX.1);
    let variant = Variant {
        activation: Half::F16,
        base: BaseFormat::F16,
    };
    let of = |compressor, direction| {
        bytes_moved(compressor, shape, variant, direction) as f64 / shape.elements() as f64
    };
    for (compressor, encode, decode) in [
        (Compressor::OneBit, 8.25, 4.125),
        (Compressor::TwoBit, 10.25, 4.25),
        (Compressor::TwoBitFitted, 14.25, 4.25),
        (Compressor::Int8, 7.03, 5.03),
        (Compressor::Fp8, 7.0, 5.0),
        (Compressor::Sparse(4), 6.625, 4.625),
    ] {
        // u and v, or scales: some thousandths more.
        let near = |got: f64, wanted: f64| (wanted..wanted + 0.01).contains(&got);
        assert!(
            near(of(compressor, Direction::Encode), encode),
            "{compressor}"
        );
        assert!(
            near(of(compressor, Direction::Decode), decode),
            "{compressor}"
        );
    }
}

fn line(kernel: &str, latency_us: f64) -> Measured {
    Measured {
        compressor: "sparse(1:8)".to_owned(),
        direction: Direction::Encode,
        kernel: kernel.to_owned(),
        dtype: "bf16".to_owned(),
        base: "int8".to_owned(),
        rows: 10,
        channels: 20,
        bytes_moved: 4000,
        latency_us,
        repeats: 7,
        p10_us: 1.5,
        p90_us: 3.25,
        copy_gb_per_s: 4.0,
    }
}

#[test]
fn a_table_is_written_read_and_compared() {
    // 4000 bytes in 2 us are 2 GB/s, half of a copy.
    let text = write(&[line("ditplan", 2.0)]);
    let expected =
        "sparse(1:8),encode,ditplan,bf16,int8,10,20,4000,2.000,7,1.500,3.250,2.0,0.5000\n";
    assert_eq!(
        text.lines().nth(1).map(|it| format!("{it}\n")).as_deref(),
        Some(expected)
    );
    let back = read("here.csv", &text).expect("its own text");
    assert_eq!(back, [line("ditplan", 2.0)]);
    let theirs = [line("original", 5.0)];
    let compared = ratios(&back, &theirs);
    assert_eq!(compared.len(), 1);
    assert_eq!(compared[0].1, 2.5);
}

#[test]
fn a_damaged_table_is_refused_with_its_line() {
    let text = write(&[line("ditplan", 2.0)]);
    let error = |text: &str| read("here.csv", text).unwrap_err().to_string();
    assert!(error("no header").starts_with("line 1 of here.csv"));
    assert!(error(&text.replace("encode", "both")).contains("direction is \"both\""));
    assert!(error(&text.replace(",7,", ",many,")).contains("repeats is \"many\""));
    assert!(error(&format!("{text}short\n")).contains("line 3 of here.csv"));
}

#[test]
fn percentiles_are_the_nearest_ranks() {
    let times: Vec<f64> = (1..=11).rev().map(f64::from).collect();
    assert_eq!(percentiles(times), [6.0, 2.0, 10.0]);
    assert_eq!(percentiles(vec![3.0]), [3.0; 3]);
}
