//! Sizes, shapes, special values.

use proptest::prelude::*;

use super::*;

#[test]
fn a_message_has_the_bytes_of_the_closed_form_at_any_shape() {
    for (rows, channels) in SHAPES {
        let shape = Shape::new(rows, channels);
        let residual = samples(shape, |n| gaussian(n, 1));
        for compressor in FORMATS {
            let message = compressor.encode(&residual, shape).unwrap();
            let expected = compressor.message_bytes(rows as u64, channels as u64);
            assert_eq!(
                message.0.len() as u64,
                expected.get(),
                "{compressor} {shape:?}"
            );
            let decoded = compressor.decode(&message.0, shape).unwrap();
            assert!(decoded.iter().all(|value| value.is_finite()));
            // No format makes things worse: the error is at most the residual.
            let error = distance(&residual, &decoded);
            assert!(
                error <= energy(&residual) * 1.001,
                "{compressor} {shape:?}: {error}"
            );
        }
    }
}

#[test]
fn a_zero_residual_decodes_to_zero() {
    for (rows, channels) in SHAPES {
        let shape = Shape::new(rows, channels);
        for compressor in FORMATS {
            let message = compressor
                .encode(&vec![0.0; shape.elements()], shape)
                .unwrap();
            let decoded = compressor.decode(&message.0, shape).unwrap();
            assert!(decoded.iter().all(|&value| value == 0.0), "{compressor}");
        }
    }
}

#[test]
fn a_zero_row_and_a_zero_channel_stay_zero() {
    let shape = Shape::new(9, 70);
    let zero = |n: usize| n / 70 == 4 || n % 70 == 11;
    let residual = samples(shape, |n| if zero(n) { 0.0 } else { gaussian(n, 2) });
    for compressor in [
        Compressor::OneBit,
        Compressor::TwoBit,
        Compressor::TwoBitFitted,
    ] {
        let message = compressor.encode(&residual, shape).unwrap();
        let decoded = compressor.decode(&message.0, shape).unwrap();
        let kept = decoded.iter().enumerate().filter(|(n, _)| zero(*n));
        assert!(kept.map(|(_, value)| *value).all(|value| value == 0.0));
    }
}

#[test]
fn a_constant_residual_is_reconstructed_as_far_as_the_format_can() {
    // 1bit: s = |c| everywhere, exact. Fitted: all z = 1 in one bin, its level is 1: exact.
    // int, fp8: the largest code times the scale. 2bit cannot: .5 |c|, since |c| > s is false.
    let shape = Shape::new(4, 67);
    for constant in [1.5f32, -1.5] {
        let residual = vec![constant; shape.elements()];
        for compressor in [Compressor::OneBit, Compressor::TwoBitFitted] {
            let message = compressor.encode(&residual, shape).unwrap();
            assert_eq!(compressor.decode(&message.0, shape).unwrap(), residual);
        }
        for compressor in [Compressor::Int8, Compressor::Int4, Compressor::Fp8] {
            let message = compressor.encode(&residual, shape).unwrap();
            for value in compressor.decode(&message.0, shape).unwrap() {
                assert!(
                    (value / constant - 1.0).abs() < 1e-3,
                    "{compressor}: {value}"
                );
            }
        }
        let message = Compressor::TwoBit.encode(&residual, shape).unwrap();
        let halves = vec![0.5 * constant; shape.elements()];
        assert_eq!(
            Compressor::TwoBit.decode(&message.0, shape).unwrap(),
            halves
        );
    }
}

#[test]
fn huge_and_tiny_residuals_make_no_inf_and_no_nan() {
    let shape = Shape::new(4, 33);
    for scale in [1e-42f32, 1e-8, 1e8, 1e30, 3e38] {
        let residual = samples(shape, |n| (uniform(n, 3) as f32 - 0.5) * scale);
        for compressor in FORMATS {
            let message = compressor.encode(&residual, shape).unwrap();
            let decoded = compressor.decode(&message.0, shape).unwrap();
            assert!(
                decoded.iter().all(|value| value.is_finite()),
                "{compressor} at {scale:e}"
            );
        }
    }
}

#[test]
fn a_non_finite_residual_is_refused_with_its_place() {
    let shape = Shape::new(40, 70);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut residual = samples(shape, |n| gaussian(n, 4));
        residual[33 * 70 + 5] = bad;
        residual[35 * 70] = bad;
        for compressor in FORMATS {
            let refused = compressor.encode(&residual, shape);
            let expected = WireError::NonFiniteResidual {
                row: 33,
                channel: 5,
            };
            assert_eq!(refused, Err(expected), "{compressor}");
        }
    }
}

