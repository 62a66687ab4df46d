//! Transfers in the text report.

use super::page::Page;
use super::remarks;
use super::style::{BAD, BOLD, GOOD, WARNING};
use super::title::title;
use crate::report::smoke::{Failure, Smoke, SmokeEngine, SmokeStatus};
use crate::shown::Shown;

/// Shows what became of the transfers; with `verbose`, what they used. Several are a table.
pub(crate) fn smokes(page: &mut Page, smokes: &[Smoke], verbose: bool) {
    if smokes.len() > 1 {
        table(page, smokes);
    }
    for (number, smoke) in smokes.iter().enumerate() {
        match smoke.status {
            SmokeStatus::Passed if smokes.len() == 1 => passed(page, smoke),
            SmokeStatus::Passed if verbose => passed(page, smoke),
            SmokeStatus::Failed if smokes.len() == 1 => failed(page, smoke, "smoke failed: "),
            SmokeStatus::Failed if is_told_before(smokes, number) => {}
            SmokeStatus::Failed => failed(page, smoke, ""),
            SmokeStatus::Skipped if smokes.len() == 1 => skipped(page, smoke),
            SmokeStatus::Passed | SmokeStatus::Skipped => {}
        }
        if let Some(plugin) = smoke.plugin.as_ref().filter(|plugin| plugin.loads) {
            page.line(format_args!("  {}", plugin.message));
        }
        if verbose {
            used(page, smoke);
        }
    }
    remarks::show(page, smokes);
}

/// Whether an earlier transfer failed in the same way.
fn is_told_before(smokes: &[Smoke], number: usize) -> bool {
    let failure = |smoke: &Smoke| smoke.failure.as_ref().map(|failure| (failure.stage, failure.message.clone()));
    smokes[..number].iter().any(|earlier| earlier.failure.is_some() && failure(earlier) == failure(&smokes[number]))
}

/// What to do about the transfers that failed, each thing once, at the end of a report.
pub(crate) fn what_to_do(page: &mut Page, smokes: &[Smoke]) {
    let mut advice: Vec<&str> = Vec::new();
    for failure in smokes.iter().filter_map(|smoke| smoke.failure.as_ref()) {
        if !advice.contains(&failure.advice.as_str()) {
            advice.push(&failure.advice);
        }
    }
    for advice in advice {
        page.line(format_args!("{BOLD}what to do:{BOLD:#} {advice}"));
    }
}

fn skipped(page: &mut Page, smoke: &Smoke) {
    let reason = smoke.reason.as_deref().unwrap_or("not asked for");
    page.line(format_args!("{WARNING}smoke skipped:{WARNING:#} {}: {reason}", title(smoke)));
}

/// One line for each: result, backends, fabric, bandwidth, time.
fn table(page: &mut Page, smokes: &[Smoke]) {
    let rows: Vec<[String; 4]> = smokes.iter().map(cells).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    for (smoke, [title, fabric, bandwidth, time]) in smokes.iter().zip(&rows) {
        let (word, style) = match smoke.status {
            SmokeStatus::Passed => ("passed", GOOD),
            SmokeStatus::Failed => ("failed", BAD),
            SmokeStatus::Skipped => ("skipped", WARNING),
        };
        if smoke.status == SmokeStatus::Skipped {
            let reason = smoke.reason.as_deref().unwrap_or("not asked for");
            page.line(format_args!("{style}smoke {word}:{style:#} {title}: {reason}"));
            continue;
        }
        let line =
            format!("{title:0$}  {fabric:1$}  {bandwidth:>2$}  {time:>3$}", widths[0], widths[1], widths[2], widths[3]);
        page.line(format_args!("{style}smoke {word}:{style:#} {}", line.trim_end()));
    }
}

fn cells(smoke: &Smoke) -> [String; 4] {
    let title = title(smoke);
    if smoke.status == SmokeStatus::Skipped {
        return [title, String::new(), String::new(), String::new()];
    }
    let chosen = smoke.chosen_backend.as_ref().filter(|chosen| smoke.backend.as_ref() != Some(*chosen));
    let chosen = chosen.map(|chosen| format!(" ({chosen})")).unwrap_or_default();
    let fabric = smoke.fabric.as_ref().map_or_else(|| "-".into(), ToString::to_string);
    let bandwidth = smoke.bandwidth_gbit_s.map_or_else(|| "-".into(), |rate| format!("{rate:.1} Gbit/s"));
    [title, format!("{fabric}{chosen}"), bandwidth, format!("{:.0} ms", smoke.duration_ms)]
}

