//! README.md and docs/: each command line in them parses, and each output is what the program prints.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use common::*;
use nixl_retrofit::Cli;
use regex::Regex;
use snapbox::IntoData;

/// A fenced block of a Markdown file.
struct Block {
    /// `README.md:46`.
    at: String,
    /// What follows the fence's backticks.
    language: String,
    lines: Vec<String>,
}

/// README.md, Dockerfile.example and the pages in docs/, in order.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = pages.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    pages.push(root.join("README.md"));
    pages.sort();
    pages
}

fn blocks(path: &Path) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                let at = format!("{}:{}", path.file_name().unwrap().display(), number + 1);
                blocks.push(Block { at, language: language.into(), lines: Vec::new() });
            }
        } else if inside {
            blocks.last_mut().unwrap().lines.push(line.into());
        }
    }
    assert!(!inside, "{}: a fence is open at its end", path.display());
    blocks
}

/// The lines of the examples in docs/examples, a list in YAML as the words that it stands for.
fn examples() -> Vec<(String, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let words = |line: &str| match line.split_once("command: [") {
        Some((_, list)) => list.trim_end_matches(']').replace(", ", " "),
        None => line.to_string(),
    };
    let file = |(path, bytes): (PathBuf, Vec<u8>)| {
        let text = String::from_utf8(bytes).unwrap();
        (path.display().to_string(), text.lines().map(words).collect())
    };
    snapshot(&folder).into_iter().map(file).collect()
}

#[test]
fn each_command_line_parses() {
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile.example")).unwrap();
    let mut places = vec![("Dockerfile.example".to_string(), example.lines().map(String::from).collect::<Vec<_>>())];
    places.extend(documents().iter().flat_map(|path| blocks(path)).map(|block| (block.at, block.lines)));
    places.extend(examples());
    let mut found = 0;
    for (at, lines) in places {
        for line in lines {
            // The scripts for two machines put the end into a variable.
            for end in ["--listen 0.0.0.0:7000", "--connect node-a:7000"] {
                for command in command_lines(&line.replace("$end", end)) {
                    found += 1;
                    Cli::try_parse_from(&command).unwrap_or_else(|error| panic!("{at}: {line}\n{error}"));
                }
            }
        }
    }
    assert!(found >= 20, "only {found} command lines were found");
}

#[test]
fn each_output_is_what_the_program_prints() {
    let shown: Vec<Block> =
        documents().iter().flat_map(|path| blocks(path)).filter(|block| block.language == "console").collect();
    assert!(shown.len() >= 2, "README.md and docs/transfer.md show output");
    for block in shown {
        let (line, expected) = block.lines.split_first().unwrap_or_else(|| panic!("{}: an empty block", block.at));
        let commands = command_lines(line.strip_prefix("$ ").unwrap_or_else(|| panic!("{}: no command", block.at)));
        assert_eq!(commands.len(), 1, "{}: {line}", block.at);
        assert!(expected.iter().all(|line| !line.starts_with("$ ")), "{}: one command a block", block.at);
        let printed = in_a_container(&commands[0][1..]);
        let expected = expected.iter().map(|line| line.clone() + "\n").collect::<String>();
        // `...` on a line of its own stands for any lines.
        let outcome = snapbox::Assert::new().try_eq(
            Some(&block.at),
            comparable(&printed).into_data(),
            comparable(&expected).into_data(),
        );
        if let Err(difference) = outcome {
            panic!("{} does not show what `{line}` prints:\n{difference}\nIt printed:\n{printed}", block.at);
        }
    }
}

/// Output without what differs between two runs and two machines.
fn comparable(text: &str) -> String {
    let replacements = [
        (r"python3\.\d+", "python3.N"),
        (r"\d+\.\d us", "N us"),
        (r"\d+\.\d Gbit/s", "N Gbit/s"),
        (r"\d+ ms", "N ms"),
        (r"in \d+ files", "in N files"),
        (r"(?m)^(  transports:) .*$", "$1 T"),
    ];
    replacements.iter().fold(text.to_string(), |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    })
}