#[test]
fn a_message_of_another_size_or_with_an_inf_is_refused() {
    let shape = Shape::new(5, 70);
    let residual = samples(shape, |n| gaussian(n, 5));
    for compressor in FORMATS {
        let mut message = compressor.encode(&residual, shape).unwrap().0;
        let error = compressor.decode(&message[1..], shape).unwrap_err();
        assert!(matches!(error, WireError::Length { got, .. } if got == message.len() - 1));
        let half = match compressor {
            Compressor::Sparse(_) => 0,
            _ => message.len() - 2,
        };
        message[half..half + 2].copy_from_slice(&0x7C00u16.to_le_bytes());
        let error = compressor.decode(&message, shape).unwrap_err();
        let expected = WireError::Damaged {
            format: compressor.to_string(),
            byte: half,
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let shape = Shape::new(301, 613);
    let residual = samples(shape, |n| laplacian(n, 6));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| FORMATS.map(|compressor| compressor.encode(&residual, shape).unwrap()))
    };
    assert_eq!(on(1), on(5));
}

#[test]
fn integer_codes_never_miss_by_more_than_half_a_step() {
    let shape = Shape::new(8, 200);
    let residual = samples(shape, |n| laplacian(n, 7) * (1.0 + (n / 64 % 7) as f32));
    for (compressor, largest) in [(Compressor::Int8, 127.0), (Compressor::Int4, 7.0)] {
        let message = compressor.encode(&residual, shape).unwrap();
        let decoded = compressor.decode(&message.0, shape).unwrap();
        let rows = residual.chunks(200).zip(decoded.chunks(200));
        for (values, decoded) in rows.flat_map(|(a, b)| a.chunks(64).zip(b.chunks(64))) {
            let most = values
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            // The scale is at most 2^-10 above max / largest.
            let half_step = most / largest / 2.0 * 1.001;
            for (value, decoded) in values.iter().zip(decoded) {
                assert!((value - decoded).abs() <= half_step, "{compressor}");
            }
        }
    }
}

#[test]
fn sparse_keeps_the_largest_of_each_block_and_nothing_else() {
    let shape = Shape::new(3, 21);
    let residual = widened(
        Half::F16,
        &narrowed(Half::F16, &samples(shape, |n| gaussian(n, 8))),
    );
    for block in [2, 4, 8, 16] {
        let compressor = Compressor::Sparse(block);
        let message = compressor.encode(&residual, shape).unwrap();
        let decoded = compressor.decode(&message.0, shape).unwrap();
        let rows = residual.chunks(21).zip(decoded.chunks(21));
        let width = usize::from(block);
        for (values, decoded) in rows.flat_map(|(a, b)| a.chunks(width).zip(b.chunks(width))) {
            let most = values
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            for (&value, &decoded) in values.iter().zip(decoded) {
                assert_eq!(decoded, if value.abs() == most { value } else { 0.0 });
            }
        }
    }
}

#[test]
fn low_rank_recovers_a_matrix_of_that_rank() {
    let shape = Shape::new(70, 96);
    let (rows, channels) = (shape.rows(), shape.channels());
    let mut residual = vec![0.0f32; shape.elements()];
    for factor in 0..3 {
        for n in 0..rows {
            for c in 0..channels {
                let u = gaussian(n + 1000 * factor, 9);
                residual[n * channels + c] += u * gaussian(c + 1000 * factor, 10);
            }
        }
    }
    for (rank, at_least) in [(3, 1.0 - 1e-6), (8, 1.0 - 1e-6), (2, 0.5)] {
        let kept = contraction(Compressor::LowRank(rank), &residual, shape);
        assert!(kept > at_least && kept <= 1.0, "rank {rank}: {kept}");
    }
    // 4-bit factors: 16 levels over +-2.5 sigma are a third of a sigma apart; (1/3)^2 / 12 is
    // 1 % of a factor's power, of two factors 2 %.
    let kept = contraction(Compressor::LowRankInt4(3), &residual, shape);
    assert!((0.95..1.0).contains(&kept), "{kept}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_read_back(
        rows in 1usize..12,
        channels in 1usize..150,
        seed in 0u64..1000,
        scale in prop::sample::select(vec![1e-3f32, 1.0, 300.0]),
    ) {
        let shape = Shape::new(rows, channels);
        let residual = samples(shape, |n| scale * laplacian(n, seed));
        for compressor in FORMATS {
            let message = compressor.encode(&residual, shape).unwrap();
            let decoded = compressor.decode(&message.0, shape).unwrap();
            // Encoding what was decoded loses nothing more in the formats that keep values.
            if matches!(compressor, Compressor::Sparse(_)) {
                let again = compressor.encode(&decoded, shape).unwrap();
                prop_assert_eq!(compressor.decode(&again.0, shape).unwrap(), decoded.clone());
            }
            // Signs are never turned, except by low rank.
            if !matches!(compressor, Compressor::LowRank(_) | Compressor::LowRankInt4(_)) {
                let turned = residual.iter().zip(&decoded).any(|(r, d)| r * d < 0.0);
                prop_assert!(!turned, "{}", compressor);
            }
        }
    }
}
