//! The GPU kernels against the CPU reference, on whatever driver is found.
//!
//! `kernels/cuda/check.sh` runs it on the emulated driver, forwards and in reverse, and with none.
//! DITPLAN_CUDA names what must be there: `emulated`, `absent`, or unset for whatever is.

use kernels::cuda::{CudaError, Depth, Gpu, check, probe};

/// The GPU, if one is there; panics where the environment says otherwise.
fn gpu() -> Option<Gpu> {
    let expected = std::env::var("DITPLAN_CUDA").unwrap_or_default();
    match probe(None) {
        Ok(gpu) => {
            assert_ne!(expected, "absent", "no GPU was to be found");
            Some(gpu)
        }
        Err(error) => {
            assert_ne!(expected, "emulated", "{error}");
            None
        }
    }
}

#[test]
fn every_compressor_agrees_with_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let only = std::env::var("DITPLAN_CUDA_ONLY").unwrap_or_default();
    let wanted = |compressor: kernels::Compressor| compressor.to_string().contains(&only);
    let checked = check(&gpu, Depth::Quick, wanted, |done| println!("{done}")).expect("it runs");
    let wrong: Vec<&String> = checked.iter().flat_map(|it| &it.wrong).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong, the first: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(12)]
    );
}

#[test]
fn no_driver_or_no_device_is_one_sentence() {
    let Err(error) = probe(None) else { return };
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() > 20, "{text}");
    match error {
        CudaError::NoDriver => assert!(text.starts_with("no NVIDIA driver was found"), "{text}"),
        CudaError::NoDevice(reason) => assert!(text.ends_with(&reason), "{text}"),
        other => panic!("{other}"),
    }
}
