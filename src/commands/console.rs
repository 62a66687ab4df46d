//! What is printed, and where: results on standard output, progress and log on standard error.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::ColorChoice;

use crate::cli::{OutputArgs, OutputFormat};
use crate::environment::variables::Variables;
use crate::exit_status::ExitStatus;
use crate::report::text::TextOptions;
use crate::report::{Report, json, text};

/// Prints for one run.
pub(super) struct Console<'a> {
    options: &'a OutputArgs,
    variables: &'a Variables,
    /// Standard output carries a source text; the report goes to standard error.
    source_on_stdout: bool,
    shown_files: Cell<usize>,
}

impl<'a> Console<'a> {
    /// A console with these options.
    pub(super) fn new(options: &'a OutputArgs, variables: &'a Variables, source_on_stdout: bool) -> Self {
        Console { options, variables, source_on_stdout, shown_files: Cell::new(0) }
    }

    /// Shows what became of the files, before something begins that takes longer. One document is printed at the end.
    ///
    /// # Errors
    /// Where standard output is closed or full.
    pub(super) fn show_files(&self, report: &Report) -> Result<()> {
        if self.options.output_format != OutputFormat::Text || self.options.quiet {
            return Ok(());
        }
        let text = text::render_files(&report.files[self.shown_files.get()..], self.text_options());
        self.shown_files.set(report.files.len());
        self.write(&text)
    }

    /// Ends a run: prints the report and gives the exit status.
    ///
    /// # Errors
    /// Where standard output is closed or full.
    pub(super) fn finish(&self, mut report: Report, outcome: Result<ExitStatus>) -> Result<ExitStatus> {
        let status = match outcome {
            Ok(status) => status,
            Err(error) => {
                report.error = Some(format!("{error:#}"));
                ExitStatus::Error
            }
        };
        report.exit_status = status.code();
        if let Some(error) = &report.error {
            eprintln!("nixl-retrofit: error: {error}");
        }
        match self.options.output_format {
            OutputFormat::Json => self.write(json::render(&report)?.as_bytes())?,
            OutputFormat::Text if self.options.quiet => {}
            OutputFormat::Text => {
                self.show_files(&report)?;
                self.write(&text::render_smokes(&report.smokes, self.text_options()))?;
            }
        }
        Ok(status)
    }

    /// Writes a source text to standard output.
    ///
    /// # Errors
    /// Where standard output is closed or full.
    pub(super) fn source(&self, bytes: &[u8]) -> Result<()> {
        io::stdout().write_all(bytes)?;
        Ok(io::stdout().flush()?)
    }

    /// A line that is replaced by the next one, on a terminal only; an empty one clears it.
    pub(super) fn progress(&self, line: &str) {
        if self.options.quiet || !io::stderr().is_terminal() {
            return;
        }
        eprint!("\r\x1b[K{line}");
        let _ = io::stderr().flush();
    }

    /// A line of the log.
    pub(super) fn log(&self, line: &str) {
        if self.options.quiet {
            return;
        }
        self.progress("");
        eprintln!("nixl-retrofit: {line}");
    }

    /// What is being done now: progress, and with -v a line of the log.
    pub(super) fn step(&self, line: &str) {
        if self.options.verbose > 0 {
            self.log(line);
        } else {
            self.progress(line);
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        if self.source_on_stdout {
            return Ok(io::stderr().write_all(bytes)?);
        }
        match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
            // A reader such as `head` that has seen enough is no fault.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    fn text_options(&self) -> TextOptions {
        let terminal = if self.source_on_stdout { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let no_color = self.variables.non_empty("NO_COLOR").is_some();
        let color = match self.options.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !no_color && self.variables.get("TERM").is_none_or(|term| term != "dumb"),
        };
        TextOptions { color, verbose: self.options.verbose > 0 }
    }
}
