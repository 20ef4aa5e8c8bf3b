//! NVLinks of an NCCL topology.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::super::sketch::nvlink_rate;
use super::super::{ImportError, xml};
use super::Reader;
use super::attribute::{number, own};
use crate::units::{Bandwidth, SimDuration};

/// What our exporter says of a link to a switch beside its rate.
fn more(link: Node<'_, '_>, file: &str) -> Result<String, ImportError> {
    let efficiency = own::<f64>(link, "ditplan_efficiency", file)?;
    let latency = own::<SimDuration>(link, "ditplan_latency", file)?;
    let efficiency = efficiency.map(|share| format!("\nefficiency = {share:?}"));
    let latency = latency.map(|time| format!("\nlatency = \"{} ps\"", time.get()));
    Ok([efficiency, latency].into_iter().flatten().collect())
}

impl Reader<'_, '_, '_> {
    /// NVLinks to other GPUs are direct, all others go to NVSwitches.
    pub(super) fn nvlink(&mut self) -> Result<(), ImportError> {
        let ids = self
            .gpus
            .iter()
            .map(|found| found.node.attribute("busid").unwrap_or(""));
        let ids: Vec<&str> = ids.collect();
        let mut direct: BTreeMap<(usize, usize), Bandwidth> = BTreeMap::new();
        let mut switched = vec![Bandwidth::ZERO; self.gpus.len()];
        for (index, found) in self.gpus.iter().enumerate() {
            let gpus = xml::children(found.node, "gpu");
            for link in gpus.flat_map(|gpu| xml::children(gpu, "nvlink")) {
                let rate = self.nvlinks(link, nvlink_rate(self.sketch.gpus[index].gpu))?;
                let target = link.attribute("target").unwrap_or_default();
                match ids.iter().position(|id| *id == target && !id.is_empty()) {
                    Some(peer) if peer == index => {}
                    Some(peer) => {
                        let links = direct
                            .entry((index.min(peer), index.max(peer)))
                            .or_default();
                        *links = rate.max(*links);
                    }
                    None => {
                        switched[index] += rate;
                        self.sketch.nvlink = more(link, self.file)?;
                    }
                }
            }
        }
        if let Some(slot) = self.sketch.gpus.first().filter(|_| !direct.is_empty()) {
            let (rate, name) = (nvlink_rate(slot.gpu), slot.gpu.name.clone());
            self.sketch.assume(format!(
                "an NVLink of {name} carries {rate} one way (datasheet)"
            ));
        }
        self.sketch.bridges = direct
            .into_iter()
            .map(|((a, b), rate)| (a, b, rate))
            .collect();
        self.switches(&switched)
    }

    /// What the links of one element carry: at most 64 of them, or as our exporter says.
    fn nvlinks(&self, link: Node<'_, '_>, rate: Bandwidth) -> Result<Bandwidth, ImportError> {
        let count = number(link, "count", self.file)?.unwrap_or(1);
        if !(1..=64).contains(&count) {
            let what = format!("count=\"{count}\" is no number of NVLinks");
            return Err(xml::fault(self.file, link, what, "write 1 to 64"));
        }
        let own = own::<Bandwidth>(link, "ditplan_bandwidth", self.file)?;
        let own = own.filter(|own| own.get() <= 64_000_000_000_000);
        Ok(own.unwrap_or(rate * u64::from(count)))
    }

    fn switches(&mut self, rates: &[Bandwidth]) -> Result<(), ImportError> {
        let (Some(&most), Some(&least)) = (rates.iter().max(), rates.iter().min()) else {
            return Ok(());
        };
        if most == Bandwidth::ZERO {
            return Ok(());
        }
        if most != least {
            let index = rates
                .iter()
                .position(|rate| *rate == least)
                .unwrap_or_default();
            let what =
                format!("gpu{index} has {least} of NVLinks to NVSwitches where another has {most}");
            let remedy = "dump the file again on a machine whose NVLinks are all up";
            return Err(xml::fault(self.file, self.gpus[index].node, what, remedy));
        }
        let gpu = self.sketch.gpus[0].gpu;
        let rate = nvlink_rate(gpu);
        self.sketch.nvswitch = Some(most);
        self.sketch.assume(format!(
            "an NVLink of {} carries {rate} one way (datasheet)",
            gpu.name
        ));
        Ok(())
    }
}
