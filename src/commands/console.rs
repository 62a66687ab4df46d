//! What is printed, and where: results on standard output, progress and log on standard error.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::time::Duration;

use anstream::AutoStream;
use anyhow::{Result, bail};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::{message, summary};
use crate::cli::{OutputArgs, OutputFormat};
use crate::exit_status::ExitStatus;
use crate::report::finding::{Finding, Severity};
use crate::report::smoke::SmokeStatus;
use crate::report::text::Page;
use crate::report::{Report, github, json, sarif, text};
use crate::smoke::two_machines::Observer;

/// How often the spinner turns. The transfer needs the processors more than it does.
const TICK: Duration = Duration::from_millis(250);

/// A line of progress, on a terminal only.
pub(super) struct Counter(Option<ProgressBar>);

impl Counter {
    /// Shows this text.
    pub(super) fn show(&self, line: &str) {
        if let Some(spinner) = self.0.as_ref().filter(|spinner| !spinner.is_hidden()) {
            spinner.set_message(line.to_string());
        }
    }
}

/// Prints for one run.
pub(super) struct Console<'a> {
    options: &'a OutputArgs,
    /// Standard output carries a source text; the report goes to standard error.
    source_on_stdout: bool,
    shown_files: Cell<usize>,
    spinner: RefCell<Option<ProgressBar>>,
}

impl<'a> Console<'a> {
    /// A console with these options.
    pub(super) fn new(options: &'a OutputArgs, source_on_stdout: bool) -> Self {
        // A document is never beside a source: `sources_alone` refuses that.
        let source_on_stdout = source_on_stdout && options.output_format == OutputFormat::Text;
        Console { options, source_on_stdout, shown_files: Cell::new(0), spinner: RefCell::new(None) }
    }

    /// Shows the files of the report now, before something that takes longer. JSON is one document, printed at the end.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub(super) fn show_files(&self, report: &Report) -> Result<()> {
        if self.options.output_format != OutputFormat::Text || self.options.quiet {
            return Ok(());
        }
        let mut page = self.page();
        text::files(&mut page, &report.files[self.shown_files.get()..], self.is_verbose());
        self.shown_files.set(report.files.len());
        self.write(page.as_bytes())
    }

    /// Ends a run: prints its error and its report, and returns the exit status.
    ///
    /// # Errors
    /// If the report cannot be written, and the run changed no file.
    pub(super) fn finish(&self, mut report: Report, outcome: Result<ExitStatus>) -> Result<ExitStatus> {
        let changed = report.changed_files();
        // `ExitStatus::Error` promises that nothing was changed.
        let worst = if changed { ExitStatus::Findings } else { ExitStatus::Error };
        let status = outcome.unwrap_or_else(|error| {
            report.error = Some(format!("{error:#}"));
            message::error(&error);
            worst
        });
        report.exit_status = status.code();
        match self.show(&report) {
            Ok(()) => Ok(status),
            Err(error) if changed => {
                // The error of the run may have been this one.
                if report.error.is_none() {
                    let context = "the files are changed, but the report cannot be written to standard output";
                    message::error(&error.context(context));
                }
                Ok(worst)
            }
            Err(error) => Err(error),
        }
    }

    /// Prints the report in the format that was asked for.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub(super) fn show(&self, report: &Report) -> Result<()> {
        match self.options.output_format {
            OutputFormat::Json => self.write(json::render(report)?.as_bytes()),
            OutputFormat::Sarif => self.write(sarif::render(report)?.as_bytes()),
            OutputFormat::Github => {
                summary::append(report);
                self.write(github::render(report).as_bytes())
            }
            OutputFormat::Text if self.options.quiet => Self::show_failures(report),
            OutputFormat::Text => {
                self.show_files(report)?;
                let mut page = self.page();
                report.audit.iter().for_each(|audit| text::audit(&mut page, audit, self.is_verbose()));
                report.doctor.iter().for_each(|doctor| text::doctor(&mut page, doctor, self.is_verbose()));
                text::smokes(&mut page, &report.smokes, self.is_verbose());
                // The text of an audit has a line for each place already, and a failed transfer says what it failed by.
                let is_shown = |it: &&Finding| {
                    report.audit.is_some() && it.line.is_some()
                        || !report.smokes.is_empty() && it.severity == Severity::Error
                };
                let findings = report.findings.iter().filter(|finding| !is_shown(finding));
                text::findings(&mut page, findings);
                text::what_to_do(&mut page, &report.smokes);
                self.write(page.as_bytes())
            }
        }
    }

    /// A failed transfer is an error, which `--quiet` prints. What is found is told by the exit status alone.
    fn show_failures(report: &Report) -> Result<()> {
        if report.smokes.iter().all(|smoke| smoke.status != SmokeStatus::Failed) {
            return Ok(());
        }
        let mut page = Page::new(AutoStream::choice(&io::stderr()));
        text::smokes(&mut page, &report.smokes, false);
        text::what_to_do(&mut page, &report.smokes);
        Ok(io::stderr().write_all(page.as_bytes())?)
    }

    /// Makes sure that standard output may carry a source text.
    ///
    /// # Errors
    /// If a document was asked for, which goes there too.
    pub(super) fn sources_alone(&self) -> Result<()> {
        let Some(format) = self.options.output_format.to_possible_value() else { return Ok(()) };
        if self.options.output_format == OutputFormat::Text {
            return Ok(());
        }
        bail!(
            "with `-`, standard output carries the source, not a report\nhelp: drop `--output-format {}`, or run `check -`",
            format.get_name()
        )
    }

    /// Writes a source text to standard output.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub(super) fn source(&self, bytes: &[u8]) -> Result<()> {
        io::stdout().write_all(bytes)?;
        Ok(io::stdout().flush()?)
    }

    /// Shows a spinner with this text, on a terminal only.
    pub(super) fn progress(&self, line: &str) {
        if self.options.quiet {
            return;
        }
        self.spinner.borrow_mut().get_or_insert_with(spinner).set_message(line.to_string());
    }

    /// What several threads show their progress with.
    pub(super) fn counter(&self) -> Counter {
        if self.options.quiet {
            return Counter(None);
        }
        Counter(Some(self.spinner.borrow_mut().get_or_insert_with(spinner).clone()))
    }

    /// Removes the spinner.
    pub(super) fn end_progress(&self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }

    fn page(&self) -> Page {
        Page::new(if self.source_on_stdout {
            AutoStream::choice(&io::stderr())
        } else {
            AutoStream::choice(&io::stdout())
        })
    }

    fn is_verbose(&self) -> bool {
        self.options.verbose > 0
    }

    /// Writes bytes as they are: the page has the styles that the stream takes.
    fn write(&self, bytes: &[u8]) -> Result<()> {
        if self.source_on_stdout {
            return Ok(io::stderr().write_all(bytes)?);
        }
        match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
            // A reader such as `head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => Ok(outcome?),
        }
    }
}

impl Observer for Console<'_> {
    /// Progress, and with -v a line of the log.
    fn stage(&self, line: &str) {
        if self.is_verbose() {
            self.log(line);
        } else {
            self.progress(line);
        }
    }

    fn log(&self, line: &str) {
        if self.options.quiet {
            return;
        }
        match &*self.spinner.borrow() {
            Some(spinner) => spinner.suspend(|| message::log(line)),
            None => message::log(line),
        }
    }

    fn done(&self) {
        self.end_progress();
    }
}

/// indicatif draws on standard error, and only if that is a terminal; only then is a thread needed to turn it.
fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        spinner.set_style(style);
    }
    if !spinner.is_hidden() {
        spinner.enable_steady_tick(TICK);
    }
    spinner
}
