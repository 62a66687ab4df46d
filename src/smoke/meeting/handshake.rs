//! Mutual authentication: greeting, proof, answer.
//!
//! ```text
//! connecting side                         listening side
//!   greeting, 64 bytes            ──▶
//!                                 ◀──       greeting, 64 bytes
//!   proof, 32 bytes               ──▶
//!                                 ◀──       answer, 1 byte; if it is ACCEPTED, proof, 32 bytes
//! ```
//!
//! A greeting is: `nixl-retrofit\n`, the protocol's version (2 bytes, little-endian), flags (1 byte), the program's version
//! (15 bytes, padded with zeros), a fresh nonce (32 bytes). This layout is that of every protocol version, so that each
//! program can name the other's.
//!
//! A proof is HMAC-SHA256 under the token over a label and both greetings. The label differs by side, so that no proof can
//! be sent back. Without a token the key is empty, which proves nothing: that is allowed on the loopback only.

use std::io::{self, Read, Write};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::token::Token;

/// Version of everything that travels over the control connection. It changes whenever an older program would
/// misunderstand a newer one.
pub(crate) const PROTOCOL: u16 = 3;

const MAGIC: &[u8; 14] = b"nixl-retrofit\n";
/// Magic and protocol.
const HEAD: usize = 16;
const GREETING: usize = 64;
const FLAGS: usize = HEAD;
const PROGRAM: std::ops::Range<usize> = HEAD + 1..32;
const NONCE: std::ops::Range<usize> = 32..GREETING;
const PROOF: usize = 32;

/// A flag: this side has a token.
const HAS_TOKEN: u8 = 1;

const ACCEPTED: u8 = 1;
const WRONG_TOKEN: u8 = 2;
const BUSY: u8 = 3;

/// Why a peer is refused; "it" in the messages is the peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The connection failed, was closed, or the time was over.
    #[error("{}", describe_error(.0))]
    Connection(#[from] io::Error),
    /// It is another program: its first bytes.
    #[error("it is not nixl-retrofit: its first bytes are `{}`", .0.escape_ascii())]
    Stranger(Vec<u8>),
    /// It speaks another version of the protocol.
    #[error(
        "it is nixl-retrofit {program} with control protocol {protocol}, this side is nixl-retrofit {own} with control \
         protocol {PROTOCOL}",
        own = env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// Its program's version.
        program: String,
        /// Its protocol.
        protocol: u16,
    },
    /// Only the peer has a token.
    #[error("it has a token, this side has none")]
    NoTokenHere,
    /// Only this side has a token.
    #[error("it has no token, this side has one")]
    NoTokenThere,
    /// Its token is another one.
    #[error("wrong token: the two sides have different ones")]
    WrongToken,
    /// It has a peer already.
    #[error("it already has a peer")]
    Busy,
    /// It gave way to a newer connection.
    #[error("it had not authenticated when many others connected")]
    Crowded,
}

fn describe_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "it did not complete the handshake in time".into(),
        io::ErrorKind::UnexpectedEof => "it closed the connection during the handshake".into(),
        _ => format!("the connection failed: {error}"),
    }
}

impl Refusal {
    /// What to do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Refusal::Connection(_) | Refusal::Crowded => {
                "check what nixl-retrofit says on the other side, and that no proxy or service mesh accepts the connection in \
                 its place"
            }
            Refusal::Stranger(_) => {
                "check that host and port are the same on both sides: another program uses this connection"
            }
            Refusal::Version { .. } => "use the same nixl-retrofit on both sides",
            Refusal::NoTokenHere | Refusal::NoTokenThere | Refusal::WrongToken => {
                "give both sides the same token: `--token-file FILE`, or the environment variable `NIXL_RETROFIT_TOKEN`"
            }
            Refusal::Busy => "give each pair its own port: only one peer can connect to an address",
        }
    }
}

/// The connecting side; returns the version of the peer's program.
///
/// # Errors
/// If the peer is refused, or refuses.
pub(crate) fn connecting(stream: &mut (impl Read + Write), token: Option<&Token>) -> Result<String, Refusal> {
    let ours = greeting(token)?;
    stream.write_all(&ours)?;
    let theirs = read_greeting(stream)?;
    check(&theirs, token)?;
    stream.write_all(&proof(token, b"connecting", &ours, &theirs).finalize().into_bytes())?;
    match read_array::<1>(stream)? {
        [ACCEPTED] => {}
        [BUSY] => return Err(Refusal::Busy),
        _ => return Err(Refusal::WrongToken),
    }
    verify(stream, proof(token, b"listening", &ours, &theirs))?;
    Ok(program(&theirs))
}

