//! What moves the bytes.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::choice::backend::Backend;
use crate::environment::nixl::NixlInstallation;

/// UCX of the system, by the name that the dynamic loader looks for.
const LIBUCP: &str = "libucp.so.0";
/// libfabric, by the name that the dynamic loader looks for: no NIXL brings it.
const LIBFABRIC: &str = "libfabric.so.1";

/// What a user wants to move the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// The installed NIXL if it has a C API, else native
    Auto,
    /// The installed NIXL, through its C API
    Nixl,
    /// The library below the backend: UCX or libfabric
    Native,
}

/// The library that moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineKind {
    /// The installed NIXL, through its C API.
    Nixl,
    /// UCX itself.
    Ucp,
    /// libfabric itself.
    Libfabric,
}

impl EngineKind {
    /// Its name in a sentence.
    pub(crate) fn name(self) -> &'static str {
        match self {
            EngineKind::Nixl => "NIXL",
            EngineKind::Ucp => "UCX itself",
            EngineKind::Libfabric => "libfabric itself",
        }
    }
}

/// What moves the bytes, once it is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    /// The kind of library.
    pub kind: EngineKind,
    /// The path of the library, or its name for the dynamic loader; `None` if this NIXL lacks the C API.
    pub library: Option<PathBuf>,
}

impl Engine {
    /// Decides, for agents that prefer `backend`.
    ///
    /// `auto` does not fall back to native if the C API is missing from a NIXL that came with one: that is a failure.
    pub(crate) fn decide(choice: EngineChoice, nixl: &NixlInstallation, backend: Backend) -> Engine {
        let uses_nixl = match choice {
            EngineChoice::Nixl => true,
            EngineChoice::Native => false,
            EngineChoice::Auto => nixl.capi.is_some() || nixl.should_have_capi(),
        };
        if uses_nixl {
            return Engine { kind: EngineKind::Nixl, library: nixl.capi.clone() };
        }
        match backend {
            // NIXL's plugin is linked with the bundled one; whether the system's works proves nothing about that.
            Backend::Ucx => {
                Engine { kind: EngineKind::Ucp, library: nixl.bundled("libucp").or_else(|| Some(LIBUCP.into())) }
            }
            Backend::Libfabric => Engine { kind: EngineKind::Libfabric, library: Some(LIBFABRIC.into()) },
        }
    }

    /// Whether the installed NIXL moves the bytes.
    pub(crate) fn is_nixl(&self) -> bool {
        self.kind == EngineKind::Nixl
    }
}
