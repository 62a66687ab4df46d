//! Which distribution installed a file, for many files at once.

use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use crate::environment::python::distribution;
use crate::report::audit::{Audit, Creates, Group, Place, PlaceChoice, Summary};
use crate::source::regular::is_same_file;

/// A file with places.
pub(super) struct Found {
    /// The folder that was audited.
    pub(super) root: PathBuf,
    pub(super) path: PathBuf,
    pub(super) places: Vec<PlaceChoice>,
}

/// What the places of a report are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Owner {
    /// Name and version of the distribution.
    distribution: Option<(String, String)>,
    folder: PathBuf,
}

/// Adds the places to the report, by distribution, path and line.
pub(super) fn group(mut found: Vec<Found>, audit: &mut Audit) {
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found.dedup_by(|one, other| is_same_file(&one.path, &other.path));
    let owners = owners(&found);
    let mut order: Vec<(Owner, Found)> = owners.into_iter().zip(found).collect();
    order.sort_by(|(one, a), (other, b)| (one, &a.path).cmp(&(other, &b.path)));
    let mut last: Option<Owner> = None;
    for (owner, found) in order {
        if last.as_ref() != Some(&owner) {
            let (distribution, distribution_version) = owner.distribution.clone().unzip();
            let folder = owner.folder.clone();
            audit.groups.push(Group { distribution, distribution_version, folder, summary: Summary::default() });
            last = Some(owner);
        }
        let number = audit.groups.len() - 1;
        let Some(group) = audit.groups.last_mut() else { continue };
        for choice in found.places {
            if choice.creates != Creates::Configuration {
                audit.summary.add(choice.class);
                group.summary.add(choice.class);
            }
            audit.places.push(Place {
                group: number,
                distribution: group.distribution.clone(),
                distribution_version: group.distribution_version.clone(),
                path: found.path.clone(),
                choice,
            });
        }
    }
}

/// Whose each file is: that of the distribution whose RECORD lists it, or the folder below the root.
fn owners(found: &[Found]) -> Vec<Owner> {
    let mut by_site: FxHashMap<PathBuf, Vec<usize>> = FxHashMap::default();
    let mut known: FxHashMap<&Path, bool> = FxHashMap::default();
    for (number, found) in found.iter().enumerate() {
        // A folder that cannot be listed is taken for none: nothing in it would be known.
        let is_site = |folder: &Path| distribution::has_any(folder).unwrap_or(false);
        let mut folders = found.path.ancestors().skip(1);
        if let Some(site) = folders.find(|folder| *known.entry(folder).or_insert_with(|| is_site(folder))) {
            by_site.entry(site.to_path_buf()).or_default().push(number);
        }
    }
    let mut owners: Vec<Owner> = found.iter().map(folder_of).collect();
    for (site, numbers) in by_site {
        let files: Vec<&Path> = numbers.iter().map(|number| found[*number].path.as_path()).collect();
        for (number, identity) in numbers.iter().zip(distribution::identities(&site, &files)) {
            if let Some(identity) = identity {
                owners[*number] = Owner { distribution: Some(identity), folder: site.clone() };
            }
        }
    }
    owners
}

/// The folder below the root that a file lies in.
fn folder_of(found: &Found) -> Owner {
    let below = found.path.strip_prefix(&found.root).unwrap_or(&found.path);
    let mut parts = below.components();
    let folder = match (parts.next(), parts.next()) {
        (Some(first), Some(_)) => found.root.join(first),
        _ => found.root.clone(),
    };
    Owner { distribution: None, folder }
}
