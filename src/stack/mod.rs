//! Stacks: where they lie, who has them, and the switch between them. The only importer of
//! corosensei.

pub mod pool;
pub mod slab;
pub mod switch;
