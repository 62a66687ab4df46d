//! Files in `/dev/shm` that the processes of a run create.
//!
//! Their names say nothing of their creator: UCX's end in a random number. So each new file is looked for in what the run's
//! processes map or have open. One that died before it was looked at leaves a file that nobody uses: it is removed if it has
//! the name of UCX's segments, which are of no use without their creator. A file that others use, or that was there before, is
//! never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use super::processes;
use crate::smoke::engine::lease::has_no_writer;

/// Where shm_open(3) creates its files.
const FOLDER: &str = "/dev/shm";
/// Room for some events with their names (inotify(7)).
const EVENTS: usize = 16 << 10;
/// How long to look for a file's creator: it maps the file at once, or has died.
const SEARCH: Duration = Duration::from_millis(300);

/// How the names of UCX's segments begin (`uct/sm/mm/posix/mm_posix.c`). It maps each until its end.
const UCX_SEGMENT: &str = "ucx_shm_posix_";

/// The files that appear while a run lasts.
pub(super) struct Watch {
    /// `None` where inotify or the folder is missing.
    events: Option<OwnedFd>,
    /// Created by the run.
    own: BTreeSet<PathBuf>,
    /// Created by somebody whom nobody has seen using them, and when.
    unsure: BTreeMap<PathBuf, Instant>,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn start() -> Watch {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok().filter(|events| {
            inotify::add_watch(events, FOLDER, WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR).is_ok()
        });
        Watch { events, own: BTreeSet::new(), unsure: BTreeMap::new() }
    }

    /// Becomes readable when a file appears.
    pub(super) fn events(&self) -> Option<&OwnedFd> {
        self.events.as_ref()
    }

    /// Whether a file's creator is not known yet.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure.values().any(|since| since.elapsed() < SEARCH)
    }

    /// Takes the files that have appeared, and finds out which ones the run's processes use.
    pub(super) fn look(&mut self, mark: &str) {
        let now = Instant::now();
        self.unsure.extend(self.appeared().into_iter().map(|file| (file, now)));
        self.unsure.retain(|file, _| file.exists());
        if self.unsure.is_empty() {
            return;
        }
        let own: BTreeSet<PathBuf> = processes::marked(mark).into_iter().flat_map(used_by).collect();
        let (found, unsure): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.unsure).into_iter().partition(|(file, _)| own.contains(file));
        self.unsure = unsure;
        self.own.extend(found.into_keys());
        self.forget_what_others_use(mark);
    }

    /// Removes the run's files; returns those that stay, with the reason.
    pub(super) fn remove(&mut self, mark: &str) -> Vec<(String, String)> {
        self.forget_what_others_use(mark);
        let user = rustix::process::geteuid().as_raw();
        let is_ours = |file: &PathBuf| fs::metadata(file).is_ok_and(|metadata| metadata.uid() == user);
        let (segments, unused): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unsure).into_keys().filter(is_ours).partition(|file| is_dead_segment(file));
        let mut left = Vec::new();
        for file in std::mem::take(&mut self.own).into_iter().chain(segments).filter(|file| file.exists()) {
            if let Err(error) = fs::remove_file(&file) {
                left.push((file.display().to_string(), error.to_string()));
            }
        }
        left.extend(unused.into_iter().map(|file| {
            (file.display().to_string(), "it appeared during the run, and no process uses it".to_string())
        }));
        left
    }

    fn appeared(&self) -> Vec<PathBuf> {
        let Some(events) = &self.events else { return Vec::new() };
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS];
        let mut reader = Reader::new(events, &mut buffer);
        let mut files = Vec::new();
        // Ends with EAGAIN once all events are taken.
        while let Ok(event) = reader.next() {
            files.extend(event.file_name().map(|name| Path::new(FOLDER).join(name.to_string_lossy().as_ref())));
        }
        files
    }

    /// A process of the run may have opened a file since it was looked for: its files are not another's.
    fn forget_what_others_use(&mut self, mark: &str) {
        if self.unsure.is_empty() {
            return;
        }
        let used: BTreeSet<PathBuf> = processes::numbers()
            .into_iter()
            .filter(|process| !processes::is_marked(*process, mark))
            .flat_map(used_by)
            .collect();
        self.unsure.retain(|file, _| !used.contains(file));
    }
}

/// Whether this is a segment of UCX without a process, in this PID namespace or another.
fn is_dead_segment(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(UCX_SEGMENT)) && has_no_writer(file)
}

/// The files of the folder that a process maps or has open.
fn used_by(process: i32) -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| line.find(FOLDER).map(|start| PathBuf::from(&line[start..])));
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let open = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    mapped.chain(open.filter(|file| file.starts_with(FOLDER))).collect()
}
