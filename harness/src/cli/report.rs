//! `flatline report`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::cli::exit::MET;
use crate::cli::told::Told;
use crate::report;
use crate::run::so_far;

pub(super) const REPORT_HELP: &str = "\
Examples:
  flatline report reports/20261124T210835Z-quick
  flatline report reports/20261124T210835Z-quick --open";

/// Options of `flatline report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The run directory
    pub run_dir: PathBuf,
    /// Opens report.html, with xdg-open
    #[arg(long)]
    pub open: bool,
    /// Prints the page alone on standard output and writes no file, also while the run goes on
    #[arg(long, conflicts_with = "open")]
    pub page: bool,
}

impl ReportArgs {
    /// Draws it.
    ///
    /// # Errors
    /// Where the run can't be read, a file can't be written, or the page can't be opened.
    pub fn carry_out(&self) -> anyhow::Result<Told> {
        let result = so_far::read(&self.run_dir)?;
        let told = |printed| Told { printed, said: Vec::new(), code: MET };
        if self.page {
            return Ok(told(report::page(&result)?));
        }
        let written = report::write_all(&self.run_dir, &result)?;
        if self.open {
            open_page(&self.run_dir.join(report::PAGE))?;
        }
        let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        Ok(told(written.join("\n")))
    }
}

/// With whatever this desktop opens pages with.
fn open_page(page: &Path) -> anyhow::Result<()> {
    let opened = std::process::Command::new("xdg-open").arg(page).status();
    let page = page.display();
    let status = opened.with_context(|| {
        format!("can't start xdg-open (package xdg-utils); the page is written: open {page} in a browser")
    })?;
    anyhow::ensure!(
        status.success(),
        "xdg-open could not open the page ({status}); it is written: open {page} in a browser"
    );
    Ok(())
}
