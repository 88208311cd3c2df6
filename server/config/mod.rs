//! Configuration: what directives there are, their values, and the file they
//! are read from.
//!
//! Each directive is declared once, in [`table`]; reading a file or the
//! command line ([`file`]), CONFIG GET and SET ([`store`]) and CONFIG REWRITE
//! ([`rewrite`]) all follow from the declaration. This module applies nothing:
//! whoever changes a value hears which directives changed and acts on them.

pub mod directive;
pub mod file;
pub mod rewrite;
pub mod store;
pub mod table;
pub mod value;

pub use directive::{Directive, DirectiveId, Kind, Traits};
pub use store::{Config, ConfigError, SetContext};
pub use table::id;
pub use value::Value;

#[cfg(test)]
mod tests;
