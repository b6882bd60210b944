//! Text without the allocator: what is said of a failure must not fail itself. What does not fit is
//! cut off, which no sentence here comes near.

use core::fmt::{self, Write};
use core::ops::Deref;

/// At most `N` bytes of text, in place.
#[derive(Clone)]
pub struct Text<const N: usize = 1024> {
    len: usize,
    bytes: [u8; N],
}

/// As `format!`, into a [`Text`].
macro_rules! text {
    ($($args:tt)*) => { $crate::sys::text::Text::from_args(format_args!($($args)*)) };
}
pub(crate) use text;

impl<const N: usize> Text<N> {
    pub const fn new() -> Self {
        Self { len: 0, bytes: [0; N] }
    }

    pub fn from_args(args: fmt::Arguments<'_>) -> Self {
        let mut text = Self::new();
        let _ = text.write_fmt(args);
        text
    }

    /// One more of a list whose items stand apart by `between`.
    pub fn item(&mut self, between: &str, args: fmt::Arguments<'_>) {
        if self.len != 0 {
            let _ = self.write_str(between);
        }
        let _ = self.write_fmt(args);
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut fits = s.len().min(N - self.len);
        while !s.is_char_boundary(fits) {
            fits -= 1;
        }
        self.bytes[self.len..self.len + fits].copy_from_slice(&s.as_bytes()[..fits]);
        self.len += fits;
        Ok(())
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;
    fn deref(&self) -> &str {
        // Only whole characters are ever added.
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl<const N: usize> From<&str> for Text<N> {
    fn from(s: &str) -> Self {
        Self::from_args(format_args!("{s}"))
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
    }
}
