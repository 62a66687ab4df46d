//! What loading any of the libraries has in common.
#![allow(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

use crate::smoke::wire::cause::Cause;

/// Whose symbols a library's own libraries may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those that it names as needed.
    Local,
    /// Its own, for everything that is loaded later.
    Global,
}

/// Loads a library, all symbols now. It stays loaded when the result is forgotten, which every caller does.
pub(super) fn load(path: &Path, scope: Scope) -> Result<Library, Cause> {
    let flags = match scope {
        Scope::Local => RTLD_NOW | RTLD_LOCAL,
        Scope::Global => RTLD_NOW | RTLD_GLOBAL,
    };
    // SAFETY: initializers of the library run here; this is a worker process, made to be lost.
    let library = unsafe { Library::open(Some(path), flags) };
    library.map_err(|error| Cause::Loader(words(&error)))
}

/// What dlerror(3) said, which libloading keeps as the error's source.
pub(super) fn words(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The file that a library was loaded from: the first mapped one whose name begins so.
pub(super) fn mapped(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let files = maps.lines().filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])));
    let mut ours = files.filter(|file| file.file_name().is_some_and(|own| own.to_string_lossy().starts_with(name)));
    ours.next().map(Path::to_path_buf)
}

/// Declares the functions of a library that are called here, each with its signature, and how they are found.
macro_rules! functions {
    ($(#[$top:meta])* $table:ident, $prefix:literal:
     $($(#[$doc:meta])* $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        $(#[$top])*
        struct $table {
            $($(#[$doc])* $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl $table {
            fn find(library: &libloading::os::unix::Library) -> Result<$table, Cause> {
                Ok($table {
                    $($name: {
                        let name = concat!($prefix, stringify!($name));
                        // SAFETY: this is the signature that the library's header declares for the name.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>(name)
                        };
                        *symbol.map_err(|_| Cause::MissingFunction(name.into()))?
                    },)*
                })
            }
        }
    };
}
pub(super) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_are_passed_on() {
        let Err(Cause::Loader(words)) = load(Path::new("libnixl-retrofit-absent.so.9"), Scope::Local) else { panic!() };
        assert!(words.contains("libnixl-retrofit-absent.so.9"), "{words}");
    }

    #[test]
    fn the_mapped_file_is_found_by_its_name() {
        assert!(mapped("libc.").is_some_and(|file| file.is_absolute()));
        assert_eq!(mapped("libnixl-retrofit-absent"), None);
    }
}
