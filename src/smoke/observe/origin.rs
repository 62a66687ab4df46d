//! Which process a line of log is from.
//!
//! Whatever a worker starts writes to the same stream, and a library may repeat another's text. UCX begins its lines with time,
//! host and process, NIXL (through Abseil) with level and date, time and thread:
//!
//! ```text
//! [1795394646.467095] [vm:4906 :0]  ucp_worker.c:1997 UCX  INFO    …
//! I1123 01:56:37.933061   13106 libfabric_topology.cpp:144] …
//! ```

/// The process whose lines count.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    host: String,
    process: u32,
}

impl Origin {
    /// A process of this machine.
    pub(crate) fn of(process: u32) -> Origin {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // `ucs_get_host_name` of UCX's sys.c cuts the name at its first dot.
        let host = name.split('.').next().unwrap_or_default().to_string();
        Origin { host, process }
    }

    /// Whether UCX or NIXL wrote this line in that process; NIXL, in its main thread, which creates the backends.
    pub(crate) fn wrote(&self, line: &[u8]) -> bool {
        // Names, numbers and punctuation: the rest of the line may be anything.
        let begin = String::from_utf8_lossy(&line[..line.len().min(320)]);
        self.is_ucx(&begin) || self.is_nixl(&begin)
    }

    fn is_ucx(&self, line: &str) -> bool {
        let process = || {
            let (time, rest) = line.strip_prefix('[')?.split_once("] [")?;
            let is_time = time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let rest = rest.strip_prefix(self.host.as_str()).filter(|_| is_time)?;
            let (process, thread) = rest.strip_prefix(':')?.split_once(':')?;
            thread.contains(']').then(|| process.trim_end().parse::<u32>().ok())?
        };
        process() == Some(self.process)
    }

    fn is_nixl(&self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace();
        let level = words.next().and_then(|word| word.strip_prefix(['I', 'W', 'E', 'F']));
        let is_date = level.is_some_and(|date| date.len() == 4 && date.bytes().all(|byte| byte.is_ascii_digit()));
        let thread = words.nth(1).and_then(|word| word.parse::<u32>().ok());
        is_date && thread == Some(self.process)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A process of the host `vm`.
    pub(crate) fn origin(process: u32) -> Origin {
        Origin { host: "vm".into(), process }
    }

    #[test]
    fn lines_of_other_processes_do_not_count() {
        let ours = origin(4906);
        for line in [
            "[1795394646.467095] [vm:4906 :0]  ucp_worker.c:1997 UCX  INFO    initiator intra-node cfg#1",
            "[1795394856.261163] [vm:4906:0]   | initiator intra-node cfg#1",
            "[1795394856.261163] [vm:4906 :async]   | x",
            "I1123 01:56:37.933061    4906 libfabric_topology.cpp:144] Discovered 1 tcp devices (TCP fallback)",
        ] {
            assert!(ours.wrote(line.as_bytes()), "{line}");
        }
        for line in [
            "[1795394646.467095] [vm:4907 :0]  ucp_worker.c:1997 UCX  INFO    initiator intra-node cfg#1",
            "[1795394646.467095] [other:4906 :0]  ucp_worker.c:1997 UCX  INFO    initiator intra-node cfg#1",
            "[1795394646.467095] [vm:49060 :0]   | x",
            "look: [1795394646.467095] [vm:4906 :0]   | x",
            "I1123 01:56:37.933061   4907 libfabric_topology.cpp:144] Discovered 2 EFA devices",
            "] Discovered 2 EFA devices",
            "  | initiator inter-node cfg#1 rma_bw(srd/rdmap0s6:1)",
            "",
        ] {
            assert!(!ours.wrote(line.as_bytes()), "{line}");
        }
    }
}