/// The listening side; `claim` says, of an authenticated peer, whether it is the first. Returns the version of the peer's
/// program.
///
/// # Errors
/// If the peer is refused.
pub(crate) fn listening(
    stream: &mut (impl Read + Write),
    token: Option<&Token>,
    claim: impl FnOnce() -> bool,
) -> Result<String, Refusal> {
    let theirs = read_greeting(stream)?;
    let ours = greeting(token)?;
    stream.write_all(&ours)?;
    check(&theirs, token)?;
    if let Err(refusal) = verify(stream, proof(token, b"connecting", &theirs, &ours)) {
        // Whether or not it can be told, its proof was wrong.
        let _ = stream.write_all(&[WRONG_TOKEN]);
        return Err(refusal);
    }
    if !claim() {
        stream.write_all(&[BUSY])?;
        return Err(Refusal::Busy);
    }
    let mut answer = vec![ACCEPTED];
    answer.extend(proof(token, b"listening", &theirs, &ours).finalize().into_bytes());
    stream.write_all(&answer)?;
    Ok(program(&theirs))
}

fn greeting(token: Option<&Token>) -> io::Result<[u8; GREETING]> {
    let mut greeting = [0; GREETING];
    greeting[..MAGIC.len()].copy_from_slice(MAGIC);
    greeting[MAGIC.len()..HEAD].copy_from_slice(&PROTOCOL.to_le_bytes());
    greeting[FLAGS] = if token.is_some() { HAS_TOKEN } else { 0 };
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let length = version.len().min(PROGRAM.len());
    greeting[PROGRAM][..length].copy_from_slice(&version[..length]);
    getrandom::fill(&mut greeting[NONCE]).map_err(io::Error::other)?;
    Ok(greeting)
}

/// Recognizes another program by its first bytes, without waiting for more.
fn read_greeting(stream: &mut impl Read) -> Result<[u8; GREETING], Refusal> {
    let head = read_array::<HEAD>(stream)?;
    if head[..MAGIC.len()] != *MAGIC {
        return Err(Refusal::Stranger(head.to_vec()));
    }
    let mut greeting = [0; GREETING];
    greeting[..HEAD].copy_from_slice(&head);
    stream.read_exact(&mut greeting[HEAD..])?;
    Ok(greeting)
}

fn check(theirs: &[u8; GREETING], token: Option<&Token>) -> Result<(), Refusal> {
    let protocol = u16::from_le_bytes([theirs[HEAD - 2], theirs[HEAD - 1]]);
    if protocol != PROTOCOL {
        return Err(Refusal::Version { program: program(theirs), protocol });
    }
    let have = theirs[FLAGS] & HAS_TOKEN != 0;
    if have != token.is_some() {
        return Err(if have { Refusal::NoTokenHere } else { Refusal::NoTokenThere });
    }
    Ok(())
}

/// The version of the program that sent a greeting, up to the first byte that cannot be printed.
fn program(greeting: &[u8; GREETING]) -> String {
    let text: String =
        greeting[PROGRAM].iter().take_while(|byte| byte.is_ascii_graphic()).map(|&byte| char::from(byte)).collect();
    if text.is_empty() { "of an unknown version".into() } else { text }
}

fn proof(token: Option<&Token>, label: &[u8], connecting: &[u8; GREETING], listening: &[u8; GREETING]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(Token::key(token)).expect("HMAC takes a key of any length");
    mac.update(label);
    mac.update(connecting);
    mac.update(listening);
    mac
}

/// Compares in constant time.
fn verify(stream: &mut impl Read, expected: Hmac<Sha256>) -> Result<(), Refusal> {
    let theirs = read_array::<PROOF>(stream)?;
    expected.verify_slice(&theirs).map_err(|_| Refusal::WrongToken)
}

