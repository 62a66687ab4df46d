//! Whether the versions of NIXL that distributions ask for are the installed ones.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use crate::advice::pins;
use crate::environment::python::distribution;
use crate::report::finding::Finding;

/// Those that ask for a NIXL.
const ASKING: [&str; 7] = ["ai-dynamo", "ai-dynamo-runtime", "vllm", "sglang", "lmcache", "tensorrt-llm", "nixl"];
/// NIXL's distributions.
const NIXL: [&str; 3] = ["nixl", "nixl-cu12", "nixl-cu13"];

/// A finding for each pin that does not hold. One of an extra that nobody knows to be chosen counts too: a NIXL that is
/// installed has to fit it.
pub(super) fn unsatisfied(import_path: &[PathBuf]) -> Vec<Finding> {
    let installed = |name: &str| import_path.iter().find_map(|site| distribution::version_of(site, name));
    let mut findings = Vec::new();
    for site in import_path {
        for asking in ASKING {
            for pin in distribution::requirements(site, asking).iter().filter_map(|text| Pin::parse(text)) {
                let Some(version) = installed(pin.name) else { continue };
                if !pin.is_satisfied(&version) {
                    findings.push(finding(site, asking, &pin, &version));
                }
            }
        }
    }
    findings.dedup();
    findings
}

fn finding(site: &Path, asking: &str, pin: &Pin, version: &str) -> Finding {
    let asking = format!("{asking} {}", distribution::version_of(site, asking).unwrap_or_default());
    pins::unsatisfied(&asking, pin.name, pin.specifiers, version)
}

/// `nixl[cu12] (<=0.7.0) ; extra == "vllm"`, in parts.
#[derive(Debug, PartialEq, Eq)]
struct Pin<'a> {
    name: &'a str,
    specifiers: &'a str,
}

impl<'a> Pin<'a> {
    /// A pin of one of NIXL's distributions.
    fn parse(text: &'a str) -> Option<Pin<'a>> {
        let requirement = text.split(';').next()?.trim();
        let end =
            requirement.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(requirement.len());
        let name = NIXL.into_iter().find(|name| name.eq_ignore_ascii_case(&requirement[..end].replace('_', "-")))?;
        let rest = requirement[end..].trim();
        let rest =
            rest.strip_prefix('[').map_or(rest, |extras| extras.split_once(']').map_or("", |(_, rest)| rest.trim()));
        let specifiers = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest).trim();
        Some(Pin { name, specifiers })
    }

    /// What cannot be read is no reason to warn.
    fn is_satisfied(&self, version: &str) -> bool {
        match (VersionSpecifiers::from_str(self.specifiers), Version::from_str(version)) {
            (Ok(specifiers), Ok(version)) => specifiers.contains(&version),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_in_every_spelling() {
        for text in ["nixl<=0.7.0", "nixl (<=0.7.0)", "nixl[cu12]<=0.7.0 ; extra == \"vllm\"", "nixl [cu12] (<=0.7.0)"]
        {
            assert_eq!(Pin::parse(text), Some(Pin { name: "nixl", specifiers: "<=0.7.0" }), "{text}");
        }
        assert_eq!(Pin::parse("nixl_cu13==1.5.0").unwrap().name, "nixl-cu13");
        assert_eq!(Pin::parse("nixl").unwrap().specifiers, "");
        assert_eq!(Pin::parse("nixlbench==1"), None);
    }

    #[test]
    fn a_pin_holds_or_not() {
        let pin = Pin { name: "nixl", specifiers: ">=1.0,<1.1.0" };
        assert!(pin.is_satisfied("1.0.1") && !pin.is_satisfied("1.5.0"));
        assert!(pin.is_satisfied("not a version") && Pin { name: "nixl", specifiers: "?" }.is_satisfied("1.0"));
    }
}
