//! The import path of an interpreter that is not started, as its files tell it.
//!
//! Sources: CPython's `Modules/getpath.py` (the prefix is the first folder above the interpreter with its standard
//! library); Python Library Reference, `venv` and `site`; Debian Python Policy, 3.1.1 (dist-packages).

use std::env;
use std::fs;
use std::io::Read;
use std::path::{self, Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::site_packages::{self, ImportFolder};
use crate::environment::variables::Variables;
use crate::shown::Shown;
use crate::source::regular;

/// How a program's file begins.
const ELF: [u8; 4] = *b"\x7fELF";
/// The folders of a prefix that may hold libraries: Fedora's Python has its own in `lib64` (`sys.platlibdir`).
const LIBRARIES: [&str; 2] = ["lib", "lib64"];

/// The import path of the interpreter at `command`, without the standard library.
///
/// # Errors
/// When the files leave it open; the message says what is not known.
pub(crate) fn import_path(command: &Path, variables: &Variables) -> Result<Vec<ImportFolder>> {
    let folders = site_folders(command, variables).map_err(|reason| {
        anyhow!(
            "{}: the import path is not known without starting the interpreter: {reason}\n\
             help: pass the site-packages folder as TARGET, or drop `--no-exec`",
            command.shown()
        )
    })?;
    Ok(site_packages::import_path(folders.iter().map(PathBuf::as_path).filter(|folder| folder.is_dir()), variables))
}

fn site_folders(command: &Path, variables: &Variables) -> Result<Vec<PathBuf>> {
    let executable = path::absolute(command)?;
    let resolved = fs::canonicalize(&executable).ok();
    if let Some(program) = &resolved
        && !is_binary(program)
    {
        bail!("`{}` is no binary program", program.shown());
    }
    let name = resolved.as_deref().and_then(library_name);
    let Some(environment) = VirtualEnvironment::of(&executable) else {
        let folder = folder_of(&executable).ok_or_else(|| anyhow!("`{}` does not exist", executable.shown()))?;
        return Ok(Installation::above(&folder, name.as_slice())?.folders(variables));
    };
    let names: Vec<String> = name.into_iter().chain(environment.library_name()).collect();
    let mut folders = environment.folders(&names)?;
    if environment.has_system_packages {
        folders.extend(environment.installation(&executable, &names)?.folders(variables));
    }
    Ok(folders)
}

/// Whether an interpreter is that of a virtual environment.
pub(crate) fn is_virtual(command: &Path) -> bool {
    path::absolute(command).is_ok_and(|executable| VirtualEnvironment::of(&executable).is_some())
}

/// Whether a file is a program itself. A script, such as a version manager's shim, may start any Python.
fn is_binary(program: &Path) -> bool {
    let mut start = [0; ELF.len()];
    program.is_file()
        && fs::File::open(program).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == ELF
}

/// The name of the library folder of an interpreter called `python3.12`, `python3.13t`, `pypy3.10` or `python3.12-dbg`;
/// None for `python3`.
fn library_name(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    let implementation = ["python", "pypy"].into_iter().find(|implementation| name.starts_with(implementation))?;
    let version = version_of(&name[implementation.len()..])?;
    let rest = &name[implementation.len() + version.len()..];
    let free_threaded = if rest.starts_with('t') { "t" } else { "" };
    Some(format!("{implementation}{version}{free_threaded}"))
}

/// `3.12` of `3.12.1`.
fn version_of(text: &str) -> Option<&str> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(text);
    let minor = digits(text.get(major..)?.strip_prefix('.')?);
    (major > 0 && minor > 0).then(|| &text[..major + 1 + minor])
}

/// A virtual environment, as its `pyvenv.cfg` describes it.
struct VirtualEnvironment {
    folder: PathBuf,
    /// The folder of the interpreter that it was made with.
    home: Option<PathBuf>,
    version: Option<String>,
    has_system_packages: bool,
}

