//! Who is at the other end: greeting, proof, answer.
//!
//! ```text
//! connecting end                          listening end
//!   greeting, 64 bytes            ──▶
//!                                 ◀──       greeting, 64 bytes
//!   proof, 32 bytes               ──▶
//!                                 ◀──       answer, 1 byte; proof, 32 bytes, where the answer is yes
//! ```
//!
//! A proof is HMAC-SHA256 under the token over a label, which differs by end so that no proof can be sent back, and both
//! greetings, which hold a fresh nonce each. Without a token the key is empty: that proves nothing, and is for the loopback.

use std::fmt;
use std::io::{self, Read, Write};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::token::Token;

/// Version of everything that travels over the control connection. It changes whenever an older program would
/// misunderstand a newer one.
pub(crate) const PROTOCOL: u16 = 2;

const MAGIC: &[u8; 14] = b"nixl-retrofit\n";
/// Magic and protocol: so much is read before anything is believed.
const HEAD: usize = 16;
const GREETING: usize = 64;
const FLAGS: usize = HEAD;
const PROGRAM: std::ops::Range<usize> = HEAD + 1..32;
const NONCE: std::ops::Range<usize> = 32..GREETING;
const PROOF: usize = 32;

/// A flag: this end has a token.
const HAS_TOKEN: u8 = 1;

const ACCEPTED: u8 = 1;
const WRONG_TOKEN: u8 = 2;
const BUSY: u8 = 3;

/// Why the peer is not talked to; «it» is the other end.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The connection failed, or was closed, or time ran out.
    Connection(io::Error),
    /// It is another program: its first bytes.
    Stranger(Vec<u8>),
    /// It speaks another version.
    Version {
        /// Its program's version.
        program: String,
        /// Its protocol.
        protocol: u16,
    },
    /// One end has a token, the other has none: whether it is the peer that has one.
    OneToken(bool),
    /// Its token is another one.
    WrongToken,
    /// It has a peer already.
    Busy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Connection(error) => match error.kind() {
                io::ErrorKind::TimedOut => f.write_str("it said too little for too long"),
                io::ErrorKind::UnexpectedEof => f.write_str("it closed the connection before it had proved anything"),
                _ => write!(f, "the connection failed: {error}"),
            },
            Refusal::Stranger(bytes) => write!(f, "it is no nixl-retrofit: it began with «{}»", bytes.escape_ascii()),
            Refusal::Version { program, protocol } => write!(
                f,
                "it is nixl-retrofit {program} with version {protocol} of the control protocol, and this one is {} with \
                 version {PROTOCOL}",
                env!("CARGO_PKG_VERSION")
            ),
            Refusal::OneToken(true) => f.write_str("it has a token, and this end has none"),
            Refusal::OneToken(false) => f.write_str("it has no token, and this end has one"),
            Refusal::WrongToken => f.write_str("wrong token: the two ends have different ones"),
            Refusal::Busy => f.write_str("it has another peer already"),
        }
    }
}

impl Refusal {
    /// What to do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Refusal::Connection(_) => {
                "See what nixl-retrofit says at the other end, and that nothing between the two (a proxy, a service \
                 mesh) takes the connection for itself."
            }
            Refusal::Stranger(_) => {
                "Another program listens at that address: see that host and port are the same at both ends."
            }
            Refusal::Version { .. } => "Use the same nixl-retrofit at both ends.",
            Refusal::OneToken(_) | Refusal::WrongToken => {
                "Give both ends the same token: --token-file FILE, or the environment variable NIXL_RETROFIT_TOKEN."
            }
            Refusal::Busy => "One pair meets at one address: give each its own port.",
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Connection(error)
    }
}

/// The connecting end; returns the version of the other end's program.
///
/// # Errors
/// Where the other end is not what it should be, or refuses.
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

/// The listening end; `claim` says whether this peer may be the one. Returns the version of the other end's program.
///
/// # Errors
/// Where the other end is not what it should be, or comes too late.
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
        // It may be gone; what is reported is that its proof was wrong.
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

