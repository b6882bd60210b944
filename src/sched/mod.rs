//! Who runs next, and who sleeps until when.

pub mod deadline;
pub mod ready;