/// Runs the program as in a container that has Dynamo, NIXL and libfabric where the documents have them, and one network
/// interface besides the loopback.
fn in_a_container(arguments: &[String]) -> String {
    let environment = lab(&["env", "1.5.0", "1.6.1"]);
    let libfabric = lab(&["libfabric"]);
    let script = r#"
        set -eu
        mount -t tmpfs none /opt
        mkdir -p /opt/dynamo/venv /opt/amazon/efa
        # By hard links: whatever changes a file of an environment puts another one in its place.
        cp -al "$1" "$3/venv"
        mount --bind "$3/venv" /opt/dynamo/venv
        cp -a "$2" /opt/amazon/efa/lib
        for devices in /sys/class/infiniband /dev/infiniband; do
            [ ! -d $devices ] || mount -t tmpfs none $devices
        done
        ip link set lo up
        ip link add v0 type veth peer name v1
        ip addr add 10.9.0.1/24 dev v0
        ip link set v0 up
        ip link set v1 up
        cd /
        shift 3
        exec "$@""#;
    // Where hard links to the laboratory's files can be.
    let room = tempfile::tempdir_in(environment.parent().unwrap()).unwrap();
    let program = program();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", script, "sh"]).args([&environment, &libfabric]).arg(room.path());
    command.arg(program.get_program()).args(arguments);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // The first Python on PATH is then the system's, which has no Dynamo.
    let output = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().expect("unshare (util-linux) starts");
    // `audit` exits with 1 where something ignores every setting.
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "`{arguments:?}` in a mount and network namespace of its own, which needs root: {}\n{}{}",
        output.status,
        stdout(&output),
        stderr(&output)
    );
    assert_unpatched(&environment);
    stdout(&output)
}

/// A page that is read on its own, by whoever finds it in the repository.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
    let below = snapshot(&root.join("docs")).into_iter().map(|(path, _)| path);
    top.chain(below).filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(path: &Path) -> Vec<String> {
    let mut inside = false;
    let mut found: Vec<String> = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        inside ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        if !inside && line.starts_with('#') && heading.starts_with(' ') {
            let kept = heading.trim().to_lowercase().replace(' ', "-");
            found.push(kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect());
        }
    }
    found
}

/// Relative links alone: nothing is fetched. A page of the repository is linked by its place.
#[test]
fn each_link_leads_somewhere() {
    let link = Regex::new(r#"\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)""#).unwrap();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let outside = text.split("```").step_by(2).collect::<String>();
        for found in link.captures_iter(&outside) {
            let target = found.get(1).or(found.get(2)).unwrap().as_str();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let is_there = file.exists() && (anchor.is_empty() || anchors(&file).iter().any(|known| known == anchor));
            if !is_there {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links to nothing:\n{}", wrong.join("\n"));
    assert!(checked > 50, "{checked} links were found");
}

/// What is drawn, line by line.
fn drawn(picture: &Path) -> Vec<String> {
    let text = Regex::new("(?s)<text>(.*?)</text>").unwrap();
    let mark = Regex::new("<[^>]*>").unwrap();
    let plain = |marked: &str| {
        let escaped = mark.replace_all(marked, "").into_owned();
        escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    };
    text.captures_iter(&fs::read_to_string(picture).unwrap()).map(|found| plain(&found[1])).collect()
}

/// The pictures show the first output of README.md, which is compared with the program's: `tests/picture.sh` draws them anew.
#[test]
fn the_pictures_show_what_the_readme_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = blocks(&root.join("README.md"));
    let shown = readme.iter().find(|block| block.language == "console").unwrap();
    for theme in ["light", "dark"] {
        let picture = format!("docs/images/apply-{theme}.svg");
        let drawn = drawn(&root.join(&picture)).join("\n");
        assert_eq!(comparable(&drawn), comparable(&shown.lines.join("\n")), "{picture}: run tests/picture.sh");
    }
    assert!(fs::read_to_string(root.join("README.md")).unwrap().lines().count() <= 150);
}
