//! Faults that a worker injects, so that tests can see them caught.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A fault; offsets count from the payload's first byte and wrap around at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The target flips one bit of what was written into it, before it compares.
    Corrupt(u64),
    /// The initiator flips one bit of what it has read, before it compares.
    CorruptRead(u64),
    /// The initiator writes one byte of each message less than it should.
    ShortWrite,
    /// The initiator reads one byte of each message less than it should.
    ShortRead,
    /// The target ends itself with SIGKILL when the transfer begins.
    Kill,
    /// The target calls `exit(1)` when the transfer begins.
    Exit,
    /// The target aborts when the transfer begins.
    Abort,
    /// The target stops doing anything when the transfer begins.
    Hang,
    /// The target writes 100 MB on its standard error, then goes on.
    Flood,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, offset) = match text.split_once(':') {
            Some((name, digits)) => {
                (name, Some(digits.parse::<u64>().map_err(|_| "the offset must be a number of bytes")?))
            }
            None => (text, None),
        };
        match (name, offset) {
            ("corrupt", offset) => Ok(Fault::Corrupt(offset.unwrap_or(0))),
            ("corrupt-read", offset) => Ok(Fault::CorruptRead(offset.unwrap_or(0))),
            ("short-write", None) => Ok(Fault::ShortWrite),
            ("short-read", None) => Ok(Fault::ShortRead),
            ("kill", None) => Ok(Fault::Kill),
            ("exit", None) => Ok(Fault::Exit),
            ("abort", None) => Ok(Fault::Abort),
            ("hang", None) => Ok(Fault::Hang),
            ("flood", None) => Ok(Fault::Flood),
            _ => Err(
                "expected corrupt[:OFFSET], corrupt-read[:OFFSET], short-write, short-read, kill, exit, abort, hang \
                      or flood"
                    .into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_faults_are_refused() {
        assert_eq!("corrupt:17".parse(), Ok(Fault::Corrupt(17)));
        assert_eq!("corrupt-read".parse(), Ok(Fault::CorruptRead(0)));
        for wrong in ["", "corrupt:", "corrupt:-1", "kill:3", "Corrupt", "explode"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
