//! A model inside the program, which the feature `bundled` puts there.

/// What the path of the model inside the program begins with; after it comes the name of the file that it
/// was.
const PREFIX: &str = "bundled:";

/// Bytes at an address of a cache line.
#[cfg(feature = "bundled")]
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

#[cfg(feature = "bundled")]
static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("LANEWISE_BUNDLED_PATH")));

/// The bytes of the model inside the program, if there is one.
fn model() -> Option<&'static [u8]> {
    #[cfg(feature = "bundled")]
    return Some(&MODEL.0);
    #[cfg(not(feature = "bundled"))]
    None
}

/// What stands for the path of the model inside the program: `bundled:` and the name of the file that it
/// was. `None` if there is no model inside.
pub fn bundled_path() -> Option<String> {
    let name = option_env!("LANEWISE_BUNDLED_NAME").unwrap_or_default();
    model().map(|_| format!("{PREFIX}{name}"))
}

/// The bytes of the model inside the program, if `path` stands for it.
pub(super) fn bundled(path: &std::path::Path) -> Option<&'static [u8]> {
    let path = path.to_str()?;
    model().filter(|_| bundled_path().as_deref() == Some(path))
}
