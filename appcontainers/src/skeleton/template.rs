//! Renders one template. It sees what it is given and nothing else: no files, no other templates.

use std::{
    io::{self, Write},
    path::Path,
};

use tera::{Context, ErrorKind, Tera};

use super::{SkeletonContext, SkeletonError, find::MAX_FILE_BYTES};

/// What all templates of one rendering share.
pub(super) struct Renderer {
    tera: Tera,
    context: Context,
}

impl Renderer {
    pub(super) fn new(reservation: &SkeletonContext) -> Self {
        let mut context = Context::new();
        context.insert("reservation", reservation);
        Self { tera: Tera::new(), context }
    }

    /// The template's output; `path` is for errors.
    pub(super) fn render(&self, path: &Path, template: Vec<u8>) -> Result<Vec<u8>, SkeletonError> {
        let not_text = |_| SkeletonError::NotText { path: path.to_owned() };
        let template = String::from_utf8(template).map_err(not_text)?;
        let mut output = Limited { bytes: Vec::new(), is_full: false };
        let rendered = self.tera.render_str_to(&template, &self.context, false, &mut output);
        if output.is_full {
            return Err(SkeletonError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
        }
        rendered.map_err(|error| {
            let (line, message) = explain(&error);
            SkeletonError::Template { path: path.to_owned(), line, message }
        })?;
        Ok(output.bytes)
    }
}

/// The line and the reason, without the picture of the source that Tera draws.
fn explain(error: &tera::Error) -> (usize, String) {
    match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            (report.span().start_line, report.message().to_owned())
        }
        // What is unknown is told as text only: `error: REASON`, then ` --> NAME:LINE:COLUMN`.
        kind => {
            let text = kind.to_string();
            let reason = text.lines().next().unwrap_or_default();
            let place = text.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
            let line = place.and_then(|place| place.rsplit(':').nth(1)).and_then(|line| line.parse().ok());
            (line.unwrap_or(1), reason.strip_prefix("error: ").unwrap_or(reason).to_owned())
        }
    }
}

/// Takes so many bytes and no more: a loop in a template must not fill the memory.
struct Limited {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_FILE_BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
