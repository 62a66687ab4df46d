//! What a passed transfer says of fabrics that it did not use: UCX's own words, its modules, RDMA devices left unused.
//!
//! The RDMA devices are folders under a /sys/class of a mount namespace's own; tests/rdma_lab.sh has a real one.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{nixl, program};
use serde_json::Value;
use tempfile::TempDir;

/// NIXL 1.5.0's site-packages folder, copied so that it may be damaged.
fn copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let lib = fs::read_dir(nixl("1.5.0").join("lib")).unwrap().flatten().next().expect("lib/pythonX.Y");
    let site = lib.path().join("site-packages");
    let copied = folder.path().join("site");
    let status = Command::new("cp").arg("-a").args([&site, &copied]).status().unwrap();
    assert!(status.success());
    (folder, copied)
}

/// Runs a smoke transfer of 64 KiB over UCX with these variables; `prefix` starts the program.
fn smoke(prefix: &[&str], target: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, Value) {
    let own = program();
    let mut command = match prefix {
        [] => program(),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(own.get_program());
            for (name, _) in own.get_envs() {
                command.env_remove(name);
            }
            command
        }
    };
    command.arg("smoke").args(["--size", "64k", "--output-format", "json"]).args(arguments).arg(target);
    let output = command.envs(variables.iter().copied()).output().expect("the program starts");
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), document)
}

/// The finding of that kind, as text.
fn finding(document: &Value, id: &str) -> Option<String> {
    let findings = document["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).map(ToString::to_string)
}

#[test]
fn what_ucx_was_asked_for_in_vain_is_told_after_a_pass() {
    let target = nixl("1.5.0");
    for (variables, words) in [
        (&[("UCX_TLS", "rc,tcp")][..], "transport `rc`, which `UCX_TLS=rc,tcp` asks for"),
        (
            &[("UCX_TLS", "tcp"), ("UCX_NET_DEVICES", "mlx5_0:1,lo")],
            "network device `mlx5_0:1`, which `UCX_NET_DEVICES=",
        ),
    ] {
        let (status, document) = smoke(&[], &target, &[], variables);
        assert_eq!(status, 0, "{document:#}");
        let told = finding(&document, "ucx-asked-unavailable").unwrap_or_else(|| panic!("{document:#}"));
        assert!(told.contains(words), "{told}");
    }
    let (_, document) = smoke(&[], &target, &[], &[("UCX_TSL", "tcp")]);
    assert!(finding(&document, "ucx-variable-unused").is_some_and(|told| told.contains("UCX_TSL")), "{document:#}");
    let (_, document) = smoke(&[], &target, &[], &[("UCX_TLS", "tcp")]);
    assert_eq!(finding(&document, "ucx-asked-unavailable"), None, "{document:#}");
}

#[test]
fn ucx_without_its_modules_is_told_after_a_pass() {
    let (_folder, site) = copy();
    let (_, document) = smoke(&[], &site, &[], &[]);
    assert_eq!(finding(&document, "ucx-module-absent"), None, "{document:#}");
    let libraries = site.join("nixl_cu12.libs");
    let libraries = if libraries.exists() { libraries } else { site.join("nixl_cu13.libs") };
    let verbs = fs::read_dir(&libraries).unwrap().flatten().map(|entry| entry.path());
    let verbs = verbs.into_iter().find(|path| path.to_string_lossy().contains("libibverbs-")).unwrap();
    fs::remove_file(&verbs).unwrap();
    let (_, document) = smoke(&[], &site, &[], &[]);
    let told = finding(&document, "ucx-module-not-loadable").unwrap_or_else(|| panic!("{document:#}"));
    assert!(told.contains("libuct_ib.so") && told.contains("libibverbs-"), "{told}");
    fs::remove_dir_all(libraries.join("ucx")).unwrap();
    let (_, document) = smoke(&[], &site, &[], &[]);
    assert!(finding(&document, "ucx-module-absent").is_some_and(|told| told.contains("libuct_ib")), "{document:#}");
}

/// Shows a device of that vendor to the program that follows.
const DEVICE: &str = r#"set -e
name=$1 vendor=$2 room=$(mktemp -d); shift 2
mount -t tmpfs none "$room"; mkdir -p "$room/real" "$room/class/infiniband/$name/device"
mount --rbind /sys/class "$room/real"
for kind in "$room"/real/*; do mkdir -p "$room/class/${kind##*/}"; done
for kind in "$room"/real/*; do
    [ "${kind##*/}" = infiniband ] || mount --rbind "$kind" "$room/class/${kind##*/}"
done
echo "$vendor" >"$room/class/infiniband/$name/device/vendor"
mount --rbind "$room/class" /sys/class
status=0; "$@" || status=$?
umount -l /sys/class; umount -l "$room"; rmdir "$room"
exit $status"#;

fn with_device<'a>(name: &'a str, vendor: &'a str) -> Vec<&'a str> {
    vec!["unshare", "-m", "--propagation", "private", "bash", "-c", DEVICE, "bash", name, vendor]
}

#[test]
fn a_device_that_ucx_does_not_use_is_told_after_a_pass() {
    let target = nixl("1.5.0");
    let (status, document) = smoke(&with_device("rdmap0s6", "0x1d0f"), &target, &["--backend", "UCX"], &[]);
    assert_eq!(status, 0, "{document:#}");
    let told = finding(&document, "rdma-device-unused").unwrap_or_else(|| panic!("{document:#}"));
    assert!(told.contains("rdmap0s6") && told.contains("between machines this would be TCP"), "{told}");
    assert!(told.contains("LIBFABRIC"), "{told}");
    let (_, document) = smoke(&with_device("mlx5_0", "0x15b3"), &target, &[], &[("UCX_TLS", "tcp")]);
    let told = finding(&document, "rdma-device-unused").unwrap_or_else(|| panic!("{document:#}"));
    assert!(told.contains("`UCX_TLS=tcp` leaves them out"), "{told}");
}

#[test]
fn efa_is_not_asked_of_another_device() {
    let (status, document) = smoke(&with_device("mlx5_0", "0x15b3"), &nixl("1.5.0"), &["--require-fabric", "efa"], &[]);
    assert_eq!(status, 1, "{document:#}");
    let advice = document["smoke"]["failure"]["advice"].as_str().unwrap();
    assert!(advice.contains("no EFA, `mlx5_0`"), "{advice}");
    let variables = document["smoke"]["environment"].to_string();
    assert!(variables.contains("UCX_TLS=^shm"), "{variables}");
    assert_eq!(document["smoke"]["fabric"], "tcp", "{document:#}");
}
