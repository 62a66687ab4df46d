//! The secret that both sides share.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shown::Shown;

/// The variable that holds it. There is no option for it: every user of a machine can read command lines.
pub(crate) const TOKEN_VARIABLE: &str = "NIXL_RETROFIT_TOKEN";
/// Longest token, in bytes: a longer one is the wrong file.
const MAX_LENGTH: u64 = 4096;
/// Shortest token, in bytes, that nobody guesses: 128 bits.
const STRONG_LENGTH: usize = 16;

/// The secret. It is never printed, and never sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Vec<u8>);

impl Token {
    /// From `file`, else from the variable's value; `None` without either. Also a warning, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read within `limit`, or the token is empty or too long.
    pub(crate) fn find(
        file: Option<&Path>,
        variable: Option<OsString>,
        limit: Duration,
    ) -> Result<(Option<Token>, Option<String>)> {
        if let Some(path) = file {
            return Token::read(path, limit).map(|(token, warning)| (Some(token), warning));
        }
        let Some(value) = variable else { return Ok((None, None)) };
        let token = Token::new(value.into_vec()).with_context(|| format!("environment variable `{TOKEN_VARIABLE}`"))?;
        Ok((Some(token), None))
    }

    /// What to know of a token that other machines could try to guess.
    pub(crate) fn weakness(&self) -> Option<String> {
        let length = self.0.len();
        (length < STRONG_LENGTH).then(|| {
            format!(
                "the token has only {length} {}, and other machines can try to guess it\nhelp: make one with `openssl rand -hex \
                 32`",
                if length == 1 { "byte" } else { "bytes" }
            )
        })
    }

    fn read(path: &Path, limit: Duration) -> Result<(Token, Option<String>)> {
        let name = || format!("`--token-file {}`", path.shown());
        let (metadata, bytes) = read_within(path, limit).with_context(name)?;
        let token = Token::new(bytes).with_context(name)?;
        let is_open = metadata.is_file() && metadata.permissions().mode() & 0o007 != 0;
        let warning = is_open.then(|| {
            format!(
                "{} is open to every user of this machine, who could then take part\nhelp: run `chmod o= {}`",
                name(),
                path.shown()
            )
        });
        Ok((token, warning))
    }

    /// Without the one newline at the end that editors and `echo` leave.
    fn new(mut bytes: Vec<u8>) -> Result<Token> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            bytes.pop_if(|last| *last == b'\r');
        }
        if bytes.is_empty() {
            bail!("the token is empty\nhelp: make one with `openssl rand -hex 32`");
        }
        if bytes.len() as u64 > MAX_LENGTH {
            bail!("the token has more than {MAX_LENGTH} bytes");
        }
        Ok(Token(bytes))
    }

    /// The key that both sides prove to have; empty without a token.
    pub(crate) fn key(token: Option<&Token>) -> &[u8] {
        token.map_or(&[], |token| &token.0)
    }
}

/// Nobody may ever write to a pipe, so a thread reads, and is left behind if it takes too long.
fn read_within(path: &Path, limit: Duration) -> io::Result<(Metadata, Vec<u8>)> {
    let (sender, answer) = mpsc::channel();
    let path = path.to_path_buf();
    thread::Builder::new().name("smoke-token".into()).spawn(move || {
        // The receiver may have given up.
        let _ = sender.send(read_all(&path));
    })?;
    let no_answer = || io::Error::new(io::ErrorKind::TimedOut, "it cannot be read before the deadline");
    answer.recv_timeout(limit).unwrap_or_else(|_| Err(no_answer()))
}

fn read_all(path: &Path) -> io::Result<(Metadata, Vec<u8>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 2).read_to_end(&mut bytes)?;
    Ok((metadata, bytes))
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn file(bytes: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(Token::find(Some(file(bytes, 0o600).path()), None, LIMIT)?.0.expect("a token").0)
    }

    #[test]
    fn a_newline_at_the_end_is_stripped() {
        for bytes in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(read(bytes.as_bytes()).unwrap(), b"secret");
        }
        assert_eq!(read(b" a\nb \n\n").unwrap(), b" a\nb \n");
        assert_eq!(read(&[0, 255, 10]).unwrap(), [0, 255]);
    }

    #[test]
    fn an_empty_or_a_huge_token_is_refused() {
        for bytes in [&b""[..], b"\n", b"\r\n"] {
            assert!(format!("{:#}", read(bytes).unwrap_err()).contains("empty"));
            let variable = OsString::from_vec(bytes.to_vec());
            let error = format!("{:#}", Token::find(None, Some(variable), LIMIT).unwrap_err());
            assert!(error.contains("empty") && error.contains(TOKEN_VARIABLE), "{error}");
        }
        assert_eq!(read(&[b'x'; 4096]).unwrap().len(), 4096);
        assert!(format!("{:#}", read(&[b'x'; 4097]).unwrap_err()).contains("4096"));
        assert!(read(&vec![b'x'; 1 << 20]).is_err());
        assert!(Token::find(Some(Path::new("/")), None, LIMIT).is_err());
    }

    #[test]
    fn the_file_comes_before_the_variable() {
        let (token, _) = Token::find(Some(file(b"one", 0o600).path()), Some("two".into()), LIMIT).unwrap();
        assert_eq!(token, Some(Token(b"one".to_vec())));
        assert_eq!(Token::find(None, Some("two".into()), LIMIT).unwrap().0, Some(Token(b"two".to_vec())));
        assert_eq!(Token::find(None, None, LIMIT).unwrap(), (None, None));
    }

    #[test]
    fn a_file_open_to_everybody_gets_a_warning() {
        let warning = |mode| Token::find(Some(file(b"one", mode).path()), None, LIMIT).unwrap().1;
        assert!(warning(0o644).unwrap().contains("chmod"));
        assert_eq!((warning(0o600), warning(0o640)), (None, None));
    }

    #[test]
    fn it_is_not_printed() {
        assert!(!format!("{:?}", Token(b"secret".to_vec())).contains("secret"));
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_ends_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("token");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let error = Token::find(Some(&pipe), None, Duration::from_millis(200)).unwrap_err();
        assert!(format!("{error:#}").contains("before the deadline"), "{error:#}");
    }

    #[test]
    fn a_token_that_can_be_guessed_is_weak() {
        assert!(Token(b"secret".to_vec()).weakness().unwrap().contains("only 6 bytes"));
        assert_eq!(Token(vec![b'x'; STRONG_LENGTH]).weakness(), None);
    }
}