impl VirtualEnvironment {
    /// Python looks beside the executable and in the folder above.
    fn of(executable: &Path) -> Option<VirtualEnvironment> {
        let found = executable.ancestors().skip(1).take(2).find(|folder| folder.join("pyvenv.cfg").is_file())?;
        let text = regular::read(&found.join("pyvenv.cfg")).ok()?;
        let text = String::from_utf8_lossy(&text);
        let pairs = || text.lines().filter_map(|line| line.split_once('='));
        let value = |wanted: &str| {
            pairs().rfind(|(key, _)| key.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
        };
        let is_bin = found.file_name().is_some_and(|name| name == "bin");
        let folder = if is_bin { found.parent()? } else { found };
        Some(VirtualEnvironment {
            folder: folder.to_path_buf(),
            home: value("home").map(PathBuf::from),
            // `version`: Python and virtualenv; `version_info`: virtualenv and uv.
            version: value("version").or_else(|| value("version_info")).and_then(version_of).map(str::to_string),
            // `site` takes a missing key for true.
            has_system_packages: value("include-system-site-packages")
                .is_none_or(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    fn library_name(&self) -> Option<String> {
        Some(format!("python{}", self.version.as_ref()?))
    }

    /// Its own site-packages folders.
    fn folders(&self, names: &[String]) -> Result<Vec<PathBuf>> {
        let in_library = |library: &str, name: &str| self.folder.join(library).join(name).join("site-packages");
        let present = libraries(&self.folder, "site-packages");
        let name = choose(&self.folder, &present, names)?;
        let mut folders: Vec<PathBuf> =
            name.iter().flat_map(|name| LIBRARIES.map(|library| in_library(library, name))).collect();
        // On most systems, `lib64` is a link to `lib`.
        folders.dedup_by_key(|folder| fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone()));
        Ok(folders)
    }

    /// The installation that it was made with. In `home`, the interpreter may be a link to one elsewhere.
    fn installation(&self, executable: &Path, names: &[String]) -> Result<Installation> {
        let home = self.home.as_deref();
        let starts = [
            home.and_then(|home| folder_of(&home.join("python3"))),
            home.and_then(|home| fs::canonicalize(home).ok()),
            folder_of(executable),
        ];
        let mut found = starts.iter().flatten().map(|start| Installation::above(start, names));
        let Some(first) = found.next() else {
            bail!("`{}` names no interpreter that exists", self.folder.join("pyvenv.cfg").shown());
        };
        first.or_else(|reason| found.find_map(Result::ok).ok_or(reason))
    }
}

/// The folder of a program, without links.
fn folder_of(program: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(program).ok()?.parent()?.to_path_buf())
}

/// An installed Python.
struct Installation {
    prefix: PathBuf,
    /// The name of its library folder: `python3.12`.
    name: String,
}

impl Installation {
    /// The first one from the interpreter's folder up: one of these names, or any where there is no name.
    fn above(folder: &Path, names: &[String]) -> Result<Installation> {
        // Python does not search the root folder, whose `lib` may be a link to that of another prefix.
        for prefix in folder.ancestors().filter(|prefix| prefix.parent().is_some()) {
            let mut present = libraries(prefix, "os.py");
            present.retain(|name| names.is_empty() || names.contains(name));
            if let Some(name) = choose(prefix, &present, names)? {
                return Ok(Installation { prefix: prefix.to_path_buf(), name: name.to_string() });
            }
        }
        let name = names.first().map_or("python3.*", String::as_str);
        bail!("no folder above `{}` has its standard library (`lib/{name}/os.py`)", folder.shown())
    }

    /// What its `site` adds, some of it missing.
    fn folders(&self, variables: &Variables) -> Vec<PathBuf> {
        let Installation { prefix, name } = self;
        let user = user_base(variables).map(|base| base.join("lib").join(name).join("site-packages"));
        let debian = prefix.join("lib/python3/dist-packages");
        let own = if debian.is_dir() {
            let dist_packages = |library: &str| prefix.join(library).join(name).join("dist-packages");
            vec![dist_packages("local/lib"), debian, dist_packages("lib")]
        } else {
            let is_lib64 = prefix.join("lib64").join(name).join("os.py").is_file();
            let searched = if is_lib64 { ["lib64", "lib"] } else { ["lib", "lib"] };
            searched.map(|library| prefix.join(library).join(name).join("site-packages")).to_vec()
        };
        user.into_iter().chain(own).collect()
    }
}

/// The user's own packages, as `site.getuserbase` finds them; None where they are disabled.
fn user_base(variables: &Variables) -> Option<PathBuf> {
    if variables.non_empty("PYTHONNOUSERSITE").is_some() {
        return None;
    }
    let home = || Some(variables.non_empty("HOME").map(PathBuf::from).or_else(env::home_dir)?.join(".local"));
    variables.non_empty("PYTHONUSERBASE").map(PathBuf::from).or_else(home)
}

/// The names of the library folders of a prefix which contain `entry`, sorted.
fn libraries(prefix: &Path, entry: &str) -> Vec<String> {
    let folders = LIBRARIES.iter().filter_map(|library| fs::read_dir(prefix.join(library)).ok()).flatten().flatten();
    let mut names: Vec<String> = folders
        .filter(|folder| folder.path().join(entry).exists())
        .filter_map(|folder| library_name(&folder.path()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The first of `names` that is present; where there is no name, the only one that is.
fn choose<'a>(prefix: &Path, present: &'a [String], names: &[String]) -> Result<Option<&'a str>> {
    if !names.is_empty() {
        let chosen = names.iter().find_map(|name| present.iter().find(|present| *present == name));
        return Ok(chosen.map(String::as_str));
    }
    match present {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => {
            let several: Vec<String> = several.iter().map(|name| format!("`{name}`")).collect();
            bail!("`{}` has {}", prefix.shown(), several.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_has_the_interpreters_name() {
        for (name, library) in [
            ("python3.12", Some("python3.12")),
            ("python3.6m", Some("python3.6")),
            ("python3.13t", Some("python3.13t")),
            ("python3.12-dbg", Some("python3.12")),
            ("pypy3.10", Some("pypy3.10")),
            ("python3", None),
            ("python", None),
            ("python3.", None),
            ("perl5.36", None),
        ] {
            assert_eq!(library_name(Path::new(name)).as_deref(), library, "{name}");
        }
    }
}
