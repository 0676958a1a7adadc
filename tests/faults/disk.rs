//! The state directory's file system is full or read-only while a run writes its journal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Done, Process};
use crate::rig::Rig;
use crate::scene::Scene;
use crate::skipped;

fn run(program: &str, words: &[&str]) -> bool {
    let output = Command::new(program).args(words).output();
    output.is_ok_and(|output| output.status.success())
}

/// A small file system for the journal, gone with the test.
struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).expect("a folder");
        let mounted = run("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs", text(&at)]);
        mounted.then_some(Self(at))
    }

    /// Writes until nothing goes in any more.
    fn fill(&self) {
        let ballast = self.0.join("ballast");
        let mut file = std::fs::File::create(ballast).expect("a file");
        for size in [1 << 20, 4096, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", text(&self.0)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// Takes the right to write from all files below a folder, even from root and from who has them
/// open, as a file system that became read-only does; or gives it back.
fn immutable(folder: &Path, on: bool) -> bool {
    run("chattr", &["-R", if on { "+i" } else { "-i" }, text(folder)])
}

/// Gives the right back when the test is over, or its folder could not be removed.
struct Immutable<'a>(&'a Path);

impl Drop for Immutable<'_> {
    fn drop(&mut self) {
        immutable(self.0, false);
    }
}

/// The promise about ends, and the reason where one is due.
fn require_names_the_disk(done: &Done) {
    assert!(done.stderr.contains("journal"), "{done}");
    assert!(done.stderr.contains("make room or give rights"), "{done}");
}

fn under_way(scene: &Scene) -> Process {
    scene.rig.slow(10);
    let mut process = scene.start(&[]);
    scene.await_messages(&mut process, 10);
    process
}

/// A run that cannot begin its journal touches nothing.
fn require_refused(scene: &Scene) {
    let refused = scene.start(&[]).wait();
    assert_eq!(refused.code, Some(3), "{refused}");
    require_names_the_disk(&refused);
    scene.rig.require_free();
}

#[test]
fn a_state_directory_that_becomes_read_only() {
    let scene = Scene::of(Rig::new("readonly"));
    let state = scene.rig.keep.state.clone();
    std::fs::create_dir_all(&state).expect("a folder");
    if !immutable(&state, true) {
        return skipped("a read-only state directory", "chattr +i does not work here");
    }
    let _back = Immutable(&state);
    require_refused(&scene);
    immutable(&state, false);
    let process = under_way(&scene);
    immutable(&state, true);
    let done = scene.end(process);
    assert_eq!(done.code, Some(5), "it needs no journal: {done}");
    require_names_the_disk(&done);
    // Nor can it go on before that is mended.
    let still = scene.rig.keep.expect(5, &["resume"]);
    require_names_the_disk(&still);
    immutable(&state, false);
    scene.rig.node.clear_faults();
    scene.resume_and_judge(done);
}

#[test]
fn a_state_directory_that_is_full() {
    let mut rig = Rig::new("full");
    rig.keep.state = rig.folder.path().join("small");
    let Some(disk) = Disk::mount(rig.keep.state.clone()) else {
        return skipped("a full state directory", "this user may not mount a tmpfs");
    };
    let scene = Scene::of(rig);
    disk.fill();
    require_refused(&scene);
    disk.empty();
    let process = under_way(&scene);
    let killed = process.wait_for(Duration::ZERO).expect_err("it was not done");
    // What the journal has reserved may be enough for the rest, or not.
    disk.fill();
    let process = scene.rig.keep.start_as(&[], &["resume", "--unloadStall", "1s"]);
    let done = scene.end(process);
    if done.code == Some(5) {
        require_names_the_disk(&done);
    }
    disk.empty();
    scene.rig.node.clear_faults();
    assert_eq!(done.run().or_else(|| killed.run()), killed.run());
    scene.resume_and_judge(if done.run().is_some() { done } else { killed });
}

#[test]
fn a_state_directory_that_becomes_full() {
    let mut rig = Rig::new("fills");
    rig.keep.state = rig.folder.path().join("small");
    let Some(disk) = Disk::mount(rig.keep.state.clone()) else {
        return skipped("a state directory that becomes full", "this user may not mount a tmpfs");
    };
    let scene = Scene::of(rig);
    let process = under_way(&scene);
    disk.fill();
    let done = scene.end(process);
    if done.code == Some(5) {
        require_names_the_disk(&done);
    }
    disk.empty();
    scene.rig.node.clear_faults();
    scene.resume_and_judge(done);
}
