//! The kernel's own `clock_gettime` in this process (the vDSO), called without the C library, which
//! looks at the clock's number and at its own table first: a third of what the coarse clock takes.
//!
//! 1. The vDSO is an ELF image that lies in memory as in its file, beginning at the address of
//!    AT_SYSINFO_EHDR. Valgrind says that there is none.
//! 2. It is read as bytes, and each place in it is looked up with its bounds: what does not look as
//!    it should is no vDSO, and nothing of it is called.
//! 3. How many symbols there are is known by either hash table: kernels had the one, both, or the
//!    other.

use core::ffi::c_int;

/// As the C library's `clock_gettime`, but the negated errno.
pub type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

const NAME: &[u8] =
    if cfg!(target_arch = "aarch64") { b"__kernel_clock_gettime" } else { b"__vdso_clock_gettime" };

/// `None`: not there.
pub fn clock_gettime() -> Option<ClockGettime> {
    let image = image()?;
    let at = find(image, NAME)?;
    // SAFETY: a function of that name has had this type since there is a vDSO; it is within the
    // image, whose memory is never unmapped.
    Some(unsafe { core::mem::transmute::<*const u8, ClockGettime>(image[at..].as_ptr()) })
}

/// Rule 1.
fn image() -> Option<&'static [u8]> {
    if cfg!(miri) {
        return None;
    }
    // SAFETY: getauxval takes no pointer.
    let at = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    if at == 0 {
        return None;
    }
    let at = core::ptr::with_exposed_provenance::<u8>(at);
    // SAFETY: the kernel has mapped a page there at least, for the life of the process.
    let page = unsafe { core::slice::from_raw_parts(at, 4096) };
    let (_, bytes) = loaded(page)?;
    // SAFETY: so long is what the kernel has mapped, as its header says.
    Some(unsafe { core::slice::from_raw_parts(at, bytes) })
}

const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;
const HASH: u64 = 4;
const STRTAB: u64 = 5;
const SYMTAB: u64 = 6;
const GNU_HASH: u64 = 0x6fff_fef5;
const SYMBOL_BYTES: usize = 24;
const FUNCTION: u64 = 2;

