//! The installed NIXL as an engine: one agent with its side's backends.
#![forbid(unsafe_code)]

use super::interface::{Engine, Place, Transfer};
use super::libfabric;
use super::loaded;
use super::nixl_capi::{Agent, NixlLibrary, Peer, Request};
use super::plugin;
use super::region::Region;
use crate::choice::backend::Backend;
use crate::report::stage::Stage;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::blob::Blob;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::{Stated, Task, TaskBackend};

/// An agent, and the other side's once its metadata is loaded.
struct Nixl {
    agent: Agent,
    peer: Option<Peer>,
}

/// Loads libnixl_capi.so and creates an agent with the task's backends.
pub(super) fn open(task: &Task, enter: &mut dyn FnMut(Stage)) -> Result<Box<dyn Engine>, Cause> {
    enter(Stage::Load);
    let library = NixlLibrary::load(&task.library.path())?;
    enter(Stage::Agent);
    let mut agent = library.create_agent(task.role.name())?;
    enter(Stage::Backend);
    for backend in &task.backends {
        agent.create_backend(&backend.name).map_err(|cause| explain_backend(&agent, backend, cause))?;
    }
    Ok(Box::new(Nixl { agent, peer: None }))
}

/// NIXL says little about a backend that it cannot create: adds the plugins that it lists, and the dynamic loader's words.
fn explain_backend(agent: &Agent, backend: &TaskBackend, cause: Cause) -> Cause {
    let Cause::Call { function, status } = cause else { return cause };
    let file = backend.plugin.as_ref().map(Blob::path).filter(|file| file.exists());
    Cause::Backend {
        name: backend.name.clone(),
        function: function.into(),
        status,
        offered: agent.plugins().unwrap_or_default(),
        loader: file.and_then(|file| plugin::refusal(&file)),
        providers: if backend.name == Backend::Libfabric.name() { libfabric::offered().into() } else { Box::default() },
    }
}

impl Engine for Nixl {
    fn register(&mut self, region: &Region) -> Result<(), Cause> {
        self.agent.register(region)
    }

    fn metadata(&self) -> Result<Vec<u8>, Cause> {
        self.agent.metadata()
    }

    fn load_peer(&mut self, metadata: &[u8]) -> Result<(), Cause> {
        self.peer = Some(self.agent.load_peer(metadata)?);
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        operation: Operation,
        place: Place,
        notification: Option<&[u8]>,
    ) -> Result<Box<dyn Transfer + 'a>, Cause> {
        let peer = self.peer.as_ref().ok_or_else(|| Cause::Protocol("the peer's metadata is not loaded".into()))?;
        Ok(Box::new(self.agent.prepare(operation, peer, place, notification)?))
    }

    fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause> {
        self.agent.notifications()
    }

    /// NIXL's C API creates agents with a progress thread (wrapper.h).
    fn has_progress_thread(&self) -> bool {
        true
    }

    /// Its plugins are loaded by now, and they have loaded UCX or libfabric.
    fn stated(&self) -> Option<Stated> {
        Some(Stated { loaded: loaded::libraries(), ..Stated::default() })
    }
}

impl Transfer for Request<'_> {
    fn post(&mut self) -> Result<bool, Cause> {
        Request::post(self)
    }

    fn is_complete(&mut self) -> Result<bool, Cause> {
        Request::is_complete(self)
    }

    fn backend(&self) -> Result<Option<String>, Cause> {
        Request::backend(self)
    }

    fn release(self: Box<Self>) -> Result<(), Cause> {
        Request::release(*self)
    }
}
