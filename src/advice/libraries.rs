//! Libraries that a backend's plugin needs: which are missing or too old, and what to do about it.

use std::path::Path;

use crate::environment::elf::needs::{Missing, Needs, TooOld};
use crate::environment::nixl::NixlInstallation;

/// What is wrong with the libraries that the plugin needs; empty when nothing is.
pub(crate) fn describe_libraries(nixl: &NixlInstallation, needs: &Needs, searched: &[String]) -> String {
    let mut text = String::new();
    for Missing { name, wanted_by } in &needs.missing {
        text.push_str(&format!("; {} needs {name}, which is nowhere", title(nixl, wanted_by)));
    }
    if !needs.missing.is_empty() {
        text.push_str(&format!("; searched: {}", searched.join(", ")));
    }
    for old in &needs.too_old {
        let offers =
            old.offers.as_ref().map_or("has none of its kind".into(), |version| format!("offers up to {version}"));
        let lacks = old.lacks.join(", ");
        text.push_str(&format!(
            "; {} wants {} with {lacks}; {} {offers}",
            title(nixl, &old.wanted_by),
            old.name,
            old.path.display()
        ));
    }
    text
}

/// `libplugin_LIBFABRIC.so of NIXL 1.5.1`, for the plugin; else the path.
fn title(nixl: &NixlInstallation, library: &Path) -> String {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    match &nixl.version {
        Some(version) if name.starts_with("libplugin_") => format!("{name} of NIXL {version}"),
        _ => library.display().to_string(),
    }
}

/// What to do about them; None when nothing is wrong with them.
pub(crate) fn advise_libraries(needs: &Needs) -> Option<String> {
    if let Some(old) = needs.too_old.first() {
        return Some(advise_too_old(old));
    }
    let mut advice: Vec<&str> = needs.missing.iter().map(|missing| advise_missing(&missing.name)).collect();
    advice.dedup();
    (!advice.is_empty()).then(|| advice.join(" "))
}

/// The symbol versions are those of libfabric's release tags (libfabric.map.in).
fn advise_too_old(old: &TooOld) -> String {
    if !old.name.starts_with("libfabric.so") {
        return format!(
            "{} is older than the one this was built with: install a newer one, or name its folder with --library-path.",
            old.name
        );
    }
    if old.lacks.iter().any(|version| version == "FABRIC_1.10") {
        return "No libfabric up to 2.6.0 offers FABRIC_1.10, that of the EFA installer included: NIXL 1.5.1's wheel was \
                built with development source. Use NIXL 1.5.0, or a libfabric newer than 2.6.0 (--library-path DIR)."
            .into();
    }
    "Install a newer libfabric (1.20 has FABRIC_1.7, 2.0 has FABRIC_1.8; on AWS, the EFA installer brings one to \
     /opt/amazon/efa/lib), and name its folder with --library-path if another one is found first."
        .into()
}

fn advise_missing(name: &str) -> &'static str {
    let known = [
        (
            "libfabric.so",
            "Install libfabric (on AWS, the EFA installer puts it into /opt/amazon/efa/lib), or name its folder with \
             --library-path.",
        ),
        (
            "libcudart.so",
            "Install CUDA's runtime library for the major version of this NIXL's wheel (pip install \
             nvidia-cuda-runtime for CUDA 13, nvidia-cuda-runtime-cu12 for 12), or name its folder with --library-path.",
        ),
        ("libhwloc.so", "Install hwloc's library (Debian and Ubuntu: apt-get install libhwloc15)."),
        (
            "libcuda.so",
            "libcuda.so.1 comes with NVIDIA's driver, and this system refuses the stand-in for it (memfd_create): run \
             this where a driver is.",
        ),
    ];
    let found = known.into_iter().find(|(prefix, _)| name.starts_with(prefix));
    found.map_or("Install what is missing, or name its folder with --library-path.", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nixl() -> NixlInstallation {
        NixlInstallation {
            name: "nixl-cu13".into(),
            version: Some("1.5.1".into()),
            capi: None,
            plugin_dir: None,
            library_dirs: Vec::new(),
        }
    }

    #[test]
    fn a_version_that_nothing_offers_is_named() {
        let mut needs = Needs::default();
        needs.too_old.push(TooOld {
            path: "/x/libfabric.so.1".into(),
            name: "libfabric.so.1".into(),
            wanted_by: "/y/libplugin_LIBFABRIC.so".into(),
            lacks: vec!["FABRIC_1.10".into()],
            offers: Some("FABRIC_1.8".into()),
        });
        assert_eq!(
            describe_libraries(&nixl(), &needs, &[]),
            "; libplugin_LIBFABRIC.so of NIXL 1.5.1 wants libfabric.so.1 with FABRIC_1.10; /x/libfabric.so.1 offers up to \
             FABRIC_1.8"
        );
        assert!(advise_libraries(&needs).unwrap().contains("NIXL 1.5.0"));
        needs.too_old[0].lacks = vec!["FABRIC_1.7".into()];
        assert!(advise_libraries(&needs).unwrap().contains("newer libfabric"));
    }

    #[test]
    fn what_is_missing_is_named_with_who_needs_it_and_where_it_was_looked_for() {
        let mut needs = Needs::default();
        let searched = ["/a".to_string(), "/b".to_string()];
        for name in ["libfabric.so.1", "libhwloc.so.15"] {
            needs.missing.push(Missing { name: name.into(), wanted_by: "/y/libplugin_LIBFABRIC.so".into() });
        }
        let text = describe_libraries(&nixl(), &needs, &searched);
        assert!(text.contains("NIXL 1.5.1 needs libfabric.so.1") && text.ends_with("searched: /a, /b"), "{text}");
        let advice = advise_libraries(&needs).unwrap();
        assert!(advice.contains("EFA installer") && advice.contains("libhwloc15"), "{advice}");
        assert_eq!(advise_libraries(&Needs::default()), None);
    }
}
