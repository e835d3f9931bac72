//! How what has a text, a page and a model is printed and written: the same options of `flatline compare` and of
//! `flatline history`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::told::Told;
use crate::report::{PageError, ReportError};

/// How it is printed, and where it is written.
#[derive(Args, Debug)]
pub struct PrintingArgs {
    /// Writes the page, the pictures, Markdown and JSON into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// A form in which it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal
    Text,
    /// One JSON document
    Json,
    /// For a comment
    Markdown,
    /// A page that asks nobody for anything
    Html,
}

/// What makes each form of a model; JSON is the model itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms<T> {
    pub(super) text: fn(&T) -> String,
    pub(super) markdown: fn(&T) -> String,
    pub(super) page: fn(&T) -> Result<String, PageError>,
    /// Writes all of them into a folder; the paths.
    pub(super) files: fn(&Path, &T) -> Result<Vec<PathBuf>, ReportError>,
}

impl PrintingArgs {
    /// Prints a model as it was asked for, and writes it where that was asked for as well.
    ///
    /// # Errors
    /// Where a page can't be made, or a file can't be written.
    pub(super) fn told<T: Serialize>(&self, model: &T, forms: Forms<T>, code: u8) -> anyhow::Result<Told> {
        let printed = match if self.json { Format::Json } else { self.format } {
            Format::Text => (forms.text)(model),
            Format::Json => serde_json::to_string_pretty(model)?,
            Format::Markdown => (forms.markdown)(model),
            Format::Html => (forms.page)(model)?,
        };
        let written = self.out.as_ref().map(|out| (forms.files)(out, model)).transpose()?;
        let said = written.unwrap_or_default().iter().map(|path| path.display().to_string()).collect();
        Ok(Told { printed, said, code })
    }
}
