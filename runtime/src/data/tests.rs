#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;

use tidings_proto::NodeId;

use super::*;

#[test]
fn a_directory_belongs_to_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let first = DataDir::open(&path).unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert!(matches!(error, DataError::InUse { .. }), "{error}");
    assert!(error.to_string().ends_with("is in use by another process"), "{error}");
    drop(first);
    DataDir::open(&path).unwrap();
}

#[test]
fn each_life_is_newer_and_the_key_stays() {
    let dir = tempfile::tempdir().unwrap();
    let first = DataDir::open(dir.path()).unwrap();
    let (key, life) = (first.key().node_id(), first.incarnation());
    assert!(life.0 > 1_600_000_000_000, "not before 2020: {life:?}");
    let far = Incarnation(life.0 + 1_000_000);
    first.save_incarnation(far).unwrap();
    drop(first);
    let second = DataDir::open(dir.path()).unwrap();
    assert_eq!((second.key().node_id(), second.incarnation()), (key, far.next()));
    drop(second);
    std::fs::write(dir.path().join("incarnation"), "garbage").unwrap();
    assert!(DataDir::open(dir.path()).unwrap().incarnation() >= life);
}

#[test]
fn the_key_file_is_private_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDir::open(dir.path()).unwrap());
    let path = dir.path().join("key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = DataDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "not a key").unwrap();
    let error = DataDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("64 hexadecimal digits"), "{error}");
}

#[test]
fn known_peers_survive_and_damaged_lines_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path()).unwrap();
    assert_eq!(data.known_peers(), []);
    let peer = |i| PeerEntry {
        node: NodeId([i; 32]),
        incarnation: Incarnation(i.into()),
        address: ([127, 0, 0, i], 7_200).into(),
    };
    let peers: Vec<_> = (1..=3).map(peer).collect();
    data.save_known_peers(&peers).unwrap();
    assert_eq!(data.known_peers(), peers);
    let path = dir.path().join("peers");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"half a line\n\xff\xfe\n");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(data.known_peers(), peers);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(names.len(), 4, "no temporary file is left: {names:?}");
}
