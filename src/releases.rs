//! The sources that Dynamo was released with, as the tests know them. The tables are made by `tests/releases.py table`,
//! `tests/releases.py embedding-table`, `tests/rust_releases.py table` and `tests/rust_releases.py block-manager-table`.
#![forbid(unsafe_code)]

/// `nixl_connect` of ai-dynamo-runtime, `embedding_transfer` of ai-dynamo, `rdma.rs` and the block manager of dynamo-llm: each a
/// heading, then a line a release, oldest first, source by source, that begins with its version and the SHA-256 of the source.
const TABLES: [&str; 4] = [
    include_str!("../fixtures/releases.tsv"),
    include_str!("../fixtures/embedding_transfer.tsv"),
    include_str!("../fixtures/rust_releases.tsv"),
    include_str!("../fixtures/rust_block_manager.tsv"),
];

/// The releases that have the source with this SHA-256: `released source, 1.2.1 to 1.6.1`; None where no release has it.
pub(crate) fn with(sha256: &str) -> Option<String> {
    let versions = TABLES.iter().map(|table| spans(table, sha256)).find(|spans| !spans.is_empty())?;
    Some(format!("released source, {}", versions.join(", ")))
}

/// Neighbouring releases with that source, as `FIRST to LAST`. A release between two may have another source.
fn spans(table: &str, sha256: &str) -> Vec<String> {
    let rows: Vec<(&str, &str)> = table.lines().skip(1).filter_map(row).collect();
    let same = rows.chunk_by(|(_, one), (_, other)| one == other).filter(|rows| rows[0].1 == sha256);
    let span = |rows: &[(&str, &str)]| match rows {
        [(only, _)] => (*only).to_string(),
        [(first, _), .., (last, _)] => format!("{first} to {last}"),
        [] => String::new(),
    };
    same.map(span).collect()
}

fn row(line: &str) -> Option<(&str, &str)> {
    let (version, rest) = line.split_once('\t')?;
    Some((version, rest.split('\t').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_names_its_releases() {
        let newest = |table: &str| row(table.lines().last().unwrap()).map(|(_, sha256)| sha256.to_string()).unwrap();
        for table in TABLES {
            let newest = newest(table);
            assert_eq!(newest.len(), 64, "{newest}");
            assert!(with(&newest).is_some_and(|words| words.starts_with("released source, ")), "{newest}");
        }
        assert_eq!(with("sha256"), None, "the heading is no release");
        assert_eq!(with(""), None);
    }

    #[test]
    fn a_release_between_two_with_another_source_is_not_named() {
        let table = "version\tsha256\tci\n1\ta\tno\n2\ta\tno\n3\tb\tno\n4\ta\tyes\n";
        assert_eq!(spans(table, "a"), ["1 to 2", "4"]);
        assert_eq!(spans(table, "b"), ["3"]);
    }
}