fn passed(page: &mut Page, smoke: &Smoke) {
    let title = title(smoke);
    let chosen = smoke.chosen_backend.as_ref().filter(|chosen| smoke.backend.as_ref() != Some(*chosen));
    let chosen = chosen.map(|chosen| format!(" (NIXL chose {chosen})")).unwrap_or_default();
    let fabric = smoke.fabric.as_ref().map_or("a fabric that the library did not name".into(), ToString::to_string);
    let with: String = software(smoke).iter().map(|name| format!(", {name}")).collect();
    page.line(format_args!("{GOOD}smoke passed:{GOOD:#} {title}{chosen} over {fabric}{with}"));
    let size = size(smoke.bytes);
    page.line(format_args!("  {size} moved and compared, WRITE and READ together, {}", memory(smoke)));
    if !smoke.transports.is_empty() {
        page.line(format_args!("  transports: {}", smoke.transports.join(", ")));
    }
    let latency = smoke.latency_us.map(|latency| format!("small-WRITE latency {latency:.1} us (local completion)"));
    let bandwidth = smoke.bandwidth_gbit_s.map(|bandwidth| format!("bandwidth {bandwidth:.1} Gbit/s"));
    let rates: Vec<String> = latency.into_iter().chain(bandwidth).collect();
    let rates = if rates.is_empty() { String::new() } else { format!("{}; ", rates.join(", ")) };
    let setup = smoke.setup_ms.map(|setup| format!(", {setup:.0} ms of it setup")).unwrap_or_default();
    page.line(format_args!("  {rates}{:.0} ms total{setup}", smoke.duration_ms));
}

fn failed(page: &mut Page, smoke: &Smoke, word: &str) {
    let with = software(smoke).join(", ");
    let with = if with.is_empty() { with } else { format!(" ({with})") };
    let title = title(smoke);
    let Some(Failure { stage, message, .. }) = &smoke.failure else {
        page.line(format_args!("{BAD}{word}{BAD:#}{title}{with}"));
        return;
    };
    page.line(format_args!("{BAD}{word}{BAD:#}{title}{with} failed while {}", stage.activity()));
    for line in message.lines() {
        page.line(format_args!("  {line}"));
    }
}

fn software(smoke: &Smoke) -> Vec<String> {
    let version = smoke.nixl_version.as_deref().map(|version| format!("NIXL {version}"));
    let native = (smoke.engine == Some(SmokeEngine::Native)).then(|| "native engine".to_string());
    version.into_iter().chain(native).collect()
}

fn used(page: &mut Page, smoke: &Smoke) {
    if let Some(library) = &smoke.nixl_library {
        page.line(format_args!("  library: {}", library.shown()));
    }
    if let Some(folder) = &smoke.plugin_dir {
        page.line(format_args!("  plugins: {}", folder.shown()));
    }
    for library in &smoke.loaded {
        let version = library.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
        page.line(format_args!("  loaded: {}{version}", library.path));
    }
    if let Some(library) = &smoke.native_library {
        page.line(format_args!("  library: {}, version {}", library.path, library.version));
    }
    if let Some(gpu) = &smoke.gpu {
        page.line(format_args!("  NVIDIA driver: {}", gpu.driver));
    }
    // Smoke::environment has removed variables as `-NAME`.
    let (removed, added): (Vec<&str>, Vec<&str>) =
        smoke.environment.iter().map(String::as_str).partition(|variable| variable.starts_with('-'));
    if !added.is_empty() {
        page.line(format_args!("  added to the workers' environment: {}", added.join(" ")));
    }
    if !removed.is_empty() {
        let names: Vec<&str> = removed.iter().map(|variable| &variable[1..]).collect();
        page.line(format_args!("  removed from the workers' environment: {}", names.join(" ")));
    }
}

fn memory(smoke: &Smoke) -> String {
    let gpu = smoke.gpu.as_ref().map(|gpu| format!(" ({}, CUDA {})", gpu.name, gpu.cuda)).unwrap_or_default();
    smoke.memory.as_deref().map_or("unknown memory".into(), |memory| format!("{memory} to {memory}{gpu}"))
}

