//! What a transfer came to: the verdict, the demanded fabric against the observed one, a failure in words.
#![forbid(unsafe_code)]

pub mod advice;
pub mod damage;
pub mod fabric;
pub mod failure;
pub mod gpu;
pub mod last_words;
pub mod verdict;
