//! The memory that the payload is in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The memory that the payload is in, on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// The host's.
    #[default]
    Dram,
    /// The GPU's with this number, in the CUDA driver's order.
    Vram(u16),
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Memory::Dram => f.write_str("dram"),
            Memory::Vram(device) => write!(f, "vram:{device}"),
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = || String::from("expected `dram`, `vram` (GPU 0) or `vram:N`");
        match text.split_once(':') {
            None if text == "dram" => Ok(Memory::Dram),
            None if text == "vram" => Ok(Memory::Vram(0)),
            // parse() alone would accept a sign.
            Some(("vram", digits)) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().map(Memory::Vram).map_err(|_| hint())
            }
            _ => Err(hint()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_number() {
        for (text, memory) in [("dram", Memory::Dram), ("vram", Memory::Vram(0)), ("vram:7", Memory::Vram(7))] {
            assert_eq!(text.parse(), Ok(memory));
        }
        assert_eq!(Memory::Vram(0).to_string(), "vram:0");
        for wrong in ["", "gpu", "VRAM", "vram:", "vram:x", "vram:-1", "vram:+1", "vram: 1", "vram:99999", "dram:0"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }
}
