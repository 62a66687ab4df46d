//! The report for people. The diff stays one that `patch -p1` and `git apply` accept: what is said besides stands
//! behind it, in lines that no patch begins with.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::file::{Action, FileReport, FileStatus, SiteReport};
use super::smoke::{Smoke, SmokeEngine, SmokeStatus};

/// How a text report is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TextOptions {
    /// Whether with colours.
    pub color: bool,
    /// Whether with the details.
    pub verbose: bool,
}

/// What became of files, as bytes: a diff keeps its file's encoding.
pub(crate) fn render_files(files: &[FileReport], options: TextOptions) -> Vec<u8> {
    let paint = Paint { color: options.color };
    let mut output = Vec::new();
    // What a file failed with is the error that the run ends with, and is said there, once.
    for file in files.iter().filter(|file| file.status != FileStatus::Failed) {
        output.extend(paint.diff(&file.diff));
        output.extend(file_lines(file, options, paint).into_bytes());
    }
    output
}

/// What became of transfers.
pub(crate) fn render_smokes(smokes: &[Smoke], options: TextOptions) -> Vec<u8> {
    let paint = Paint { color: options.color };
    smokes.iter().flat_map(|smoke| smoke_lines(smoke, options, paint).into_bytes()).collect()
}

fn file_lines(file: &FileReport, options: TextOptions, paint: Paint) -> String {
    let mut text = String::new();
    let (word, style) = status_words(file.status);
    let _ = writeln!(text, "{} {}{}", paint.with(style, word), file.path.display(), owner(file));
    for site in &file.sites {
        let _ = writeln!(text, "  {}", site_words(site, file.status));
    }
    if file.sites.is_empty() && file.status == FileStatus::NothingToPatch {
        let _ = writeln!(text, "  no call in it creates a NIXL agent");
    }
    let details = file.details.iter().filter(|_| options.verbose);
    for line in file.notes.iter().chain(details) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn status_words(status: FileStatus) -> (&'static str, Style) {
    match status {
        FileStatus::Patched => ("patched:", good()),
        FileStatus::WouldPatch => ("would patch:", warning()),
        FileStatus::AlreadyPatched => ("already patched:", good()),
        FileStatus::EnvAware => ("reads the environment already, left as it is:", good()),
        FileStatus::Configured => ("chooses its own backends, left as it is:", warning()),
        FileStatus::NothingToPatch => ("nothing to patch:", warning()),
        FileStatus::Reverted => ("reverted:", good()),
        FileStatus::Failed => ("failed:", bad()),
    }
}

fn owner(file: &FileReport) -> String {
    match (&file.distribution, &file.distribution_version) {
        (Some(name), Some(version)) => format!(" ({name} {version})"),
        (Some(name), None) => format!(" ({name})"),
        _ => String::new(),
    }
}

fn site_words(site: &SiteReport, status: FileStatus) -> String {
    let function = site.function.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
    let action = match site.action {
        Action::Rewrite if status == FileStatus::WouldPatch => "to be rewritten",
        Action::Rewrite | Action::Done => "rewritten",
        Action::Leave => "left as it is",
    };
    format!("line {}, column {}{function}: {action}; {}", site.line, site.column, site.reason)
}

fn smoke_lines(smoke: &Smoke, options: TextOptions, paint: Paint) -> String {
    let backend = &title(smoke);
    let mut text = String::new();
    match smoke.status {
        SmokeStatus::Passed => passed_lines(&mut text, smoke, backend, paint),
        SmokeStatus::Failed => failed_lines(&mut text, smoke, backend, paint),
        SmokeStatus::Skipped => {
            let reason = smoke.reason.as_deref().unwrap_or("not asked for");
            let _ = writeln!(text, "{} {backend}: {reason}", paint.with(warning(), "smoke skipped:"));
        }
    }
    if let (Some(peer), Some(role)) = (&smoke.peer, &smoke.role) {
        let _ = writeln!(text, "  the {role} ran here, the other end on {} ({})", peer.host, peer.address);
    }
    if let Some(plugin) = smoke.plugin.as_ref().filter(|plugin| plugin.loads) {
        let _ = writeln!(text, "  {}", plugin.message);
    }
    for name in &smoke.stand_ins {
        let _ = writeln!(text, "  {name}: a stand-in was used; GPU memory cannot be tested");
    }
    for line in &smoke.warnings {
        let _ = writeln!(text, "  {}", paint.with(warning(), &format!("warning: {line}")));
    }
    if options.verbose {
        verbose_lines(&mut text, smoke);
    }
    text
}

/// `LIBFABRIC,UCX to UCX`.
fn title(smoke: &Smoke) -> String {
    let backend = smoke.backend.as_deref().unwrap_or("transfer");
    smoke.peer_backend.as_ref().map_or_else(|| backend.into(), |peer| format!("{backend} to {peer}"))
}

fn passed_lines(text: &mut String, smoke: &Smoke, backend: &str, paint: Paint) {
    let fabric = smoke.fabric.as_ref().map_or("a fabric that the library did not name".into(), ToString::to_string);
    let version = smoke.nixl_version.as_deref().map(|version| format!(", NIXL {version}")).unwrap_or_default();
    let engine = match smoke.engine {
        Some(SmokeEngine::Native) => ", native engine",
        _ => "",
    };
    let chosen = smoke.chosen_backend.as_ref().filter(|chosen| smoke.backend.as_ref() != Some(*chosen));
    let chosen = chosen.map(|chosen| format!(", of which NIXL chose {chosen},")).unwrap_or_default();
    let _ = writeln!(text, "{} {backend}{chosen} over {fabric}{version}{engine}", paint.with(good(), "smoke passed:"));
    let _ = writeln!(text, "  {} moved and compared, WRITE and READ together, {}", size(smoke.bytes), memory(smoke));
    if !smoke.transports.is_empty() {
        let _ = writeln!(text, "  transports: {}", smoke.transports.join(", "));
    }
    let latency = smoke
        .latency_us
        .map(|latency| format!("latency {latency:.1} us until a small WRITE is complete at its sender"));
    let bandwidth = smoke.bandwidth_gbit_s.map(|bandwidth| format!("bandwidth {bandwidth:.1} Gbit/s"));
    let setup = smoke.setup_ms.map(|setup| format!(", {setup:.0} ms of it set-up")).unwrap_or_default();
    let duration = Some(format!("{:.0} ms in all{setup}", smoke.duration_ms));
    let numbers: Vec<String> = [latency, bandwidth, duration].into_iter().flatten().collect();
    let _ = writeln!(text, "  {}", numbers.join(", "));
}

fn failed_lines(text: &mut String, smoke: &Smoke, backend: &str, paint: Paint) {
    let version = smoke.nixl_version.as_deref().map(|version| format!(", NIXL {version}")).unwrap_or_default();
    let Some(failure) = &smoke.failure else {
        let _ = writeln!(text, "{} {backend}{version}", paint.with(bad(), "smoke failed:"));
        return;
    };
    let _ =
        writeln!(text, "{} {backend}{version}, at the stage «{}»", paint.with(bad(), "smoke failed:"), failure.stage);
    for line in failure.message.lines() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "  {} {}", paint.with(bold(), "what to do:"), failure.advice);
}

