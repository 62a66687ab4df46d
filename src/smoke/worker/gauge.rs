//! How far a stage has come with the payload, for whoever watches a large one.

use std::time::{Duration, Instant};

use super::link::Link;
use crate::smoke::wire::worker::{FromWorker, Share};

/// How often it is told: a small payload never, and a large one costs nothing by it.
const INTERVAL: Duration = Duration::from_millis(200);

/// Counts the bytes that a stage is done with.
pub(super) struct Gauge {
    share: Share,
    told: Instant,
}

impl Gauge {
    /// Nothing of `size` bytes is done.
    pub(super) fn new(size: u64) -> Gauge {
        Gauge { share: Share { done: 0, of: size }, told: Instant::now() }
    }

    /// That many bytes more are done.
    pub(super) fn add(&mut self, bytes: usize, link: &mut Link) {
        self.share.done += bytes as u64;
        if self.told.elapsed() < INTERVAL {
            return;
        }
        self.told = Instant::now();
        link.send(&FromWorker::Progress(self.share));
    }
}
