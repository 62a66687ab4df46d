//! Dynamo's media loader: the part of the compiled `dynamo/_core*.so` that decodes images and videos in the frontend.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use memchr::memmem;

/// How its NIXL agent's name begins (dynamo-llm, `preprocessor/media/rdma.rs`). In the wheels of ai-dynamo-runtime from
/// 1.0.0 to 1.6.1; not in those of 0.8.0 to 0.9.1, which are built without the crate's feature `media-nixl`.
const AGENT_NAME: &[u8] = b"media-loader-";
/// How much is read at once, in bytes. The name is in the first tenth of the 226 MB of 1.6.1.
const PIECE: usize = 1 << 20;

/// The library on an import path whose media loader creates a NIXL agent.
pub(crate) fn find(folders: &[PathBuf]) -> Option<PathBuf> {
    folders.iter().flat_map(|folder| libraries(&folder.join("dynamo"))).find(|path| has_agent(path))
}

fn libraries(package: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(package) else { return Vec::new() };
    let is_core = |name: &str| name.starts_with("_core") && name.ends_with(".so");
    let found = entries.flatten().filter(|entry| is_core(&entry.file_name().to_string_lossy()));
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

/// A library that cannot be read has none, as far as can be said.
fn has_agent(path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let kept = AGENT_NAME.len() - 1;
    let mut buffer = Vec::with_capacity(PIECE + kept);
    loop {
        // The name may lie across two pieces.
        let old = buffer.len().saturating_sub(kept);
        buffer.drain(..old);
        match file.by_ref().take(PIECE as u64).read_to_end(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(_) if memmem::find(&buffer, AGENT_NAME).is_some() => return true,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_wherever_it_lies() {
        let site = tempfile::tempdir().unwrap();
        let folders = [site.path().to_path_buf()];
        let library = site.path().join("dynamo/_core.abi3.so");
        fs::create_dir(site.path().join("dynamo")).unwrap();
        assert_eq!(find(&folders), None);
        for before in [0, PIECE - 5, PIECE, 2 * PIECE - 1] {
            fs::write(&library, [vec![0; before], AGENT_NAME.to_vec(), vec![0; 9]].concat()).unwrap();
            assert_eq!(find(&folders), Some(library.clone()), "{before}");
        }
        fs::write(&library, [&[0; PIECE][..], b"media-loader"].concat()).unwrap();
        assert_eq!(find(&folders), None);
    }
}