fn read_array<const LENGTH: usize>(stream: &mut impl Read) -> Result<[u8; LENGTH], Refusal> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn token(text: &str) -> Option<Token> {
        Token::find(None, Some(text.into()), std::time::Duration::from_secs(5)).unwrap().0
    }

    /// The results of the connecting and the listening side.
    fn meet(ours: Option<Token>, theirs: Option<Token>) -> (Result<String, Refusal>, Result<String, Refusal>) {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let listener = std::thread::spawn(move || listening(&mut other, theirs.as_ref(), || true));
        let connected = connecting(&mut one, ours.as_ref());
        drop(one);
        (connected, listener.join().unwrap())
    }

    #[test]
    fn the_same_token_authenticates() {
        for text in ["secret", &"x".repeat(4096)] {
            let (connected, listened) = meet(token(text), token(text));
            assert_eq!(connected.unwrap(), env!("CARGO_PKG_VERSION"));
            assert_eq!(listened.unwrap(), env!("CARGO_PKG_VERSION"));
        }
        let (connected, listened) = meet(None, None);
        assert!(connected.is_ok() && listened.is_ok());
    }

    #[test]
    fn different_tokens_are_refused_and_both_sides_are_told() {
        let (connected, listened) = meet(token("secret"), token("secreT"));
        assert!(matches!(connected, Err(Refusal::WrongToken)) && matches!(listened, Err(Refusal::WrongToken)));
        let (connected, listened) = meet(token("secret"), None);
        assert!(matches!(connected, Err(Refusal::NoTokenThere)) && matches!(listened, Err(Refusal::NoTokenHere)));
        let (connected, listened) = meet(None, token("secret"));
        assert!(matches!(connected, Err(Refusal::NoTokenHere)) && matches!(listened, Err(Refusal::NoTokenThere)));
    }

    /// A connecting side whose peer answers like that.
    fn forge(answer: impl FnOnce(&mut UnixStream) + Send + 'static) -> Result<String, Refusal> {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let forger = std::thread::spawn(move || answer(&mut other));
        let result = connecting(&mut one, token("secret").as_ref());
        drop(one);
        forger.join().unwrap();
        result
    }

    #[test]
    fn a_listener_that_echoes_everything_is_refused() {
        let result = forge(|stream| {
            let greeting = read_array::<GREETING>(stream).unwrap();
            stream.write_all(&greeting).unwrap();
            let proof = read_array::<PROOF>(stream).unwrap();
            stream.write_all(&[ACCEPTED]).unwrap();
            stream.write_all(&proof).unwrap();
        });
        assert!(matches!(result, Err(Refusal::WrongToken)), "{result:?}");
    }

    #[test]
    fn a_replayed_proof_is_refused() {
        let key = token("secret");
        let (old, theirs) = (greeting(key.as_ref()).unwrap(), greeting(key.as_ref()).unwrap());
        let proof = proof(key.as_ref(), b"connecting", &old, &theirs).finalize().into_bytes();
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let listener = std::thread::spawn(move || listening(&mut other, token("secret").as_ref(), || true));
        one.write_all(&old).unwrap();
        read_greeting(&mut one).unwrap();
        one.write_all(&proof).unwrap();
        assert_eq!(read_array::<1>(&mut one).unwrap(), [WRONG_TOKEN]);
        assert!(matches!(listener.join().unwrap(), Err(Refusal::WrongToken)));
    }

    #[test]
    fn both_versions_are_named() {
        let result = forge(|stream| {
            let mut theirs = read_array::<GREETING>(stream).unwrap();
            theirs[HEAD - 2..HEAD].copy_from_slice(&7u16.to_le_bytes());
            theirs[PROGRAM].copy_from_slice(b"9.9.9\0\x1b[2J\0\0\0\0\0");
            stream.write_all(&theirs).unwrap();
        });
        let words = result.unwrap_err().to_string();
        assert!(words.contains("it is nixl-retrofit 9.9.9 with control protocol 7"), "{words}");
        assert!(
            words.contains(concat!(
                "this side is nixl-retrofit ",
                env!("CARGO_PKG_VERSION"),
                " with control protocol 3"
            )),
            "{words}"
        );
    }

    #[test]
    fn other_programs_are_recognized_by_their_first_bytes() {
        let mut wire = io::Cursor::new(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
        let words = listening(&mut wire, None, || true).unwrap_err().to_string();
        assert!(words.contains(r"`GET / HTTP/1.1\r\n`"), "{words}");
        let mut wire = io::Cursor::new(b"nixl".to_vec());
        assert!(matches!(listening(&mut wire, None, || true), Err(Refusal::Connection(_))));
    }

    #[test]
    fn a_second_peer_is_told_that_the_listener_has_one() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let listener = std::thread::spawn(move || listening(&mut other, None, || false));
        assert!(matches!(connecting(&mut one, None), Err(Refusal::Busy)));
        assert!(matches!(listener.join().unwrap(), Err(Refusal::Busy)));
    }
}
