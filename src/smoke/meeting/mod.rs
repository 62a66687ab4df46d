//! How the two sides of a transfer between machines connect, authenticate each other and negotiate.
//!
//! One TCP connection carries everything but the payload. Its order:
//!
//! 1. Both sides send a fixed-size greeting with the protocol's version and a nonce, the connecting side first
//!    ([`handshake`]). Each then proves that it has the token; the token itself never travels. Until a peer is
//!    authenticated, only these fixed-size pieces are read from it.
//! 2. The connecting side offers transfers ([`terms`]); the listening side agrees or refuses with a reason.
//! 3. For each transfer the two supervisors forward their own workers' messages ([`connection`]), and end with one verdict.
//!
//! The connection is authenticated when it is made; it is not encrypted, and later messages are not signed.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `address` | HOST:PORT, parsed and resolved |
//! | `token` | the shared secret and where it comes from |
//! | `handshake` | mutual authentication |
//! | `listen`, `connect` | the two ways to a connection |
//! | `terms` | negotiation of the transfers |
//! | `message`, `verdict`, `wire_failure` | what travels over the connection |
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
pub(crate) mod verdict;
pub(crate) mod wire_failure;