/// A stranger is recognized by its first bytes, without waiting for more.
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
        return Err(Refusal::OneToken(have));
    }
    Ok(())
}

/// The version of the program that sent a greeting, as far as it can be shown.
fn program(greeting: &[u8; GREETING]) -> String {
    greeting[PROGRAM].iter().take_while(|byte| byte.is_ascii_graphic()).map(|&byte| char::from(byte)).collect()
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
        Token::find(None, Some(text.into())).unwrap().0
    }

    /// What the connecting and the listening end come to.
    fn meet(ours: Option<Token>, theirs: Option<Token>) -> (Result<String, Refusal>, Result<String, Refusal>) {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let listener = std::thread::spawn(move || listening(&mut other, theirs.as_ref(), || true));
        let connected = connecting(&mut one, ours.as_ref());
        drop(one);
        (connected, listener.join().unwrap())
    }

    #[test]
    fn ends_with_the_same_token_meet() {
        for text in ["secret", &"x".repeat(4096)] {
            let (connected, listened) = meet(token(text), token(text));
            assert_eq!(connected.unwrap(), env!("CARGO_PKG_VERSION"));
            assert_eq!(listened.unwrap(), env!("CARGO_PKG_VERSION"));
        }
        let (connected, listened) = meet(None, None);
        assert!(connected.is_ok() && listened.is_ok());
    }

    #[test]
    fn ends_with_different_tokens_do_not_and_both_hear_why() {
        let (connected, listened) = meet(token("secret"), token("secreT"));
        assert!(matches!(connected, Err(Refusal::WrongToken)) && matches!(listened, Err(Refusal::WrongToken)));
        let (connected, listened) = meet(token("secret"), None);
        assert!(matches!(connected, Err(Refusal::OneToken(false))) && matches!(listened, Err(Refusal::OneToken(true))));
        let (connected, listened) = meet(None, token("secret"));
        assert!(matches!(connected, Err(Refusal::OneToken(true))) && matches!(listened, Err(Refusal::OneToken(false))));
    }

    /// A peer that gives back what it is sent, and then what it is told to.
    fn forge(answer: impl FnOnce(&mut UnixStream) + Send + 'static) -> Result<String, Refusal> {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let forger = std::thread::spawn(move || answer(&mut other));
        let result = connecting(&mut one, token("secret").as_ref());
        drop(one);
        forger.join().unwrap();
        result
    }

    #[test]
    fn a_listener_that_sends_everything_back_has_proved_nothing() {
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
    fn an_older_proof_is_worth_nothing() {
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
    fn versions_are_named_on_both_ends() {
        let result = forge(|stream| {
            let mut theirs = read_array::<GREETING>(stream).unwrap();
            theirs[HEAD - 2..HEAD].copy_from_slice(&7u16.to_le_bytes());
            theirs[PROGRAM].copy_from_slice(b"9.9.9\0\x1b[2J\0\0\0\0\0");
            stream.write_all(&theirs).unwrap();
        });
        let words = result.unwrap_err().to_string();
        assert!(words.contains("nixl-retrofit 9.9.9 with version 7"), "{words}");
        assert!(words.contains(concat!(env!("CARGO_PKG_VERSION"), " with version 2")), "{words}");
    }

    #[test]
    fn strangers_are_recognized_by_their_first_bytes() {
        let mut wire = io::Cursor::new(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
        let words = listening(&mut wire, None, || true).unwrap_err().to_string();
        assert!(words.contains(r"«GET / HTTP/1.1\r\n»"), "{words}");
        let mut wire = io::Cursor::new(b"nixl".to_vec());
        assert!(matches!(listening(&mut wire, None, || true), Err(Refusal::Connection(_))));
    }

    #[test]
    fn the_second_peer_hears_that_it_is_too_late() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let listener = std::thread::spawn(move || listening(&mut other, None, || false));
        assert!(matches!(connecting(&mut one, None), Err(Refusal::Busy)));
        assert!(matches!(listener.join().unwrap(), Err(Refusal::Busy)));
    }
}
