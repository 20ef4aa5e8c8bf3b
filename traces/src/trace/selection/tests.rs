//! Slices commute with making a trace; conversions come back.

use super::*;
use crate::testing::{manifest, statistics, synthetic, values};

/// A trace with statistics, and room for another.
fn trace(dtype: Dtype) -> (tempfile::TempDir, Trace) {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = manifest(3, 4, 5);
    wanted.dtype = dtype;
    let mut trace = synthetic(folder.path().join("trace"), &wanted).unwrap();
    let rows = statistics(&trace).unwrap();
    trace.put_rows(&rows).unwrap();
    (folder, trace)
}

/// The slice of a synthetic trace is the synthetic trace of the slice.
#[test]
fn slicing_and_generating_commute() {
    let (folder, trace) = trace(Dtype::Float16);
    let selection = Selection {
        layers: Some(vec![1, 3]),
        steps: Some(vec![0, 2, 4]),
        samples: Some(vec![0, 2]),
        heads: Some(vec![1]),
        tokens: Some(3..9),
    };
    let out = folder.path().join("slice");
    let mut steps = Vec::new();
    slice(&trace, &selection, &out, |step| steps.push(step)).unwrap();
    assert_eq!(steps, [0, 2, 4]);
    let part = Trace::open(&out).unwrap();
    part.verify(|_| ()).unwrap();
    for step in part.steps() {
        let view = part.step(step).unwrap();
        for &layer in &part.manifest().recorded.layers {
            for tensor in Tensor::ALL {
                let mut expected = Vec::new();
                let numbers = values(part.manifest(), step, layer, tensor);
                crate::testing::put(Dtype::Float16, &numbers, &mut expected);
                assert_eq!(view.tensor(layer, tensor).unwrap().bytes, expected);
            }
        }
    }
    assert_eq!(part.rows::<Statistic>(), trace.rows::<Statistic>());
}

#[test]
fn slicing_a_slice_is_slicing_once() {
    let (folder, trace) = trace(Dtype::Float16);
    let pick = |tokens| Selection {
        tokens: Some(tokens),
        ..Selection::default()
    };
    let [wide, twice, once] = ["wide", "twice", "once"].map(|name| folder.path().join(name));
    slice(&trace, &pick(2..12), &wide, |_| ()).unwrap();
    slice(&Trace::open(wide).unwrap(), &pick(4..6), &twice, |_| ()).unwrap();
    slice(&trace, &pick(4..6), &once, |_| ()).unwrap();
    let (twice, once) = (Trace::open(twice).unwrap(), Trace::open(once).unwrap());
    assert_eq!(twice.manifest(), once.manifest());
}

#[test]
fn what_was_not_recorded_cannot_be_kept() {
    let (folder, trace) = trace(Dtype::Float16);
    let all = Selection::default();
    for (selection, what) in [
        (
            Selection {
                layers: Some(vec![0, 9]),
                ..all.clone()
            },
            "no layer 9",
        ),
        (
            Selection {
                steps: Some(vec![5]),
                ..all.clone()
            },
            "no step 5",
        ),
        (
            Selection {
                samples: Some(vec![3]),
                ..all.clone()
            },
            "no sample 3",
        ),
        (
            Selection {
                heads: Some(vec![2]),
                ..all.clone()
            },
            "no head 2",
        ),
        (
            Selection {
                tokens: Some(4..17),
                ..all
            },
            "no tokens 4..17: ask for one of the tokens of 0..16",
        ),
    ] {
        let error = slice(&trace, &selection, folder.path().join("out"), |_| ());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(what), "{what} in {error}");
    }
}

/// f16 to f32 and back is the identity, to the byte.
#[test]
fn widening_and_back_changes_nothing() {
    let (folder, trace) = trace(Dtype::Float16);
    let [wide, back] = ["wide", "back"].map(|name| folder.path().join(name));
    convert(&trace, Dtype::Float32, &wide, |_| ()).unwrap();
    let wide = Trace::open(wide).unwrap();
    convert(&wide, Dtype::Float16, &back, |_| ()).unwrap();
    assert_eq!(Trace::open(back).unwrap().manifest(), trace.manifest());
}

#[test]
fn converted_statistics_are_those_of_the_converted_tensors() {
    let (folder, trace) = trace(Dtype::Float32);
    let out = folder.path().join("out");
    convert(&trace, Dtype::Bfloat16, &out, |_| ()).unwrap();
    let converted = Trace::open(out).unwrap();
    let expected = statistics(&converted).unwrap();
    let found = converted.rows::<Statistic>().unwrap().unwrap();
    assert_eq!(found, expected);
    let before = trace.rows::<Statistic>().unwrap().unwrap();
    for (before, after) in before.iter().zip(&found) {
        assert_eq!(before.differs(after, Dtype::Bfloat16), None);
    }
}

#[test]
fn a_number_that_f16_does_not_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = manifest(1, 1, 1);
    wanted.dtype = Dtype::Float32;
    let large = folder.path().join("large");
    let mut writer = TraceWriter::create(&large, wanted.clone()).unwrap();
    let mut numbers = vec![1.0; wanted.shape().elements()];
    numbers[5] = 7e4;
    let fill = |_, _, out: &mut Vec<u8>| {
        f32::put(&numbers, out);
        Ok(())
    };
    writer.step(fill).unwrap();
    writer.finish().unwrap();
    let trace = Trace::open(large).unwrap();
    let out = folder.path().join("out");
    let error = convert(&trace, Dtype::Float16, &out, |_| ())
        .unwrap_err()
        .to_string();
    for word in [
        "70000 in K of layer 0, step 0, sample 0, element 5",
        "a type that holds it",
    ] {
        assert!(error.contains(word), "{word} in {error}");
    }
}
