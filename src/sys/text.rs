//! Text that cannot fail: what is said of a failure must not fail itself. What does not fit is cut
//! off, which no sentence here comes near. Where memory ends, a literal says so; a literal takes
//! none.

use core::alloc::Layout;
use core::fmt::{self, Write};
use core::ops::Deref;

/// At most `N` bytes of text, on the heap: it is handed through many frames, and who makes an
/// executor may have a small stack.
pub struct Text<const N: usize = 2048> {
    literal: &'static str,
    /// Instead of the literal, and how much of it.
    bytes: Option<Box<[u8; N]>>,
    len: usize,
}

/// As `format!`, into a [`Text`].
macro_rules! text {
    ($($args:tt)*) => { $crate::sys::text::Text::from_args(format_args!($($args)*)) };
}
pub(crate) use text;

impl<const N: usize> Text<N> {
    const NO_MEMORY: &'static str = "no memory for the sentence that would say why";

    pub const fn new() -> Self {
        Self { literal: "", bytes: None, len: 0 }
    }

    pub(crate) fn from_args(args: fmt::Arguments<'_>) -> Self {
        let mut text = Self::new();
        let _ = text.write_fmt(args);
        text
    }

    /// One more of a list whose items stand apart by `between`.
    pub fn item(&mut self, between: &str, args: fmt::Arguments<'_>) {
        if !self.is_empty() {
            let _ = self.write_str(between);
        }
        let _ = self.write_fmt(args);
    }

    /// The bytes to write to, which begin with the literal; None where memory ends.
    fn bytes(&mut self) -> Option<&mut [u8; N]> {
        if self.bytes.is_none() {
            const { assert!(N != 0) };
            // SAFETY: not a zero-sized layout; zeros are N bytes, from the allocator that Box frees
            // to.
            self.bytes = unsafe {
                let at = std::alloc::alloc_zeroed(Layout::new::<[u8; N]>()).cast::<[u8; N]>();
                (!at.is_null()).then(|| Box::from_raw(at))
            };
            let literal = self.literal;
            if self.bytes.is_some() {
                self.append(literal);
            } else {
                self.literal = Self::NO_MEMORY;
            }
        }
        self.bytes.as_deref_mut()
    }

    fn append(&mut self, s: &str) {
        let len = self.len;
        let Some(bytes) = &mut self.bytes else { return };
        let mut fits = s.len().min(N - len);
        while !s.is_char_boundary(fits) {
            fits -= 1;
        }
        bytes[len..len + fits].copy_from_slice(&s.as_bytes()[..fits]);
        self.len += fits;
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Clone for Text<N> {
    fn clone(&self) -> Self {
        match self.bytes {
            None => Self::from(self.literal),
            Some(_) => Self::from_args(format_args!("{self}")),
        }
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        if self.bytes().is_some() {
            self.append(s);
        }
        Ok(())
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;
    fn deref(&self) -> &str {
        match &self.bytes {
            None => self.literal,
            // Only whole characters are ever added.
            Some(bytes) => core::str::from_utf8(&bytes[..self.len]).unwrap_or_default(),
        }
    }
}

impl<const N: usize> From<&'static str> for Text<N> {
    fn from(literal: &'static str) -> Self {
        Self { literal, bytes: None, len: 0 }
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl<const N: usize> Eq for Text<N> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_cut_at_a_character() {
        let t: Text<5> = text!("{}", "äöü");
        assert_eq!(&*t, "äö");
        let mut list: Text<16> = Text::new();
        list.item(", ", format_args!("a"));
        list.item(", ", format_args!("b"));
        assert_eq!(&*list, "a, b");
        let mut begun: Text = "no memory".into();
        assert_eq!(&*begun, "no memory");
        begun.item("; ", format_args!("none"));
        assert_eq!((&*begun, &*begun.clone()), ("no memory; none", "no memory; none"));
    }
}
