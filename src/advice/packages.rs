//! Which package has a library.

/// A library, by the start of its name, and where to get it.
struct Package {
    library: &'static str,
    debian: Option<&'static str>,
    rhel: Option<&'static str>,
    /// In words, for what has no package in distributions.
    other: Option<&'static str>,
}

const fn package(
    library: &'static str,
    debian: Option<&'static str>,
    rhel: Option<&'static str>,
    other: Option<&'static str>,
) -> Package {
    Package { library, debian, rhel, other }
}

/// Names of Debian 12 and 13, Ubuntu 22.04 and 24.04, RHEL 9; PyPI's of November 2026.
const PACKAGES: &[Package] = &[
    package(
        "libfabric.so.1",
        Some("libfabric1"),
        Some("libfabric"),
        Some("on AWS, the EFA installer (https://efa-installer.amazonaws.com) puts it into /opt/amazon/efa/lib"),
    ),
    package("libcudart.so.12", None, None, Some("pip install nvidia-cuda-runtime-cu12")),
    package("libcudart.so.13", None, None, Some("pip install nvidia-cuda-runtime")),
    package("libhwloc.so.15", Some("libhwloc15"), Some("hwloc-libs"), None),
    package("libibverbs.so.1", Some("libibverbs1"), Some("libibverbs"), None),
    package(
        "libefa.so.1",
        Some("ibverbs-providers"),
        Some("libibverbs"),
        Some("on AWS, the EFA installer (https://efa-installer.amazonaws.com)"),
    ),
    package("libmlx5.so.1", Some("ibverbs-providers"), Some("libibverbs"), None),
    package("librdmacm.so.1", Some("librdmacm1"), Some("librdmacm"), None),
    package("libnuma.so.1", Some("libnuma1"), Some("numactl-libs"), None),
    package("libnl-3.so.200", Some("libnl-3-200"), Some("libnl3"), None),
    package("libnl-route-3.so.200", Some("libnl-route-3-200"), Some("libnl3"), None),
    package("libucp.so.0", Some("libucx0"), Some("ucx"), None),
    package("libucs.so.0", Some("libucx0"), Some("ucx"), None),
    package("libuct.so.0", Some("libucx0"), Some("ucx"), None),
    package("libcufile.so.0", None, None, Some("pip install nvidia-cufile")),
    package("libaio.so.1", Some("libaio1"), Some("libaio"), None),
    package("liburing.so.2", Some("liburing2"), Some("liburing"), None),
    package("libstdc++.so.6", Some("libstdc++6"), Some("libstdc++"), None),
    package("libgomp.so.1", Some("libgomp1"), Some("libgomp"), None),
];

/// What to do about a library that is not found.
pub(super) fn cure(library: &str) -> Vec<String> {
    install(library).unwrap_or_else(|| {
        vec![format!("install the package with `{library}`, or add its folder to `LD_LIBRARY_PATH`")]
    })
}

/// Lines that install the library with that name; None where no package is known.
fn install(library: &str) -> Option<Vec<String>> {
    let known = PACKAGES.iter().find(|package| library.starts_with(package.library))?;
    let mut lines = Vec::new();
    lines.extend(known.debian.map(|name| format!("apt-get install -y {name}    # Debian, Ubuntu")));
    lines.extend(known.rhel.map(|name| format!("dnf install -y {name}    # RHEL")));
    lines.extend(known.other.map(String::from));
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_lines_to_paste() {
        let lines = install("libefa.so.1").unwrap();
        assert_eq!(lines[0], "apt-get install -y ibverbs-providers    # Debian, Ubuntu");
        assert_eq!(lines.len(), 3);
        assert_eq!(install("libunknown.so.1"), None);
    }
}
