//! What a transfer came to: the verdict, the demanded fabric against the observed one, a failure in words.
#![forbid(unsafe_code)]

pub(crate) mod advice;
pub(crate) mod aftermath;
pub(crate) mod damage;
pub(crate) mod fabric;
pub(crate) mod failure;
pub(crate) mod gpu;
pub(crate) mod last_words;
pub(crate) mod mixture;
pub(crate) mod quantity;
pub(crate) mod rdma;
pub(crate) mod verdict;