/// A number of so many bytes.
fn number(image: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let of = image.get(at..at.checked_add(bytes)?)?;
    Some(of.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
}

fn word(image: &[u8], at: usize) -> Option<u64> {
    number(image, at, 8)
}

fn half(image: &[u8], at: usize) -> Option<usize> {
    Some(number(image, at, 4)? as usize)
}

/// The program header of this type: where it is.
fn segment(image: &[u8], of: u64) -> Option<usize> {
    // 64 bits, the bytes of a number from the low one up.
    if image.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (first, count) = (word(image, 32)? as usize, number(image, 56, 2)? as usize);
    let headers = (0..count).map_while(|n| first.checked_add(n * 56));
    headers.take_while(|&at| at < image.len()).find(|&at| number(image, at, 4) == Some(of))
}

/// What its addresses count from, and its bytes.
fn loaded(image: &[u8]) -> Option<(usize, usize)> {
    let at = segment(image, LOAD)?;
    let [from, address, bytes] = [8, 16, 32].map(|field| word(image, at + field));
    let bytes = from?.checked_add(bytes?)?;
    // Some pages are what it has; a header that says more says nothing.
    let plausible = (64..=1 << 20).contains(&bytes);
    plausible.then_some((address?.checked_sub(from?)? as usize, bytes as usize))
}

/// Where the function begins.
fn find(image: &[u8], name: &[u8]) -> Option<usize> {
    let (base, _) = loaded(image)?;
    let dynamic = word(image, segment(image, DYNAMIC)? + 8)? as usize;
    let entry = |tag: u64| {
        let entries = (0..64).map_while(|n| {
            let at = dynamic.checked_add(n * 16)?;
            Some((word(image, at)?, word(image, at + 8)? as usize))
        });
        let found = entries.take_while(|e| e.0 != 0).find(|e| e.0 == tag)?;
        found.1.checked_sub(base)
    };
    let (symbols, names) = (entry(SYMTAB)?, entry(STRTAB)?);
    let count = match entry(HASH) {
        Some(table) => half(image, table.checked_add(4)?)?,
        None => counted(image, entry(GNU_HASH)?)?,
    };
    let is_it = |at: usize| {
        let text = names.checked_add(half(image, at)?)?;
        let is_named = image.get(text..text.checked_add(name.len())?)? == name;
        let ends = *image.get(text.checked_add(name.len())?)? == 0;
        let is_here = number(image, at + 6, 2)? != 0;
        let is_function = number(image, at + 4, 1)? & 15 == FUNCTION;
        (is_named && ends && is_here && is_function).then_some(())
    };
    let at = (1..count)
        .map_while(|n| symbols.checked_add(n.checked_mul(SYMBOL_BYTES)?))
        .take_while(|&at| at < image.len())
        .find(|&at| is_it(at).is_some())?;
    let begins = (word(image, at + 8)? as usize).checked_sub(base)?;
    (begins != 0 && begins < image.len()).then_some(begins)
}

/// Rule 3: the last symbol of the last chain, and one.
fn counted(image: &[u8], table: usize) -> Option<usize> {
    let [buckets, first, filters, _] = [0, 4, 8, 12].map(|field| half(image, table + field));
    let at = table.checked_add(16)?.checked_add(filters?.checked_mul(8)?)?;
    let last =
        (0..buckets?).map_while(|n| half(image, at.checked_add(n.checked_mul(4)?)?)).max()?;
    let chains = at.checked_add(buckets?.checked_mul(4)?)?;
    let chain = |n: usize| half(image, chains.checked_add(n.checked_sub(first?)?.checked_mul(4)?)?);
    let end = (last..).map_while(|n| Some((n, chain(n)?))).find(|(_, hash)| hash & 1 != 0)?;
    Some(end.0 + 1)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::sys::clock;

    /// A copy of the vDSO, to be broken.
    fn copy() -> Option<Vec<u8>> {
        image().map(<[u8]>::to_vec)
    }

    /// The place of an entry's tag.
    fn tag_at(image: &[u8], tag: u64) -> Option<usize> {
        let dynamic = word(image, segment(image, DYNAMIC)? + 8)? as usize;
        (0..64).map(|n| dynamic + n * 16).find(|&at| word(image, at) == Some(tag))
    }

    #[test]
    fn what_is_found_is_the_clock() {
        let Some(read) = clock_gettime() else {
            assert!(image().is_none(), "a vDSO without its clock");
            return println!("skipped: vdso: none here");
        };
        for _ in 0..1000 {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let before = clock::raw_ns();
            // SAFETY: fills in a timespec of our own.
            assert_eq!(unsafe { read(libc::CLOCK_MONOTONIC_RAW, &mut now) }, 0);
            let ns = now.tv_sec as u64 * clock::NS_PER_S + now.tv_nsec as u64;
            assert!((before..=clock::raw_ns()).contains(&ns));
        }
    }

    /// Kernels have had the one table, both, or the other.
    #[test]
    fn by_either_table() {
        let Some(mut image) = copy() else { return println!("skipped: vdso: none here") };
        let found = find(&image, NAME);
        assert!(found.is_some());
        let tables = [HASH, GNU_HASH].map(|tag| tag_at(&image, tag));
        for at in tables.into_iter().flatten() {
            let without = image.clone();
            image[at..at + 8].copy_from_slice(&0x7777_u64.to_le_bytes());
            let has_other = tables.iter().flatten().any(|&other| other != at);
            assert_eq!(find(&image, NAME), found.filter(|_| has_other));
            image = without;
        }
        assert_eq!(find(&image, b"__vdso_clock_gettim"), None, "the beginning of a name");
        assert_eq!(find(&image, b"LINUX_2.6"), None, "no function");
    }

    /// Rule 2. Whatever is wrong with it, nothing beyond its end is read, and nothing there called.
    #[test]
    fn what_is_no_vdso_is_none() {
        let Some(image) = copy() else { return println!("skipped: vdso: none here") };
        for end in 0..image.len() {
            assert!(find(&image[..end], NAME).is_none_or(|at| at < end));
        }
        let mut wrong = image.clone();
        for at in 0..image.len().min(0x800) {
            for byte in [0, 0x7f, 0xff, image[at] ^ 0x80] {
                wrong[at] = byte;
                assert!(find(&wrong, NAME).is_none_or(|at| at < wrong.len()));
            }
            wrong[at] = image[at];
        }
    }
}
