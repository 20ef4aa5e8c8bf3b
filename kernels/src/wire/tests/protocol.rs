//! Sender and receiver over several steps.

use super::*;

const SHAPE: (usize, usize) = (5, 70);

/// Activations that change slowly: x_t = 4 g + t d / 4 + small noise.
fn trajectory(shape: Shape, half: Half, steps: usize) -> Vec<Vec<u16>> {
    let at = |t: usize| {
        samples(shape, |n| {
            let drift = 0.25 * t as f32 * gaussian(n, 31);
            4.0 * gaussian(n, 30) + drift + 0.1 * gaussian(n, 40 + t as u64)
        })
    };
    (0..steps).map(|t| narrowed(half, &at(t))).collect()
}

fn every_protocol() -> impl Iterator<Item = Protocol> {
    let orders = [Order::Zero, Order::First, Order::Second];
    let with_base = |order| {
        BaseFormat::ALL.into_iter().flat_map(move |base| {
            (0..3).map(move |warmup| Protocol {
                order,
                feedback: Feedback::On,
                warmup,
                base,
                ..Protocol::default()
            })
        })
    };
    orders.into_iter().flat_map(with_base)
}

#[test]
fn with_feedback_both_sides_are_equal_to_the_bit() {
    let shape = Shape::new(SHAPE.0, SHAPE.1);
    for half in [Half::F16, Half::Bf16] {
        let steps = trajectory(shape, half, 5);
        for protocol in every_protocol() {
            for compressor in FORMATS {
                let mut sender = Sender::new(compressor, protocol, shape, half);
                let mut receiver = Receiver::new(compressor, protocol, shape, half);
                let mut loopback = Loopback::new(compressor, protocol, shape, half);
                for (step, bits) in steps.iter().enumerate() {
                    let x = Matrix::new(shape, half, bits);
                    let message = sender.send(x, PLACE).unwrap();
                    assert_eq!(message.0.len(), receiver.next_bytes());
                    let received = receiver.receive(&message.0).unwrap().bits().to_vec();
                    let exchanged = loopback.exchange(x, PLACE).unwrap();
                    assert_eq!(exchanged.bytes.get() as usize, message.0.len());
                    assert_eq!(exchanged.reconstruction.bits(), received);
                    assert!(sender.state_equals(&receiver), "{compressor} {protocol:?}");
                    if step < protocol.warmup as usize {
                        assert_eq!(received, *bits, "a raw step is exact");
                    }
                }
            }
        }
    }
}

#[test]
fn signs_of_halves_are_those_of_the_residual_in_fp32() {
    // Two rows of whole lanes at once, over two chunks and an odd last row.
    let shapes = [(5, 80), (45, 1600)].map(|(rows, channels)| Shape::new(rows, channels));
    let formats = [(Half::F16, BaseFormat::F16), (Half::Bf16, BaseFormat::Bf16)];
    for (shape, (half, base)) in shapes.iter().flat_map(|&it| formats.map(|of| (it, of))) {
        let protocol = Protocol {
            base,
            ..Protocol::default()
        };
        for compressor in &FORMATS[..3] {
            let mut sender = Sender::new(*compressor, protocol, shape, half);
            for (step, bits) in trajectory(shape, half, 3).iter().enumerate() {
                let mut residual = widened(half, bits);
                let mut prediction = vec![0.0; residual.len()];
                sender.prediction(&mut prediction);
                for (value, prediction) in residual.iter_mut().zip(&prediction) {
                    *value -= prediction;
                }
                let message = sender.send(Matrix::new(shape, half, bits), PLACE).unwrap();
                if step > 0 {
                    assert_eq!(message, compressor.encode(&residual, shape).unwrap());
                    let decoded = compressor.decode(&message.0, shape).unwrap();
                    for (value, decoded) in prediction.iter_mut().zip(&decoded) {
                        *value += decoded;
                    }
                    let mut moved = vec![0.0; prediction.len()];
                    sender.prediction(&mut moved);
                    assert_eq!(moved, widened(half, &narrowed(half, &prediction)));
                }
            }
            let mut bits = trajectory(shape, half, 1).remove(0);
            let element = 3 * shape.channels() + 17;
            bits[element] = 0x7FFF;
            let refused = sender.send(Matrix::new(shape, half, &bits), PLACE);
            let (row, channel, place) = (3, 17, PLACE);
            let error = WireError::NonFinite {
                place,
                row,
                channel,
                element,
            };
            assert_eq!(refused, Err(error));
        }
    }
}