/// Bytes in the largest binary unit that leaves a whole number or two decimals.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.2} {name}", bytes as f64 / unit as f64),
        None if bytes == 1 => "1 byte".into(),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;
    use crate::report::fabric::{Fabric, Fabrics};
    use crate::report::smoke::{Gpu, NativeLibrary, PeerReport, PluginCheck};
    use crate::report::stage::Stage;

    fn show(list: &[Smoke]) -> String {
        shown(|page| {
            smokes(page, list, false);
            what_to_do(page, list);
        })
    }

    fn passed(backend: &str, fabric: Fabric) -> Smoke {
        Smoke {
            status: SmokeStatus::Passed,
            engine: Some(SmokeEngine::Nixl),
            chosen_backend: Some(backend.into()),
            fabric: Fabrics::of([fabric]),
            transports: vec!["cma/memory".into(), "tcp/lo".into()],
            memory: Some("dram".into()),
            bytes: 128 << 20,
            verified: true,
            latency_us: Some(2.71),
            bandwidth_gbit_s: Some(44.63),
            duration_ms: 1073.4,
            setup_ms: Some(763.2),
            nixl_version: Some("1.5.0".into()),
            ..Smoke::nothing_observed(backend)
        }
    }

    fn failed() -> Smoke {
        let failure = Failure {
            stage: Stage::Backend,
            message: "the initiator failed while creating the backend: nixlCreateBackend returned -2\nUCX's last words"
                .into(),
            advice: "look at the library's last words".into(),
        };
        Smoke { nixl_version: Some("1.5.0".into()), failure: Some(failure), ..Smoke::nothing_observed("UCX") }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size(128 << 20), "128 MiB");
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(2), "2 bytes");
        assert_eq!(size(1536), "1.50 KiB");
    }

    #[test]
    fn a_passed_transfer() {
        insta::assert_snapshot!(show(&[passed("UCX", Fabric::Shm)]));
    }

    #[test]
    fn a_passed_transfer_with_all_that_verbose_shows() {
        let smoke = Smoke {
            engine: Some(SmokeEngine::Native),
            memory: Some("vram:0".into()),
            gpu: Some(Gpu {
                name: "NVIDIA H100".into(),
                cuda: "13.0".into(),
                driver: "/usr/lib/x86_64-linux-gnu/libcuda.so.1".into(),
            }),
            native_library: Some(NativeLibrary { path: "libucp.so.0".into(), version: "1.22.0".into() }),
            plugin: Some(PluginCheck {
                path: "/site/libplugin_UCX.so".into(),
                loads: true,
                message: "libplugin_UCX.so of NIXL 0.9.0 would load".into(),
            }),
            environment: vec!["UCX_LOG_LEVEL=info".into(), "-NIXL_ETCD_ENDPOINTS".into(), "UCX_PROTO_INFO=y".into()],
            latency_us: None,
            bandwidth_gbit_s: None,
            setup_ms: None,
            ..passed("UCX", Fabric::GpuIpc)
        };
        insta::assert_snapshot!(shown(|page| smokes(page, &[smoke], true)));
    }

    #[test]
    fn a_failed_transfer() {
        insta::assert_snapshot!(show(&[failed()]));
    }

    #[test]
    fn a_skipped_transfer() {
        insta::assert_snapshot!(show(&[Smoke::skipped("UCX", "no NIXL is installed for /usr".into())]));
    }

    #[test]
    fn two_machines() {
        let smoke = Smoke {
            role: Some("initiator".into()),
            peer: Some(PeerReport {
                address: "10.0.0.2:7000".into(),
                host: "node-a".into(),
                nixl_version: Some("1.5.0".into()),
            }),
            ..passed("LIBFABRIC", Fabric::Efa)
        };
        insta::assert_snapshot!(show(&[smoke.clone(), smoke]));
    }

    #[test]
    fn several_transfers_share_one_list_of_warnings() {
        let everywhere =
            "`libfabric.so.1` is found only through `--library-path`\nhelp: add its folder to LD_LIBRARY_PATH";
        let slow = "this was not RDMA";
        let libfabric = Smoke {
            warnings: vec![everywhere.into(), slow.into(), slow.into()],
            stand_ins: vec!["libcuda.so.1".into()],
            ..passed("LIBFABRIC", Fabric::Tcp)
        };
        let both = Smoke {
            backend: Some("LIBFABRIC,UCX".into()),
            chosen_backend: Some("LIBFABRIC".into()),
            ..libfabric.clone()
        };
        let ucx = Smoke {
            warnings: vec![everywhere.into(), "a warning of UCX".into()],
            stand_ins: libfabric.stand_ins.clone(),
            ..passed("UCX", Fabric::Shm)
        };
        let reader = Smoke {
            peer_backend: Some("UCX".into()),
            ..Smoke::skipped("LIBFABRIC,UCX", "not tried, because LIBFABRIC has failed before".into())
        };
        insta::assert_snapshot!(show(&[libfabric, ucx, both, reader]));
    }

    #[test]
    fn a_librarys_escape_sequences_do_not_reach_a_stream_without_colours() {
        let mut smoke = failed();
        smoke.failure.as_mut().unwrap().message = "\u{1b}[31mUCX ERROR\u{1b}[0m no device".into();
        assert!(show(&[smoke]).contains("\n  UCX ERROR no device\n"));
    }
}
