//! PCI numbers: rates of links, models of GPUs, rates between CPUs.

use crate::gpu::{self, Gpu};
use crate::units::Bandwidth;

/// GB/s of one PCIe lane, one way, by transfer rate in GT/s.
///
/// 8b/10b coding up to 5 GT/s; above, the coding's 1.5 % is left to the efficiency of the link, as in the
/// GPU table (PCIe 4 x16 is 32 GB/s there).
const LANES: [(f64, f64); 7] = [
    (2.5, 0.25),
    (5.0, 0.5),
    (8.0, 1.0),
    (16.0, 2.0),
    (32.0, 4.0),
    (64.0, 8.0),
    (128.0, 16.0),
];

/// A link of `width` lanes at `rate` GT/s.
pub(crate) fn link(rate: f64, width: u32) -> Option<Bandwidth> {
    let lane = LANES.iter().find(|(known, _)| (known - rate).abs() < 0.01);
    let (_, lane) = lane?;
    (1..=32)
        .contains(&width)
        .then(|| Bandwidth::new((lane * 1e9) as u64 * u64::from(width)))
}

/// A link of `width` lanes of PCIe generation `generation`.
pub(crate) fn generation(generation: u32, width: u32) -> Option<Bandwidth> {
    let (rate, _) = LANES.get(usize::try_from(generation).ok()?.checked_sub(1)?)?;
    link(*rate, width)
}

/// The rate in GT/s and the width that make this bandwidth, widest first; `None` where none does.
pub(crate) fn rate_and_width(bandwidth: Bandwidth) -> Option<(f64, u32)> {
    [16, 8, 4, 2, 1].into_iter().find_map(|width| {
        let mut rates = LANES.iter();
        let found = rates.find(|(rate, _)| link(*rate, width) == Some(bandwidth));
        found.map(|(rate, _)| (*rate, width))
    })
}

/// The number in "16.0 GT/s PCIe" or "8 GT/s".
pub(crate) fn gigatransfers(text: &str) -> Option<f64> {
    let number = text.split_whitespace().next()?;
    number.parse().ok().filter(|rate: &f64| rate.is_finite())
}

/// NVIDIA's device numbers. Source: the PCI ID repository (pci-ids.ucw.cz), vendor 10de.
const DEVICES: [(u32, &str); 22] = [
    (0x1db5, "V100-32-SXM"),
    (0x1eb8, "T4"),
    (0x20b0, "A100-40-SXM"),
    (0x20b2, "A100-80-SXM"),
    (0x20b5, "A100-80-PCIe"),
    (0x20b7, "A30"),
    (0x20f1, "A100-40-PCIe"),
    (0x20f3, "A800-80-SXM"),
    (0x2236, "A10"),
    (0x2324, "H800-SXM"),
    (0x2329, "H20"),
    (0x2330, "H100-SXM"),
    (0x2331, "H100-PCIe"),
    (0x2335, "H200-SXM"),
    (0x2684, "RTX4090"),
    (0x26b5, "L40"),
    (0x26b9, "L40S"),
    (0x26ba, "L20"),
    (0x27b8, "L4"),
    (0x2901, "B200"),
    (0x2941, "GB200"),
    (0x2b85, "RTX5090"),
];

/// The GPU of a PCI device number such as `0x2330`.
pub(crate) fn device(number: &str) -> Option<&'static Gpu> {
    let number = u32::from_str_radix(number.trim().trim_start_matches("0x"), 16).ok()?;
    let (_, name) = DEVICES.iter().find(|(known, _)| *known == number)?;
    gpu::find(name).ok()
}

/// The device number of a GPU, where it is known.
pub(crate) fn number(gpu: &Gpu) -> Option<u32> {
    let found = DEVICES.iter().find(|(_, name)| *name == gpu.name);
    found.map(|(number, _)| *number)
}

/// What NCCL takes for the link between two CPUs, and its name of the figure.
///
/// Source: NVIDIA/nccl `src/graph/topo.h` and `ncclTopoGetInterCpuBw` of `topo.cc`, GB/s one way.
pub(crate) fn between_cpus(
    arch: &str,
    vendor: &str,
    family: u32,
    model: u32,
) -> (f64, &'static str) {
    match (arch, vendor) {
        ("ppc64", _) => (32.0, "POWER9"),
        ("arm64", _) => (6.0, "Arm"),
        (_, "AuthenticAMD") => (16.0, "AMD"),
        (_, "CentaurHauls" | "  Shanghai  ") => (6.0, "Zhaoxin"),
        _ if family == 6 && model >= 0xcf => (40.0, "Intel Emerald Rapids and later"),
        _ if family == 6 && model >= 0x8f => (22.0, "Intel Sapphire Rapids"),
        _ if family == 6 && model >= 0x55 => (10.0, "Intel Skylake"),
        _ => (6.0, "Intel Broadwell and earlier"),
    }
}

/// The CPU whose NCCL figure is nearest: arch, vendor, family, model.
pub(crate) fn cpu_for(rate: Bandwidth) -> (&'static str, &'static str, u32, u32) {
    match rate.as_f64() / 1e9 {
        ..8.0 => ("x86_64", "GenuineIntel", 6, 0x4f),
        ..13.0 => ("x86_64", "GenuineIntel", 6, 0x55),
        ..19.0 => ("x86_64", "AuthenticAMD", 25, 1),
        ..31.0 => ("x86_64", "GenuineIntel", 6, 0x8f),
        _ => ("x86_64", "GenuineIntel", 6, 0xcf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_links_read_back() {
        for (rate, width, gigabytes) in [(16.0, 16, 32), (32.0, 16, 64), (8.0, 8, 8), (8.0, 16, 16)]
        {
            let bandwidth = Bandwidth::new(gigabytes * 1_000_000_000);
            assert_eq!(link(rate, width), Some(bandwidth));
            let (again, lanes) = rate_and_width(bandwidth).unwrap();
            assert_eq!(link(again, lanes), Some(bandwidth));
        }
        assert_eq!(link(17.0, 16), None);
        assert_eq!(link(16.0, 0), None);
        assert_eq!(generation(4, 16), Some(Bandwidth::new(32_000_000_000)));
        assert_eq!(generation(0, 16), None);
        assert_eq!(gigatransfers("16.0 GT/s PCIe"), Some(16.0));
    }

    #[test]
    fn every_device_is_a_known_gpu() {
        for (number, name) in DEVICES {
            let gpu = device(&format!("{number:#06x}")).unwrap();
            assert_eq!(
                (gpu.name.as_str(), super::number(gpu)),
                (name, Some(number))
            );
        }
    }
}
