//! What loading any of the libraries has in common.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::error::Error;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

use crate::smoke::wire::cause::Cause;

/// Whether libraries that are loaded later see a library's symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// They do not.
    Local,
    /// They do.
    Global,
}

/// The dynamic loader refused a library, in the words of dlerror(3).
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LoadError(pub(super) String);

/// A library does not export the function with this name.
#[derive(Debug, thiserror::Error)]
#[error("no function `{0}`")]
pub(super) struct MissingFunction(pub(super) String);

impl From<LoadError> for Cause {
    fn from(LoadError(words): LoadError) -> Cause {
        Cause::Loader(words)
    }
}

impl From<MissingFunction> for Cause {
    fn from(MissingFunction(name): MissingFunction) -> Cause {
        Cause::MissingFunction(name)
    }
}

/// Loads a library and binds all its symbols now. Every caller forgets the result, so that the library stays loaded.
pub(super) fn load(path: &Path, scope: Scope) -> Result<Library, LoadError> {
    let flags = match scope {
        Scope::Local => RTLD_NOW | RTLD_LOCAL,
        Scope::Global => RTLD_NOW | RTLD_GLOBAL,
    };
    // SAFETY: the library's initializers run here, in a worker process that exists to contain what they do.
    let library = unsafe { Library::open(Some(path), flags) };
    // libloading keeps the words of dlerror(3) as the error's source.
    library.map_err(|error| LoadError(error.source().map_or_else(|| error.to_string(), ToString::to_string)))
}

/// The file that a library was loaded from: the first mapped one whose name starts with `name`.
pub(super) fn mapped(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let files = maps.lines().filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])));
    let mut matching = files.filter(|file| file.file_name().is_some_and(|own| own.to_string_lossy().starts_with(name)));
    matching.next().map(Path::to_path_buf)
}

/// Declares a table of a library's functions, each with its signature, and `find`, which fills it.
macro_rules! functions {
    ($(#[$top:meta])* $vis:vis $table:ident, $prefix:literal:
     $($(#[$doc:meta])* $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        $(#[$top])*
        $vis struct $table {
            $($(#[$doc])* $vis $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl $table {
            /// Finds every function.
            $vis fn find(
                library: &libloading::os::unix::Library,
            ) -> Result<$table, $crate::smoke::engine::library::MissingFunction> {
                Ok($table {
                    $($name: {
                        let name = concat!($prefix, stringify!($name));
                        // SAFETY: the library's header declares this signature for the name.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>(name)
                        };
                        *symbol.map_err(|_| $crate::smoke::engine::library::MissingFunction(name.into()))?
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
        let Err(LoadError(words)) = load(Path::new("libnixl-retrofit-absent.so.9"), Scope::Local) else { panic!() };
        assert!(words.contains("libnixl-retrofit-absent.so.9"), "{words}");
    }

    #[test]
    fn the_mapped_file_is_found_by_its_name() {
        assert!(mapped("libc.").is_some_and(|file| file.is_absolute()));
        assert_eq!(mapped("libnixl-retrofit-absent"), None);
    }
}
