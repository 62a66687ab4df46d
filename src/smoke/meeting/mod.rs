//! How the two ends of a transfer between machines find each other and agree.
//!
//! One TCP connection carries everything but the payload. Its order:
//!
//! 1. The connecting end says who it is ([`handshake`]): a fixed greeting with the protocol's version and a nonce. The
//!    listening end answers with its own. Each then proves that it has the token, the connecting end first; the token
//!    itself never travels. Until then nothing but these fixed-size pieces is read from a peer, and nothing is done for it.
//! 2. The connecting end offers transfers ([`terms`]); the listening end agrees or says why not.
//! 3. For each transfer the two supervisors pass on what their own workers say ([`connection`]), and end with one verdict.
//!
//! The connection is authenticated at its beginning; it is not encrypted, and what follows is not signed piece by piece.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `address` | HOST:PORT as it is written, and resolved |
//! | `token` | the shared secret and where it comes from |
//! | `handshake` | who is at the other end |
//! | `listen`, `connect` | waiting for the peer, looking for it |
//! | `terms` | what is transferred |
//! | `message`, `verdict`, `told` | what the two ends say to each other |
//! | `connection`, `timed` | messages with a deadline |
//! | `failure` | a transfer that failed before it began |
#![forbid(unsafe_code)]

pub(crate) mod address;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod handshake;
pub(crate) mod listen;
pub(crate) mod message;
pub(crate) mod terms;
pub(crate) mod timed;
pub(crate) mod token;
pub(crate) mod told;
pub(crate) mod verdict;
