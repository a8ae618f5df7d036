//! Files that are mapped, that are not, and that change meanwhile.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use lanewise_map::{Change, Map, OpenError};

fn file(contents: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(contents).unwrap();
    file
}

#[test]
fn a_map_has_the_bytes_of_its_file() {
    let file = file(b"0123456789");
    let map = Map::open(file.path()).unwrap();
    assert_eq!(&map[..], b"0123456789");
    let mut copy = [0; 3];
    map.copy(4, &mut copy).unwrap();
    assert_eq!(&copy, b"456");
    assert!(map.copy(8, &mut copy).is_err());
    map.prefault(0..10);
    assert!(map.is_unchanged());
    assert_eq!(map.identity().unwrap().0[0], 10);
}

#[test]
fn what_cannot_be_mapped_is_refused_by_its_kind() {
    let empty = file(b"");
    let directory = tempfile::tempdir().unwrap();
    let error = |path: &Path| Map::open(path).unwrap_err();
    assert!(matches!(error(empty.path()), OpenError::Empty));
    assert!(matches!(error(directory.path()), OpenError::Directory));
    #[cfg(unix)]
    assert!(matches!(
        error(Path::new("/dev/null")),
        OpenError::NotRegular
    ));
    let missing = error(&directory.path().join("missing"));
    assert!(matches!(
        missing,
        OpenError::Io {
            action: "cannot open",
            ..
        }
    ));
}

#[test]
fn a_write_and_a_cut_are_told_apart() {
    let file = file(b"0123456789");
    let map = Map::open(file.path()).unwrap();
    File::options()
        .append(true)
        .open(file.path())
        .unwrap()
        .write_all(b"more")
        .unwrap();
    assert!(matches!(map.check_unchanged(), Err(Change::Written)));
    File::options()
        .write(true)
        .open(file.path())
        .unwrap()
        .set_len(4)
        .unwrap();
    let change = map.check_unchanged();
    assert!(matches!(
        change,
        Err(Change::CutShort {
            before: 10,
            after: 4
        })
    ));
}

#[test]
fn a_file_renamed_over_the_path_changes_nothing() {
    let mapped = file(b"0123456789");
    let map = Map::open(mapped.path()).unwrap();
    let other = file(b"another file");
    fs::rename(other.path(), mapped.path()).unwrap();
    assert_eq!(&map[..], b"0123456789");
    assert!(map.is_unchanged());
}
