//! `.aimg`, version 1: an image as one file. `docs/aimg.md` is its specification.
//!
//! Reading checks everything that the file says about itself; the layers' digests are checked where their
//! bytes are read, by [`crate::image::Store::load`] or [`Aimg::verify_layers`].

mod error;
mod footer;
mod reader;
mod writer;

pub use error::AimgError;
pub use footer::{FOOTER_BYTES, FORMAT_VERSION, Footer, MAGIC};
pub use reader::Aimg;
pub use writer::{Carry, write};
