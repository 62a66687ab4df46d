//! The report as one JSON document.

use super::Report;

/// The document, with a newline at its end.
///
/// # Errors
/// None in practice: every key is a string.
pub(crate) fn render(report: &Report) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::fabric::{Fabric, Fabrics};
    use crate::report::file::{Action, FileReport, FileStatus, SiteReport, SiteShape};
    use crate::report::smoke::{Failure, Gpu, NativeLibrary, PeerReport, PluginCheck, Smoke, SmokeEngine, SmokeStatus};
    use crate::report::stage::Stage;

    fn file() -> FileReport {
        FileReport {
            distribution: Some("ai-dynamo-runtime".into()),
            distribution_version: Some("1.6.1".into()),
            sites: vec![SiteReport {
                line: 623,
                column: 22,
                function: Some("__init__".into()),
                shape: SiteShape::ConfigWithoutBackends,
                action: Action::Rewrite,
                variable: None,
                reason: "a configuration without backends".into(),
                choice: None,
            }],
            diff: b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\xe9\n+b\n".into(),
            notes: vec!["a note".into()],
            details: vec!["a detail".into()],
            ..FileReport::new(Path::new("/opt/dynamo/venv/x.py"), FileStatus::Patched)
        }
    }

    fn passed() -> Smoke {
        Smoke {
            status: SmokeStatus::Passed,
            engine: Some(SmokeEngine::Native),
            chosen_backend: Some("UCX".into()),
            fabric: Fabrics::of([Fabric::Tcp, Fabric::Efa]),
            transports: vec!["tcp/eth0".into()],
            memory: Some("vram:0".into()),
            gpu: Some(Gpu { name: "NVIDIA H100".into(), cuda: "13.0".into(), driver: "/usr/lib/libcuda.so.1".into() }),
            bytes: 128 << 20,
            verified: true,
            latency_us: Some(2.5),
            bandwidth_gbit_s: Some(44.5),
            duration_ms: 1073.5,
            setup_ms: Some(763.0),
            nixl_version: Some("0.9.0".into()),
            native_library: Some(NativeLibrary { path: "libucp.so.0".into(), version: "1.22.0".into() }),
            plugin: Some(PluginCheck {
                path: "/site/libplugin_UCX.so".into(),
                loads: true,
                message: "would load".into(),
            }),
            environment: vec!["UCX_LOG_LEVEL=info".into(), "-NIXL_ETCD_ENDPOINTS".into()],
            role: Some("initiator".into()),
            peer: Some(PeerReport { address: "10.0.0.2:7000".into(), host: "node-a".into(), nixl_version: None }),
            warnings: vec!["a warning".into()],
            ..Smoke::nothing_observed("UCX")
        }
    }

    #[test]
    fn a_full_document() {
        let failed = Smoke {
            engine: Some(SmokeEngine::Nixl),
            nixl_library: Some("/site/libnixl_capi.so".into()),
            stand_ins: vec!["libcuda.so.1".into()],
            failure: Some(Failure { stage: Stage::Backend, message: "what happened".into(), advice: "do this".into() }),
            peer_backend: Some("UCX".into()),
            ..Smoke::nothing_observed("LIBFABRIC")
        };
        let mut report = Report { version: "VERSION", exit_status: 1, ..Report::new("apply") };
        report.files.push(file());
        report.add_smoke(passed());
        report.add_smoke(failed);
        report.add_smoke(Smoke::skipped("LIBFABRIC,UCX", "not tried".into()));
        insta::assert_snapshot!(render(&report).unwrap());
    }

    /// docs/report.schema.json is written by this test with `INSTA_UPDATE=always`, and is what the tests of the commands
    /// hold every document against.
    #[test]
    fn the_schema_is_the_published_one() {
        let generator = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
        let schema = serde_json::to_string_pretty(&generator.into_root_schema_for::<Report>()).unwrap() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            std::fs::write(&path, &schema).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            schema,
            "run this test with INSTA_UPDATE=always"
        );
    }

    #[test]
    fn an_error_alone() {
        let error = Some("no Dynamo was found\nhelp: name a TARGET".into());
        let report = Report { version: "VERSION", exit_status: 2, error, ..Report::new("check") };
        insta::assert_snapshot!(render(&report).unwrap());
    }
}
