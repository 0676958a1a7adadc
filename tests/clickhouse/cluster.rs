//! Clusters, as far as a server without distributed statements shows them: backups that a cluster
//! wrote, names that its hosts have, statements that are understood.

use std::fs;
use std::path::Path;

use crate::rig::{Rig, json};
use crate::servers::{bucket, share};

/// Gives a backup the shape of one that a cluster of one host wrote.
fn as_of_a_cluster(at: &Path) {
    // Beside its files the S3 server keeps what it knows of them.
    let known = bucket().join("../../attributes/my-bucket");
    for kept in [bucket(), known] {
        let folder = kept.join(at);
        let host = folder.join("shards/1/replicas/1");
        fs::create_dir_all(&host).expect("a folder");
        for part in ["metadata", "data"] {
            fs::rename(folder.join(part), host.join(part)).expect("moved");
        }
    }
    let manifest = bucket().join(at).join(".backup");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let moved = ["metadata/", "data/"].iter().fold(text, |text, part| {
        text.replace(&format!("<name>{part}"), &format!("<name>shards/1/replicas/1/{part}"))
    });
    fs::write(manifest, moved).expect("written");
}

#[test]
fn what_a_cluster_backed_up_is_found_and_restored_by_a_server_alone() {
    let _turn = share();
    let rig = Rig::new("shards");
    let path = format!("{}/s", rig.path);
    rig.back_up(&path, &[]);
    as_of_a_cluster(&Path::new("tests").join(&rig.db).join("s"));
    let restored = format!("{}_alone", rig.db);
    let done = json(&rig.restore(0, &restored, &path, &[]));
    assert_eq!(done["operation"]["source_database"], rig.db.as_str(), "{done}");
    assert_eq!(rig.counts(&restored), "1000\t1000\t1000\t1000\t5");
    rig.restore(0, &rig.db, &path, &["--table", "again", "--sourceTable", "t"]);
    rig.require_tidy();
}
