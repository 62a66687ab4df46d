//! What a running UCX states about its transports.
//!
//! With `UCX_LOG_LEVEL=info` UCX prints one line for each endpoint configuration, with all lanes by purpose:
//!
//! ```text
//! [1795394646.467095] [vm:4906 :0]  ucp_worker.c:1997 UCX  INFO    initiator intra-node cfg#1 rma_am(tcp/lo)  amo_am(tcp/lo)  am(tcp/lo cma/memory)  ka(tcp/lo)
//! ```
//!
//! That line does not tell which lane carries a put or a get: the one above moves its bytes over cma. The tables that
//! `UCX_PROTO_INFO=y` adds tell (UCX 1.23; 1.21 has the configuration and the operation in one row):
//!
//! ```text
//! [1795394672.090616] [vm:5303 :0]   | initiator intra-node cfg#1                                      |
//! [1795394672.090616] [vm:5303 :0]   | remote memory write by ucp_put*(multi) from host memory to host |
//! [1795394672.090616] [vm:5303 :0]   | Range  | Description |                  Config                  |
//! [1795394672.090616] [vm:5303 :0]   | 0..inf | zero-copy   | cma/memory                               |
//! ```
//!
//! So the tables decide; the lanes are used only if there are no tables and all lanes that could carry the bytes are of one
//! kind.

use std::collections::BTreeSet;

use super::statement::Statement;
use crate::report::fabric::{Fabric, Fabrics};

/// Longest name of a transport with its device, in bytes.
const LONGEST: usize = 128;

/// Whether [`read`] uses this line of output.
pub(crate) fn is_statement(line: &[u8]) -> bool {
    contains(line, b" cfg#") || contains(line, b"]   | ")
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(line, part).is_some()
}

/// Reads an initiator's output; `length` is that of its messages, in bytes.
pub(crate) fn read(output: &str, length: u64) -> Statement {
    let mut reading = Reading::default();
    for line in output.lines() {
        reading.line(line);
    }
    reading.conclude(length)
}

