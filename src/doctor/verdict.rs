//! Which backend can work over which fabric.

use std::path::Path;

use super::inventory::Inventory;
use super::libraries::{Checked, Libraries};
use super::machine::Machine;
use super::question::{Fabric, Question};
use crate::choice::backend::Backend;
use crate::report::doctor::{Outcome, Verdict};
use crate::source::regular::is_same_file;

/// One verdict, with what leads to it.
#[derive(Debug)]
pub(super) struct Judged {
    /// The backend.
    pub backend: Backend,
    /// The fabric.
    pub fabric: Fabric,
    /// What is wrong with the image.
    pub faults: Vec<String>,
    /// What the machine lacks.
    pub lacks: Vec<String>,
}

impl Judged {
    /// For the report.
    pub(super) fn report(&self) -> Verdict {
        let (outcome, reasons) = match (self.faults.is_empty(), self.lacks.is_empty()) {
            (false, _) => (Outcome::Cannot, self.faults.clone()),
            (true, false) => (Outcome::OnANode, self.lacks.clone()),
            (true, true) => (Outcome::Here, Vec::new()),
        };
        Verdict { backend: self.backend.name(), fabric: self.fabric.name(), outcome, reasons }
    }

    fn fault(&mut self, words: String) {
        if !self.faults.contains(&words) {
            self.faults.push(words);
        }
    }

    fn lack(&mut self, words: &str) {
        if !self.lacks.iter().any(|known| known == words) {
            self.lacks.push(words.into());
        }
    }

    /// A library has to be loadable.
    fn needs(&mut self, checked: &Checked, machine: &Machine) {
        checked.gaps().for_each(|gap| self.fault(gap.brief()));
        if checked.lacks_driver() && !machine.has_gpu {
            self.lack("NVIDIA's driver");
        }
    }

    /// A module of UCX has to be there and loadable.
    fn needs_module(&mut self, name: &str, libraries: &Libraries, machine: &Machine) {
        match libraries.module(name) {
            Some(module) => self.needs(module, machine),
            None => self.fault(format!("this UCX has no module `{name}`")),
        }
    }
}

/// What each backend is judged for, in the order of the report.
const ASKED: [(Backend, &[Fabric]); 2] = [
    (Backend::Ucx, &[Fabric::Tcp, Fabric::Rdma, Fabric::Efa, Fabric::Cuda]),
    (Backend::Libfabric, &[Fabric::Tcp, Fabric::Efa]),
];

/// Judges all that the question is about.
pub(super) fn judge(
    question: &Question,
    inventory: &Inventory,
    libraries: &Libraries,
    machine: &Machine,
) -> Vec<Judged> {
    let asked = ASKED.iter().flat_map(|(backend, fabrics)| fabrics.iter().map(|fabric| (*backend, *fabric)));
    asked
        .filter(|(backend, fabric)| question.is_about(*backend, *fabric))
        .map(|(backend, fabric)| one(backend, fabric, inventory, libraries, machine))
        .collect()
}

fn one(backend: Backend, fabric: Fabric, inventory: &Inventory, libraries: &Libraries, machine: &Machine) -> Judged {
    let mut judged = Judged { backend, fabric, faults: Vec::new(), lacks: Vec::new() };
    match libraries.plugin(backend.name()) {
        Some(plugin) => judged.needs(plugin, machine),
        None => judged.fault(format!("{} ships no plugin `{backend}`", inventory.nixl().title())),
    }
    match (backend, fabric) {
        (_, Fabric::Tcp) => {}
        (Backend::Ucx, Fabric::Rdma) => {
            judged.needs_module("libuct_ib", libraries, machine);
            let devices = machine.rdma();
            let own_driver = devices.iter().all(|device| device.starts_with("mlx5"));
            if two_libibverbs(inventory, libraries).is_none() {
                has_device(&mut judged, "an InfiniBand or RoCE device", &devices, machine);
            } else if own_driver {
                // The wheel's own driver is linked against the wheel's own libibverbs.
                has_device(&mut judged, "a ConnectX device (mlx5); for others: two libibverbs", &devices, machine);
            } else {
                judged.fault("two libibverbs, and this device's driver uses the other one".into());
            }
        }
        (Backend::Ucx, Fabric::Efa) => {
            judged.needs_module("libuct_ib_efa", libraries, machine);
            if two_libibverbs(inventory, libraries).is_some() {
                judged.fault("two libibverbs, and EFA's driver uses the other one".into());
            }
            has_device(&mut judged, "an EFA device", &machine.fabric.efa(), machine);
        }
        (Backend::Ucx, Fabric::Cuda) => {
            judged.needs_module("libuct_cuda", libraries, machine);
            if !machine.has_gpu {
                judged.lack("NVIDIA's driver");
            }
        }
        (Backend::Libfabric, _) => {
            if libraries.without_efa().is_some() {
                judged.fault("this libfabric was built without the efa provider".into());
            }
            has_device(&mut judged, "an EFA device", &machine.fabric.efa(), machine);
        }
    }
    judged
}

/// UCX's libibverbs and the system's, where they are two (field-notes, measured with SoftRoCE).
pub(super) fn two_libibverbs<'a>(inventory: &'a Inventory, libraries: &'a Libraries) -> Option<(&'a Path, &'a Path)> {
    let own = libraries.module("libuct_ib")?.library("libibverbs")?;
    let system = inventory.bare_libibverbs.as_deref()?;
    (!is_same_file(own, system)).then_some((own, system))
}

fn has_device(judged: &mut Judged, wanted: &str, found: &[&str], machine: &Machine) {
    if found.is_empty() {
        judged.lack(wanted);
        return;
    }
    if machine.fabric.usable.is_empty() {
        judged.lack("permission to open `/dev/infiniband/uverbs*`");
    }
}
