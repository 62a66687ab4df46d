//! What a library defines, looked up in its own hash table: most of its names are never asked for.
//!
//! Source: "GNU Hash ELF Sections" (Ali Bahrami, Oracle, 2010); glibc's `do_lookup_x` in elf/dl-lookup.c.

use object::elf::{STB_LOCAL, STV_DEFAULT, STV_PROTECTED};
use rustc_hash::FxHashMap;

/// The size of `Elf64_Sym` in bytes.
const SYMBOL: usize = 24;
/// The size of the table's header in bytes: four words.
const HEADER: usize = 16;
/// The bits of a version's number that are no flag (`VERSYM_VERSION`).
const VERSION: u16 = 0x7fff;

/// The sections of a library that its hash table leads through, as they are in the file.
#[derive(Clone, Debug)]
pub(super) struct Exports {
    /// `.gnu.hash`.
    pub hash: Vec<u8>,
    /// `.dynsym`.
    pub symbols: Vec<u8>,
    /// `.dynstr`.
    pub strings: Vec<u8>,
    /// `.gnu.version`; empty where there is none.
    pub numbers: Vec<u8>,
    /// The names of the versions that it defines, by their numbers.
    pub versions: FxHashMap<u16, Vec<u8>>,
}

impl Exports {
    /// Whether it defines the name with this hash, in this version where one is given.
    pub(super) fn has(&self, name: &[u8], hash: u32, version: Option<&[u8]>) -> bool {
        self.find(name, hash, version).is_some()
    }

    /// The symbol's number; None also where the table leads out of the file.
    fn find(&self, name: &[u8], hash: u32, version: Option<&[u8]>) -> Option<usize> {
        let [buckets, first, words, shift] = [0, 4, 8, 12].map(|at| word(&self.hash, at));
        let (buckets, first, words) = (buckets? as usize, first? as usize, words? as usize);
        let chosen = (hash as usize / 64).checked_rem(words)?;
        let filter = u64::from_le_bytes(*self.hash.get(HEADER + chosen * 8..)?.first_chunk()?);
        let bits = 1 << (hash % 64) | 1 << (hash.checked_shr(shift?).unwrap_or(0) % 64);
        if filter & bits != bits {
            return None;
        }
        let bucket_table = HEADER + words.checked_mul(8)?;
        let chains = bucket_table + buckets.checked_mul(4)?;
        let mut number = word(&self.hash, bucket_table + (hash as usize).checked_rem(buckets)? * 4)? as usize;
        // An empty bucket has 0, which is before the first hashed symbol.
        loop {
            let chain = word(&self.hash, chains + number.checked_sub(first)?.checked_mul(4)?)?;
            if (chain | 1) == (hash | 1) && self.is(number, name, version) {
                return Some(number);
            }
            if chain & 1 == 1 {
                return None;
            }
            number += 1;
        }
    }

    fn is(&self, number: usize, name: &[u8], version: Option<&[u8]>) -> bool {
        let Some(symbol) = number.checked_mul(SYMBOL).and_then(|at| self.symbols.get(at..)?.first_chunk::<SYMBOL>())
        else {
            return false;
        };
        // st_name, st_info, st_other, st_shndx.
        let [n0, n1, n2, n3, info, other, s0, s1, ..] = *symbol;
        let own = self.strings.get(u32::from_le_bytes([n0, n1, n2, n3]) as usize..).unwrap_or_default();
        let visible = [STV_DEFAULT.0, STV_PROTECTED.0].contains(&(other & 3));
        let defined = u16::from_le_bytes([s0, s1]) != 0 && info >> 4 != STB_LOCAL.0;
        let named = own.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0));
        visible && defined && named && version.is_none_or(|version| self.version(number) == Some(version))
    }

    fn version(&self, number: usize) -> Option<&[u8]> {
        let version = u16::from_le_bytes(*self.numbers.get(number.checked_mul(2)?..)?.first_chunk()?);
        self.versions.get(&(version & VERSION)).map(Vec::as_slice)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use object::elf::gnu_hash;

    use super::*;

    #[test]
    fn a_table_that_leads_nowhere_has_nothing() {
        let mut table = Exports {
            hash: Vec::new(),
            symbols: Vec::new(),
            strings: Vec::new(),
            numbers: Vec::new(),
            versions: FxHashMap::default(),
        };
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        for hash in [
            words(&[]),
            words(&[1, 1, 0, 6]),
            words(&[0, 1, 1, 6, u32::MAX, u32::MAX]),
            words(&[1, 1, 1, 99, u32::MAX, u32::MAX, 7]),
            words(&[u32::MAX, 1, u32::MAX, 6, u32::MAX, u32::MAX]),
            words(&[1, 9, 1, 6, u32::MAX, u32::MAX, 0]),
            words(&[1, 1, 1, 6, u32::MAX, u32::MAX, 1, gnu_hash(b"f") | 1]),
        ] {
            table.hash = hash;
            assert!(!table.has(b"f", gnu_hash(b"f"), None), "{table:?}");
        }
    }
}
