//! Libraries that a backend's plugin needs: which are missing or too old, and what to do about it.

use std::borrow::Cow;
use std::path::Path;

use super::packages;
use crate::environment::elf::needs::{Missing, Needs, TooOld};
use crate::environment::nixl::NixlInstallation;
use crate::shown::Shown;

/// One line for each library that is missing or too old; empty when nothing is wrong.
///
/// `searched` are the places that were searched, in order.
pub(crate) fn describe_libraries(nixl: &NixlInstallation, needs: &Needs, searched: &[String]) -> Vec<String> {
    let missing = needs
        .missing
        .iter()
        .map(|Missing { name, wanted_by }| format!("{} needs `{name}`, which was not found", title(nixl, wanted_by)));
    let mut lines: Vec<String> = missing.collect();
    if !lines.is_empty() {
        lines.push(format!("searched: {}", searched.join(", ")));
    }
    lines.extend(needs.too_old.iter().map(|old| describe_too_old(nixl, old)));
    lines
}

fn describe_too_old(nixl: &NixlInstallation, old: &TooOld) -> String {
    let lacks: Vec<String> = old.lacks.iter().map(|version| format!("`{version}`")).collect();
    let offers =
        old.offers.as_ref().map_or("has no version of that kind".into(), |version| format!("has up to `{version}`"));
    format!(
        "{} needs `{}` with {}; `{}` {offers}",
        title(nixl, &old.wanted_by),
        old.name,
        lacks.join(", "),
        old.path.shown()
    )
}

/// `libplugin_LIBFABRIC.so` of NIXL 1.5.1, for the plugin; else the path.
fn title(nixl: &NixlInstallation, library: &Path) -> String {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    match &nixl.version {
        Some(version) if name.starts_with("libplugin_") => format!("`{name}` of NIXL {version}"),
        _ => format!("`{}`", library.shown()),
    }
}

/// Libraries that NIXL brings, by the beginnings of their names.
const OWN: [&str; 5] = ["libnixl", "libserdes", "libstream", "libfile_utils", "libobj_utils"];

/// What to do about them; `None` when nothing is wrong with them.
pub(crate) fn advise_libraries(needs: &Needs) -> Option<String> {
    if let Some(old) = needs.too_old.first() {
        return Some(advise_too_old(old));
    }
    let mut advice: Vec<Cow<str>> = needs.missing.iter().map(|missing| advise_missing(&missing.name)).collect();
    advice.dedup();
    (!advice.is_empty()).then(|| advice.join("; "))
}

/// The symbol versions are those of libfabric's release tags (libfabric.map.in).
fn advise_too_old(old: &TooOld) -> String {
    if !old.name.starts_with("libfabric.so") {
        return format!("install a newer `{}`, or name its directory with `--library-path`", old.name);
    }
    if old.lacks.iter().any(|version| version == "FABRIC_1.10") {
        return "use NIXL 1.5.0, or a libfabric newer than 2.6.0 (`--library-path DIR`): no libfabric up to 2.6.0 has \
                `FABRIC_1.10`, not even the EFA installer's, because NIXL 1.5.1's wheel was built with a development \
                version"
            .into();
    }
    "install a newer libfabric (1.20 has `FABRIC_1.7`, 2.0 has `FABRIC_1.8`; on AWS, the EFA installer puts one into \
     `/opt/amazon/efa/lib`), and name its directory with `--library-path` if an older one is found first"
        .into()
}

fn advise_missing(name: &str) -> Cow<'static, str> {
    let known = [
        (
            "libfabric.so",
            "install libfabric (on AWS, the EFA installer puts it into `/opt/amazon/efa/lib`), or name its directory with \
             `--library-path`",
        ),
        (
            "libcudart.so",
            "install the CUDA runtime for the major version of this NIXL wheel (`pip install nvidia-cuda-runtime` for CUDA \
             13, `nvidia-cuda-runtime-cu12` for CUDA 12), or name its directory with `--library-path`",
        ),
        (
            "libcuda.so",
            "run this on a machine with NVIDIA's driver, which provides `libcuda.so.1`: this system refuses the stand-in \
             for it (memfd_create)",
        ),
    ];
    let found = known.into_iter().find(|(prefix, _)| name.starts_with(prefix));
    if let Some((_, advice)) = found {
        return advice.into();
    }
    if OWN.iter().any(|own| name.starts_with(own)) {
        return format!("reinstall this NIXL, or add the folder of its other libraries to `LD_LIBRARY_PATH`: `{name}` is one of them")
            .into();
    }
    format!("{}; or name its directory with `--library-path`", packages::cure(name).join(", or ")).into()
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
    fn a_version_that_no_library_has_is_named() {
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
            [
                "`libplugin_LIBFABRIC.so` of NIXL 1.5.1 needs `libfabric.so.1` with `FABRIC_1.10`; `/x/libfabric.so.1` has up \
                 to `FABRIC_1.8`"
            ]
        );
        assert!(advise_libraries(&needs).unwrap().contains("NIXL 1.5.0"));
        needs.too_old[0].lacks = vec!["FABRIC_1.7".into()];
        assert!(advise_libraries(&needs).unwrap().contains("newer libfabric"));
    }

    #[test]
    fn a_missing_library_is_named_with_its_user_and_the_places_searched() {
        let mut needs = Needs::default();
        let searched = ["/a".to_string(), "/b".to_string()];
        for name in ["libfabric.so.1", "libhwloc.so.15"] {
            needs.missing.push(Missing { name: name.into(), wanted_by: "/y/libplugin_LIBFABRIC.so".into() });
        }
        let plugin = "`libplugin_LIBFABRIC.so` of NIXL 1.5.1 needs";
        let expected = [
            format!("{plugin} `libfabric.so.1`, which was not found"),
            format!("{plugin} `libhwloc.so.15`, which was not found"),
            "searched: /a, /b".into(),
        ];
        assert_eq!(describe_libraries(&nixl(), &needs, &searched), expected);
        let advice = advise_libraries(&needs).unwrap();
        assert!(advice.contains("EFA installer") && advice.contains("libhwloc15"), "{advice}");
        assert_eq!(advise_libraries(&Needs::default()), None);
    }
}