/// Whether UCX treated the memory of any write or read, local or remote, as host memory: its tables say, for example, `remote
/// memory write by ucp_put* from host memory to host` or `remote memory read by ucp_get* into cuda/GPU0 from cuda`.
pub(crate) fn names_host_memory(output: &str) -> bool {
    let tables = output.lines().filter_map(|line| Some(line.split_once("]   | ")?.1));
    let mut operations = tables
        .flat_map(|table| table.split('|').map(str::trim))
        .filter(|cell| matches!(operation(cell), Some(Operation::Write | Operation::Read)));
    operations.any(|operation| operation.split(' ').any(|word| word == "host"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Write,
    Read,
    Other,
}

/// One row of a protocol table.
#[derive(Clone, Debug)]
struct Row {
    first: u64,
    last: u64,
    transports: Vec<String>,
}

#[derive(Default)]
struct Reading {
    /// The last table's operation; `None` if its configuration does not lead to another process.
    operation: Option<Operation>,
    remote: bool,
    write: Vec<Row>,
    read: Vec<Row>,
    /// The last configuration's lanes that could carry a put or a get, and its other ones.
    data_lanes: Vec<String>,
    other_lanes: Vec<String>,
}

impl Reading {
    fn line(&mut self, line: &str) {
        if let Some((_, table)) = line.split_once("]   | ") {
            let cells: Vec<&str> = table.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
            return self.row(&cells);
        }
        self.configuration(line);
    }

    fn configuration(&mut self, line: &str) {
        let Some((before, after)) = line.split_once(" cfg#") else { return };
        if !is_remote(before) {
            return;
        }
        self.data_lanes.clear();
        self.other_lanes.clear();
        for purpose in after.split(')') {
            let Some((name, lanes)) = purpose.split_once('(') else { continue };
            let name = name.rsplit(' ').next().unwrap_or_default();
            let carries = matches!(name, "rma" | "rma_am" | "rma_bw" | "am" | "am_bw");
            let list = if carries { &mut self.data_lanes } else { &mut self.other_lanes };
            list.extend(transports(lanes));
        }
    }

    fn row(&mut self, cells: &[&str]) {
        for cell in cells.iter().copied() {
            if let Some((before, _)) = cell.split_once(" cfg#") {
                self.remote = is_remote(before);
                self.operation = None;
            } else if let Some(operation) = operation(cell) {
                self.operation = self.remote.then_some(operation);
                self.rows().map(Vec::clear);
            }
        }
        let [range, .., config] = cells else { return };
        let Some((first, last)) = bounds(range) else { return };
        let row = Row { first, last, transports: transports(config) };
        if let Some(rows) = self.rows() {
            rows.push(row);
        }
    }

    fn rows(&mut self) -> Option<&mut Vec<Row>> {
        match self.operation {
            Some(Operation::Write) => Some(&mut self.write),
            Some(Operation::Read) => Some(&mut self.read),
            _ => None,
        }
    }

    fn conclude(self, length: u64) -> Statement {
        let mut carriers = Vec::new();
        for row in self.write.iter().chain(&self.read).filter(|row| (row.first..=row.last).contains(&length)) {
            extend(&mut carriers, &row.transports);
        }
        let settled = !carriers.is_empty();
        let kinds = fabrics(if settled { &carriers } else { &self.data_lanes });
        let fabric = if settled || kinds.len() == 1 { Fabrics::of(kinds) } else { None };
        extend(&mut carriers, &self.data_lanes);
        extend(&mut carriers, &self.other_lanes);
        Statement { fabric, transports: carriers }
    }
}

fn is_remote(before: &str) -> bool {
    before.ends_with("intra-node") || before.ends_with("inter-node")
}

fn operation(cell: &str) -> Option<Operation> {
    if cell.starts_with("remote memory write") {
        return Some(Operation::Write);
    }
    if cell.starts_with("remote memory read") {
        return Some(Operation::Read);
    }
    cell.contains(" by ucp_").then_some(Operation::Other)
}

/// `0`, `1..16515`, `16516..inf`: UCX abbreviates powers of two from 1 KiB on as `1K`, `2M`.
fn bounds(cell: &str) -> Option<(u64, u64)> {
    let (first, last) = cell.split_once("..").unwrap_or((cell, cell));
    Some((size(first)?, size(last)?))
}

fn size(text: &str) -> Option<u64> {
    if text == "inf" {
        return Some(u64::MAX);
    }
    let shift = match text.chars().last()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The words of the form TRANSPORT/DEVICE: in `52% on tcp/lo and 48% on tcp/eth0`, both.
fn transports(text: &str) -> Vec<String> {
    let words = text.split([' ', ',', ';']);
    words.filter(|word| is_transport(word)).map(|word| word.trim_end_matches('.').to_string()).collect()
}

fn is_transport(word: &str) -> bool {
    let Some((name, device)) = word.split_once('/') else { return false };
    let is_printable = word.len() <= LONGEST && word.bytes().all(|byte| byte.is_ascii_graphic());
    name.starts_with(|c: char| c.is_ascii_lowercase()) && !device.is_empty() && is_printable
}

fn extend(list: &mut Vec<String>, more: &[String]) {
    for transport in more {
        if !list.contains(transport) {
            list.push(transport.clone());
        }
    }
}

/// The fabrics of these transports, without staging copies if there is anything else.
fn fabrics(transports: &[String]) -> BTreeSet<Fabric> {
    let (staging, carrying): (Vec<&String>, Vec<&String>) =
        transports.iter().partition(|transport| is_staging(transport));
    let counted = if carrying.is_empty() { staging } else { carrying };
    counted.into_iter().map(|transport| fabric(transport)).collect()
}

/// Whether a transport copies between a GPU and its own host, before or after another one carries the bytes to another
/// process.
fn is_staging(transport: &str) -> bool {
    let name = transport.split('/').next().unwrap_or_default();
    ["cuda_copy", "gdr_copy", "rocm_copy"].contains(&name)
}

/// The fabric of a UCX transport; an unknown one keeps its name, which UCX stated.
pub(crate) fn fabric(transport: &str) -> Fabric {
    let (name, device) = transport.split_once('/').unwrap_or((transport, ""));
    let is_verbs =
        |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    match name {
        "srd" => Fabric::Efa,
        "tcp" => Fabric::Tcp,
        "self" | "posix" | "sysv" | "cma" | "knem" | "xpmem" => Fabric::Shm,
        "cuda_ipc" | "rocm_ipc" | "ze_ipc" => Fabric::GpuIpc,
        _ if ["rc", "dc", "ud", "gga"].iter().any(is_verbs) => {
            let is_efa = device.starts_with("rdmap") || device.starts_with("efa");
            if is_efa { Fabric::Efa } else { Fabric::Ib }
        }
        other => Fabric::Other(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UCX 1.23 in NIXL 1.5.0, two processes on one machine.
    const UCX_1_23: &str = "\
[1795394646.359256] [vm:4906 :0]      ucp_worker.c:1997 UCX  INFO    initiator self cfg#0 rma_am(tcp/lo)  amo_am(tcp/lo)  am(tcp/lo cma/memory)  ka(tcp/lo)
[1795394671.971858] [vm:5303 :0]   +--------+-------------+-----------------------------------+
[1795394671.971858] [vm:5303 :0]   | initiator self cfg#0                                     |
[1795394671.971858] [vm:5303 :0]   | remote memory write by ucp_put* from host memory to host |
[1795394671.971858] [vm:5303 :0]   +--------+-------------+-----------------------------------+
[1795394671.971858] [vm:5303 :0]   | Range  | Description |              Config               |
[1795394671.971858] [vm:5303 :0]   +--------+-------------+-----------------------------------+
[1795394671.971858] [vm:5303 :0]   | 0..inf | zero-copy   | self/memory                       |
[1795394671.971858] [vm:5303 :0]   +--------+-------------+-----------------------------------+
[1795394646.467095] [vm:4906 :0]      ucp_worker.c:1997 UCX  INFO    initiator intra-node cfg#1 rma_am(tcp/lo)  amo_am(tcp/lo)  am(tcp/lo cma/memory)  ka(tcp/lo)
[1795394672.058232] [vm:5303 :0]   | initiator intra-node cfg#1                                      |
[1795394672.058232] [vm:5303 :0]   | remote memory write by ucp_put*(multi) from host memory to host |
[1795394672.058232] [vm:5303 :0]   +--------+-------------+------------------------------------------+
[1795394672.058232] [vm:5303 :0]   | Range  | Description |                  Config                  |
[1795394672.058232] [vm:5303 :0]   | 0..inf | zero-copy   | cma/memory                               |
[1795394672.098879] [vm:5303 :0]   | initiator intra-node cfg#1                           |
[1795394672.098879] [vm:5303 :0]   | active message by ucp_am_send*(egr) from host memory |
[1795394672.098879] [vm:5303 :0]   |   Range    |    Description     |       Config       |
[1795394672.098879] [vm:5303 :0]   |          0 | short              | tcp/lo             |
[1795394672.098879] [vm:5303 :0]   |   1..16515 | zero-copy          | tcp/lo             |
[1795394672.098879] [vm:5303 :0]   | 16516..inf | multi-frag copy-in | tcp/lo             |
";

    /// UCX 1.21 in NIXL 1.0.1: configuration and operation share a row.
    const UCX_1_21: &str = "\
[1795394856.234691] [vm:15110:0]      ucp_worker.c:1984 UCX  INFO    ucp_context_0 intra-node cfg#1 rma_am(tcp/lo)  amo_am(tcp/lo)  am(tcp/lo cma/memory)  ka(tcp/lo)
[1795394856.261163] [vm:15110:0]   +--------------------------------+--------------------------------------------------------------------+
[1795394856.261168] [vm:15110:0]   | ucp_context_0 intra-node cfg#1 | remote memory write by ucp_put*(multi) from host memory to host    |
[1795394856.261170] [vm:15110:0]   +--------------------------------+-------------------------------------------------------+------------+
[1795394856.261171] [vm:15110:0]   |                         0..inf | zero-copy                                             | cma/memory |
[1795394856.261173] [vm:15110:0]   +--------------------------------+-------------------------------------------------------+------------+
";

    fn named(fabrics: &str) -> Option<Fabrics> {
        Some(Fabrics::from(fabrics.to_string()))
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(std::string::ToString::to_string).collect()
    }

    #[test]
    fn tables_decide_over_lanes() {
        for output in [UCX_1_23, UCX_1_21] {
            let statement = read(output, 16 << 20);
            assert_eq!(statement.fabric, named("shm"));
            assert_eq!(statement.transports, words(&["cma/memory", "tcp/lo"]));
        }
    }

    #[test]
    fn without_tables_mixed_lanes_settle_nothing() {
        let lanes = UCX_1_23.lines().find(|line| line.contains("INFO    initiator intra-node")).unwrap();
        let statement = read(lanes, 1 << 20);
        assert_eq!(statement.fabric, None);
        assert_eq!(statement.transports, words(&["tcp/lo", "cma/memory"]));
        let one_kind = "[1.0] [h:1 :0]  ucp_worker.c:1 UCX  INFO    a inter-node cfg#1 rma_bw(srd/rdmap0s6:1)  am(srd/rdmap0s6:1) ka(srd/rdmap0s6:1)";
        assert_eq!(read(one_kind, 8).fabric, named("efa"));
    }

    #[test]
    fn the_row_is_the_one_for_the_message_length() {
        let output = "\
[1.0] [h:1 :0]   | a inter-node cfg#2                              |
[1.0] [h:1 :0]   | remote memory write by ucp_put* from host memory to host |
[1.0] [h:1 :0]   |   0..2K | short | rc_mlx5/mlx5_0:1/path0 |
[1.0] [h:1 :0]   | 2049..inf | zero-copy | 52% on tcp/lo and 48% on tcp/eth0 |
";
        assert_eq!(read(output, 8).fabric, named("ib"));
        let large = read(output, 1 << 20);
        assert_eq!(large.fabric, named("tcp"));
        assert_eq!(large.transports, words(&["tcp/lo", "tcp/eth0"]));
    }

    #[test]
    fn a_later_table_replaces_an_earlier_one_and_reads_count_too() {
        let later = UCX_1_23
            .replace("cma/memory                               |", "rc_mlx5/mlx5_1:1                         |");
        let reading = "\
[9.0] [h:1 :0]   | initiator intra-node cfg#1 |
[9.0] [h:1 :0]   | remote memory read by ucp_get*(multi) into host memory from host |
[9.0] [h:1 :0]   | 0..inf | zero-copy | tcp/eth0 |
";
        assert_eq!(read(&format!("{UCX_1_23}{later}"), 8).fabric, named("ib"));
        assert_eq!(read(&format!("{UCX_1_23}{reading}"), 8).fabric, named("shm+tcp"));
    }

    #[test]
    fn without_a_statement_the_fabric_is_unknown() {
        assert_eq!(read("", 8), Statement::default());
        let own = UCX_1_23.lines().take(9).collect::<Vec<_>>().join("\n");
        assert_eq!(read(&own, 8), Statement::default());
    }

    #[test]
    fn staging_copies_do_not_count_as_a_fabric() {
        let table = |config: &str| {
            format!(
                "[1.0] [h:1 :0]   | a intra-node cfg#2 |\n\
                 [1.0] [h:1 :0]   | remote memory write by ucp_put*(multi) from cuda/GPU0 to cuda |\n\
                 [1.0] [h:1 :0]   | 0..inf | zero-copy | {config} |\n"
            )
        };
        for (config, fabric) in [
            ("cuda_ipc/cuda", "gpu-ipc"),
            ("cuda_copy/cuda, then frags over rc_mlx5/mlx5_0:1", "ib"),
            ("gdr_copy/cuda to srd/rdmap0s6:1", "efa"),
            ("cuda_copy/cuda", "cuda_copy"),
        ] {
            let statement = read(&table(config), 1 << 20);
            assert_eq!(statement.fabric, named(fabric), "{config}");
            assert!(config.starts_with(&statement.transports[0]), "{:?}", statement.transports);
            assert!(!names_host_memory(&table(config)));
        }
        assert!(names_host_memory(UCX_1_23) && names_host_memory(UCX_1_21));
        assert!(names_host_memory(&table("tcp/lo").replace("to cuda", "to host")));
        assert!(!names_host_memory("[1.0] [h:1 :0]   | active message by ucp_am_send*(egr) from host memory |"));
    }

    #[test]
    fn transports_have_their_fabric() {
        for (transport, kind) in [
            ("srd/rdmap0s6:1", "efa"),
            ("ud_verbs/rdmap16s27:1", "efa"),
            ("rc_mlx5/mlx5_0:1", "ib"),
            ("dc_mlx5/mlx5_0:1/path0", "ib"),
            ("sysv/memory", "shm"),
            ("cuda_ipc/cuda", "gpu-ipc"),
            ("tcp/ib0", "tcp"),
            ("new_thing/dev0", "new_thing"),
        ] {
            assert_eq!(fabric(transport).name(), kind, "{transport}");
        }
    }
}