#[test]
fn a_reconstruction_is_the_prediction_and_the_decoded_residual() {
    // By the definition, through the public functions, whatever short ways the sender takes.
    let shape = Shape::new(SHAPE.0, SHAPE.1);
    for half in [Half::F16, Half::Bf16] {
        let steps = trajectory(shape, half, 3);
        for protocol in every_protocol().filter(|protocol| protocol.warmup > 0) {
            for compressor in FORMATS {
                let mut loopback = Loopback::new(compressor, protocol, shape, half);
                for (step, bits) in steps.iter().enumerate() {
                    let mut sum = vec![0.0; bits.len()];
                    loopback.sender().prediction(&mut sum);
                    let x = widened(half, bits);
                    let residual: Vec<f32> = x.iter().zip(&sum).map(|(x, p)| x - p).collect();
                    let matrix = Matrix::new(shape, half, bits);
                    let got = loopback.exchange(matrix, PLACE).unwrap().reconstruction;
                    // A warm start has no message of its own to compare with.
                    let warm = step > protocol.warmup as usize
                        && matches!(
                            compressor,
                            Compressor::LowRank(_) | Compressor::LowRankInt4(_)
                        );
                    if step < protocol.warmup as usize || warm {
                        continue;
                    }
                    let message = compressor.encode(&residual, shape).unwrap();
                    let decoded = compressor.decode(&message.0, shape).unwrap();
                    sum.iter_mut().zip(&decoded).for_each(|(p, d)| *p += d);
                    assert_eq!(
                        got.bits(),
                        narrowed(half, &sum),
                        "{compressor} {protocol:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_unchanged_activation_changes_nothing() {
    let shape = Shape::new(SHAPE.0, SHAPE.1);
    for half in [Half::F16, Half::Bf16] {
        let x = &trajectory(shape, half, 1)[0];
        for order in [Order::First, Order::Second] {
            let base = match half {
                Half::F16 => BaseFormat::F16,
                Half::Bf16 => BaseFormat::Bf16,
            };
            let protocol = Protocol {
                order,
                base,
                ..Protocol::default()
            };
            for compressor in FORMATS {
                let mut loopback = Loopback::new(compressor, protocol, shape, half);
                for _ in 0..3 {
                    let got = loopback
                        .exchange(Matrix::new(shape, half, x), PLACE)
                        .unwrap();
                    let got = widened(half, got.reconstruction.bits());
                    assert_eq!(got, widened(half, x), "{compressor}");
                }
            }
        }
    }
}

/// Squared errors over squared norms of each step after the first.
fn errors(compressor: Compressor, protocol: Protocol, shape: Shape, steps: usize) -> Vec<f64> {
    let half = Half::F16;
    let mut loopback = Loopback::new(compressor, protocol, shape, half);
    let errors = trajectory(shape, half, steps).into_iter().map(|bits| {
        let got = loopback
            .exchange(Matrix::new(shape, half, &bits), PLACE)
            .unwrap();
        let truth = widened(half, &bits);
        distance(&widened(half, got.reconstruction.bits()), &truth) / energy(&truth)
    });
    errors.skip(1).collect()
}

#[test]
fn without_feedback_the_receiver_drifts_away() {
    let shape = Shape::new(40, 96);
    let with = errors(Compressor::OneBit, Protocol::default(), shape, 25);
    let open = Protocol {
        feedback: Feedback::Off,
        ..Protocol::default()
    };
    let without = errors(Compressor::OneBit, open, shape, 25);
    // The first compressed step is the same: the bases are.
    assert_eq!(with[0], without[0]);
    assert!(without[23] > 4.0 * with[23], "{} {}", without[23], with[23]);
    assert!(without[23] > 4.0 * without[2], "it grows");
}

#[test]
fn order_two_follows_a_steady_change_more_closely() {
    // A change of d each step leaves a residual of d at order 1, of d / 2 at order 2.
    let shape = Shape::new(40, 96);
    let second = Protocol {
        order: Order::Second,
        ..Protocol::default()
    };
    let one: f64 = errors(Compressor::TwoBit, Protocol::default(), shape, 12)[4..]
        .iter()
        .sum();
    let two: f64 = errors(Compressor::TwoBit, second, shape, 12)[4..]
        .iter()
        .sum();
    assert!(two < 0.7 * one, "{two} against {one}");
}

#[test]
fn compressing_residuals_beats_compressing_activations() {
    let shape = Shape::new(40, 96);
    let zero = Protocol {
        order: Order::Zero,
        ..Protocol::default()
    };
    for compressor in [Compressor::OneBit, Compressor::Int4, Compressor::LowRank(3)] {
        let naive: f64 = errors(compressor, zero, shape, 10).iter().sum();
        let residual: f64 = errors(compressor, Protocol::default(), shape, 10)
            .iter()
            .sum();
        assert!(
            residual < 0.2 * naive,
            "{compressor}: {residual} against {naive}"
        );
    }
}

#[test]
fn a_smaller_base_costs_memory_the_less_and_error_the_more() {
    let shape = Shape::new(64, 128);
    let bytes = BaseFormat::ALL.map(|base| {
        let protocol = Protocol {
            base,
            ..Protocol::default()
        };
        protocol.state_bytes(shape).get()
    });
    // 8192 elements; 2 groups a row of 2 bytes each are 256.
    assert_eq!(bytes, [16_384, 16_384, 8_448, 4_352]);
    let error = |base| {
        let protocol = Protocol {
            base,
            ..Protocol::default()
        };
        errors(Compressor::TwoBit, protocol, shape, 8)
            .iter()
            .sum::<f64>()
    };
    let (fp16, int8, int4) = (
        error(BaseFormat::F16),
        error(BaseFormat::Int8),
        error(BaseFormat::Int4),
    );
    assert!(
        int8 < 1.1 * fp16 && int4 < 20.0 * fp16,
        "{fp16} {int8} {int4}"
    );
    let second = Protocol {
        order: Order::Second,
        ..Protocol::default()
    };
    assert_eq!(second.state_bytes(shape).get(), 32_768);
}

#[test]
fn a_warm_start_is_no_worse_than_a_cold_one() {
    let (shape, half) = (Shape::new(60, 80), Half::F16);
    let compressor = Compressor::LowRank(6);
    let mut loopback = Loopback::new(
        compressor,
        Protocol {
            subspace: Subspace::Warm,
            ..Protocol::default()
        },
        shape,
        half,
    );
    let (mut warm, mut cold) = (0.0, 0.0);
    for (step, bits) in trajectory(shape, half, 12).iter().enumerate() {
        let truth = widened(half, bits);
        let mut prediction = vec![0.0; truth.len()];
        loopback.sender().prediction(&mut prediction);
        let got = loopback
            .exchange(Matrix::new(shape, half, bits), PLACE)
            .unwrap();
        if step < 2 {
            continue;
        }
        warm += distance(&widened(half, got.reconstruction.bits()), &truth);
        let residual: Vec<f32> = truth.iter().zip(&prediction).map(|(x, p)| x - p).collect();
        let message = compressor.encode(&residual, shape).unwrap();
        cold += distance(&compressor.decode(&message.0, shape).unwrap(), &residual);
    }
    assert!(warm < 1.02 * cold, "{warm} against {cold}");
}

#[test]
fn a_non_finite_activation_is_refused_and_the_state_stays() {
    let (shape, half) = (Shape::new(SHAPE.0, SHAPE.1), Half::F16);
    let steps = trajectory(shape, half, 3);
    for compressor in FORMATS {
        let mut sender = Sender::new(compressor, Protocol::default(), shape, half);
        let mut receiver = Receiver::new(compressor, Protocol::default(), shape, half);
        for bits in &steps {
            let mut bad = bits.clone();
            bad[2 * 70 + 9] = 0x7E00;
            let error = sender
                .send(Matrix::new(shape, half, &bad), PLACE)
                .unwrap_err();
            assert_eq!(
                error.to_string().split(':').next(),
                Some("V of layer 3 at step 5 is not finite at row 2, channel 9 (element 149)")
            );
            let message = sender.send(Matrix::new(shape, half, bits), PLACE).unwrap();
            receiver.receive(&message.0).unwrap();
            assert!(sender.state_equals(&receiver));
        }
    }
}

#[test]
fn an_activation_of_another_shape_is_refused() {
    let shape = Shape::new(2, 4);
    let mut sender = Sender::new(Compressor::OneBit, Protocol::default(), shape, Half::F16);
    let other = Matrix::new(Shape::new(4, 2), Half::F16, &[0; 8]);
    assert!(matches!(
        sender.send(other, PLACE),
        Err(WireError::Changed { .. })
    ));
    let other = Matrix::new(shape, Half::Bf16, &[0; 8]);
    assert!(matches!(
        sender.send(other, PLACE),
        Err(WireError::Changed { .. })
    ));
}

#[test]
fn k_and_v_travel_in_one_message() {
    let (shape, half) = (Shape::new(SHAPE.0, SHAPE.1), Half::F16);
    let steps = trajectory(shape, half, 4);
    let sender = || Sender::new(Compressor::Int8, Protocol::default(), shape, half);
    let receiver = || Receiver::new(Compressor::Int8, Protocol::default(), shape, half);
    let (mut ks, mut vs, mut kr, mut vr) = (sender(), sender(), receiver(), receiver());
    for pair in steps.windows(2) {
        let matrix = |bits| Matrix::new(shape, half, bits);
        let (k, v) = (matrix(&pair[0]), matrix(&pair[1]));
        let mut bad = pair[1].clone();
        bad[0] = 0x7C00;
        let refused = send_pair((&mut ks, &mut vs), (k, matrix(&bad)), 3, 5).unwrap_err();
        assert!(refused.to_string().starts_with("V of layer 3 at step 5"));

        let message = send_pair((&mut ks, &mut vs), (k, v), 3, 5).unwrap();
        let short = receive_pair((&mut kr, &mut vr), &message.0[1..]);
        assert!(matches!(short, Err(WireError::Length { .. })));
        receive_pair((&mut kr, &mut vr), &message.0).unwrap();
        assert!(ks.state_equals(&kr) && vs.state_equals(&vr));
    }
}

#[test]
fn after_a_restart_activations_go_raw_again() {
    let (shape, half) = (Shape::new(2, 9), Half::Bf16);
    let steps = trajectory(shape, half, 2);
    let mut sender = Sender::new(Compressor::OneBit, Protocol::default(), shape, half);
    let mut receiver = Receiver::new(Compressor::OneBit, Protocol::default(), shape, half);
    for bits in &steps {
        sender.restart();
        receiver.restart();
        let message = sender.send(Matrix::new(shape, half, bits), PLACE).unwrap();
        assert_eq!(message.0.len(), 36);
        assert_eq!(receiver.receive(&message.0).unwrap().bits(), bits);
    }
}

impl Sender {
    fn state_equals(&self, receiver: &Receiver) -> bool {
        self.state() == receiver.state()
    }
}
