//! NIXL's configuration file, which from 1.3 on is read when an agent is created.
//!
//! `NIXL_CONFIG_FILE` names it; else it is `$HOME/.nixl.cfg` or `/etc/nixl.cfg`, whichever is there first. Creating an agent
//! fails where it cannot be read or is no TOML, and the C API then says no more than -2 (measured with 1.5.0).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::variables::Variables;

/// The variable that names the file.
pub(crate) const VARIABLE: &str = "NIXL_CONFIG_FILE";
/// For all users.
const OF_ALL: &str = "/etc/nixl.cfg";

/// A configuration file that keeps NIXL from creating an agent.
#[derive(Debug)]
pub(crate) struct BadConfiguration {
    /// The file.
    pub path: PathBuf,
    /// Whether the variable names it.
    pub is_named: bool,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It cannot be read, or not even looked for.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is no TOML.
    #[error("is no TOML: {0}")]
    NoToml(String),
}

/// What is wrong with the file that NIXL reads under these variables; None where nothing is.
pub(crate) fn fault(variables: &Variables) -> Option<BadConfiguration> {
    if let Some(path) = variables.non_empty(VARIABLE).map(PathBuf::from) {
        return fault_of(&path).map(|fault| BadConfiguration { path, is_named: true, fault });
    }
    for path in usual(variables) {
        match path.try_exists() {
            Ok(false) => {}
            Ok(true) => return fault_of(&path).map(|fault| BadConfiguration { path, is_named: false, fault }),
            // NIXL takes a folder that is none for one without the file.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Some(BadConfiguration { path, is_named: false, fault: Fault::Unreadable(error) }),
        }
    }
    None
}

/// The file that NIXL reads under these variables.
pub(crate) fn file(variables: &Variables) -> Option<PathBuf> {
    let named = variables.non_empty(VARIABLE).map(PathBuf::from);
    named.or_else(|| usual(variables).find(|path| path.exists()))
}

/// Where it is looked for without the variable, in order.
fn usual(variables: &Variables) -> impl Iterator<Item = PathBuf> {
    let own = variables.non_empty("HOME").map(|home| Path::new(home).join(".nixl.cfg"));
    own.into_iter().chain([PathBuf::from(OF_ALL)])
}

fn fault_of(path: &Path) -> Option<Fault> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return Some(Fault::Unreadable(error)),
    };
    let error = text.parse::<toml::Table>().err()?;
    Some(Fault::NoToml(error.message().lines().next().unwrap_or_default().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_nixl_reads_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        let home = |extra: &[(&str, &Path)]| {
            let own = [("HOME", folder.path())];
            fault(&Variables::from_iter(own.iter().chain(extra).map(|(name, value)| (*name, value.as_os_str()))))
        };
        assert!(home(&[]).is_none());
        let file = folder.path().join(".nixl.cfg");
        fs::write(&file, "[agent]\nx = 1\n").unwrap();
        assert!(home(&[]).is_none());
        fs::write(&file, "no toml [").unwrap();
        let found = home(&[]).unwrap();
        assert!(matches!(found.fault, Fault::NoToml(_)) && found.path == file && !found.is_named);
        let absent = folder.path().join("absent.cfg");
        let found = home(&[(VARIABLE, &absent)]).unwrap();
        assert!(matches!(found.fault, Fault::Unreadable(_)) && found.path == absent && found.is_named);
    }
}
