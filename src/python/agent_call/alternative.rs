//! Agents that are created one way or the other as an environment variable says:
//!
//! ```python
//! if os.environ.get("NIXL_BACKEND") == "LIBFABRIC":
//!     return nixl_agent(name, nixl_agent_config(backends=["LIBFABRIC"]))
//! return nixl_agent(name)
//! ```

use rustc_hash::FxHashMap;

use super::super::bindings::{Bindings, BranchingId, PathId};
use super::super::environment_read::Environment;
use super::super::meaning::Resolver;
use super::shape::{Shape, Site};
use crate::report::file::ChoiceReport;
use crate::source::offset::TextOffset;

/// A choice between branches, one of which gives its agent backends of its own.
#[derive(Clone)]
struct Alternative {
    branching: BranchingId,
    arm: u32,
    leaves: bool,
    end: TextOffset,
    read: ChoiceReport,
}

/// Marks the sites that are such an alternative. `paths` are the branches that they are in.
pub(super) fn mark(
    sites: &mut [Site],
    paths: &[PathId],
    resolver: &mut Resolver<'_, '_>,
    environment: &mut Environment,
) {
    let bindings = resolver.bindings;
    let mut by_branching: FxHashMap<BranchingId, Alternative> = FxHashMap::default();
    for (_, path) in sites.iter().zip(paths).filter(|(site, _)| matches!(site.shape, Shape::Configured(_))) {
        for alternative in around(bindings, *path, resolver, environment) {
            by_branching.entry(alternative.branching).or_insert(alternative);
        }
    }
    if by_branching.is_empty() {
        return;
    }
    let mut by_block: FxHashMap<PathId, Alternative> = FxHashMap::default();
    for alternative in by_branching.values().filter(|alternative| alternative.leaves) {
        let block = bindings.branching(alternative.branching).path;
        let first = by_block.entry(block).or_insert_with(|| alternative.clone());
        if alternative.end < first.end {
            *first = alternative.clone();
        }
    }
    let mut effective: Vec<BranchingId> = Vec::new();
    for (site, path) in sites.iter_mut().zip(paths).filter(|(site, _)| !site.edits.is_empty()) {
        let other = bindings.paths(*path).find_map(|(id, path)| {
            let beside = by_branching.get(&path.branching).filter(|it| it.arm != path.arm);
            let before = by_block.get(&id).filter(|it| it.end <= site.offset);
            beside.or(before)
        });
        if let Some(other) = other {
            effective.push(other.branching);
            site.edits.clear();
            let words = "one of several ways to create the agent".to_string();
            site.shape = Shape::EnvironmentAware(Box::new(other.read.clone()), Some(words));
        }
    }
    for (site, path) in sites.iter_mut().zip(paths).filter(|(site, _)| matches!(site.shape, Shape::Configured(_))) {
        let branchings = bindings.paths(*path).map(|(_, path)| path.branching);
        let alternative = branchings.filter(|it| effective.contains(it)).find_map(|it| by_branching.get(&it));
        if let Some(alternative) = alternative {
            site.shape = Shape::EnvironmentAware(Box::new(alternative.read.clone()), None);
        }
    }
}

/// The branches around a place whose conditions read the environment.
fn around(
    bindings: &Bindings,
    path: PathId,
    resolver: &mut Resolver<'_, '_>,
    environment: &mut Environment,
) -> Vec<Alternative> {
    let mut found = Vec::new();
    for (_, path) in bindings.paths(path) {
        let branching = resolver.bindings.branching(path.branching);
        let read = branching.tests.iter().find_map(|test| environment.read(resolver, test));
        if let Some(read) = read {
            let (arm, leaves, end) = (path.arm, path.leaves, branching.end);
            found.push(Alternative { branching: path.branching, arm, leaves, end, read });
        }
    }
    found
}
