//! Variables whose names are near misses of NIXL's.

use super::variables::Variables;

/// What begins the names of NIXL's variables.
const PREFIX: &str = "NIXL_";
/// The variables that NIXL up to 1.5.1 reads, by the strings in its libraries and its documentation.
const KNOWN: [&str; 21] = [
    "NIXL_PLUGIN_DIR",
    "NIXL_LOG_LEVEL",
    "NIXL_CONFIG_FILE",
    "NIXL_PREFIX",
    "NIXL_ETCD_ENDPOINTS",
    "NIXL_ETCD_NAMESPACE",
    "NIXL_TCPSTORE_ENDPOINT",
    "NIXL_TELEMETRY_ENABLE",
    "NIXL_TELEMETRY_HISTOGRAM_BUCKETS",
    "NIXL_TELEMETRY_MULTIPROC_DIR",
    "NIXL_TELEMETRY_PROMETHEUS_LOCAL",
    "NIXL_TELEMETRY_PROMETHEUS_PORT",
    "NIXL_TELEMETRY_DIR",
    "NIXL_TELEMETRY_BUFFER_SIZE",
    "NIXL_TELEMETRY_RUN_INTERVAL",
    "NIXL_TELEMETRY_EXPORTER",
    "NIXL_TELEMETRY_ENABLED_METRICS",
    "NIXL_DISABLE_CUDA_ADDR_WA",
    "NIXL_UCX_DEEPBIND",
    "NIXL_UCX_SGL_ENABLE",
    "NIXL_NO_STUBS_FALLBACK",
];
/// How many letters may be wrong, and no more than half of those after the prefix.
const WRONG_LETTERS: usize = 4;

/// The variables that are set, and the ones that were probably meant; `own` is the one that the patched code reads.
pub(crate) fn near_misses(variables: &Variables, own: &str) -> Vec<(String, String)> {
    let names = variables.names().filter_map(|name| name.to_str());
    let known = || KNOWN.iter().copied().chain([own]);
    let unknown =
        names.filter(|name| name.to_ascii_uppercase().starts_with(PREFIX) && !known().any(|known| known == *name));
    unknown.filter_map(|name| Some((name.to_string(), meant(name, known())?.to_string()))).collect()
}

/// The nearest known name, unless it is far.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let upper = name.to_ascii_uppercase();
    let near = known.map(|known| (strsim::osa_distance(&upper, known), known));
    let most = WRONG_LETTERS.min((upper.len() - PREFIX.len()) / 2);
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_of_known_names_are_found() {
        let found = |name: &str| {
            let pairs = near_misses(&Variables::from_iter([(name, "x")]), "NIXL_BACKEND");
            pairs.into_iter().next().map(|(_, meant)| meant)
        };
        for (wrong, right) in [
            ("NIXL_BACKENDS", "NIXL_BACKEND"),
            ("NIXL_BACKED", "NIXL_BACKEND"),
            ("NIXL_PLUGINS_DIR", "NIXL_PLUGIN_DIR"),
            ("NIXL_PLUGIN_PATH", "NIXL_PLUGIN_DIR"),
            ("NIXL_PLUGIN_DIRS", "NIXL_PLUGIN_DIR"),
            ("NIXL_LOGLEVEL", "NIXL_LOG_LEVEL"),
            ("nixl_backend", "NIXL_BACKEND"),
        ] {
            assert_eq!(found(wrong).as_deref(), Some(right), "{wrong}");
        }
        for right in
            ["NIXL_BACKEND", "NIXL_PLUGIN_DIR", "NIXL_RETROFIT_TOKEN", "NIXL_SOMETHING_ELSE", "NIXL_PORT", "UCX_TLS"]
        {
            assert_eq!(found(right), None, "{right}");
        }
    }
}
