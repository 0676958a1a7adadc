//! The catalog cache under the binary: a second run reads no old message, and whatever happened to
//! the file or the topic, the run after it does what it would have done without.

use std::path::PathBuf;

use crate::process::Done;
use crate::rig::Rig;
use crate::support::delete_topic;

const WHOLE: &str = "is read from its beginning";

/// A backup command that finds nothing new.
fn nothing_new(rig: &Rig) -> Done {
    let done = rig.keep.expect(0, &rig.words(&["-v"]));
    assert!(done.stdout.contains("Nothing to back up"), "{done}");
    done
}

fn cache_file(rig: &Rig) -> PathBuf {
    let files = std::fs::read_dir(rig.keep.state.join("catalog")).expect("a folder");
    let files: Vec<_> = files.flatten().map(|entry| entry.path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn the_topic_is_read_once_and_again_only_where_the_cache_is_of_no_use() {
    let rig = Rig::new("cached");
    rig.keep.expect(0, &rig.words(&[]));
    assert!(nothing_new(&rig).stderr.contains(WHOLE));
    assert!(!nothing_new(&rig).stderr.contains(WHOLE));
    rig.delta("SANDBOX_FILL(b, 30)");
    let newer = rig.keep.expect(0, &rig.words(&["-v"]));
    assert!(newer.stdout.contains("Delta range [2, 2] to backup"), "{newer}");
    assert!(!newer.stderr.contains(WHOLE), "{newer}");

    let file = cache_file(&rig);
    let mut bytes = std::fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    for damage in ["flipped", "gone"] {
        let whole = nothing_new(&rig);
        assert!(
            whole.stderr.contains(WHOLE) && !whole.stderr.contains("WARN"),
            "{damage}: {whole}"
        );
        assert!(!nothing_new(&rig).stderr.contains(WHOLE), "{damage}");
        std::fs::remove_file(cache_file(&rig)).expect("removed");
    }
    rig.keep.expect(0, &rig.words(&["--dryRun"]));
    let files = std::fs::read_dir(rig.keep.state.join("catalog")).expect("a folder");
    assert_eq!(files.count(), 0, "a dry run wrote it");
    rig.judge(&[0, 1, 2]);
}

#[test]
fn a_topic_made_anew_with_as_many_messages_is_not_taken_for_the_old_one() {
    let rig = Rig::new("alike");
    rig.keep.expect(0, &rig.words(&[]));
    nothing_new(&rig);
    delete_topic(&rig.brokers, &rig.topic);
    let other = rig.keep.elsewhere("other");
    other.expect(0, &rig.words(&[]));
    assert!(nothing_new(&rig).stderr.contains(WHOLE));
    delete_topic(&rig.brokers, &rig.topic);
    let fresh = rig.keep.expect(0, &rig.words(&[]));
    assert!(fresh.stdout.contains("Delta range [0, 1] to backup"), "{fresh}");
    rig.judge(&[0, 1]);
    rig.require_free();
}
