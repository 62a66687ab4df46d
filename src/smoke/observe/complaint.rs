//! What UCX was asked for and does not have: it warns, and goes on with what is left.
//!
//! ```text
//! … ucp_context.c:1508 UCX  WARN  transport 'rc' is not available, please use one or more of: cma, mm, posix, self, tcp
//! … ucp_context.c:1508 UCX  WARN  network devices 'mlx5_0:1','mlx5_1:1' are not available, please use one or more of: 'eth0'(tcp)
//! … parser.c:2578 UCX  WARN  unused environment variables: UCX_TSL (maybe: UCX_TLS?); UCX_IB_SL
//! ```

use super::printable;

/// Longest text that is quoted, in characters.
const QUOTED: usize = 300;

/// One warning of UCX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// Names that were asked for and are not there.
    Unavailable {
        /// What they name, in UCX's words: `transport`, `network device`.
        kind: String,
        /// The names.
        names: Vec<String>,
        /// What UCX offers instead, in its words.
        offered: Option<String>,
    },
    /// Variables that nothing in this process reads, each with UCX's guess, `UCX_TSL (maybe: UCX_TLS?)`.
    Unused(Vec<String>),
}

/// The complaint in a line of output.
pub(crate) fn read(line: &[u8]) -> Option<Complaint> {
    let at = memchr::memmem::find(line, b" UCX  WARN ")?;
    let text = printable(&String::from_utf8_lossy(&line[at + 11..]), 4096);
    let text = text.trim();
    unused(text).or_else(|| unavailable(text))
}

fn unavailable(text: &str) -> Option<Complaint> {
    let (kind, rest) = text.split_once(" '")?;
    let (names, rest) = rest.split_once("' is not available").or_else(|| rest.split_once("' are not available"))?;
    let is_kind = kind.ends_with("transport") || kind.ends_with("device") || kind.ends_with('s');
    let offered = rest.split_once(" one or more of: ").map(|(_, offered)| cut(offered));
    is_kind.then(|| Complaint::Unavailable {
        kind: kind.trim_end_matches('s').into(),
        names: names.split("','").map(cut).collect(),
        offered,
    })
}

fn unused(text: &str) -> Option<Complaint> {
    let (head, list) = text.split_once(": ")?;
    let is_list = head == "unused environment variable" || head == "unused environment variables";
    is_list.then(|| Complaint::Unused(list.split("; ").map(cut).collect()))
}

fn cut(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> Option<Complaint> {
        read(format!("[1795719993.950672] [vm:3551 :0]     ucp_context.c:1508 UCX  WARN  {text}\n").as_bytes())
    }

    fn unavailable(kind: &str, names: &[&str], offered: Option<&str>) -> Option<Complaint> {
        let names = names.iter().map(std::string::ToString::to_string).collect();
        Some(Complaint::Unavailable { kind: kind.into(), names, offered: offered.map(String::from) })
    }

    /// As UCX 1.21 and 1.23 print them.
    #[test]
    fn real_warnings_are_read() {
        assert_eq!(
            complaint("transport 'rc' is not available, please use one or more of: cma, self, tcp"),
            unavailable("transport", &["rc"], Some("cma, self, tcp"))
        );
        assert_eq!(
            complaint("transports 'rc','ud' are not available, please use one or more of: tcp"),
            unavailable("transport", &["rc", "ud"], Some("tcp"))
        );
        assert_eq!(
            complaint("network device 'mlx5_0:1' is not available, please use one or more of: 'eth0'(tcp), 'lo'(tcp)"),
            unavailable("network device", &["mlx5_0:1"], Some("'eth0'(tcp), 'lo'(tcp)"))
        );
        assert_eq!(
            complaint("unused environment variable: UCX_TSL (maybe: UCX_TLS?)"),
            Some(Complaint::Unused(vec!["UCX_TSL (maybe: UCX_TLS?)".into()]))
        );
        assert_eq!(
            complaint("unused environment variables: UCX_A; UCX_B (maybe: UCX_C?)"),
            Some(Complaint::Unused(vec!["UCX_A".into(), "UCX_B (maybe: UCX_C?)".into()]))
        );
    }

    #[test]
    fn other_lines_are_none() {
        assert_eq!(complaint("(set UCX_WARN_UNUSED_ENV_VARS=n to suppress this warning)"), None);
        assert_eq!(complaint("failed to open 'x': it is not available"), None);
        assert_eq!(read(b"UCX  INFO  transport 'rc' is not available"), None);
    }

    #[test]
    fn a_name_cannot_drive_a_terminal() {
        assert_eq!(complaint("transport 'r\x1b[2Jc' is not available"), unavailable("transport", &["r[2Jc"], None));
    }
}