fn verbose_lines(text: &mut String, smoke: &Smoke) {
    if let Some(library) = &smoke.nixl_library {
        let _ = writeln!(text, "  library: {}", library.display());
    }
    if let Some(library) = &smoke.native_library {
        let _ = writeln!(text, "  library: {}, version {}", library.path, library.version);
    }
    if let Some(gpu) = &smoke.gpu {
        let _ = writeln!(text, "  NVIDIA's driver: {}", gpu.driver);
    }
    if !smoke.environment.is_empty() {
        let _ = writeln!(text, "  the workers' environment differs from this one by: {}", smoke.environment.join(" "));
    }
}

fn memory(smoke: &Smoke) -> String {
    let gpu = smoke.gpu.as_ref().map(|gpu| format!(" ({}, CUDA {})", gpu.name, gpu.cuda)).unwrap_or_default();
    smoke.memory.as_deref().map_or("in memory of an unknown kind".into(), |memory| format!("{memory} to {memory}{gpu}"))
}

/// Bytes in the largest binary unit that leaves a whole number or two decimals.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.2} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

fn good() -> Style {
    Style::new().fg_color(Some(AnsiColor::Green.into())).bold()
}

fn warning() -> Style {
    Style::new().fg_color(Some(AnsiColor::Yellow.into())).bold()
}

fn bad() -> Style {
    Style::new().fg_color(Some(AnsiColor::Red.into())).bold()
}

fn bold() -> Style {
    Style::new().bold()
}

#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    fn diff(self, diff: &[u8]) -> Vec<u8> {
        if !self.color {
            return diff.to_vec();
        }
        let mut painted = Vec::with_capacity(diff.len() * 2);
        for line in diff.split_inclusive(|&byte| byte == b'\n') {
            let style = match line.first() {
                _ if line.starts_with(b"--- ") || line.starts_with(b"+++ ") => bold(),
                Some(b'@') => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
                Some(b'+') => Style::new().fg_color(Some(AnsiColor::Green.into())),
                Some(b'-') => Style::new().fg_color(Some(AnsiColor::Red.into())),
                _ => Style::new(),
            };
            let end = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |at| at + 1);
            painted.extend(style.to_string().as_bytes());
            painted.extend(&line[..end]);
            painted.extend(format!("{style:#}").as_bytes());
            painted.extend(&line[end..]);
        }
        painted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size(128 << 20), "128 MiB");
        assert_eq!(size(1), "1 bytes");
        assert_eq!(size(1536), "1.50 KiB");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let diff = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\r\n+b\n\\ No newline at end of file\n";
        let painted = String::from_utf8(Paint { color: true }.diff(diff)).unwrap();
        assert!(painted.contains("\u{1b}[32m+b\u{1b}[0m\n"), "{painted:?}");
        assert_eq!(Paint { color: false }.diff(diff), diff);
    }
}
